"""What a network computes from the joints before its first layer, so that data and inputs stay raw joints."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from tao_skill.models.pose_classification.network.centering import centered, seen
from tao_skill.models.pose_classification.network.layouts import Layout
from tao_skill.models.pose_classification.network.view import aligned, scaled

BONE: Final = ("bone", "bone_motion")
MOTION: Final = ("joint_motion", "bone_motion")
"""Streams of bones, and of differences between frames."""


class Preparation(nn.Module):
    """Centre, view, scale and stream of sequences, as `model.center` to `model.streams` say; nothing by default.

    A bone is a joint minus its parent, the next joint towards the centre (arXiv 1805.07694); a motion is the next frame
    minus this one, and 0 in the last frame (arXiv 1912.06971). Both are 0 where a part is missing. Channels after the
    coordinates, which are the confidence, become the mean of both parts.
    """

    parents: Tensor

    def __init__(
        self,
        layout: Layout,
        *,
        center: str = "false",
        align_view: bool = False,
        normalize_scale: bool = False,
        stream: str = "joint",
    ) -> None:
        super().__init__()
        self.layout, self.center, self.stream = layout, center, stream
        self.align_view, self.normalize_scale = align_view, normalize_scale
        self.group = center == "group"
        self.is_needed = center != "false" or align_view or normalize_scale or stream != "joint"
        self.register_buffer("parents", torch.tensor(layout.parents()), persistent=False)

    def forward(self, x_NCTVM: Tensor) -> Tensor:
        """(N, C, T, V, M) -> the same."""
        if not self.is_needed:
            return x_NCTVM
        places = self.layout.coordinates
        x_NKTVM, rest_NRTVM, seen_N1TVM = x_NCTVM[:, :places], x_NCTVM[:, places:], seen(x_NCTVM, places)
        if self.center != "false":
            x_NKTVM = centered(x_NKTVM, seen_N1TVM, self.layout, group=self.group)
        if self.align_view:
            x_NKTVM = aligned(x_NKTVM, seen_N1TVM, self.layout, group=self.group)
        if self.normalize_scale:
            bones_NKTVM, both_N1TVM = self._bones(x_NKTVM, seen_N1TVM)
            x_NKTVM = scaled(x_NKTVM, bones_NKTVM, both_N1TVM & self._is_bone(), group=self.group)
        if self.stream in BONE:
            x_NKTVM, seen_N1TVM = self._bones(x_NKTVM, seen_N1TVM)
            rest_NRTVM = (rest_NRTVM + rest_NRTVM[:, :, :, self.parents]) / 2
        if self.stream in MOTION:
            both_N1TVM = _next(seen_N1TVM) & seen_N1TVM
            x_NKTVM = torch.where(both_N1TVM, _next(x_NKTVM) - x_NKTVM, 0.0)
            rest_NRTVM = (rest_NRTVM + _next(rest_NRTVM)) / 2
        return torch.cat([x_NKTVM, rest_NRTVM], dim=1)

    def _bones(self, x_NKTVM: Tensor, seen_N1TVM: Tensor) -> tuple[Tensor, Tensor]:
        both_N1TVM = seen_N1TVM & seen_N1TVM[:, :, :, self.parents]
        return torch.where(both_N1TVM, x_NKTVM - x_NKTVM[:, :, :, self.parents], 0.0), both_N1TVM

    def _is_bone(self) -> Tensor:
        """(V, 1): whether a joint has a parent."""
        return (self.parents != torch.arange(len(self.parents), device=self.parents.device))[:, None]


def _next(x_NCTVM: Tensor) -> Tensor:
    """The next frame for each frame; for the last one, itself."""
    return torch.cat([x_NCTVM[:, :, 1:], x_NCTVM[:, :, -1:]], dim=2)
