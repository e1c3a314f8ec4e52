"""Training and validation batches for Lightning."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from torch.utils.data import DataLoader

from tao_skill.errors import BadData
from tao_skill.models.pose_classification.config import DatasetConfig
from tao_skill.models.pose_classification.data.dataset import Order, Skeletons, loader
from tao_skill.models.pose_classification.data.hold_out import Split, split_of
from tao_skill.models.pose_classification.data.sequences import open_sequences


class SkeletonData(pl.LightningDataModule):
    """Training and validation batches; its state is where in the shuffled order training stands."""

    def __init__(self, config: DatasetConfig, seed: int) -> None:
        super().__init__()
        self.config = config
        self.seed = seed
        self.epoch = 0
        self.batches_done = 0

    @cached_property
    def training_set(self) -> Skeletons:
        """The sequences to train on, augmented."""
        files, parts = self.config.train_dataset, self._split
        only = None if parts is None else parts.training
        return self._skeletons(files.data_path, files.label_path, only=only, augment=self.config, seed=self.seed)

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled."""
        return self._loader(self.training_set, seed=self.seed, epoch=self.epoch, skip=self.batches_done)

    def val_dataloader(self) -> DataLoader[Any]:
        """Sequences as they are; asked for only if there is a validation set, or a part is held out."""
        if (parts := self._split) is not None:
            whole = self.config.train_dataset
            return self._loader(self._skeletons(whole.data_path, whole.label_path, only=parts.validation))
        files = self.config.val_dataset
        assert files.data_path
        assert files.label_path
        return self._loader(self._skeletons(files.data_path, files.label_path))

    @cached_property
    def _split(self) -> Split | None:
        """What is held out of the training set."""
        return split_of(self.config, self.seed)

    @cached_property
    def frames_and_persons(self) -> tuple[int, int]:
        """T and M of the validation data, or of the training data where there are none, as the network sees them."""
        path = self.config.val_dataset.data_path or self.config.train_dataset.data_path
        _, _, frames, _, persons = open_sequences(path).shape
        return self.config.resample_frames or frames, persons

    def state_dict(self) -> dict[str, Any]:
        """Epoch to go on with and batches of it already trained on."""
        place = {"epoch": self.epoch, "batches_done": self.batches_done}
        return {**place, "global_batch_size": self.global_batch_size}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where a checkpoint was taken.

        Raises:
            BadData: it was taken inside an epoch, and a step takes another number of sequences now.
        """
        before = state_dict.get("global_batch_size", self.global_batch_size)
        if state_dict["batches_done"] and before != self.global_batch_size:
            raise BadData(
                f"the checkpoint was taken inside an epoch with {before} sequences a step; "
                f"dataset.batch_size is {self.config.batch_size}, in {self._world} processes",
                fix=f"make dataset.batch_size times the processes {before}, or resume from the end of an epoch",
                path="dataset.batch_size",
            )
        self.epoch, self.batches_done = state_dict["epoch"], state_dict["batches_done"]

    @property
    def global_batch_size(self) -> int:
        """Sequences that all processes together take in one step."""
        return self.config.batch_size * self._world

    @property
    def _world(self) -> int:
        return self.trainer.world_size if self.trainer else 1

    def _skeletons(self, data_path: str, label_path: str, **augment: Any) -> Skeletons:
        return Skeletons(Path(data_path), Path(label_path), resample_frames=self.config.resample_frames, **augment)

    def _loader(self, data: Skeletons, **order: Any) -> DataLoader[Any]:
        rank = self.trainer.global_rank if self.trainer else 0
        mine = Order(len(data), batch_size=self.config.batch_size, rank=rank, world=self._world, **order)
        return loader(data, mine, num_workers=self.config.num_workers)
