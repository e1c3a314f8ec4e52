"""ST-GCN as a Lightning module: loss, metrics, optimizer and schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, Adam, Adamax, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, MultiStepLR, ReduceLROnPlateau

from tao_skill.models.pose_classification.config import ExperimentConfig, Optim, TrainConfig
from tao_skill.models.pose_classification.data.datamodule import datamodule_of
from tao_skill.models.pose_classification.network.registry import build_net
from tao_skill.models.pose_classification.network.streams import Streams
from tao_skill.models.pose_classification.trained_facts import TrainedFacts
from tao_skill.models.pose_classification.training.averaging import AverageState, WeightAverage, restore_trained
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
            fused=True,
        ),
        "torch.optim.Adam": lambda parameters, optim: Adam(
            parameters, lr=optim.lr, weight_decay=optim.weight_decay, fused=True
        ),
        "torch.optim.Adamax": lambda parameters, optim: Adamax(
            parameters, lr=optim.lr, weight_decay=optim.weight_decay
        ),
        "torch.optim.AdamW": lambda parameters, optim: AdamW(
            parameters, lr=optim.lr, weight_decay=optim.weight_decay, fused=True
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
        "Cosine": lambda optimizer, train: LambdaLR(optimizer, lambda epoch: _half_cosine(epoch, train)),
    }
)
"""Schedule of the learning rate by epochs. During the warm-up, Cosine stays at lr and AutoReduce is not stepped."""


def _half_cosine(epoch: int, train: TrainConfig) -> float:
    """From 1 after the warm-up to 0 at the end, which LambdaLR does not save: a longer training resumes on its own."""
    warmup = train.optim.warmup_epochs
    passed = (epoch - warmup) / max(train.num_epochs - warmup, 1)
    return (1 + math.cos(math.pi * min(max(passed, 0), 1))) / 2


def warmup_factor(warmup_epochs: int, epoch: int, step: int, steps: int) -> float:
    """Factor of the learning rate in a step of an epoch of `steps` steps; 1 in the last step of the warm-up."""
    return min(1.0, (epoch + (step + 1) / steps) / warmup_epochs) if warmup_epochs else 1.0


def dropout_seed(seed: int, batch: int, rank: int) -> int:
    """Seed of a batch and process; seeds differ in the low 32 bits, which are all that torch's CPU generator uses."""
    return seed * 1_000_003 + batch + rank * 2_654_435_769


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


def cross_entropy(scores_NK: Tensor, ids_N: Tensor, mixup: Mixup | None, **options: Any) -> Tensor:
    """Summed cross-entropy of a batch; of mixed sequences, that of both classes by their shares."""
    loss = F.cross_entropy(scores_NK, ids_N, reduction="sum", **options)
    if mixup is None:
        return loss
    partners = F.cross_entropy(scores_NK, ids_N[mixup.partners_N], reduction="sum", **options)
    return mixup.share * loss + (1 - mixup.share) * partners


