"""Batches of skeleton sequences: memory-mapped, and reproducible from seed, epoch and index alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from tao_skill.models.pose_classification.config import DatasetConfig
from tao_skill.models.pose_classification.data.augment import augment_sequence, clip_interval, crop, pad, resample
from tao_skill.models.pose_classification.data.augment_space import flip
from tao_skill.models.pose_classification.data.label_map import mirrored_ids
from tao_skill.models.pose_classification.data.sequences import (
    open_sequences,
    read_labels,
    read_unpadded_lengths,
    release,
)
from tao_skill.models.pose_classification.network.layouts import Layout

Indices = npt.NDArray[np.int64]

FLIPPED_SHARE: Final = 0.5
"""Share of the training sequences that random_flip mirrors."""


class BatchIndices(NamedTuple):
    """The sequences of a batch, by index into the dataset; the epoch seeds their augmentation."""

    epoch: int
    indices: tuple[int, ...]


class SkeletonDataset(Dataset[tuple[Tensor, Tensor]]):
    """Sequences with their class ids (-1 if unknown), read one batch at a time.

    With `resample_frames` or several clips, the padding of sequences is not read.

    Args:
        clips: temporal crops of each sequence, without augmentation: item i is clip i % clips of sequence i // clips.

    Attributes:
        only_N: index of each sequence in the file.
        frames: T of every sequence in a batch.
        layout: the skeleton; by default, one whose sides are not known.
        mirrored_ids: class id of a mirrored sequence, for each class id that differs.
    """

    def __init__(
        self,
        data_path: Path,
        label_path: Path | None,
        *,
        only: Sequence[int] | None = None,
        resample_frames: int | None = None,
        augment: DatasetConfig | None = None,
        layout: Layout | None = None,
        seed: int = 0,
        clips: int = 1,
    ) -> None:
        self.data_path = data_path
        self.data_NCTVM = open_sequences(data_path)
        self.only_N = np.arange(len(self.data_NCTVM)) if only is None else np.array(only, dtype=int)
        ids_N = np.array(read_labels(label_path).ids) if label_path else np.full(len(self.data_NCTVM), -1)
        self.ids_N = ids_N[self.only_N]
        self.resample_frames = resample_frames
        self.augment = augment
        self.seed = seed
        self.clips = clips
        n, _, frames, joints, _ = self.data_NCTVM.shape
        self.layout = layout or Layout(joints=joints, center=0, edges=())
        self.mirrored_ids: dict[int, int] = {}
        if augment is not None and augment.random_flip:
            self.mirrored_ids = mirrored_ids(augment.label_map, augment.flip_labels)
        whole = resample_frames is None and clips == 1
        self._read_N = np.full(n, frames) if whole else read_unpadded_lengths(data_path)
        self.frames = resample_frames or self._window(frames)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the array: a worker process that is spawned maps the file itself instead of receiving a copy."""
        return self.__dict__ | {"data_NCTVM": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, data_NCTVM=open_sequences(state["data_path"]))

    def __len__(self) -> int:
        return len(self.only_N) * self.clips

    def __getitem__(self, batch: BatchIndices) -> tuple[Tensor, Tensor]:
        """The sequences (N, C, T, V, M) float32 and their class ids (N,) int64."""
        indices_n, clips_n = np.divmod(np.array(batch.indices, dtype=int), self.clips)
        _, channels, _, joints, persons = self.data_NCTVM.shape
        x_NCTVM = np.empty((len(indices_n), channels, self.frames, joints, persons), np.float32)
        ids_N = self.ids_N[indices_n]
        for n, (index, clip) in enumerate(zip(self.only_N[indices_n].tolist(), clips_n.tolist(), strict=True)):
            x_NCTVM[n], ids_N[n] = self._sequence(batch.epoch, index, clip, int(ids_N[n]))
        release(self.data_NCTVM)
        return torch.from_numpy(x_NCTVM), torch.from_numpy(ids_N)

    def _sequence(self, epoch: int, index: int, clip: int, class_id: int) -> tuple[npt.NDArray[np.floating[Any]], int]:
        """A sequence, augmented and resampled, or a clip of it, and its class id."""
        x_CTVM = self.data_NCTVM[index, :, : self._read_N[index]]
        if self.augment is None:
            return self._clip(x_CTVM, clip), class_id
        rng = np.random.default_rng([self.seed, epoch, index])
        x_CTVM = np.array(x_CTVM, dtype=np.float32)
        if self.augment.random_flip and rng.random() < FLIPPED_SHARE:
            x_CTVM, class_id = flip(x_CTVM, self.layout), self.mirrored_ids.get(class_id, class_id)
        return augment_sequence(x_CTVM, self.augment, self._window(x_CTVM.shape[1]), self.layout, rng), class_id

    def _clip(self, x_CTVM: npt.NDArray[np.floating[Any]], clip: int) -> npt.NDArray[np.floating[Any]]:
        interval = clip_interval(x_CTVM.shape[1], clip, self.clips)
        if self.resample_frames is None:
            return pad(crop(x_CTVM, *interval), self.frames)
        return resample(x_CTVM, self.resample_frames, interval)

    def _window(self, frames: int) -> int:
        """Frames of a sequence of `frames` frames after padding and random_choose."""
        if self.augment is None or self.augment.window_size <= 0:
            return frames
        size = self.augment.window_size
        return size if self.augment.random_choose else max(size, frames)


class BatchSampler(Sampler[BatchIndices]):
    """Batches of `count` sequences: shuffled by seed and epoch, or in order without a seed.

    The first pass skips `skip` batches.

    The k-th batches of all `world` processes together are the k-th batch of a single process with a batch size of
    batch_size * world. A smaller last batch is divided evenly; a process without a share of it gets an empty batch, so
    that all processes have the same number of batches.
    """

    def __init__(
        self,
        count: int,
        *,
        batch_size: int,
        seed: int | None = None,
        epoch: int = 0,
        skip: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.count, self.seed, self.epoch, self.skip = count, seed, epoch, skip
        self.global_batch_size, self.rank, self.world = batch_size * world, rank, world

    def set_epoch(self, epoch: int) -> None:
        """Select the shuffle of an epoch; Lightning calls this before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._batches(self.epoch))

    def __iter__(self) -> Iterator[BatchIndices]:
        epoch, skip, self.skip = self.epoch, self.skip, 0
        for global_N in self._batches(epoch)[skip:]:
            own_N = np.array_split(global_N, self.world)[self.rank]
            yield BatchIndices(epoch, tuple(own_N.tolist()))

    def _batches(self, epoch: int) -> list[Indices]:
        """The global batches, before they are divided among processes."""
        if self.seed is None:
            order = np.arange(self.count)
        else:
            order = np.random.default_rng([self.seed, epoch]).permutation(self.count)
        return np.split(order, range(self.global_batch_size, self.count, self.global_batch_size))


def loader(data: SkeletonDataset, batches: BatchSampler, *, num_workers: int) -> DataLoader[Any]:
    """A loader of batches (sequences, class ids), as `SkeletonDataset` reads them."""
    return DataLoader(
        data,
        batch_size=None,
        sampler=batches,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=torch.cuda.is_available(),
    )
