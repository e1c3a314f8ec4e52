"""Draws without a model: what a space makes of any of them is its own doing."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from tao_skill.automl.space.space import Space


class Dice(random.Random):
    """Suggests anything a sampler may, the ends of a range more often than chance would."""

    def suggest_float(self, name: str, low: float, high: float) -> float:
        return self.choice((low, high, self.uniform(low, high), self.uniform(low, high)))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self.choice(choices)


def draws(space: Space, spec: Mapping[str, Any], count: int = 30, seed: int = 0) -> list[dict[str, Any]]:
    """Configurations a space allows; draws that keep no condition are left out."""
    dice = Dice(seed)
    return [values for _ in range(count) if (values := space.suggest(dice, spec)) is not None]
