"""Lightning callbacks of training: checkpoints, status lines and progress."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.plugins import CheckpointIO
from pytorch_lightning.callbacks import Callback, Checkpoint

from tao_skill.errors import BadData
from tao_skill.io import atomic
from tao_skill.models.pose_classification.config import TrainConfig
from tao_skill.models.pose_classification.data.datamodule import datamodule_of
from tao_skill.models.pose_classification.training import checkpoint_file, checkpoint_index
from tao_skill.models.pose_classification.training.module import LEARNING_RATE, STAGE_METRICS, PoseClassifier
from tao_skill.progress import Progress
from tao_skill.status import StatusLog


class SafeCheckpointIO(CheckpointIO):
    """Lightning's checkpoint input and output by `checkpoint_file.save` and `checkpoint_file.load`."""

    def __init__(self, key: str | None) -> None:
        self.key = key

    def save_checkpoint(self, checkpoint: Mapping[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint durably; encrypt it if there is a key."""
        checkpoint_file.save(checkpoint, Path(path), self.key)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint as plain data, whatever `weights_only` is."""
        return checkpoint_file.load(Path(path), self.key)

    def remove_checkpoint(self, path: Any) -> None:
        """Delete a checkpoint."""
        Path(path).unlink(missing_ok=True)


class CheckpointCallback(Checkpoint):
    """Saves a checkpoint at every interval, at the end, and whenever the validation metric improves.

    `pc_model_latest.pth` and `pc_model_best.pth` are relative links; the index records the metrics of each file.
    """

    def __init__(self, results_dir: Path, train: TrainConfig, metric: str) -> None:
        self.results_dir = results_dir
        self.train = train
        self.metric = metric
        self.index = checkpoint_index.read_index(results_dir)
        self._due = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Drop checkpoints after the point of resumption, or all if training does not resume from this folder.

        All processes receive the index of the first process.
        """
        self._check_position(datamodule_of(trainer).batches_done)
        start = trainer.ckpt_path
        is_resumed = start is not None and Path(start).resolve().parent == self.results_dir.resolve()
        index: list[checkpoint_index.Checkpoint] = trainer.strategy.broadcast(self.index)
        self.index = [entry for entry in index if is_resumed and entry.step <= trainer.global_step]
        if trainer.is_global_zero:
            checkpoint_index.drop_stale_best(self.results_dir, self.index)

    def _check_position(self, batches_done: int) -> None:
        """Check that an optimizer step ends where the checkpoint was saved.

        Raises:
            BadData: the checkpoint was saved within an epoch, and accumulate_batches has changed since.
        """
        if batches_done % (accumulated := self.train.optim.accumulate_batches):
            raise BadData(
                f"the checkpoint was saved within an epoch after {batches_done} batches, but "
                f"train.optim.accumulate_batches is {accumulated}, and no optimizer step ends there",
                fix="set train.optim.accumulate_batches as in the interrupted training, or resume from the end of an "
                "epoch",
                path="train.optim.accumulate_batches",
            )

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save at every interval of steps; at the last batch, wait for the end of the epoch."""
        data = datamodule_of(trainer)
        data.epoch, data.batches_done = trainer.current_epoch, batch_idx + 1
        has_stepped = trainer.is_last_batch or data.batches_done % self.train.optim.accumulate_batches == 0
        is_due = has_stepped and trainer.global_step % self.train.checkpoint_interval == 0
        if self.train.checkpoint_interval_unit == "step" and is_due:
            self._due = trainer.is_last_batch
            if not trainer.is_last_batch:
                self._save(trainer, trainer.current_epoch, {})

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save at every interval of epochs, at the end, and if validation improved.

        An improvement outside the interval is saved as an extra checkpoint, which the next best one replaces.
        """
        epoch = trainer.current_epoch
        data = datamodule_of(trainer)
        data.epoch, data.batches_done = epoch + 1, 0
        assert isinstance(pl_module, PoseClassifier)
        validated = (epoch + 1) % self.train.validation_interval == 0 and "val_acc" in pl_module.metrics
        metrics = pl_module.metrics if validated else {}
        by_epoch = self.train.checkpoint_interval_unit == "epoch" and (epoch + 1) % self.train.checkpoint_interval == 0
        due = self._due or by_epoch or epoch + 1 == trainer.max_epochs
        self._due = False
        if due or self._is_best(metrics):
            self._save(trainer, epoch, metrics, extra=not due)

    def _is_best(self, metrics: Mapping[str, float]) -> bool:
        candidate = checkpoint_index.Checkpoint(file="", epoch=0, step=2**62, metrics=metrics)
        return self.metric in metrics and checkpoint_index.best([*self.index, candidate], self.metric) is candidate

    def _save(self, trainer: pl.Trainer, epoch: int, metrics: Mapping[str, float], *, extra: bool = False) -> None:
        frames, persons = datamodule_of(trainer).frames_and_persons
        checkpoint = checkpoint_index.Checkpoint(
            file=checkpoint_index.checkpoint_name(epoch, trainer.global_step),
            epoch=epoch,
            step=trainer.global_step,
            metrics={name: value for name, value in metrics.items() if math.isfinite(value)},
            sequence_length=frames,
            num_persons=persons,
            extra=extra,
        )
        trainer.save_checkpoint(self.results_dir / checkpoint.file)
        others = [other for other in self.index if other.file != checkpoint.file]
        is_best = self.metric in checkpoint.metrics and self._is_best(checkpoint.metrics)
        replaced = [other for other in others if other.extra and is_best]
        self.index = [*(other for other in others if other not in replaced), checkpoint]
        if trainer.is_global_zero:
            self._write_index(checkpoint, replaced)

    def _write_index(
        self, latest: checkpoint_index.Checkpoint, replaced: Sequence[checkpoint_index.Checkpoint]
    ) -> None:
        """Write the index, point the links to the latest and the best checkpoint, and delete replaced files."""
        checkpoint_index.write_index(self.results_dir, self.index)
        atomic.replace_link(self.results_dir / checkpoint_index.LATEST, latest.file)
        if best := checkpoint_index.best(self.index, self.metric):
            atomic.replace_link(self.results_dir / checkpoint_index.BEST, best.file)
        for checkpoint in replaced:
            (self.results_dir / checkpoint.file).unlink(missing_ok=True)


class StatusCallback(Callback):
    """Writes TAO's status lines after every epoch, and progress.json at most twice a second."""

    PROGRESS_EVERY_S = 0.5
    CHECK_EVERY = 16
    """Batches between two checks for divergence, each of which synchronises the GPU."""

    def __init__(self, status: StatusLog, epochs: int) -> None:
        self.status = status
        self.epochs = epochs
        self.started = self.epoch_started = self.reported = time.monotonic()
        self.first_step = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clocks."""
        self.started = self.epoch_started = time.monotonic()
        self.first_step = trainer.global_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write progress.json, and stop training if the loss is not finite."""
        now = time.monotonic()
        if batch_idx % self.CHECK_EVERY == 0 and not math.isfinite(float(outputs["loss"])):
            trainer.should_stop = True  # no later step can recover
        if trainer.is_global_zero and now - self.reported >= self.PROGRESS_EVERY_S:
            self.reported = now
            loss = float(outputs["batch_loss"])
            self._progress(trainer, pl_module, trainer.current_epoch, batch_idx + 1, loss=loss)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write two status lines as TAO does, for validation and for training, plus the learning rate."""
        assert isinstance(pl_module, PoseClassifier)
        pl_module.close_epoch()
        if not trainer.is_global_zero:
            return
        now, epoch = time.monotonic(), trainer.current_epoch
        facts: dict[str, Any] = {
            "epoch": epoch,
            "max_epoch": self.epochs,
            "time_per_epoch": str(timedelta(seconds=now - self.epoch_started)),
            "eta": str(timedelta(seconds=self._eta_s(trainer))),
        }
        self.epoch_started = now
        for stage, word in (("val", "Eval"), ("train", "Train")):
            kpi = {name: pl_module.metrics[name] for name in STAGE_METRICS[stage] if name in pl_module.metrics}
            kpi |= {LEARNING_RATE: pl_module.learning_rate} if stage == "train" else {}
            if kpi and (stage == "train" or trainer.fit_loop.epoch_loop._should_check_val_epoch()):
                self.status.write("RUNNING", f"{word} metrics generated.", kpi=kpi, **facts)
        if not math.isfinite(pl_module.metrics["train_loss"]):
            trainer.should_stop = True
            self.status.write("RUNNING", "Training diverged: lower train.optim.lr.", verbosity="WARNING", **facts)
        loss = pl_module.metrics["train_loss"]
        self._progress(trainer, pl_module, epoch + 1, int(trainer.num_training_batches), loss=loss)

    def _progress(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, epochs_done: int, batch: int, *, loss: float
    ) -> None:
        assert isinstance(pl_module, PoseClassifier)
        accuracy = {name: value for name, value in pl_module.metrics.items() if name == "val_acc"}
        self.status.progress(
            Progress(
                epoch=trainer.current_epoch,
                epochs=self.epochs,
                epochs_done=epochs_done,
                batch=batch,
                batches=int(trainer.num_training_batches),
                metrics={"loss": loss, **accuracy},
                eta_s=round(self._eta_s(trainer), 1),
            )
        )

    def _eta_s(self, trainer: pl.Trainer) -> float:
        done = max(1, trainer.global_step - self.first_step)
        steps_per_epoch = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
        left = max(0, self.epochs * steps_per_epoch - trainer.global_step)
        return (time.monotonic() - self.started) / done * left
