"""The blocks of ST-GCN, the frames they are given and what they cost to compute. Imports no torch."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

from tao_skill.models.pose_classification.config import ExperimentConfig
from tao_skill.models.pose_classification.graph import LAYOUTS, STRATEGIES
from tao_skill.models.pose_classification.npy import shape
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
        flop += 2 * frames * joints * subsets * (channels * out + joints * min(channels, out))
        frames = math.ceil(frames / stride)
        flop += 2 * frames * joints * out * out * TEMPORAL_KERNEL
        flop += 2 * frames * joints * out * channels if i > 0 and channels != out else 0
        channels = out
    return flop


def epoch_flop(config: ExperimentConfig) -> float | None:
    """Operations of an epoch of training and its validation; None while the data cannot be looked at.

    Raises:
        BadData, NotFound: the data cannot be read.
    """
    joints = LAYOUTS[config.model.graph_layout].joints
    subsets = STRATEGIES[config.model.graph_strategy].subsets
    flop = 0.0
    for part, passes in ((config.dataset.train_dataset, _TRAIN), (config.dataset.val_dataset, 1)):
        if not part.data_path or is_remote(part.data_path):
            continue
        n, _, frames, _, persons = shape(part.data_path)
        window = config.dataset.window_size if config.dataset.window_size > 0 else frames
        if config.dataset.trim_padding:
            from tao_skill.models.pose_classification.lengths import trimmed_frames

            window = min(window, round(float(trimmed_frames(Path(part.data_path)).mean())))
        flop += passes * n * persons * forward_flop(window, joints, subsets, config.model.input_channels)
    return flop or None
