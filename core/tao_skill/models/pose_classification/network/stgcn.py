"""ST-GCN (arXiv 1801.07455, "Implementing ST-GCN"), with the parameter names of NVIDIA TAO's PoseClassificationNet.

ST-GCN++ (PYSKL, arXiv 2205.09443, section 4) stands in the same frame.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final

import torch
from torch import Tensor, nn

from tao_skill.models.pose_classification.config import ModelConfig
from tao_skill.models.pose_classification.network.architecture import BLOCKS, TEMPORAL_KERNEL
from tao_skill.models.pose_classification.network.graph import LAYOUTS, adjacency
from tao_skill.models.pose_classification.network.layers import convolved, dropped_sum, graph_conv
from tao_skill.models.pose_classification.network.temporal_branches import TemporalBranches


class GraphConv(nn.Module):
    """1x1 convolution into K subsets, each gathered over its neighbours ("Implementing ST-GCN")."""

    def __init__(self, channels_in: int, channels_out: int, subsets: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out * subsets, kernel_size=1)

    def forward(self, x_NCTV: Tensor, A_KVV: Tensor) -> Tensor:
        """(N, C_in, T, V) -> (N, C_out, T, V)."""
        return graph_conv(x_NCTV, self.conv, A_KVV)


class Shortcut(nn.Sequential):
    """What a block that changes channels or frames adds its input by."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        super().__init__(nn.Conv2d(channels_in, channels_out, 1, (stride, 1)), nn.BatchNorm2d(channels_out))

    def forward(self, x_NCTV: Tensor) -> Tensor:
        """(N, C_in, T, V) -> (N, C_out, ceil(T / stride), V)."""
        conv, norm = self
        out_NCTV: Tensor = norm(convolved(x_NCTV, conv))
        return out_NCTV


def shortcut(channels_in: int, channels_out: int, stride: int = 1) -> nn.Module:
    """The input itself where it has the output's shape, else a convolution of it."""
    same = channels_in == channels_out and stride == 1
    return nn.Identity() if same else Shortcut(channels_in, channels_out, stride)


class Block(nn.Module):
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
        y_NCTV = last_norm(convolved(relu(norm(self.gcn(x_NCTV, A_KVV))), conv))
        residual_NCTV = None if self.residual is None else self.residual(x_NCTV)
        return dropped_sum(y_NCTV, residual_NCTV, dropout.p if self.training else 0.0)


class ResidualGraphConv(GraphConv):
    """Graph convolution, batch norm, a residual of its own, ReLU."""

    def __init__(self, channels_in: int, channels_out: int, subsets: int) -> None:
        super().__init__(channels_in, channels_out, subsets)
        self.bn = nn.BatchNorm2d(channels_out)
        self.residual = shortcut(channels_in, channels_out)

    def forward(self, x_NCTV: Tensor, A_KVV: Tensor) -> Tensor:
        """(N, C_in, T, V) -> (N, C_out, T, V)."""
        return dropped_sum(self.bn(super().forward(x_NCTV, A_KVV)), self.residual(x_NCTV), 0.0)


class BranchedBlock(nn.Module):
    """Graph convolution with a residual, temporal branches, residual."""

    def __init__(
        self, channels_in: int, channels_out: int, stride: int, subsets: int, dropout: float, *, residual: bool
    ) -> None:
        super().__init__()
        self.gcn = ResidualGraphConv(channels_in, channels_out, subsets)
        self.tcn = TemporalBranches(channels_out, stride)
        self.dropout = dropout
        self.residual = shortcut(channels_in, channels_out, stride) if residual else None

    def forward(self, x_NCTV: Tensor, A_KVV: Tensor) -> Tensor:
        """(N, C_in, T, V) -> (N, C_out, ceil(T / stride), V)."""
        y_NCTV = self.tcn(self.gcn(x_NCTV, A_KVV))
        residual_NCTV = None if self.residual is None else self.residual(x_NCTV)
        return dropped_sum(y_NCTV, residual_NCTV, self.dropout if self.training else 0.0)


