"""ST-GCN++ (PYSKL, arXiv 2205.09443, section 4): ST-GCN with other blocks and learnt adjacencies."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tao_skill.models.pose_classification.network.blocks import DILATIONS, branch_widths
from tao_skill.models.pose_classification.network.layers import conv_for_norm, dilated_conv, dropout_add_relu
from tao_skill.models.pose_classification.network.stgcn import STGCN, GraphConv, shortcut


class TemporalBranches(nn.Module):
    """Four convolutions of different dilation, a max pooling and a 1x1 convolution, each on a slice of the channels.

    One 1x1 convolution makes the slices of all branches but the last.
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.widths = branch_widths(channels)
        *sliced, last = self.widths
        self.slices = nn.Sequential(nn.Conv2d(channels, sum(sliced), 1), nn.BatchNorm2d(sum(sliced)))
        self.dilated = nn.ModuleList(
            nn.Conv2d(width, width, (3, 1), (stride, 1), (dilation, 0), (dilation, 1))
            for width, dilation in zip(sliced, DILATIONS, strict=False)
        )
        self.pool = nn.MaxPool2d((3, 1), (stride, 1), (1, 0))
        self.frame = nn.Conv2d(channels, last, 1, (stride, 1))
        self.mix = nn.Sequential(
            nn.BatchNorm2d(channels), nn.ReLU(inplace=True), nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels)
        )

    def forward(self, x_NCTV: Tensor) -> Tensor:
        """(N, C, T, V) -> (N, C, ceil(T / stride), V)."""
        norm, relu, mix, last_norm = self.mix
        mixed_NCTV: Tensor = last_norm(conv_for_norm(relu(norm(self.branches(x_NCTV))), mix))
        return mixed_NCTV

    def branches(self, x_NCTV: Tensor) -> Tensor:
        """The outputs of all branches: (N, C, T, V) -> (N, C, ceil(T / stride), V)."""
        conv, norm = self.slices
        sliced_NCTV = torch.relu_(norm(conv_for_norm(x_NCTV, conv)))
        *dilated, pooled = torch.split(sliced_NCTV, list(self.widths[:-1]), dim=1)
        parts = [dilated_conv(x, conv) for conv, x in zip(self.dilated, dilated, strict=True)]
        return torch.cat([*parts, self.pool(pooled), self.frame(x_NCTV)], dim=1)


class ResidualGraphConv(GraphConv):
    """Graph convolution, batch norm, its own residual, ReLU."""

    def __init__(self, channels_in: int, channels_out: int, subsets: int) -> None:
        super().__init__(channels_in, channels_out, subsets)
        self.bn = nn.BatchNorm2d(channels_out)
        self.residual = shortcut(channels_in, channels_out)

    def forward(self, x_NCTV: Tensor, A_KVV: Tensor) -> Tensor:
        """(N, C_in, T, V) -> (N, C_out, T, V)."""
        return dropout_add_relu(self.bn(super().forward(x_NCTV, A_KVV)), self.residual(x_NCTV), 0.0)


class BranchedBlock(nn.Module):
    """Graph convolution with a residual, temporal branches, residual."""

    spatial: ClassVar[type[nn.Module]] = ResidualGraphConv
    temporal: ClassVar[type[nn.Module]] = TemporalBranches

    def __init__(
        self, channels_in: int, channels_out: int, stride: int, subsets: int, dropout: float, *, residual: bool
    ) -> None:
        super().__init__()
        self.gcn = self.spatial(channels_in, channels_out, subsets)
        self.tcn = self.temporal(channels_out, stride)
        self.dropout = dropout
        self.residual = shortcut(channels_in, channels_out, stride) if residual else None

    def forward(self, x_NCTV: Tensor, A_KVV: Tensor) -> Tensor:
        """(N, C_in, T, V) -> (N, C_out, ceil(T / stride), V)."""
        y_NCTV = self.tcn(self.gcn(x_NCTV, A_KVV))
        residual_NCTV = None if self.residual is None else self.residual(x_NCTV)
        return dropout_add_relu(y_NCTV, residual_NCTV, self.dropout if self.training else 0.0)


class STGCNPlusPlus(STGCN):
    """ST-GCN++: branched blocks, and an adjacency learnt for each block, initialised with the skeleton's."""

    block = BranchedBlock

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for learnt_KVV in self.edge_importance or ():
            learnt_KVV.data.copy_(self.A)

    def adjacency(self, block: int) -> Tensor:
        """(K, V, V) of a block; it may link joints that the skeleton does not."""
        return self.A if self.edge_importance is None else self.edge_importance[block]
