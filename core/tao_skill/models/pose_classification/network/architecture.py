"""The blocks of ST-GCN and ST-GCN++, the frames they are given and what they cost to compute. Imports no torch."""

from __future__ import annotations

import math
from typing import Final

from tao_skill.io.s3 import is_remote
from tao_skill.models.pose_classification.config import ExperimentConfig
from tao_skill.models.pose_classification.data.hold_out import holds_out
from tao_skill.models.pose_classification.data.npy_header import shape
from tao_skill.models.pose_classification.network.graph import LAYOUTS, STRATEGIES

BLOCKS: Final = ((64, 1), (64, 1), (64, 1), (64, 1), (128, 2), (128, 1), (128, 1), (256, 2), (256, 1), (256, 1))
"""Output channels and temporal stride of each block."""

TEMPORAL_KERNEL: Final = 9

DILATIONS: Final = (1, 2, 3, 4)
"""Frames between the three taps of ST-GCN++'s temporal convolutions; beside these it pools and passes on one frame."""

BRANCHED: Final = "st_gcn_networks.0.tcn.slices.0.weight"
"""A tensor that ST-GCN++ alone has."""

STRIDE: Final = math.prod(stride for _, stride in BLOCKS)
"""Frames that become one in the last blocks."""

TRAIN: Final = 3
"""A training step computes the forward pass, the gradients of its inputs and those of its weights."""


def branch_widths(channels: int) -> tuple[int, ...]:
    """Channels of ST-GCN++'s temporal branches: as many in all as there are, the first one has what is left."""
    others = len(DILATIONS) + 1
    width = channels // (others + 1)
    return channels - others * width, *[width] * others


def forward_flop(frames: int, joints: int, subsets: int, channels: int = 3, model_type: str = "ST-GCN") -> int:
    """Floating-point operations of one person's sequence through all convolutions, a multiply-add counted as two."""
    products = 0
    for i, (out, stride) in enumerate(BLOCKS):
        kept = math.ceil(frames / stride)
        products += frames * joints * subsets * (channels * out + joints * min(channels, out))
        products += kept * joints * out * channels if i > 0 and channels != out else 0
        if model_type == "ST-GCN":
            products += kept * joints * out * out * TEMPORAL_KERNEL
        else:
            products += joints * _branches(channels, out, frames, kept)
        frames, channels = kept, out
    return 2 * products


def _branches(channels: int, out: int, frames: int, kept: int) -> int:
    """Multiply-adds of what a block of ST-GCN++ has in place of the temporal convolution, for each joint."""
    *sliced, last = branch_widths(out)
    residual = channels * out if channels != out else 0
    dilated = sum(3 * width * width for width in sliced[: len(DILATIONS)])
    return frames * (residual + out * sum(sliced)) + kept * (dilated + out * last + out * out)


def epoch_flop(config: ExperimentConfig) -> float | None:
    """Operations of an epoch of training and its validation; None while the data cannot be looked at.

    Raises:
        BadData, NotFound: the data cannot be read.
    """
    joints = LAYOUTS[config.model.graph_layout].joints
    subsets = STRATEGIES[config.model.graph_strategy].subsets
    flop = 0.0
    for part, passes in ((config.dataset.train_dataset, TRAIN), (config.dataset.val_dataset, 1)):
        if not part.data_path or is_remote(part.data_path):
            continue
        n, _, frames, _, persons = shape(part.data_path)
        window, size = frames, config.dataset.window_size
        if passes == TRAIN and size > 0:
            window = size if config.dataset.random_choose else max(size, frames)
        if config.dataset.resample_frames is not None:
            window = config.dataset.resample_frames
        model = config.model
        held = config.dataset.validation_split if passes == TRAIN and holds_out(config.dataset) else None
        each = passes - (passes - 1) * (held or 0.0)  # a held-out sequence is only validated on
        flop += each * n * persons * forward_flop(window, joints, subsets, model.input_channels, model.model_type)
    return flop or None
