"""What training does to a sequence before it is learnt from, and resampling in time, done to every one.

random_choose and random_move are what the ST-GCN paper (arXiv 1801.07455) trains with on Kinetics; turning and scaling
in space are what PYSKL (arXiv 2205.09443) has beside them for joints in three dimensions.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tao_skill.models.pose_classification.config import DatasetConfig
from tao_skill.models.pose_classification.data.sequences import frames_used, open_sequences

Sequence_CTVM = npt.NDArray[np.float32]

ANGLES: Final = (-10.0, -5.0, 0.0, 5.0, 10.0)
SCALES: Final = (0.9, 1.0, 1.1)
SHIFTS: Final = (-0.2, -0.1, 0.0, 0.1, 0.2)
"""Candidates of random_move: degrees, factors, and data units (ST-GCN's feeder)."""

TILT: Final = 1 / 3
"""How far random_rotate leans skeletons, as a share of how far it turns them."""


def augmented(x_CTVM: Sequence_CTVM, dataset: DatasetConfig, size: int, rng: np.random.Generator) -> Sequence_CTVM:
    """A training sequence: a part of it, padded or cut to `size` frames or resampled, then moved and turned."""
    if dataset.resample_frames is None:
        x_CTVM = cut(x_CTVM, *random_part(x_CTVM, dataset.temporal_crop, rng)) if dataset.temporal_crop < 1 else x_CTVM
        x_CTVM = random_choose(x_CTVM, size, rng) if dataset.random_choose else pad(x_CTVM, size)
    else:
        if dataset.random_choose:
            x_CTVM = random_choose(x_CTVM, min(size, x_CTVM.shape[1]), rng)
        part = random_part(x_CTVM, dataset.temporal_crop, rng) if dataset.temporal_crop < 1 else None
        x_CTVM = resample(x_CTVM, dataset.resample_frames, part)
    if dataset.random_move:
        x_CTVM = random_move(x_CTVM, rng)
    if dataset.random_rotate > 0:
        x_CTVM = random_rotate(x_CTVM, dataset.random_rotate, rng)
    return random_scale(x_CTVM, dataset.random_scale, rng) if dataset.random_scale > 0 else x_CTVM


def used_frames(x_CTVM: Sequence_CTVM) -> int:
    """Frames up to the last with a nonzero value; 0 where there is none."""
    return int(frames_used(x_CTVM[None])[0])


def resample(x_CTVM: Sequence_CTVM, size: int, part: tuple[float, float] | None = None) -> Sequence_CTVM:
    """`size` frames at even times from the first to the last, each between its two nearest.

    A joint that is missing in one of the two, with zeros for coordinates, is as in the nearer one.

    Args:
        part: first and last time, in frames, if not those of the sequence.
    """
    first, last = part or (0, x_CTVM.shape[1] - 1)
    times = np.linspace(first, last, size)
    before = times.astype(int)
    after = np.minimum(before + 1, x_CTVM.shape[1] - 1)
    share_TVM = np.broadcast_to((times - before).astype(np.float32)[:, None, None], (size, *x_CTVM.shape[2:]))
    first_CTVM, last_CTVM = x_CTVM[:, before].astype(np.float32), x_CTVM[:, after].astype(np.float32)
    both_TVM = first_CTVM.any(axis=0) & last_CTVM.any(axis=0)
    share_TVM = np.where(both_TVM, share_TVM, share_TVM.round())
    between_CTVM: Sequence_CTVM = first_CTVM + (last_CTVM - first_CTVM) * share_TVM
    return between_CTVM


def some(data_path: str, chosen: Iterable[int], size: int | None) -> Sequence_CTVM:
    """Sequences as a network is given them: (n, C, T, V, M), those chosen; resampled to `size` frames if there is one.

    No others are read.
    """
    data_NCTVM = open_sequences(data_path)
    if size is None:
        return np.asarray(data_NCTVM[list(chosen)], np.float32)
    return np.stack([resample(x_CTVM[:, : max(used_frames(x_CTVM), 1)], size) for x_CTVM in data_NCTVM[list(chosen)]])


def random_part(x_CTVM: Sequence_CTVM, share: float, rng: np.random.Generator) -> tuple[float, float]:
    """First and last time, in frames, of a random part with at least `share` of the frames in use."""
    last = max(used_frames(x_CTVM), 1) - 1
    size = last * rng.uniform(share, 1)
    begin = rng.uniform(0, last - size)
    return begin, begin + size


def cut(x_CTVM: Sequence_CTVM, first: float, last: float) -> Sequence_CTVM:
    """The frames nearest to those from the first to the last time."""
    return x_CTVM[:, round(first) : round(last) + 1]


def random_choose(x_CTVM: Sequence_CTVM, size: int, rng: np.random.Generator) -> Sequence_CTVM:
    """A fragment of `size` frames that starts inside the used ones; a shorter sequence is padded around.

    A start is drawn among the frames in use, so that a fragment of a zero-padded sequence is never only padding.
    """
    frames = x_CTVM.shape[1]
    if frames <= size:
        return pad(x_CTVM, size, int(rng.integers(0, size - frames + 1)))
    begin = int(rng.integers(0, max(0, used_frames(x_CTVM) - size) + 1))
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


def random_rotate(x_CTVM: Sequence_CTVM, degrees: float, rng: np.random.Generator) -> Sequence_CTVM:
    """All frames turned at random about y, by at most `degrees`, and leant a third as far about x and z."""
    turn, *leans = np.deg2rad(degrees) * rng.uniform(-1, 1, 3) * (1, TILT, TILT)
    rotation_33 = _rotation(2, leans[1]) @ _rotation(0, leans[0]) @ _rotation(1, turn)
    turned: Sequence_CTVM = np.einsum("ij,jtvm->itvm", rotation_33.astype(np.float32), x_CTVM)
    return turned


def random_scale(x_CTVM: Sequence_CTVM, most: float, rng: np.random.Generator) -> Sequence_CTVM:
    """All frames stretched or shrunk at random along x, y and z, by at most the share `most`."""
    factor_C = 1 + rng.uniform(-most, most, 3)
    scaled: Sequence_CTVM = x_CTVM * factor_C.astype(np.float32)[:, None, None, None]
    return scaled


def _rotation(axis: int, angle: float) -> npt.NDArray[Any]:
    rotation_33 = np.eye(3)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    rotation_33[[i, i, j, j], [i, j, i, j]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
    return rotation_33
