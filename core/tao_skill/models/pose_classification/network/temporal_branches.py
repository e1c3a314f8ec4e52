"""What ST-GCN++ (PYSKL, arXiv 2205.09443, section 4) has in place of ST-GCN's one temporal convolution."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tao_skill.models.pose_classification.network.architecture import DILATIONS, branch_widths
from tao_skill.models.pose_classification.network.layers import convolved


class TemporalBranches(nn.Module):
    """Four convolutions of unlike dilation, a pooling and a single frame, side by side on slices of the channels.

    The slices are cut by one 1x1 convolution for all branches but the last.
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
        conv, norm = self.slices
        sliced_NCTV = torch.relu_(norm(convolved(x_NCTV, conv)))
        y_NCTV = self._branches(sliced_NCTV, x_NCTV)
        mix_norm, relu, mix, last_norm = self.mix
        mixed_NCTV: Tensor = last_norm(convolved(relu(mix_norm(y_NCTV)), mix))
        return mixed_NCTV

    def _branches(self, sliced_NCTV: Tensor, x_NCTV: Tensor) -> Tensor:
        *dilated, pooled = torch.split(sliced_NCTV, list(self.widths[:-1]), dim=1)
        parts = [one(x) for one, x in zip(self.dilated, dilated, strict=True)]
        return torch.cat([*parts, self.pool(pooled), self.frame(x_NCTV)], dim=1)
