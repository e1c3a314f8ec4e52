"""Skeleton sequences as batches: memory-mapped, repeatable from seed, epoch and index alone.

The augmentations are the two that the ST-GCN paper (arXiv 1801.07455) trains with on Kinetics: random moving and random
fragments; test sequences are used whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from tao_skill.models.pose_classification.arrays import open_sequences, read_labels
from tao_skill.models.pose_classification.config import DatasetConfig

Sequence_CTVM = npt.NDArray[np.float32]

ANGLES: Final = (-10.0, -5.0, 0.0, 5.0, 10.0)
SCALES: Final = (0.9, 1.0, 1.1)
SHIFTS: Final = (-0.2, -0.1, 0.0, 0.1, 0.2)
"""Candidates of random_move: degrees, factors, and data units (ST-GCN's feeder)."""

ABSENT: Final = -1
"""Index of no sequence: the share of a process that a batch has no sequence left for."""


def random_choose(x_CTVM: Sequence_CTVM, size: int, rng: np.random.Generator) -> Sequence_CTVM:
    """A fragment of `size` frames that starts inside the used ones; a shorter sequence is padded around.

    A start is drawn among the frames in use, so that a fragment of a zero-padded sequence is never only padding.
    """
    frames = x_CTVM.shape[1]
    if frames <= size:
        return pad(x_CTVM, size, int(rng.integers(0, size - frames + 1)))
    used = int(np.flatnonzero(x_CTVM.any(axis=(0, 2, 3)))[-1:].sum()) + 1
    begin = int(rng.integers(0, max(0, used - size) + 1))
    return x_CTVM[:, begin : begin + size]


def pad(x_CTVM: Sequence_CTVM, size: int, begin: int = 0) -> Sequence_CTVM:
    """Zero frames up to `size`, with the sequence at `begin`; a longer one is left whole."""
    frames = x_CTVM.shape[1]
    if frames >= size:
        return x_CTVM
    return np.pad(x_CTVM, ((0, 0), (begin, size - frames - begin), (0, 0), (0, 0)))


def random_move(x_CTVM: Sequence_CTVM, rng: np.random.Generator) -> Sequence_CTVM:
    """Rotate in the image plane, scale and shift, moving linearly from one draw to another.

    Padding frames stay zero.
    """
    frames = x_CTVM.shape[1]
    angle_T, scale_T, shift_x_T, shift_y_T = (
        np.linspace(first, last, frames)
        for first, last in (rng.choice(candidates, 2) for candidates in (ANGLES, SCALES, SHIFTS, SHIFTS))
    )
    angle_T = np.deg2rad(angle_T)
    cos_T, sin_T = np.cos(angle_T) * scale_T, np.sin(angle_T) * scale_T
    used_T = np.asarray(x_CTVM.any(axis=(0, 2, 3)))
    turn_ijT = np.array([[cos_T, -sin_T], [sin_T, cos_T]])
    shift_iT = np.array([shift_x_T, shift_y_T])
    moved = np.array(x_CTVM)
    moved[:2] = (np.einsum("ijt,jtvm->itvm", turn_ijT, x_CTVM[:2]) + shift_iT[:, :, None, None]) * used_T[:, None, None]
    return moved


class Skeletons(Dataset[tuple[Tensor, int | None]]):
    """Sequences with their class ids (-1 where unknown, None for ABSENT), asked for by (epoch, index)."""

    def __init__(self, data_path: Path, label_path: Path | None, augment: DatasetConfig | None = None, seed: int = 0):
        self.data_NCTVM = open_sequences(data_path)
        self.ids = read_labels(label_path).ids if label_path else None
        self.augment = augment
        self.seed = seed

    def __len__(self) -> int:
        return len(self.data_NCTVM)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int | None]:
        """(C, T, V, M) float32 and the class id."""
        epoch, index = key
        if index == ABSENT:
            return self[epoch, 0][0], None
        x_CTVM = np.array(self.data_NCTVM[index], dtype=np.float32)
        if self.augment is not None:
            x_CTVM = self._augmented(x_CTVM, np.random.default_rng([self.seed, epoch, index]))
        return torch.from_numpy(np.ascontiguousarray(x_CTVM)), -1 if self.ids is None else self.ids[index]

    def _augmented(self, x_CTVM: Sequence_CTVM, rng: np.random.Generator) -> Sequence_CTVM:
        assert self.augment is not None
        if self.augment.random_choose:
            x_CTVM = random_choose(x_CTVM, self.augment.window_size, rng)
        elif self.augment.window_size > 0:
            x_CTVM = pad(x_CTVM, self.augment.window_size)
        return random_move(x_CTVM, rng) if self.augment.random_move else x_CTVM


class Order(Sampler[tuple[int, int]]):
    """(epoch, index) pairs: in order, or shuffled by seed and epoch. The first pass may start after `skip` of them.

    Of `world` processes that each take `batch_size` at a time, this is the one numbered `rank`: together, their k-th
    batches are the k-th batch of one process that takes batch_size * world. What is left for the last batch is shared
    evenly; who gets none of it takes ABSENT, so that all processes go through the same number of batches.
    """

    def __init__(
        self,
        size: int,
        *,
        seed: int | None = None,
        epoch: int = 0,
        skip: int = 0,
        batch_size: int = 1,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.size, self.seed, self.epoch, self.skip = size, seed, epoch, skip
        self.batch_size, self.rank, self.world = batch_size, rank, world

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._share(np.arange(self.size)))

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch, skip, self.skip = self.epoch, self.skip, 0
        order = np.arange(self.size)
        if self.seed is not None:
            order = np.random.default_rng([self.seed, epoch]).permutation(self.size)
        return ((epoch, int(index)) for index in self._share(order)[skip // self.world :])

    def _share(self, order: npt.NDArray[np.int_]) -> npt.NDArray[np.int_]:
        """The part of the whole order that falls to this process."""
        whole = self.size - self.size % (self.batch_size * self.world)
        full = order[:whole].reshape(-1, self.world, self.batch_size)[:, self.rank].ravel()
        last = np.array_split(order[whole:], self.world)[self.rank]
        return np.concatenate([full, [ABSENT] if whole < self.size and not len(last) else last])


def loader(data: Skeletons, order: Order, *, batch_size: int, num_workers: int) -> DataLoader[Any]:
    """Batches of (x_NCTVM float32, ids int64); the last one may be smaller."""
    return DataLoader(
        data,
        batch_size=batch_size,
        sampler=order,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=torch.cuda.is_available(),
        collate_fn=_batch,
    )


def _batch(sequences: list[tuple[Tensor, int | None]]) -> Any:
    present = [one for one in sequences if one[1] is not None]
    if present:
        return default_collate(present)
    x_CTVM, _ = sequences[0]
    return x_CTVM.new_empty((0, *x_CTVM.shape)), torch.empty(0, dtype=torch.int64)
