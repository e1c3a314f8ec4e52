"""ST-GCN (arXiv 1801.07455, "Implementing ST-GCN"), with the parameter names of NVIDIA TAO's PoseClassificationNet.

Other networks are subclasses that replace the block or the adjacency.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tao_skill.models.pose_classification.network.blocks import BLOCKS, TEMPORAL_KERNEL, Block
from tao_skill.models.pose_classification.network.centering import center_of
from tao_skill.models.pose_classification.network.graph import adjacency
from tao_skill.models.pose_classification.network.layers import conv_for_norm, dropout_add_relu, graph_conv
from tao_skill.models.pose_classification.network.layouts import LAYOUTS, Layout
from tao_skill.models.pose_classification.network.preparation import Preparation


class GraphConv(nn.Module):
    """1x1 convolution into K subsets, each summed over its neighbours ("Implementing ST-GCN")."""

    def __init__(self, channels_in: int, channels_out: int, subsets: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out * subsets, kernel_size=1)

    def forward(self, x_NCTV: Tensor, A_KVV: Tensor) -> Tensor:
        """(N, C_in, T, V) -> (N, C_out, T, V)."""
        return graph_conv(x_NCTV, self.conv, A_KVV)


class Shortcut(nn.Sequential):
    """1x1 convolution and batch norm: the residual of a block that changes channels or frames."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        super().__init__(nn.Conv2d(channels_in, channels_out, 1, (stride, 1)), nn.BatchNorm2d(channels_out))

    def forward(self, x_NCTV: Tensor) -> Tensor:
        """(N, C_in, T, V) -> (N, C_out, ceil(T / stride), V)."""
        conv, norm = self
        out_NCTV: Tensor = norm(conv_for_norm(x_NCTV, conv))
        return out_NCTV


def shortcut(channels_in: int, channels_out: int, stride: int = 1) -> nn.Module:
    """The identity if the output has the shape of the input, else a convolution."""
    same = channels_in == channels_out and stride == 1
    return nn.Identity() if same else Shortcut(channels_in, channels_out, stride)


class STGCNBlock(nn.Module):
    """Graph convolution, temporal convolution, residual."""

    def __init__(
        self, channels_in: int, channels_out: int, stride: int, subsets: int, dropout: float, *, residual: bool
    ) -> None:
        super().__init__()
        self.gcn = GraphConv(channels_in, channels_out, subsets)
        self.tcn = nn.Sequential(
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels_out, channels_out, (TEMPORAL_KERNEL, 1), (stride, 1), ((TEMPORAL_KERNEL - 1) // 2, 0)),
            nn.BatchNorm2d(channels_out),
            nn.Dropout(dropout, inplace=True),
        )
        self.residual = shortcut(channels_in, channels_out, stride) if residual else None

    def forward(self, x_NCTV: Tensor, A_KVV: Tensor) -> Tensor:
        """(N, C_in, T, V) -> (N, C_out, ceil(T / stride), V)."""
        norm, relu, conv, last_norm, dropout = self.tcn
        assert isinstance(dropout, nn.Dropout)
        y_NCTV = last_norm(conv_for_norm(relu(norm(self.gcn(x_NCTV, A_KVV))), conv))
        residual_NCTV = None if self.residual is None else self.residual(x_NCTV)
        return dropout_add_relu(y_NCTV, residual_NCTV, dropout.p if self.training else 0.0)


class STGCN(nn.Module):
    """A batch norm over the coordinates of all joints, blocks, average pooling and a linear head.

    Args:
        blocks: sizes of the blocks, ten as in TAO by default; the first has no residual.
        center, preparation: arguments of `Preparation`.
    """

    A: Tensor
    center: Tensor | None
    block: ClassVar[Callable[..., nn.Module]] = STGCNBlock

    def __init__(
        self,
        *,
        layout: Layout = LAYOUTS["nvidia"],
        strategy: str = "spatial",
        num_classes: int = 6,
        channels: int = 3,
        dropout: float = 0.5,
        edge_importance: bool = True,
        blocks: Sequence[Block] = BLOCKS,
        center: str = "false",
        **preparation: Any,
    ) -> None:
        super().__init__()
        self.blocks = tuple(blocks)
        self.register_buffer("A", torch.from_numpy(adjacency(layout, strategy)))
        subsets, joints, _ = self.A.shape
        self.register_buffer("center", center_of(layout, channels) if center != "false" else None)
        self.preparation = Preparation(layout, center=center, **preparation)
        self.data_bn = nn.BatchNorm1d(channels * joints)
        widths = [channels, *(block.channels for block in self.blocks)]
        self.st_gcn_networks = nn.ModuleList(
            self.block(widths[i], width, stride, subsets, dropout, residual=i > 0)
            for i, (width, stride) in enumerate(self.blocks)
        )
        self.edge_importance = (
            nn.ParameterList(nn.Parameter(torch.ones_like(self.A)) for _ in self.blocks) if edge_importance else None
        )
        self.fcn = nn.Conv2d(widths[-1], num_classes, kernel_size=1)

    def forward(self, x_NCTVM: Tensor) -> Tensor:
        """Class scores (N, num_classes) of sequences (N, C, T, V, M)."""
        n, *_, m = x_NCTVM.shape
        x = self._normalised(x_NCTVM)
        for i, block in enumerate(self.st_gcn_networks):
            x = block(x, self.adjacency(i))
        pooled = x.permute(0, 2, 3, 1).mean(dim=(1, 2), dtype=torch.promote_types(x.dtype, torch.float32))
        scores: Tensor = self.fcn(pooled.view(n, m, self.fcn.in_channels, 1, 1).mean(dim=1)).flatten(1)
        return scores

    def _normalised(self, x_NCTVM: Tensor) -> Tensor:
        """Prepare and normalise; each person becomes a sequence: (N M, C, T, V)."""
        n, c, t, v, m = x_NCTVM.shape
        rows = self.preparation(x_NCTVM).permute(0, 4, 2, 3, 1).reshape(n * m * t, v * c)
        rows = _by_running_statistics(self.data_bn, rows) if self.training and len(rows) == 1 else self.data_bn(rows)
        return rows.view(n * m, t, v, c).permute(0, 3, 1, 2)

    def adjacency(self, block: int) -> Tensor:
        """(K, V, V) of a block, its edges weighted by the learnt importance."""
        return self.A if self.edge_importance is None else self.A * self.edge_importance[block]


def _by_running_statistics(norm: nn.BatchNorm1d, x: Tensor) -> Tensor:
    """Normalise a single row in training: a single value has no variance."""
    return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
