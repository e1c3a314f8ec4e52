"""The blocks of ST-GCN, the frames they are given and what they cost to compute. Imports no torch."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tao_skill.models.pose_classification.arrays import frames_used, open_sequences
from tao_skill.models.pose_classification.config import ExperimentConfig
from tao_skill.models.pose_classification.graph import adjacency
from tao_skill.remote import is_remote

BLOCKS: Final = ((64, 1), (64, 1), (64, 1), (64, 1), (128, 2), (128, 1), (128, 1), (256, 2), (256, 1), (256, 1))
"""Output channels and temporal stride of each block."""

TEMPORAL_KERNEL: Final = 9

STRIDE: Final = math.prod(stride for _, stride in BLOCKS)
"""Frames that become one in the last blocks."""

FEWEST_FRAMES: Final = 2 * STRIDE
"""Of a trimmed sequence: also where nothing moves, the last blocks have more than one frame to normalise by."""

_TRAIN: Final = 3
"""A training step computes the forward pass, the gradients of its inputs and those of its weights."""


def forward_flop(frames: int, joints: int, subsets: int, channels: int = 3) -> int:
    """Floating-point operations of one person's sequence through all convolutions, a multiply-add counted as two."""
    flop = 0
    for i, (out, stride) in enumerate(BLOCKS):
        flop += 2 * frames * joints * subsets * out * (channels + joints)
        frames = math.ceil(frames / stride)
        flop += 2 * frames * joints * out * out * TEMPORAL_KERNEL
        flop += 2 * frames * joints * out * channels if i > 0 and channels != out else 0
        channels = out
    return flop


def trimmed_frames(data_path: Path) -> NDArray[np.int64]:
    """Frames of each sequence up to the end of its motion, in whole strides, FEWEST_FRAMES to T; shape (N,), read-only.

    The file is read once, a block at a time; what it gave is remembered while the file stays as it is.
    """
    stat = data_path.stat()
    return _trimmed_frames(data_path.resolve(), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=16)
def _trimmed_frames(data_path: Path, size: int, modified_ns: int) -> NDArray[np.int64]:
    data_NCTVM = open_sequences(data_path)
    strides_N = -(-frames_used(data_NCTVM) // STRIDE)
    frames_N = (strides_N * STRIDE).clip(FEWEST_FRAMES).clip(max=data_NCTVM.shape[2])
    frames_N.flags.writeable = False
    return frames_N


def epoch_flop(config: ExperimentConfig) -> float | None:
    """Operations of an epoch of training and its validation; None while the data cannot be looked at.

    Raises:
        BadData, NotFound: the data cannot be read.
    """
    subsets, joints, _ = adjacency(config.model.graph_layout, config.model.graph_strategy).shape
    flop = 0.0
    for part, passes in ((config.dataset.train_dataset, _TRAIN), (config.dataset.val_dataset, 1)):
        if not part.data_path or is_remote(part.data_path):
            continue
        n, _, frames, _, persons = open_sequences(part.data_path).shape
        window = config.dataset.window_size if config.dataset.window_size > 0 else frames
        if config.dataset.trim_padding:
            window = min(window, round(float(trimmed_frames(Path(part.data_path)).mean())))
        flop += passes * n * persons * forward_flop(window, joints, subsets, config.model.input_channels)
    return flop or None
