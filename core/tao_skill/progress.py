"""Progress of a running action, as progress.json holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any, Final

from tao_skill.io.strict_json import conform, finite

LARGEST: Final = 1e15
"""Of a count or a number of seconds; a larger number is damage."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Progress of a running action.

    Attributes:
        batch, batches: batches done and in total, of the epoch or, without epochs, of the action.
        epoch: number of the current epoch, from 0. epochs: number of epochs. epochs_done: epochs completed.
        transfer: operation and file, e.g. `staging s3://bucket/train_data.npy`. bytes, bytes_total: done and in total.
        metrics: latest values by name; None where a value is not finite.
        eta_s: estimated seconds left.

    Raises:
        ValueError: a number is negative or too large.
    """

    batch: int = 0
    batches: int = 1
    epoch: int | None = None
    epochs: int = 1
    epochs_done: int = 0
    transfer: str | None = None
    bytes: int = 0
    bytes_total: int = 0
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    eta_s: float | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, int | float) and not 0 <= value <= LARGEST:
                raise ValueError(f"{name} is {value}")

    @property
    def fraction(self) -> float:
        """The fraction done, from 0 to 1."""
        if self.transfer is not None:
            return self.bytes / max(1, self.bytes_total)
        of_epoch = self.batch / max(1, self.batches)
        return of_epoch if self.epoch is None else (self.epoch + of_epoch) / max(1, self.epochs)

    @property
    def transfer_text(self) -> str | None:
        """The transfer and its size, e.g. `staging s3://bucket/train_data.npy  12.0 MiB`."""
        return None if self.transfer is None else f"{self.transfer}  {self.bytes_total / 2**20:.1f} MiB"

    @property
    def text(self) -> str:
        """E.g. `epoch 3/20  loss 0.4123  val_acc 0.9130  ETA 0:01:10`."""
        parts = [self.transfer_text] if self.transfer_text else []
        parts += [] if self.epoch is None else [f"epoch {self.epoch + 1}/{self.epochs}"]
        parts += [f"{name} {value:.4f}" for name, value in self.metrics.items() if value is not None]
        parts += [] if self.eta_s is None else [f"ETA {timedelta(seconds=round(self.eta_s))}"]
        return "  ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """The progress as JSON."""
        values = asdict(self) | {"metrics": {name: finite(value) for name, value in self.metrics.items()}}
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Progress:
        """Read the progress from JSON.

        Raises:
            ValueError: the document is not a progress.
        """
        progress: Progress = conform(dict(document), cls)
        return progress
