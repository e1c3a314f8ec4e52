"""Floating-point operations of networks and of epochs of training. Imports no torch."""

from __future__ import annotations

from typing import Final

from tao_skill.io.s3 import is_remote
from tao_skill.models.pose_classification.config import ExperimentConfig
from tao_skill.models.pose_classification.data.hold_out import holds_out
from tao_skill.models.pose_classification.data.npy_header import shape
from tao_skill.models.pose_classification.network.blocks import BLOCKS, block_shapes, total_stride
from tao_skill.models.pose_classification.network.graph import STRATEGIES
from tao_skill.models.pose_classification.network.layout_file import known_layout
from tao_skill.models.pose_classification.network.registry import NETWORKS

STRIDE: Final = total_stride(BLOCKS)
"""Input frames per output frame of the last of the default blocks."""

TRAIN: Final = 3
"""Cost of a training step in forward passes: the forward pass, the gradients of its inputs, those of its weights."""


def forward_flop(frames: int, joints: int, subsets: int, channels: int = 3, model_type: str = "ST-GCN") -> int | None:
    """Floating-point operations of all convolutions for the sequence of one person; a multiply-add counts as two.

    None if the network has no count of its operations.
    """
    network = NETWORKS[model_type]
    if network.products is None:
        return None
    return 2 * sum(map(network.products, block_shapes(network.blocks, channels, frames, joints, subsets)))


def epoch_flop(config: ExperimentConfig) -> float | None:
    """Operations of an epoch of training and its validation.

    None if the data or the layout file is remote, or the network has no count.

    Raises:
        BadData, NotFound: the data cannot be read.
    """
    model = config.model
    layout = known_layout(model.graph_layout)
    if layout is None:
        return None
    joints, subsets = layout.joints, STRATEGIES[model.graph_strategy].subsets
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
        forward = forward_flop(window, joints, subsets, model.input_channels, model.model_type)
        if forward is None:
            return None
        split = config.dataset.validation_split if passes == TRAIN and holds_out(config.dataset) else None
        each = passes - (passes - 1) * (split or 0.0)  # a held-out sequence has the forward pass only
        flop += each * n * persons * forward * len(model.streams)
    return flop or None
