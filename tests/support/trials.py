"""Trials in every state, and the space and goal that they are of."""

from __future__ import annotations

import math

from tao_skill.automl.search.asha import Goal, Trial
from tao_skill.automl.space.dimension import Dimension
from tao_skill.automl.space.space import Space

GOAL = Goal(metric="val_acc", maximize=True, tie="val_loss")
SPACE = Space(
    dimensions=(
        Dimension(key="lr", kind="float", low=1e-4, high=1.0, log=True),
        Dimension(key="width", kind="int", choices=(8, 16, 32)),
        Dimension(key="strategy", kind="choice", choices=("uniform", "spatial"), weights=(1.0, 3.0)),
        Dimension(key="decay", kind="float", low=1e-6, high=1e-2, log=True, off=0.0),
        Dimension(key="dropout", kind="float", low=0.1, high=0.5, off=0.0),
        Dimension(key="epochs", kind="int", low=1, high=50),
    )
)
SPEC = {"lr": 0.1, "width": 8, "strategy": "uniform", "decay": 1e-4, "dropout": 0.2, "epochs": 5}
VALUES = {"lr": 0.1 + 0.2, "width": 16, "strategy": "spatial", "decay": 0.0, "dropout": 0.0, "epochs": 10}


def history(*accuracies: float) -> tuple[dict[str, float], ...]:
    return tuple({"val_acc": one, "val_loss": 1 - one} for one in accuracies)


TRIALS = (
    Trial(number=0, values=VALUES, history=history(0.4, 0.7, 0.6), target=3, state="done", seconds=4.5),
    Trial(number=1, values={**VALUES, "lr": 5.0, "epochs": None}, history=history(0.1), target=3),
    Trial(number=2, values={"lr": 1e-3}, history=history(0.2), target=1, state="waiting", failures=("data: x", "y")),
    Trial(number=3, values={"lr": 2e-3}, history=history(0.3), target=1, state="failed", reason="no memory"),
    Trial(
        number=4, values={"lr": 1.0}, history=history(0.3, math.nan), target=3, state="done", reason="training diverged"
    ),
)
