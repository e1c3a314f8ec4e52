"""Augmentation of training sequences, and temporal resampling of all sequences.

random_choose and random_move are the augmentations of the ST-GCN paper (arXiv 1801.07455) on Kinetics; random_rotate
and random_scale are those of PYSKL (arXiv 2205.09443) for joints in three dimensions; random_warp follows the time
warping of arXiv 1706.00527.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tao_skill.models.pose_classification.config import DatasetConfig
from tao_skill.models.pose_classification.data.augment_space import Sequence_CTVM, joint_dropout, random_shear
from tao_skill.models.pose_classification.data.sequences import open_sequences, unpadded_lengths
from tao_skill.models.pose_classification.network.layouts import Layout

Warp_K = npt.NDArray[np.float64]
"""Amplitudes of the waves of a warp of time."""

ANGLES: Final = (-10.0, -5.0, 0.0, 5.0, 10.0)
SCALES: Final = (0.9, 1.0, 1.1)
SHIFTS: Final = (-0.2, -0.1, 0.0, 0.1, 0.2)
"""Candidates of random_move: degrees, factors, and data units (ST-GCN's feeder)."""

CLIP_SHARE: Final = 0.9
"""Share of the unpadded frames in each clip of a test sequence."""

TILT: Final = 1 / 3
"""Rotation of random_rotate about x and z, as a share of its rotation about y."""

WAVES: Final = 3
"""Waves of random_warp: half of one, one, and one and a half over a sequence."""


def augment_sequence(
    x_CTVM: Sequence_CTVM, dataset: DatasetConfig, size: int, layout: Layout, rng: np.random.Generator
) -> Sequence_CTVM:
    """Crop and warp a training sequence, pad or cut it to `size` frames or resample it, then transform it in space.

    Options that are off draw nothing from `rng`.
    """
    warp_K = random_warp(dataset.random_time_warp, rng) if dataset.random_time_warp > 0 else None
    if dataset.resample_frames is None:
        if dataset.temporal_crop < 1:
            x_CTVM = crop(x_CTVM, *random_interval(x_CTVM, dataset.temporal_crop, rng))
        if warp_K is not None:
            x_CTVM = time_warp(x_CTVM, warp_K)
        x_CTVM = random_choose(x_CTVM, size, rng) if dataset.random_choose else pad(x_CTVM, size)
    else:
        if dataset.random_choose:
            x_CTVM = random_choose(x_CTVM, min(size, x_CTVM.shape[1]), rng)
        interval = random_interval(x_CTVM, dataset.temporal_crop, rng) if dataset.temporal_crop < 1 else None
        x_CTVM = resample(x_CTVM, dataset.resample_frames, interval, warp_K)
    if dataset.random_move:
        x_CTVM = random_move(x_CTVM, rng)
    if dataset.random_rotate > 0:
        x_CTVM = random_rotate(x_CTVM, dataset.random_rotate, rng)
    if dataset.random_scale > 0:
        x_CTVM = random_scale(x_CTVM, dataset.random_scale, rng)
    if dataset.random_shear > 0:
        x_CTVM = random_shear(x_CTVM, dataset.random_shear, layout, rng)
    return joint_dropout(x_CTVM, dataset.joint_dropout, layout, rng) if dataset.joint_dropout > 0 else x_CTVM


def unpadded_length(x_CTVM: Sequence_CTVM) -> int:
    """Number of frames up to the last frame with a nonzero value; 0 if all values are zero."""
    return int(unpadded_lengths(x_CTVM[None])[0])


def resample(
    x_CTVM: Sequence_CTVM, size: int, interval: tuple[float, float] | None = None, warp_K: Warp_K | None = None
) -> Sequence_CTVM:
    """Resample a sequence to `size` evenly spaced frames by linear interpolation.

    If a joint is missing (all coordinates zero) in one of the two neighbouring frames, the nearer frame is copied.

    Args:
        interval: first and last time in frames; by default, those of the sequence. warp_K: warps the times between.
    """
    first, last = interval or (0, x_CTVM.shape[1] - 1)
    times = np.linspace(first, last, size)
    if warp_K is not None:
        times = first + (last - first) * warped(np.linspace(0, 1, size), warp_K)
    before = times.astype(int)
    after = np.minimum(before + 1, x_CTVM.shape[1] - 1)
    share_TVM = np.broadcast_to((times - before).astype(np.float32)[:, None, None], (size, *x_CTVM.shape[2:]))
    first_CTVM, last_CTVM = x_CTVM[:, before].astype(np.float32), x_CTVM[:, after].astype(np.float32)
    both_TVM = first_CTVM.any(axis=0) & last_CTVM.any(axis=0)
    share_TVM = np.where(both_TVM, share_TVM, share_TVM.round())
    between_CTVM: Sequence_CTVM = first_CTVM + (last_CTVM - first_CTVM) * share_TVM
    return between_CTVM


def read_sequences(data_path: str, indices: Iterable[int], size: int | None) -> npt.NDArray[np.float32]:
    """Read the sequences at `indices`, (n, C, T, V, M), and no others; with `size`, resampled to that many frames."""
    data_NCTVM = open_sequences(data_path)
    if size is None:
        return np.asarray(data_NCTVM[list(indices)], np.float32)
    return np.stack(
        [resample(x_CTVM[:, : max(unpadded_length(x_CTVM), 1)], size) for x_CTVM in data_NCTVM[list(indices)]]
    )


def random_warp(largest: float, rng: np.random.Generator) -> Warp_K:
    """Amplitudes of a random warp whose speed stays within 1 - `largest` and 1 + `largest`."""
    directions_K = rng.uniform(-1, 1, WAVES)
    amplitudes_K: Warp_K = largest * rng.uniform() * directions_K / np.abs(directions_K).sum()
    return amplitudes_K


def warped(progress_T: npt.NDArray[np.float64], warp_K: Warp_K) -> npt.NDArray[np.float64]:
    """Warp times from 0 to 1, which stay where they are: the speed is 1 + sum of a_k * cos(pi * k * time)."""
    phase_KT = np.pi * np.arange(1, len(warp_K) + 1)[:, None] * progress_T
    shift_T = (warp_K / (np.pi * np.arange(1, len(warp_K) + 1))) @ np.sin(phase_KT)
    warped_T: npt.NDArray[np.float64] = (progress_T + shift_T).clip(0, 1)
    return warped_T


def time_warp(x_CTVM: Sequence_CTVM, warp_K: Warp_K) -> Sequence_CTVM:
    """Warp the unpadded frames of a sequence; their number, and the padding, stay."""
    frames = unpadded_length(x_CTVM)
    if frames < 2:
        return x_CTVM
    return np.concatenate([resample(x_CTVM[:, :frames], frames, warp_K=warp_K), x_CTVM[:, frames:]], axis=1)


def random_interval(x_CTVM: Sequence_CTVM, share: float, rng: np.random.Generator) -> tuple[float, float]:
    """First and last time, in frames, of a random interval with at least `share` of the unpadded frames."""
    last = max(unpadded_length(x_CTVM), 1) - 1
    size = last * rng.uniform(share, 1)
    begin = rng.uniform(0, last - size)
    return begin, begin + size


def clip_interval(frames: int, clip: int, clips: int) -> tuple[float, float]:
    """First and last time, in frames, of one of `clips` evenly spaced intervals of a sequence of `frames` frames.

    Each has CLIP_SHARE of the sequence; clip 0 begins at its first frame and the last clip ends at its last frame. A
    single clip is the whole sequence.
    """
    last = frames - 1
    if clips == 1:
        return 0.0, float(last)
    rest = last * (1 - CLIP_SHARE)
    share = clip / (clips - 1)
    return rest * share, last - rest * (1 - share)


def crop(x_CTVM: Sequence_CTVM, first: float, last: float) -> Sequence_CTVM:
    """The frames from time `first` to time `last`, both rounded to the nearest frame."""
    return x_CTVM[:, round(first) : round(last) + 1]


def random_choose(x_CTVM: Sequence_CTVM, size: int, rng: np.random.Generator) -> Sequence_CTVM:
    """A random fragment of `size` frames; a shorter sequence is padded at both ends.

    The start is drawn from the unpadded frames, so that a fragment never consists of padding alone.
    """
    frames = x_CTVM.shape[1]
    if frames <= size:
        return pad(x_CTVM, size, int(rng.integers(0, size - frames + 1)))
    begin = int(rng.integers(0, max(0, unpadded_length(x_CTVM) - size) + 1))
    return x_CTVM[:, begin : begin + size]


def pad(x_CTVM: Sequence_CTVM, size: int, begin: int = 0) -> Sequence_CTVM:
    """Pad with zero frames to `size` frames, the sequence starting at `begin`; longer sequences stay as they are."""
    frames = x_CTVM.shape[1]
    if frames >= size:
        return x_CTVM
    return np.pad(x_CTVM, ((0, 0), (begin, size - frames - begin), (0, 0), (0, 0)))


def random_move(x_CTVM: Sequence_CTVM, rng: np.random.Generator) -> Sequence_CTVM:
    """Rotate in the image plane, scale and shift, interpolating linearly over time between two random transforms.

    Padding frames stay zero.
    """
    frames = x_CTVM.shape[1]
    angle_T, scale_T, shift_x_T, shift_y_T = (
        np.linspace(first, last, frames)
        for first, last in (rng.choice(candidates, 2) for candidates in (ANGLES, SCALES, SHIFTS, SHIFTS))
    )
    angle_T = np.deg2rad(angle_T)
    cos_T, sin_T = np.cos(angle_T) * scale_T, np.sin(angle_T) * scale_T
    is_unpadded_T = np.asarray(x_CTVM.any(axis=(0, 2, 3)))
    turn_ijT = np.array([[cos_T, -sin_T], [sin_T, cos_T]])
    shift_iT = np.array([shift_x_T, shift_y_T])
    moved_iTVM = np.einsum("ijt,jtvm->itvm", turn_ijT, x_CTVM[:2]) + shift_iT[:, :, None, None]
    moved_CTVM = np.array(x_CTVM)
    moved_CTVM[:2] = moved_iTVM * is_unpadded_T[:, None, None]
    return moved_CTVM


def random_rotate(x_CTVM: Sequence_CTVM, degrees: float, rng: np.random.Generator) -> Sequence_CTVM:
    """Rotate all frames by a random angle about y, at most `degrees`, and by a third of that range about x and z."""
    yaw, *tilts = np.deg2rad(degrees) * rng.uniform(-1, 1, 3) * (1, TILT, TILT)
    rotation_33 = _rotation(2, tilts[1]) @ _rotation(0, tilts[0]) @ _rotation(1, yaw)
    rotated_CTVM: Sequence_CTVM = np.einsum("ij,jtvm->itvm", rotation_33.astype(np.float32), x_CTVM)
    return rotated_CTVM


def random_scale(x_CTVM: Sequence_CTVM, share: float, rng: np.random.Generator) -> Sequence_CTVM:
    """Scale all frames along x, y and z by independent factors within 1 - `share` and 1 + `share`."""
    factor_C = 1 + rng.uniform(-share, share, 3)
    scaled_CTVM: Sequence_CTVM = x_CTVM * factor_C.astype(np.float32)[:, None, None, None]
    return scaled_CTVM


def _rotation(axis: int, angle: float) -> npt.NDArray[Any]:
    rotation_33 = np.eye(3)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    rotation_33[[i, i, j, j], [i, j, i, j]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
    return rotation_33
