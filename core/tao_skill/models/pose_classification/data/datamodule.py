"""Training and validation batches for Lightning."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
from torch.utils.data import DataLoader

from tao_skill.errors import BadData
from tao_skill.models.pose_classification.config import DatasetConfig
from tao_skill.models.pose_classification.data.class_weights import balanced_weights
from tao_skill.models.pose_classification.data.dataset import BatchSampler, SkeletonDataset, loader
from tao_skill.models.pose_classification.data.hold_out import Split, split_of
from tao_skill.models.pose_classification.data.sequences import open_sequences
from tao_skill.models.pose_classification.network.layouts import Layout


class SkeletonDataModule(pl.LightningDataModule):
    """Training and validation batches; its state is the position of training in the shuffled order.

    `layout` is the skeleton, for augmentation; by default, one whose sides are not known.
    """

    def __init__(self, config: DatasetConfig, seed: int, layout: Layout | None = None) -> None:
        super().__init__()
        self.config = config
        self.seed = seed
        self.layout = layout
        self.epoch = 0
        self.batches_done = 0

    @cached_property
    def training_set(self) -> SkeletonDataset:
        """The training sequences, augmented, without those held out."""
        files = self.config.train_dataset
        only = None if self._split is None else self._split.training
        return self._dataset(
            files.data_path, files.label_path, only=only, augment=self.config, layout=self.layout, seed=self.seed
        )

    @cached_property
    def class_weights(self) -> npt.NDArray[np.float32] | None:
        """Weight of each class in the training loss; None if all weights are 1."""
        if self.config.class_weights == "none":
            return None
        data = self.training_set
        return balanced_weights(data.ids_N, self.config.num_classes, data.mirrored_ids)

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled batches of the current epoch, from the position of training onwards."""
        return self._loader(self.training_set, seed=self.seed, epoch=self.epoch, skip=self.batches_done)

    def val_dataloader(self) -> DataLoader[Any]:
        """Batches of the validation set or of the held-out sequences, in order, without augmentation.

        Callers make sure that one of the two exists.
        """
        if self._split is not None:
            files = self.config.train_dataset
            return self._loader(self._dataset(files.data_path, files.label_path, only=self._split.validation))
        val_files = self.config.val_dataset
        assert val_files.data_path
        assert val_files.label_path
        return self._loader(self._dataset(val_files.data_path, val_files.label_path))

    @cached_property
    def _split(self) -> Split | None:
        """Split of the training set; None if nothing is held out."""
        return split_of(self.config, self.seed)

    @cached_property
    def frames_and_persons(self) -> tuple[int, int]:
        """T and M of the network input, from the validation data or, without them, the training data."""
        path = self.config.val_dataset.data_path or self.config.train_dataset.data_path
        _, _, frames, _, persons = open_sequences(path).shape
        return self.config.resample_frames or frames, persons

    def state_dict(self) -> dict[str, Any]:
        """Epoch to resume in, its finished batches, and the global batch size that these assume."""
        return {
            "epoch": self.epoch,
            "batches_done": self.batches_done,
            "global_batch_size": self.global_batch_size,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resume at the position of a checkpoint.

        Raises:
            BadData: the checkpoint was saved within an epoch, and the global batch size has changed since.
        """
        saved_size = state_dict.get("global_batch_size", self.global_batch_size)
        if state_dict["batches_done"] and saved_size != self.global_batch_size:
            batch_size, rest = divmod(saved_size, self._world)
            resume = "resume from the end of an epoch"
            raise BadData(
                f"the checkpoint was saved within an epoch with {saved_size} sequences per step, but "
                f"dataset.batch_size is {self.config.batch_size} with {self._world} processes",
                fix=resume if rest else f"set dataset.batch_size={batch_size}, or {resume}",
                path="dataset.batch_size",
            )
        self.epoch, self.batches_done = state_dict["epoch"], state_dict["batches_done"]

    @property
    def global_batch_size(self) -> int:
        """Sequences of all processes together in one batch."""
        return self.config.batch_size * self._world

    def group_size(self, batch: int, batches: int) -> int:
        """Sequences of all processes in the group of successive training batches that `batch` belongs to.

        An epoch is divided into groups of `batches` batches; the last one may be smaller.
        """
        first = (batch - batch % batches) * self.global_batch_size
        return min(batches * self.global_batch_size, len(self.training_set) - first)

    @property
    def _world(self) -> int:
        return self.trainer.world_size if self.trainer else 1

    def _dataset(self, data_path: str, label_path: str, **options: Any) -> SkeletonDataset:
        return SkeletonDataset(
            Path(data_path), Path(label_path), resample_frames=self.config.resample_frames, **options
        )

    def _loader(self, data: SkeletonDataset, **order: Any) -> DataLoader[Any]:
        rank = self.trainer.global_rank if self.trainer else 0
        batches = BatchSampler(len(data), batch_size=self.config.batch_size, rank=rank, world=self._world, **order)
        return loader(data, batches, num_workers=self.config.num_workers)


def datamodule_of(trainer: pl.Trainer) -> SkeletonDataModule:
    """The data module of a training."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(data, SkeletonDataModule)
    return data
