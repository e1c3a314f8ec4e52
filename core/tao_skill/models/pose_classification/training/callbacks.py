"""What happens beside training: checkpoints, status lines, progress."""

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

from tao_skill.io import atomic
from tao_skill.models.pose_classification.config import TrainConfig
from tao_skill.models.pose_classification.data.datamodule import SkeletonDataModule
from tao_skill.models.pose_classification.training import checkpoint_file, checkpoint_index
from tao_skill.models.pose_classification.training.module import LEARNING_RATE, STAGE_METRICS, PoseClassifier
from tao_skill.status import StatusLog


class CheckpointFiles(CheckpointIO):
    """Lightning's reads and writes go through `checkpoint.save` and `checkpoint.load`."""

    def __init__(self, key: str | None) -> None:
        self.key = key

    def save_checkpoint(self, checkpoint: Mapping[str, Any], path: Any, storage_options: Any = None) -> None:
        """Durable, and encrypted if there is a key."""
        checkpoint_file.save(checkpoint, Path(path), self.key)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Plain data only, whatever the caller asks for."""
        return checkpoint_file.load(Path(path), self.key)

    def remove_checkpoint(self, path: Any) -> None:
        """Delete one file."""
        Path(path).unlink(missing_ok=True)


class Checkpoints(Checkpoint):
    """A checkpoint at every interval, at the end, and whenever validation is the best so far.

    `pc_model_latest.pth` and `pc_model_best.pth` are relative links; the index says which metrics belong to which file.
    """

    def __init__(self, results_dir: Path, train: TrainConfig, metric: str) -> None:
        self.results_dir = results_dir
        self.train = train
        self.metric = metric
        self.index = checkpoint_index.read_index(results_dir)
        self._due = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget what lies beyond the point that training goes on from; all processes know what the first one knows.

        A training that goes on from no checkpoint of the folder has none of them behind it.
        """
        start = trainer.ckpt_path
        goes_on = start is not None and Path(start).resolve().parent == self.results_dir.resolve()
        known: list[checkpoint_index.Checkpoint] = trainer.strategy.broadcast(self.index)
        self.index = [one for one in known if goes_on and one.step <= trainer.global_step]
        if trainer.is_global_zero:
            checkpoint_index.drop_stale_best(self.results_dir, self.index)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save inside an epoch if the unit is steps; one due with the last batch waits for the end of the epoch."""
        data = _data(trainer)
        data.epoch, data.batches_done = trainer.current_epoch, batch_idx + 1
        if self.train.checkpoint_interval_unit == "step" and trainer.global_step % self.train.checkpoint_interval == 0:
            self._due = trainer.is_last_batch
            if not trainer.is_last_batch:
                self._save(trainer, trainer.current_epoch, {})

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save if due by epochs, last, or best; a best one beyond the interval replaces the one before it."""
        epoch = trainer.current_epoch
        data = _data(trainer)
        data.epoch, data.batches_done = epoch + 1, 0
        assert isinstance(pl_module, PoseClassifier)
        validated = (epoch + 1) % self.train.validation_interval == 0 and "val_acc" in pl_module.metrics
        metrics = pl_module.metrics if validated else {}
        by_epoch = self.train.checkpoint_interval_unit == "epoch" and (epoch + 1) % self.train.checkpoint_interval == 0
        due = self._due or by_epoch or epoch + 1 == trainer.max_epochs
        self._due = False
        if due or self._beats_all(metrics):
            self._save(trainer, epoch, metrics, extra=not due)

    def _beats_all(self, metrics: Mapping[str, float]) -> bool:
        this = checkpoint_index.Checkpoint(file="", epoch=0, step=2**62, metrics=metrics)
        return self.metric in metrics and checkpoint_index.best([*self.index, this], self.metric) is this

    def _save(self, trainer: pl.Trainer, epoch: int, metrics: Mapping[str, float], *, extra: bool = False) -> None:
        frames, persons = _data(trainer).frames_and_persons
        one = checkpoint_index.Checkpoint(
            file=checkpoint_index.checkpoint_name(epoch, trainer.global_step),
            epoch=epoch,
            step=trainer.global_step,
            metrics={name: value for name, value in metrics.items() if math.isfinite(value)},
            sequence_length=frames,
            num_persons=persons,
            extra=extra,
        )
        trainer.save_checkpoint(self.results_dir / one.file)
        others = [other for other in self.index if other.file != one.file]
        is_best = self.metric in one.metrics and self._beats_all(one.metrics)
        beaten = [other for other in others if other.extra and is_best]
        self.index = [*(other for other in others if other not in beaten), one]
        if trainer.is_global_zero:
            self._write(one, beaten)

    def _write(self, one: checkpoint_index.Checkpoint, beaten: Sequence[checkpoint_index.Checkpoint]) -> None:
        checkpoint_index.write_index(self.results_dir, self.index)
        atomic.replace_link(self.results_dir / checkpoint_index.LATEST, one.file)
        if winner := checkpoint_index.best(self.index, self.metric):
            atomic.replace_link(self.results_dir / checkpoint_index.BEST, winner.file)
        for other in beaten:
            (self.results_dir / other.file).unlink(missing_ok=True)


