"""ST-GCN as its paper prints it (arXiv 1801.07455): einsum, batch norm, dropout. Benchmarks compare with it.

It shares nothing with the package but the names of its parameters, so that a checkpoint of one loads into the other.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

BLOCKS = ((64, 1), (64, 1), (64, 1), (64, 1), (128, 2), (128, 1), (128, 1), (256, 2), (256, 1), (256, 1))
TEMPORAL_KERNEL = 9


class GraphConv(nn.Module):
    """1x1 convolution into K subsets, each gathered over its neighbours."""

    def __init__(self, channels_in: int, channels_out: int, subsets: int) -> None:
        super().__init__()
        self.subsets = subsets
        self.conv = nn.Conv2d(channels_in, channels_out * subsets, kernel_size=1)

    def forward(self, x: Tensor, A: Tensor) -> Tensor:
        """(N, C_in, T, V) -> (N, C_out, T, V)."""
        x = self.conv(x)
        n, kc, t, v = x.shape
        x = x.view(n, self.subsets, kc // self.subsets, t, v)
        return torch.einsum("nkctv,kvw->nctw", x, A).contiguous()


class Block(nn.Module):
    """Graph convolution, temporal convolution, residual."""

    def __init__(self, inputs: int, outputs: int, stride: int, subsets: int, dropout: float, *, residual: bool) -> None:
        super().__init__()
        self.gcn = GraphConv(inputs, outputs, subsets)
        self.tcn = nn.Sequential(
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, (TEMPORAL_KERNEL, 1), (stride, 1), ((TEMPORAL_KERNEL - 1) // 2, 0)),
            nn.BatchNorm2d(outputs),
            nn.Dropout(dropout, inplace=True),
        )
        self.residual: nn.Module | None = None
        if residual and inputs == outputs and stride == 1:
            self.residual = nn.Identity()
        elif residual:
            self.residual = nn.Sequential(nn.Conv2d(inputs, outputs, 1, (stride, 1)), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor, A: Tensor) -> Tensor:
        """(N, C_in, T, V) -> (N, C_out, ceil(T / stride), V)."""
        y = self.tcn(self.gcn(x, A))
        if self.residual is not None:
            y = y + self.residual(x)
        return torch.relu(y)


class STGCN(nn.Module):
    """The network over an adjacency (K, V, V)."""

    A: Tensor

    def __init__(
        self, A: Tensor, *, num_classes: int, channels: int = 3, dropout: float = 0.5, edge_importance: bool = True
    ) -> None:
        super().__init__()
        self.register_buffer("A", A)
        self.data_bn = nn.BatchNorm1d(channels * A.shape[1])
        widths = [channels, *(width for width, _ in BLOCKS)]
        self.st_gcn_networks = nn.ModuleList(
            Block(widths[i], width, stride, len(A), dropout, residual=i > 0) for i, (width, stride) in enumerate(BLOCKS)
        )
        self.edge_importance = (
            nn.ParameterList(nn.Parameter(torch.ones_like(A)) for _ in BLOCKS) if edge_importance else None
        )
        self.fcn = nn.Conv2d(widths[-1], num_classes, kernel_size=1)

    @classmethod
    def of(cls, state: dict[str, Tensor]) -> STGCN:
        """The network of a checkpoint's `state_dict`, whose names may begin with `model.`."""
        state = {name.removeprefix("model."): value for name, value in state.items()}
        A, head = state["A"], state["fcn.weight"]
        channels = len(state["data_bn.weight"]) // A.shape[1]
        importance = "edge_importance.0" in state
        net = cls(A.clone(), num_classes=len(head), channels=channels, edge_importance=importance)
        net.load_state_dict(state)
        return net.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Class scores of sequences (N, C, T, V, M)."""
        n, c, t, v, m = x.shape
        x = x.permute(0, 4, 3, 1, 2).reshape(n * m, v * c, t)
        x = self.data_bn(x).view(n * m, v, c, t).permute(0, 2, 3, 1).contiguous()
        for i, block in enumerate(self.st_gcn_networks):
            x = block(x, self.A if self.edge_importance is None else self.A * self.edge_importance[i])
        x = x.mean(dim=(2, 3)).view(n, m, -1, 1, 1).mean(dim=1)
        return self.fcn(x).flatten(1)