class PoseClassifier(pl.LightningModule):
    """Cross-entropy training of ST-GCN.

    Several streams are trained as if each were alone: the loss that is minimised is the sum of theirs.
    Randomness inside a batch is a function of seed, batch and process alone, and the sums behind epoch metrics, the
    schedule and the averaged weights are part of the checkpoint, so a resumed run is the uninterrupted run. Loss,
    gradients and metrics are those of the batches of all processes together. All losses that are reported are without
    label smoothing, so that training and validation compare.
    """

    def __init__(self, config: ExperimentConfig) -> None:
        super().__init__()
        self.config = config
        self.model = build_net(config.model, config.dataset.num_classes)
        self.scheduler: LRScheduler | None = None
        self.metrics: dict[str, float] = {}
        self.learning_rate = config.train.optim.lr
        self._scheduler_state: dict[str, Any] | None = None
        self._average: WeightAverage | None = None
        self._average_state: AverageState | None = None
        self._train_sums = _Sums()
        self._val_sums = _Sums()
        self._val_hits_2K = torch.zeros(2, config.dataset.num_classes, dtype=torch.float64)
        self._class_weights_K: Tensor | None = None

    def forward(self, x_NCTVM: Tensor) -> Tensor:
        """Class scores (N, num_classes)."""
        scores: Tensor = self.model(x_NCTVM)
        return scores

    def on_fit_start(self) -> None:
        """Start the average of the weights, or continue that of the checkpoint; get the weights of the classes."""
        if decay := self.config.train.optim.ema_decay:
            self._average = WeightAverage(self.model, decay, self._average_state)
        if (weights_K := datamodule_of(self.trainer).class_weights) is not None:
            self._class_weights_K = torch.from_numpy(weights_K).to(self.device)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed dropout from seed, batch and process."""
        torch.manual_seed(dropout_seed(self.config.train.seed, self._batch_number(batch_idx), self.global_rank))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Loss of a batch, and its mean without label smoothing and class weights.

        The loss is scaled so that its mean over processes, summed over the batches of an optimizer step, is the mean
        over their sequences, however uneven the batches. Lightning divides it by the number of accumulated batches.
        """
        optim, (_, ids_N), mixup = self.config.train.optim, batch, self._mixup(batch, batch_idx)
        loss, _, streams = self._step(self.model, batch, self._train_sums, mixup)
        minimised = loss
        if optim.label_smoothing or self._class_weights_K is not None or len(streams) > 1:
            options = {"label_smoothing": optim.label_smoothing, "weight": self._class_weights_K}
            losses = [cross_entropy(scores_NK, ids_N, mixup, **options) for scores_NK in streams]
            minimised = torch.stack(losses).sum()
        sequences = datamodule_of(self.trainer).group_size(batch_idx, optim.accumulate_batches)
        scale = self.trainer.world_size * optim.accumulate_batches
        return {"loss": minimised * scale / sequences, "batch_loss": loss.detach() / max(len(ids_N), 1)}

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Callable[[], Any] | None = None
    ) -> None:
        """Take a step, in the warm-up with a part of the scheduled learning rate, and update the averaged weights.

        Outside this method the optimizer has the scheduled rate, which is what schedules and checkpoints assume.
        """
        optim, (group, *_) = self.config.train.optim, optimizer.param_groups
        steps = math.ceil(self.trainer.num_training_batches / optim.accumulate_batches)
        scheduled, step = group["lr"], batch_idx // optim.accumulate_batches
        self.learning_rate = group["lr"] = scheduled * warmup_factor(optim.warmup_epochs, epoch, step, steps)
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        group["lr"] = scheduled
        if self._average is not None:
            self._average.update(self.model)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the norm of the gradients. Lightning refuses to in bf16 with fused optimizers, for the sake of fp16."""
        if gradient_clip_val:
            torch.nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val)

    def _batch_number(self, batch_idx: int) -> int:
        """Number of a batch in the whole training; several batches may make an optimizer step."""
        accumulated = self.config.train.optim.accumulate_batches
        return self.global_step * accumulated + batch_idx % accumulated

    def _mixup(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Mixup | None:
        """Mixup of a batch, seeded from seed, batch and process; None if it is off."""
        alpha = self.config.dataset.mixup
        seed = (self.config.train.seed, self._batch_number(batch_idx), self.global_rank)
        return draw_mixup(alpha, len(batch[1]), seed, batch[1].device) if alpha > 0 else None

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Add a batch to the sums, scored by the averaged weights if there are any."""
        net = self.model if self._average is None else self._average.net
        _, scores_NK, _ = self._step(net, batch, self._val_sums)
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
        rate = torch.tensor(self.learning_rate, dtype=torch.float64, device=self.device)  # a float would become float32
        self.log(LEARNING_RATE, rate, sync_dist=True)
        optim = self.config.train.optim
        if isinstance(self.scheduler, ReduceLROnPlateau):
            if optim.lr_monitor in self.metrics and self.current_epoch >= optim.warmup_epochs:
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
        """Add the schedule, the averaged weights, the sums of the current epoch and the metadata of the model."""
        assert self.scheduler is not None
        if self._average is not None:
            self._average.save(checkpoint)
        checkpoint["lr_schedulers"] = [self.scheduler.state_dict()]
        checkpoint[FACTS] = TrainedFacts.of(self.config).plain() | {
            "metrics": dict(self.metrics),
            "train_sums": self._train_sums.state(self.device),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the schedule, the averaged weights and the sums."""
        self._scheduler_state = next(iter(checkpoint.get("lr_schedulers", [])), None)
        self._average_state = restore_trained(checkpoint)
        own = checkpoint.get(FACTS, {})
        self.metrics = dict(own.get("metrics", {}))
        if "train_sums" in own and self.global_rank == 0:  # they are the sums of all processes
            self._train_sums = _Sums(*own["train_sums"])

    def _step(
        self, net: nn.Module, batch: tuple[Tensor, Tensor], sums: _Sums, mixup: Mixup | None = None
    ) -> tuple[Tensor, Tensor, Sequence[Tensor]]:
        """Summed loss of a batch, its scores (N, num_classes), added to the sums, and those of each stream."""
        x_NCTVM, ids_N = batch
        x_NCTVM = mixup.mix(x_NCTVM) if mixup else x_NCTVM
        if isinstance(net, Streams):
            scores_SNK = net.separate(x_NCTVM).float()
            scores_NK, streams = net.joined(scores_SNK), scores_SNK.unbind()
        else:
            streams = (scores_NK := net(x_NCTVM).float(),)
        loss = cross_entropy(scores_NK, ids_N, mixup)
        sums.add(loss.detach(), scores_NK.detach(), ids_N)
        return loss, scores_NK, streams

    def _close(self, stage: str, sums: _Sums) -> None:
        loss, accuracy = sums.take(self.device)
        self.metrics |= {f"{stage}_loss": loss, f"{stage}_acc": accuracy}
        self.log_dict({f"{stage}_loss": loss, f"{stage}_acc": accuracy}, sync_dist=True)
