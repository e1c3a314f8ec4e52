"""Sizes of a network's blocks, and the operations that a block computes. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple


class Block(NamedTuple):
    """Output channels and temporal stride of a block."""

    channels: int
    stride: int = 1


BLOCKS: Final = (*[Block(64)] * 4, Block(128, 2), *[Block(128)] * 2, Block(256, 2), *[Block(256)] * 2)
"""The ten blocks of ST-GCN, as in NVIDIA TAO's PoseClassificationNet."""

TEMPORAL_KERNEL: Final = 9

DILATIONS: Final = (1, 2, 3, 4)
"""Dilations of ST-GCN++'s temporal convolutions; a max pooling and a 1x1 convolution are its other two branches."""

GROUPS: Final = 8
"""Groups of channels of DG-STGCN's graph convolutions, each with an adjacency of its own."""


def total_stride(blocks: Sequence[Block]) -> int:
    """Input frames per output frame of the last block."""
    return math.prod(block.stride for block in blocks)


def branch_widths(channels: int) -> tuple[int, ...]:
    """Channels of ST-GCN++'s temporal branches: equal shares, and the remainder goes to the first branch."""
    others = len(DILATIONS) + 1
    width = channels // (others + 1)
    return channels - others * width, *[width] * others


@dataclass(frozen=True, kw_only=True)
class BlockShape:
    """Sizes of a block's tensors: (C_in, T_in, V) -> (C_out, T_out, V).

    Attributes:
        subsets: K adjacency matrices. shortcut: whether the residual is a convolution.
    """

    channels_in: int
    channels_out: int
    frames_in: int
    frames_out: int
    joints: int
    subsets: int
    shortcut: bool


Products = Callable[[BlockShape], int]
"""Multiply-adds of all convolutions of a block, for one sequence of one person."""


def block_shapes(
    blocks: Sequence[Block], channels: int, frames: int, joints: int, subsets: int
) -> Iterator[BlockShape]:
    """Sizes of each block for a sequence of one person; the first block has no residual."""
    for i, block in enumerate(blocks):
        frames_out = math.ceil(frames / block.stride)
        yield BlockShape(
            channels_in=channels,
            channels_out=block.channels,
            frames_in=frames,
            frames_out=frames_out,
            joints=joints,
            subsets=subsets,
            shortcut=i > 0 and block != (channels, 1),
        )
        channels, frames = block.channels, frames_out


def st_gcn_products(shape: BlockShape) -> int:
    """Multiply-adds of a block of ST-GCN."""
    temporal = shape.frames_out * shape.joints * shape.channels_out**2 * TEMPORAL_KERNEL
    return _graph_conv(shape) + _shortcut(shape) + temporal


def st_gcn_plus_plus_products(shape: BlockShape) -> int:
    """Multiply-adds of a block of ST-GCN++."""
    return _graph_conv(shape) + _graph_residual(shape) + _branches(shape, shape.joints) + _shortcut(shape)


def dg_stgcn_products(shape: BlockShape) -> int:
    """Multiply-adds of a block of DG-STGCN; its adjacencies are computed once for all frames."""
    into, out, joints = shape.channels_in, shape.channels_out, shape.joints
    affinity = joints * (2 * into * out + joints * out)
    graph = affinity + shape.frames_in * joints * out * (into + joints + out)
    return graph + _graph_residual(shape) + _branches(shape, joints + 1) + _shortcut(shape)


def _branches(shape: BlockShape, joints: int) -> int:
    """ST-GCN++'s temporal branches on this number of joints, and their mix on the skeleton's."""
    out = shape.channels_out
    *sliced, last = branch_widths(out)
    dilated = sum(3 * width * width for width in sliced[: len(DILATIONS)])
    branches = shape.frames_in * out * sum(sliced) + shape.frames_out * (dilated + out * last)
    return joints * branches + shape.frames_out * shape.joints * out * out


def _graph_residual(shape: BlockShape) -> int:
    into, out = shape.channels_in, shape.channels_out
    return (into != out) * shape.frames_in * shape.joints * into * out


def _graph_conv(shape: BlockShape) -> int:
    neighbours = shape.joints * min(shape.channels_in, shape.channels_out)
    products = shape.channels_in * shape.channels_out + neighbours
    return shape.frames_in * shape.joints * shape.subsets * products


def _shortcut(shape: BlockShape) -> int:
    return shape.shortcut * shape.frames_out * shape.joints * shape.channels_in * shape.channels_out
