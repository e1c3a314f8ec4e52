"""Time of batches and epochs: measured in a few batches, and limited in a training."""

from __future__ import annotations

from statistics import median, median_low
from time import monotonic
from typing import Any, Final

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from tao_skill.status import StatusLog

FORWARD_SHARE: Final = 1 / 3
"""Time of a validation batch in that of a training batch: the backward pass has twice the operations of the forward."""

MEASURED_BATCHES: Final = (3, 7)
"""Fewest and most training batches of a measurement, with the first one, which is left out."""
MEASURED_S: Final = 3.0
"""Time after which a measurement begins no further training batch if it has the fewest."""
MEASURED_VALIDATION_BATCHES: Final = 2

LAP_S: Final = 0.5
FEWEST_LAPS: Final = 2
LONG_LAP_S: Final = 3.0
"""A single lap as long as this is enough for an estimate."""
TOLERANCE: Final = 0.1
"""Share of the limit by which an epoch that is nearly complete may exceed it."""


def now(device: torch.device) -> float:
    """The time when the device has completed its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return monotonic()


class BatchStopwatch:
    """Times of batches, each with its number of sequences."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, float]] = []
        self.elapsed_s = 0.0
        self._last = 0.0

    def start(self, time: float) -> None:
        """Start at the beginning of an epoch."""
        self._last = time

    def stop(self, time: float, sequences: int) -> None:
        """Record the batch since the start or the last batch."""
        self.batches.append((sequences, time - self._last))
        self.elapsed_s += time - self._last
        self._last = time

    def seconds_per_sequence(self) -> float:
        """The median over the full batches, without the first unless it is the only one; 0 without batches."""
        size = max((sequences for sequences, _ in self.batches), default=1)
        full = [seconds for sequences, seconds in self.batches if sequences == size]
        return median(full[1:] or full or [0.0]) / size


class Measurement(Callback):
    """Times a few batches of training, then a few of validation, and stops the training.

    Epochs with fewer batches are repeated. The trainer limits the batches of validation.
    """

    def __init__(self) -> None:
        self.training = BatchStopwatch()
        self.validation = BatchStopwatch()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the stopwatch."""
        self.training.start(now(pl_module.device))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Record a batch; stop when there are enough."""
        self.training.stop(now(pl_module.device), len(batch[1]))
        fewest, most = MEASURED_BATCHES
        count = len(self.training.batches)
        if count >= most or (count >= fewest and self.training.elapsed_s >= MEASURED_S):
            trainer.should_stop = True

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the stopwatch."""
        self.validation.start(now(pl_module.device))

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Record a batch."""
        self.validation.stop(now(pl_module.device), len(batch[1]))


class LapTimer:
    """Seconds of a batch, as the median over laps of half a second, since reading the time waits for the GPU.

    The first batch is not timed: it may include the start of workers and the choice of algorithms.
    """

    def __init__(self) -> None:
        self._laps: list[float] = []
        self._timed_s = 0.0
        self._started: float | None = None
        self._batches = 0

    def end_batch(self, device: torch.device) -> bool:
        """Count a batch; return whether it ended a lap."""
        if self._started is None:
            self._started = now(device)
            return False
        self._batches += 1
        if monotonic() - self._started < LAP_S:
            return False
        time = now(device)
        self._laps.append((time - self._started) / self._batches)
        self._timed_s += time - self._started
        self._started, self._batches = time, 0
        return True

    @property
    def seconds(self) -> float:
        """Seconds of a batch; 0 until there are enough laps for an estimate."""
        is_enough = len(self._laps) >= FEWEST_LAPS or self._timed_s >= LONG_LAP_S
        return median_low(self._laps) if is_enough else 0.0


class TimeIsUp(Exception):
    """Training was left within an epoch, of which nothing is recorded."""


class TimeLimit(Callback):
    """Ends a training in a single process before the epoch that would not end by the deadline.

    After an epoch, training ends regularly, with a checkpoint, if the next epoch would be late, judged by the slower of
    the last two. The first epoch is left as soon as its batches predict that it will be late. A later epoch is left
    if it became so slow that it would be late by more than a usual one. Callbacks that detect divergence come before.

    Args:
        deadline: time of `time.monotonic()`.
    """

    def __init__(self, status: StatusLog, deadline: float) -> None:
        self.status = status
        self.deadline = deadline
        self._epochs_s: list[float] = []
        self._training, self._validation = LapTimer(), LapTimer()
        self._started = self._epoch_started = monotonic()
        self._first_batch_ended: float | None = None
        self._last_batch_ended = 0.0
        self._validation_s: float | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock.

        Raises:
            TimeIsUp: the deadline has passed.
        """
        self._started = self._epoch_started = monotonic()
        if self._started >= self.deadline:
            raise self._time_is_up()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Predict the end of the epoch after each lap.

        Raises:
            TimeIsUp: the epoch would be late.
        """
        is_lap = self._training.end_batch(pl_module.device)
        self._last_batch_ended = monotonic()
        if self._first_batch_ended is None:
            self._first_batch_ended = self._last_batch_ended
        if is_lap and not trainer.should_stop:
            training_s = (trainer.num_training_batches - batch_idx - 1) * self._training.seconds
            self._leave_if_late(training_s + self._expected_validation_s(trainer))

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Predict the end of the epoch after each lap.

        Raises:
            TimeIsUp: the epoch would be late.
        """
        if self._validation.end_batch(pl_module.device) and not trainer.should_stop:
            self._leave_if_late((sum(trainer.num_val_batches) - batch_idx - 1) * self._validation.seconds)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Make this epoch the last one if the next would be late; the checkpoint callback then saves it."""
        time = now(pl_module.device)
        self._epochs_s.append(time - self._epoch_started - self._warm_up_s(trainer))
        self._validation_s = self._validation.seconds or self._validation_s
        self._epoch_started = time
        self._training, self._validation = LapTimer(), LapTimer()
        is_last = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        if not is_last and time + max(self._epochs_s[-2:]) > self.deadline:
            self.status.write("RUNNING", "The next epoch would not end within the time limit.")
            trainer.fit_loop.max_epochs = trainer.current_epoch + 1

    def _warm_up_s(self, trainer: pl.Trainer) -> float:
        """Seconds by which the first batch of this training was slower than those after it in the first epoch."""
        others = int(trainer.num_training_batches) - 1
        if self._epochs_s or self._first_batch_ended is None or not others:
            return 0.0
        first_s = self._first_batch_ended - self._epoch_started
        return max(0.0, first_s - (self._last_batch_ended - self._first_batch_ended) / others)

    def _expected_validation_s(self, trainer: pl.Trainer) -> float:
        interval = trainer.check_val_every_n_epoch or 1
        if (trainer.current_epoch + 1) % interval:
            return 0.0
        batch_s = self._validation_s or FORWARD_SHARE * self._training.seconds
        return float(sum(trainer.num_val_batches)) * batch_s

    def _leave_if_late(self, left_s: float) -> None:
        time = monotonic()
        if self._epochs_s:
            allowance = max(self._epochs_s[-2:])
        else:
            share = (time - self._epoch_started) / (time - self._epoch_started + left_s)
            allowance = TOLERANCE * share * (self.deadline - self._started)
        if time + left_s > self.deadline + allowance:
            raise self._time_is_up()

    def _time_is_up(self) -> TimeIsUp:
        self.status.write("RUNNING", "The epoch would not end within the time limit.")
        return TimeIsUp()