class Report(Callback):
    """TAO's status lines after every epoch; progress.json twice a second at most."""

    PROGRESS_EVERY_S = 0.5
    CHECK_EVERY = 16
    """Batches between two looks whether training diverged: each makes a GPU wait."""

    def __init__(self, status: StatusLog, epochs: int) -> None:
        self.status = status
        self.epochs = epochs
        self.began = self.epoch_began = self.told = time.monotonic()
        self.first_step = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clocks."""
        self.began = self.epoch_began = time.monotonic()
        self.first_step = trainer.global_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Say where training stands."""
        now = time.monotonic()
        if batch_idx % self.CHECK_EVERY == 0 and not math.isfinite(float(outputs["loss"])):
            trainer.should_stop = True  # no later step can mend it
        if trainer.is_global_zero and now - self.told >= self.PROGRESS_EVERY_S:
            self.told = now
            facts = {"batch": batch_idx + 1, "batch_loss": float(outputs["loss"])}
            self._progress(trainer, pl_module, epochs_done=trainer.current_epoch, **facts)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Two lines, as TAO writes them: validation, then training, with the learning rate added."""
        assert isinstance(pl_module, PoseClassifier)
        pl_module.close_epoch()
        if not trainer.is_global_zero:
            return
        now, epoch = time.monotonic(), trainer.current_epoch
        facts: dict[str, Any] = {
            "epoch": epoch,
            "max_epoch": self.epochs,
            "time_per_epoch": str(timedelta(seconds=now - self.epoch_began)),
            "eta": str(timedelta(seconds=self._eta_s(trainer))),
        }
        self.epoch_began = now
        for stage, word in (("val", "Eval"), ("train", "Train")):
            kpi = {name: pl_module.metrics[name] for name in STAGE_METRICS[stage] if name in pl_module.metrics}
            kpi |= {LEARNING_RATE: pl_module.learning_rate} if stage == "train" else {}
            if kpi and (stage == "train" or trainer.fit_loop.epoch_loop._should_check_val_epoch()):
                self.status.write("RUNNING", f"{word} metrics generated.", kpi=kpi, **facts)
        if not math.isfinite(pl_module.metrics["train_loss"]):
            trainer.should_stop = True
            self.status.write("RUNNING", "Training diverged: lower train.optim.lr.", verbosity="WARNING", **facts)
        self._progress(trainer, pl_module, epochs_done=epoch + 1, batch=int(trainer.num_training_batches))

    def _progress(self, trainer: pl.Trainer, pl_module: pl.LightningModule, **facts: Any) -> None:
        assert isinstance(pl_module, PoseClassifier)
        self.status.progress(
            **facts,
            epoch=trainer.current_epoch,
            epochs=self.epochs,
            batches=int(trainer.num_training_batches),
            eta_s=round(self._eta_s(trainer), 1),
            **pl_module.metrics,
        )

    def _eta_s(self, trainer: pl.Trainer) -> float:
        done = max(1, trainer.global_step - self.first_step)
        left = max(0, self.epochs * int(trainer.num_training_batches) - trainer.global_step)
        return (time.monotonic() - self.began) / done * left


def _data(trainer: pl.Trainer) -> SkeletonDataModule:
    data = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(data, SkeletonDataModule)
    return data
