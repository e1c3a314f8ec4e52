"""ST-GCN as a Lightning module: loss, metrics, optimizer and schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import SGD, Adam, Adamax, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, MultiStepLR, ReduceLROnPlateau

from tao_skill.models.pose_classification.config import ExperimentConfig, Optim, TrainConfig
from tao_skill.models.pose_classification.data.datamodule import SkeletonDataModule
from tao_skill.models.pose_classification.network.registry import build_net
from tao_skill.models.pose_classification.trained_facts import TrainedFacts
from tao_skill.models.pose_classification.training.checkpoint_file import FACTS
from tao_skill.models.pose_classification.training.mixup import Mixup, draw_mixup
from tao_skill.models.pose_classification.training.parallel import total

PLATEAU_THRESHOLD: Final = 1e-3
"""Relative improvement below which AutoReduce counts an epoch as not improved."""

STAGE_METRICS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"val": ("val_loss", "val_acc", "avg_accuracy"), "train": ("train_loss", "train_acc")}
)
"""Metrics of each epoch. Losses are means, accuracies fractions; avg_accuracy is the mean over the classes that occur,
in percent, as in TAO."""

LEARNING_RATE: Final = "lr"
"""Key of the learning rate of an epoch, reported with the training metrics."""

OPTIMIZERS: Final[Mapping[str, Callable[[Iterable[Tensor], Optim], Optimizer]]] = MappingProxyType(
    {
        "torch.optim.SGD": lambda parameters, optim: SGD(
            parameters,
            lr=optim.lr,
            momentum=optim.momentum,
            nesterov=optim.nesterov,
            weight_decay=optim.weight_decay,
        ),
        "torch.optim.Adam": lambda parameters, optim: Adam(parameters, lr=optim.lr, weight_decay=optim.weight_decay),
        "torch.optim.Adamax": lambda parameters, optim: Adamax(
            parameters, lr=optim.lr, weight_decay=optim.weight_decay
        ),
    }
)

SCHEDULERS: Final[Mapping[str, Callable[[Optimizer, TrainConfig], LRScheduler]]] = MappingProxyType(
    {
        "MultiStep": lambda optimizer, train: MultiStepLR(optimizer, train.optim.lr_steps, gamma=train.optim.lr_decay),
        "AutoReduce": lambda optimizer, train: ReduceLROnPlateau(
            optimizer,
            factor=train.optim.lr_decay,
            patience=train.optim.patience,
            threshold=PLATEAU_THRESHOLD,
            min_lr=train.optim.min_lr,
        ),
        "Cosine": lambda optimizer, train: LambdaLR(optimizer, lambda epoch: _half_cosine(epoch / train.num_epochs)),
    }
)


def _half_cosine(passed: float) -> float:
    """From 1 to 0. LambdaLR does not save the end of its schedule, so a longer training resumes on its own schedule."""
    return (1 + math.cos(math.pi * min(passed, 1))) / 2


def dropout_seed(seed: int, step: int, rank: int) -> int:
    """Seed of a step and process; seeds differ in the low 32 bits, which are all that torch's CPU generator uses."""
    return seed * 1_000_003 + step + rank * 2_654_435_769


class _Sums:
    """Running loss, hits and count of this process, kept on the device until an epoch closes."""

    def __init__(self, loss: float = 0.0, hits: float = 0.0, count: int = 0) -> None:
        self.loss: float | Tensor = loss
        self.hits: float | Tensor = hits
        self.count = count

    def add(self, loss: Tensor, scores_NK: Tensor, ids_N: Tensor) -> None:
        self.loss = self.loss + loss.double()
        self.hits = self.hits + (scores_NK.argmax(1) == ids_N).sum()
        self.count += len(ids_N)

    def take(self, device: torch.device) -> tuple[float, float]:
        """Mean loss and accuracy over all processes; resets the sums."""
        loss, hits, count = self.state(device)
        self.loss, self.hits, self.count = 0.0, 0.0, 0
        return loss / max(count, 1), hits / max(count, 1)

    def state(self, device: torch.device) -> tuple[float, float, int]:
        """The sums over all processes; every process must call it."""
        own = [float(self.loss), float(self.hits), float(self.count)]
        loss, hits, count = total(torch.tensor(own, dtype=torch.float64, device=device)).tolist()
        return loss, hits, int(count)


