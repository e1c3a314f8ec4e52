"""Recommended settings for a training set that is too small for the default recipe."""

from __future__ import annotations

from typing import Final

SMALL_SET: Final = 5000
"""Sequences below which the default recipe, made for tens of thousands, trains slowly or fails."""

HIGH_LR: Final = 0.05
SMALL_SET_OVERRIDES: Final = {"train.optim.lr": 0.01, "model.dropout": 0.1, "dataset.batch_size": 16}


def small_set_warning(n_sequences: int, lr: float, batch_size: int) -> str | None:
    """Recommend other settings when the learning rate is too high for a small set; None when it is not."""
    if n_sequences >= SMALL_SET or lr < HIGH_LR:
        return None
    overrides = {key: value for key, value in SMALL_SET_OVERRIDES.items() if key != "dataset.batch_size"}
    if batch_size > SMALL_SET_OVERRIDES["dataset.batch_size"]:
        overrides = SMALL_SET_OVERRIDES
    return (
        f"{n_sequences} sequences are few for a learning rate of {lr:g}: "
        f"try {' '.join(f'{key}={value}' for key, value in overrides.items())} "
        "(on 1,401 recorded sequences, lr 0.1 with dropout 0.5 reached 22 % accuracy after three epochs, "
        "lr 0.01 with dropout 0.1 reached 90 % after two)"
    )
