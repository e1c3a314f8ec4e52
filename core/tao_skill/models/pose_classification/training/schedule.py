"""The learning-rate schedule of a training in another number of epochs. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tao_skill.models.pose_classification.config import TrainConfig


def shortened(train: TrainConfig, epochs: int) -> dict[str, Any]:
    """Spec values of the same training in `epochs` epochs: warm-up and decays at the same shares of the training."""
    optim = train.optim
    values: dict[str, Any] = {"train.num_epochs": epochs}
    if optim.lr_scheduler == "MultiStep":
        values["train.optim.lr_steps"] = _scaled_steps(optim.lr_steps, train.num_epochs, epochs)
    if optim.warmup_epochs:
        warmup = round(optim.warmup_epochs * epochs / train.num_epochs)
        values["train.optim.warmup_epochs"] = min(warmup, epochs - 1)
    return values


def _scaled_steps(steps: Sequence[int], old: int, new: int) -> list[int]:
    """Strictly increasing steps before the end; one at least if there was one, unless the training has one epoch."""
    scaled: list[int] = []
    acting = sorted(step for step in steps if step < old)
    for step in acting:
        scaled.append(max(round(step * new / old), scaled[-1] + 1 if scaled else 1))
    kept = [step for step in scaled if step < new]
    return kept or ([new - 1] if acting and new > 1 else [])