class PoseClassifier(pl.LightningModule):
    """Cross-entropy training of ST-GCN.

    Randomness inside a step is a function of seed, step and process alone, and the sums behind epoch metrics and the
    schedule are part of the checkpoint, so a resumed run is the uninterrupted run. Loss, gradients and metrics are
    those of the batches of all processes together.
    """

    def __init__(self, config: ExperimentConfig) -> None:
        super().__init__()
        self.config = config
        self.model = build_net(config.model, config.dataset.num_classes)
        self.scheduler: LRScheduler | None = None
        self.metrics: dict[str, float] = {}
        self.learning_rate = config.train.optim.lr
        self._scheduler_state: dict[str, Any] | None = None
        self._train_sums = _Sums()
        self._val_sums = _Sums()
        self._val_hits_2K = torch.zeros(2, config.dataset.num_classes, dtype=torch.float64)
        self._class_weights_K: Tensor | None = None

    def forward(self, x_NCTVM: Tensor) -> Tensor:
        """Class scores (N, num_classes)."""
        scores: Tensor = self.model(x_NCTVM)
        return scores

    def on_fit_start(self) -> None:
        """Get the weights of classes in the training loss."""
        data = getattr(self.trainer, "datamodule", None)
        if isinstance(data, SkeletonDataModule) and data.class_weights is not None:
            self._class_weights_K = torch.from_numpy(data.class_weights).to(self.device)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed dropout from seed, step and process."""
        torch.manual_seed(dropout_seed(self.config.train.seed, self.global_step, self.global_rank))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Loss of a batch, scaled so that the mean over processes is that of their batches together, however uneven."""
        loss, _ = self._step(batch, self._train_sums, self._class_weights_K, self._mixup(batch))
        sequences = total(torch.full((), float(len(batch[1])), device=loss.device))
        return loss * self.trainer.world_size / sequences

    def _mixup(self, batch: tuple[Tensor, Tensor]) -> Mixup | None:
        """Mixup of a batch, seeded from seed, step and process; None if it is off."""
        alpha = self.config.dataset.mixup
        seed = (self.config.train.seed, self.global_step, self.global_rank)
        return draw_mixup(alpha, len(batch[1]), seed, batch[1].device) if alpha > 0 else None

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Add a batch to the sums."""
        _, scores_NK = self._step(batch, self._val_sums)
        ids_N = batch[1].cpu()
        hits_N = (scores_NK.argmax(1).cpu() == ids_N).double()
        size = self._val_hits_2K.shape[1]
        self._val_hits_2K[0] += torch.bincount(ids_N, hits_N, minlength=size)
        self._val_hits_2K[1] += torch.bincount(ids_N, minlength=size)

    def on_validation_epoch_end(self) -> None:
        """Compute val_loss, val_acc and avg_accuracy."""
        self._close("val", self._val_sums)
        hits_K, counts_K = total(self._val_hits_2K.to(self.device))
        self._val_hits_2K = torch.zeros_like(self._val_hits_2K)
        occur_K = counts_K > 0
        average = {"avg_accuracy": 100.0 * float((hits_K[occur_K] / counts_K[occur_K]).mean())}
        self.metrics |= average
        self.log_dict(average, sync_dist=True)

    def close_epoch(self) -> None:
        """Compute train_loss and train_acc and step the schedule, before the epoch is reported and saved."""
        self._close("train", self._train_sums)
        self.learning_rate = float(self.trainer.optimizers[0].param_groups[0]["lr"])
        rate = torch.tensor(self.learning_rate, dtype=torch.float64, device=self.device)  # a float would become float32
        self.log(LEARNING_RATE, rate, sync_dist=True)
        optim = self.config.train.optim
        if isinstance(self.scheduler, ReduceLROnPlateau):
            if optim.lr_monitor in self.metrics:
                self.scheduler.step(self.metrics[optim.lr_monitor])
        elif self.scheduler is not None:
            self.scheduler.step()

    def configure_optimizers(self) -> Optimizer:
        """The optimizer. close_epoch steps its schedule, because Lightning would step it after the checkpoint."""
        optim = self.config.train.optim
        optimizer = OPTIMIZERS[optim.optimizer_type](self.parameters(), optim)
        self.scheduler = SCHEDULERS[optim.lr_scheduler](optimizer, self.config.train)
        if self._scheduler_state is not None:
            self.scheduler.load_state_dict(self._scheduler_state)
        return optimizer

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the schedule, the sums of the current epoch and the metadata of the model."""
        assert self.scheduler is not None
        checkpoint["lr_schedulers"] = [self.scheduler.state_dict()]
        checkpoint[FACTS] = TrainedFacts.of(self.config).plain() | {
            "metrics": dict(self.metrics),
            "train_sums": self._train_sums.state(self.device),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the schedule and the sums."""
        self._scheduler_state = next(iter(checkpoint.get("lr_schedulers", [])), None)
        own = checkpoint.get(FACTS, {})
        self.metrics = dict(own.get("metrics", {}))
        if "train_sums" in own and self.global_rank == 0:  # they are the sums of all processes
            self._train_sums = _Sums(*own["train_sums"])

    def _step(
        self,
        batch: tuple[Tensor, Tensor],
        sums: _Sums,
        class_weights_K: Tensor | None = None,
        mixup: Mixup | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Summed loss and scores (N, num_classes) of a batch."""
        x_NCTVM, ids_N = batch
        scores_NK = self.model(mixup.mix(x_NCTVM) if mixup else x_NCTVM).float()
        loss = F.cross_entropy(scores_NK, ids_N, weight=class_weights_K, reduction="sum")
        if mixup:
            partners = F.cross_entropy(scores_NK, ids_N[mixup.partners_N], weight=class_weights_K, reduction="sum")
            loss = mixup.share * loss + (1 - mixup.share) * partners
        sums.add(loss.detach(), scores_NK.detach(), ids_N)
        return loss, scores_NK.detach()

    def _close(self, stage: str, sums: _Sums) -> None:
        loss, accuracy = sums.take(self.device)
        self.metrics |= {f"{stage}_loss": loss, f"{stage}_acc": accuracy}
        self.log_dict({f"{stage}_loss": loss, f"{stage}_acc": accuracy}, sync_dist=True)
