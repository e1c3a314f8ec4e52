"""Training and validation batches for Lightning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from torch.utils.data import DataLoader

from tao_skill.errors import BadData
from tao_skill.models.pose_classification.config import DatasetConfig
from tao_skill.models.pose_classification.data import Order, Skeletons, loader


class SkeletonData(pl.LightningDataModule):
    """Training and validation batches; its state is where in the shuffled order training stands."""

    def __init__(self, config: DatasetConfig, seed: int) -> None:
        super().__init__()
        self.config = config
        self.seed = seed
        self.epoch = 0
        self.batches_done = 0

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled and augmented."""
        files = self.config.train_dataset
        data = Skeletons(Path(files.data_path), Path(files.label_path), self.config, self.seed)
        skip = self.batches_done * self.global_batch_size
        return self._loader(data, seed=self.seed, epoch=self.epoch, skip=skip)

    def val_dataloader(self) -> DataLoader[Any]:
        """Whole sequences in order; asked for only if there is a validation set."""
        files = self.config.val_dataset
        assert files.data_path
        assert files.label_path
        data = Skeletons(Path(files.data_path), Path(files.label_path))
        return self._loader(data)

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

    def _loader(self, data: Skeletons, **order: Any) -> DataLoader[Any]:
        size = self.config.batch_size
        rank = self.trainer.global_rank if self.trainer else 0
        mine = Order(len(data), batch_size=size, rank=rank, world=self._world, **order)
        return loader(data, mine, batch_size=size, num_workers=self.config.num_workers)