class STGCN(nn.Module):
    """Ten blocks between a batch norm over joints' coordinates and a linear head."""

    A: Tensor
    center: Tensor | None
    block: ClassVar[Callable[..., nn.Module]] = Block

    def __init__(
        self,
        *,
        layout: str = "nvidia",
        strategy: str = "spatial",
        num_classes: int = 6,
        channels: int = 3,
        dropout: float = 0.5,
        edge_importance: bool = True,
        center: bool = False,
    ) -> None:
        super().__init__()
        self.register_buffer("A", torch.from_numpy(adjacency(layout, strategy)))
        subsets, joints, _ = self.A.shape
        self.register_buffer("center", center_of(layout, channels) if center else None)
        self.data_bn = nn.BatchNorm1d(channels * joints)
        widths = [channels, *(width for width, _ in BLOCKS)]
        self.st_gcn_networks = nn.ModuleList(
            self.block(widths[i], width, stride, subsets, dropout, residual=i > 0)
            for i, (width, stride) in enumerate(BLOCKS)
        )
        self.edge_importance = (
            nn.ParameterList(nn.Parameter(torch.ones_like(self.A)) for _ in BLOCKS) if edge_importance else None
        )
        self.fcn = nn.Conv2d(widths[-1], num_classes, kernel_size=1)

    def forward(self, x_NCTVM: Tensor) -> Tensor:
        """Class scores (N, num_classes) of sequences (N, C, T, V, M)."""
        n, *_, m = x_NCTVM.shape
        x = self._normalised(x_NCTVM)
        for i, block in enumerate(self.st_gcn_networks):
            x = block(x, self.adjacency(i))
        pooled = x.mean(dim=(2, 3), dtype=torch.promote_types(x.dtype, torch.float32))
        scores: Tensor = self.fcn(pooled.view(n, m, self.fcn.in_channels, 1, 1).mean(dim=1)).flatten(1)
        return scores

    def _normalised(self, x_NCTVM: Tensor) -> Tensor:
        """Centred and normalised, each person as a sequence: (N M, C, T, V)."""
        n, c, t, v, m = x_NCTVM.shape
        seen = x_NCTVM if self.center is None else centered(x_NCTVM, self.center)
        rows: Tensor = self.data_bn(seen.permute(0, 4, 2, 3, 1).reshape(n * m * t, v * c))
        return rows.view(n * m, t, v, c).permute(0, 3, 1, 2)

    def adjacency(self, block: int) -> Tensor:
        """(K, V, V) of a block, each edge weighted."""
        return self.A if self.edge_importance is None else self.A * self.edge_importance[block]


class STGCNPlusPlus(STGCN):
    """ST-GCN++: other blocks, and adjacencies that are learnt as they are, each starting from the skeleton's."""

    block = BranchedBlock

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for learnt_KVV in self.edge_importance or ():
            learnt_KVV.data.copy_(self.A)

    def adjacency(self, block: int) -> Tensor:
        """(K, V, V) of a block; what is learnt need not be an edge of the skeleton."""
        return self.A if self.edge_importance is None else self.edge_importance[block]


def center_of(layout: str, channels: int) -> Tensor:
    """1 at the centre joint's coordinates, of shape (C, V)."""
    known = LAYOUTS[layout]
    center_CV = torch.zeros(channels, known.joints)
    center_CV[: known.coordinates, known.center] = 1
    return center_CV


def centered(x_NCTVM: Tensor, center_CV: Tensor) -> Tensor:
    """Coordinates relative to each person's centre joint; where there is nothing, there stays nothing."""
    center_NCT1M = (x_NCTVM * center_CV[:, None, :, None]).sum(dim=3, keepdim=True)
    return (x_NCTVM - center_NCT1M) * x_NCTVM.ne(0)


NETWORKS: Final[Mapping[str, type[STGCN]]] = MappingProxyType({"ST-GCN": STGCN, "ST-GCN++": STGCNPlusPlus})


def build_net(model: ModelConfig, num_classes: int) -> STGCN:
    """The network a spec describes, newly initialised."""
    return NETWORKS[model.model_type](
        layout=model.graph_layout,
        strategy=model.graph_strategy,
        num_classes=num_classes,
        channels=model.input_channels,
        dropout=model.dropout,
        edge_importance=model.edge_importance_weighting,
        center=model.center,
    )
