"""Real searches that take a second: softmax regression on handwritten digits, trained by hand-written SGD.

Below them trials that nobody trained.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np

from tao_skill.automl.document import to_json
from tao_skill.automl.report.builder import RunFacts, build_report
from tao_skill.automl.report.report import SearchReport
from tao_skill.automl.search.asha import Budget, Goal, RungSchedule, Trial
from tao_skill.automl.search.search import Configuration, Search, Setup, Task
from tao_skill.automl.space.dimension import Dimension
from tao_skill.automl.space.space import Space

LR, MOMENTUM, BATCH, INIT = "train.optim.lr", "train.optim.momentum", "dataset.batch_size", "model.init"
FACTS = RunFacts(versions={"numpy": np.__version__}, command=("tao-skill", "run", "train"), elapsed_s=90.0)
OVER = replace(FACTS, ended="the budget is spent")


@dataclass(frozen=True, kw_only=True)
class EqualTrainings:
    """Trainings that take the same number of epochs, all of the same cost."""

    full: int

    def epochs(self, values: Mapping[str, Any]) -> int:
        """See `Trainings`."""
        return self.full

    def warm_up(self, values: Mapping[str, Any]) -> int:
        """See `Trainings`."""
        return 0

    def flop(self, values: Mapping[str, Any]) -> float | None:
        """See `Trainings`."""
        return None

    def shortened(self, values: Mapping[str, Any], epochs: int) -> dict[str, Any]:
        """See `Trainings`."""
        return dict(values)

    def adapted(self, values: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
        """See `Trainings`."""
        return dict(values)


@cache
def digits() -> tuple[Any, ...]:
    """Pixels from 0 to 1 and classes, of training and validation."""
    from sklearn.datasets import load_digits

    x_NP, y_N = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x_NP))
    x_NP, y_N = x_NP[order] / 16.0, y_N[order]
    return x_NP[:400], y_N[:400], x_NP[400:700], y_N[400:700]


def objective(task: Task) -> list[dict[str, float]]:
    """Metrics by epoch; stops after the loss is not finite; a batch larger than the set is refused."""
    x_NP, y_N, val_x_NP, val_y_N = digits()
    values = {MOMENTUM: 0.5, INIT: "zero", **task.values}
    if values[BATCH] > len(x_NP):
        raise ValueError(f"batch of {values[BATCH]} is larger than the set of {len(x_NP)}")
    rng = np.random.default_rng(1)
    weights_PK, velocity_PK = np.zeros((64, 10)), np.zeros((64, 10))
    if values[INIT] == "normal":
        weights_PK = rng.normal(size=(64, 10))
    history = []
    with np.errstate(all="ignore"):
        for _ in range(task.target):
            for batch in np.array_split(rng.permutation(len(x_NP)), len(x_NP) // values[BATCH]):
                step_PK = x_NP[batch].T @ (probabilities(x_NP[batch] @ weights_PK) - np.eye(10)[y_N[batch]])
                velocity_PK = values[MOMENTUM] * velocity_PK + step_PK / len(batch)
                weights_PK = weights_PK - values[LR] * velocity_PK
            epoch = scored(x_NP @ weights_PK, y_N, "train") | scored(val_x_NP @ weights_PK, val_y_N, "val")
            history.append(epoch)
            if not all(np.isfinite(value) for value in epoch.values()):
                break
    return history


def probabilities(z_NK: Any) -> Any:
    e_NK = np.exp(z_NK - z_NK.max(axis=1, keepdims=True))
    return e_NK / e_NK.sum(axis=1, keepdims=True)


def scored(z_NK: Any, y_N: Any, split: str) -> dict[str, float]:
    loss = -np.log(probabilities(z_NK)[np.arange(len(y_N)), y_N]).mean()
    return {f"{split}_acc": float((z_NK.argmax(axis=1) == y_N).mean()), f"{split}_loss": float(loss)}


@dataclass
class Memory:
    """A journal that forgets when the process ends."""

    kept: dict[int, Trial] = field(default_factory=dict)

    def load(self) -> list[Trial]:
        return [self.kept[number] for number in sorted(self.kept)]

    def save(self, trial: Trial) -> None:
        self.kept[trial.number] = trial


RECIPES = (
    Configuration(origin="recipe quick", values={LR: 0.3, BATCH: 16, "model.depth": 5}),
    Configuration(origin="recipe slow", values={LR: 0.002, BATCH: 16}),
)
"""Partial specs; `model.depth` has no effect."""


def make_setup(
    *,
    lr: float = 0.01,
    batch: int = 64,
    trials: int = 14,
    seed: int = 0,
    recipes: Sequence[Configuration] = (),
    **budget: Any,
) -> Setup:
    """A search from a default learning rate; rates to 1000 diverge, batches of 512 fail."""
    space = Space(
        dimensions=(
            Dimension(key=LR, kind="float", low=1e-3, high=1e3, log=True),
            Dimension(key=MOMENTUM, kind="float", low=0.0, high=0.95),
            Dimension(key=BATCH, kind="int", low=16, high=512, choices=(16, 64, 256, 512)),
            Dimension(key=INIT, kind="choice", choices=("zero", "normal")),
        ),
        left_out={"model.depth": "has fewer than two values from 1 to 1"},
    )
    spec = {
        "train": {"optim": {"lr": lr, "momentum": 0.5}},
        "dataset": {"batch_size": batch},
        "model": {"init": "zero"},
    }
    return Setup(
        space=space,
        spec=spec,
        goal=Goal(metric="val_acc", maximize=True, tie="val_loss"),
        schedule=RungSchedule(),
        budget=Budget(trials=trials, **budget),
        trainings=EqualTrainings(full=9),
        recipes=recipes,
        seed=seed,
    )


def trained(setup: Setup) -> list[list[Trial]]:
    """The trials after each event, from none to the end."""
    search, moments = Search(setup, Memory()), [[]]
    while task := search.next_task():
        moments.append(timed(search.trials))
        try:
            search.succeed(task.number, objective(task))
        except ValueError as error:
            search.give_up(task.number, str(error))
        moments.append(timed(search.trials))
    return moments


def timed(trials: Sequence[Trial]) -> list[Trial]:
    """Half a second an epoch, which nobody measured here."""
    return [replace(one, seconds=one.epochs / 2) for one in trials]


def reported(setup: Setup, trials: Sequence[Trial], facts: RunFacts = OVER) -> SearchReport:
    return build_report(setup, trials, facts)


def document(setup: Setup, trials: Sequence[Trial], facts: RunFacts = OVER) -> dict[str, Any]:
    """The report as it is written to report.json."""
    written: dict[str, Any] = to_json(reported(setup, trials, facts))
    return written


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
    """Metrics of GOAL by epoch."""
    return tuple({"val_acc": one, "val_loss": 1 - one} for one in accuracies)


TRIALS = (
    Trial(number=0, full=3, values=VALUES, history=history(0.4, 0.7, 0.6), target=3, state="done", seconds=4.5),
    Trial(
        number=1, full=3, values={**VALUES, "lr": 5.0, "epochs": None}, history=history(0.1), target=3, state="running"
    ),
    Trial(
        number=2,
        full=3,
        values={"lr": 1e-3},
        history=history(0.2),
        target=1,
        state="waiting",
        failures=("data: x", "y"),
    ),
    Trial(number=3, full=3, values={"lr": 2e-3}, history=history(0.3), target=1, state="failed", reason="no memory"),
    Trial(
        number=4,
        full=3,
        values={"lr": 1.0},
        history=history(0.3, math.nan),
        target=3,
        state="done",
        reason="training diverged",
    ),
)
"""Trials of SPACE, one in every state."""
