"""Configurations drawn from a search space without a model: by chance, and by a sampler with a known score."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from tao_skill.automl.search.samplers import Observation, draw
from tao_skill.automl.space.dimension import Dimension
from tao_skill.automl.space.space import Space

SPACE = Space(
    dimensions=(
        Dimension(key="lr", kind="float", low=1e-4, high=1.0, log=True),
        Dimension(key="optimizer", kind="choice", choices=("sgd", "adam")),
        Dimension(key="strategy", kind="choice", choices=("a", "b"), weights=(1.0, 3.0)),
        Dimension(key="momentum", kind="float", low=0.5, high=0.99, when=(("optimizer", "sgd"),)),
        Dimension(key="patience", kind="int", low=1, high=10, step=1),
        Dimension(key="clip", kind="float", low=0.0, high=10.0, off=0.0),
    )
)
SPEC = {"lr": 0.1, "optimizer": "sgd", "strategy": "a", "momentum": 0.9, "patience": 1, "clip": 0.0}


class RandomTrial(random.Random):
    """Suggests anything a sampler may, the ends of a range more often than chance would."""

    def suggest_float(self, name: str, low: float, high: float) -> float:
        return self.choice((low, high, self.uniform(low, high), self.uniform(low, high)))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self.choice(choices)


def draws(space: Space, spec: Mapping[str, Any], count: int = 30, seed: int = 0) -> list[dict[str, Any]]:
    """Configurations a space allows; draws that keep no condition are left out."""
    trial = RandomTrial(seed)
    return [values for _ in range(count) if (values := space.suggest(trial, spec)) is not None]


def score(values: dict[str, Any]) -> float:
    """Best at lr 0.01 with adam and no clipping."""
    return -abs(math.log10(values["lr"]) + 2) - (values["optimizer"] == "sgd") - values["clip"] / 10


def history(sampler: str, count: int, seed: int = 0) -> list[Observation]:
    """A search of `count` configurations after the user's own."""
    seen = [Observation(values=SPEC, score=score(SPEC))]
    for number in range(1, count + 1):
        values = draw(SPACE, SPEC, number, seen, sampler=sampler, seed=seed)
        assert values is not None
        seen.append(Observation(values=values, score=score(values)))
    return seen
