"""ST-GCN (arXiv 1801.07455, "Implementing ST-GCN"), with the parameter names of NVIDIA TAO's PoseClassificationNet."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tao_skill.models.pose_classification.architecture import BLOCKS, TEMPORAL_KERNEL
from tao_skill.models.pose_classification.config import ModelConfig
from tao_skill.models.pose_classification.graph import adjacency


class GraphConv(nn.Module):
    """1x1 convolution into K subsets, each gathered over its neighbours ("Implementing ST-GCN")."""

    def __init__(self, channels_in: int, channels_out: int, subsets: int) -> None:
        super().__init__()
        self.subsets = subsets
        self.conv = nn.Conv2d(channels_in, channels_out * subsets, kernel_size=1)

    def forward(self, x_NCTV: Tensor, A_KVV: Tensor) -> Tensor:
        """(N, C_in, T, V) -> (N, C_out, T, V)."""
        n, _, t, v = x_NCTV.shape
        x_NKCTV = self.conv(x_NCTV).view(n, self.subsets, self.conv.out_channels // self.subsets, t, v)
        return torch.einsum("nkctv,kvw->nctw", x_NKCTV, A_KVV).contiguous()


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
        self.residual: nn.Module | None = None
        if residual and channels_in == channels_out and stride == 1:
            self.residual = nn.Identity()
        elif residual:
            self.residual = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, (stride, 1)), nn.BatchNorm2d(channels_out)
            )

    def forward(self, x_NCTV: Tensor, A_KVV: Tensor) -> Tensor:
        """(N, C_in, T, V) -> (N, C_out, ceil(T / stride), V)."""
        y_NCTV = self.tcn(self.gcn(x_NCTV, A_KVV))
        if self.residual is not None:
            y_NCTV = y_NCTV + self.residual(x_NCTV)
        return torch.relu(y_NCTV)


class STGCN(nn.Module):
    """Ten ST-GCN blocks between a batch norm over joints' coordinates and a linear head."""

    A: Tensor

    def __init__(
        self,
        *,
        layout: str = "nvidia",
        strategy: str = "spatial",
        num_classes: int = 6,
        channels: int = 3,
        dropout: float = 0.5,
        edge_importance: bool = True,
    ) -> None:
        super().__init__()
        self.register_buffer("A", torch.from_numpy(adjacency(layout, strategy)))
        subsets, joints, _ = self.A.shape
        self.data_bn = nn.BatchNorm1d(channels * joints)
        widths = [channels, *(width for width, _ in BLOCKS)]
        self.st_gcn_networks = nn.ModuleList(
            Block(widths[i], width, stride, subsets, dropout, residual=i > 0)
            for i, (width, stride) in enumerate(BLOCKS)
        )
        self.edge_importance = (
            nn.ParameterList(nn.Parameter(torch.ones_like(self.A)) for _ in BLOCKS) if edge_importance else None
        )
        self.fcn = nn.Conv2d(widths[-1], num_classes, kernel_size=1)

    def forward(self, x_NCTVM: Tensor) -> Tensor:
        """Class scores (N, num_classes) of sequences (N, C, T, V, M)."""
        n, c, t, v, m = x_NCTVM.shape
        x = x_NCTVM.permute(0, 4, 3, 1, 2).reshape(n * m, v * c, t)
        x = self.data_bn(x).view(n * m, v, c, t).permute(0, 2, 3, 1).contiguous()
        for i, block in enumerate(self.st_gcn_networks):
            x = block(x, self.A if self.edge_importance is None else self.A * self.edge_importance[i])
        pooled = x.mean(dim=(2, 3)).view(n, m, self.fcn.in_channels, 1, 1).mean(dim=1)
        scores: Tensor = self.fcn(pooled).flatten(1)
        return scores


def build_net(model: ModelConfig, num_classes: int) -> STGCN:
    """The network a spec describes, newly initialised."""
    return STGCN(
        layout=model.graph_layout,
        strategy=model.graph_strategy,
        num_classes=num_classes,
        channels=model.input_channels,
        dropout=model.dropout,
        edge_importance=model.edge_importance_weighting,
    )
