"""Coordinates in a common view and at a common scale.

A skeleton that was recorded from another side or distance gets the same coordinates, apart from occlusion and errors.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from tao_skill.models.pose_classification.network.centering import first_frame
from tao_skill.models.pose_classification.network.layouts import Layout

SPATIAL: Final = 3
"""Coordinates that a rotation needs."""

SLANT: Final = 1e-3
"""Sine of the angle between hips and trunk below which they tell no view."""


def aligned(x_N3TVM: Tensor, seen_N1TVM: Tensor, layout: Layout, *, group: bool = False) -> Tensor:
    """Coordinates rotated so that each person starts upright and seen from the front.

    In the first frame in which both hips and both shoulders were seen, the line from the right to the left hip becomes
    parallel to x, and the trunk, from the hips to the shoulders, gets no z and points to larger y. All frames are
    rotated alike, with `group` as the first person is. Without such a frame the coordinates stay.

    Source: the preprocessing of NTU RGB+D (arXiv 1604.02808).
    """
    across_N3TM, trunk_N3TM, found_N1TM = _body(x_N3TVM, seen_N1TVM, layout)
    side_N3TM, trunk_N3TM = _unit(across_N3TM), _unit(trunk_N3TM)
    rise_N3TM = trunk_N3TM - (trunk_N3TM * side_N3TM).sum(dim=1, keepdim=True) * side_N3TM
    found_N1TM = found_N1TM & side_N3TM.ne(0).any(dim=1, keepdim=True) & (_length(rise_N3TM) > SLANT)
    up_N3TM = _unit(rise_N3TM)
    front_N3TM = torch.linalg.cross(side_N3TM, up_N3TM, dim=1)
    if group:
        found_N1TM = found_N1TM[..., :1]
    first_N11M, is_found_N11M = first_frame(found_N1TM), found_N1TM.any(dim=2, keepdim=True)
    coordinates = []
    for i, axis_N3TM in enumerate((side_N3TM, up_N3TM, front_N3TM)):
        axis_N31M = axis_N3TM[..., : found_N1TM.shape[3]].gather(2, first_N11M.expand(-1, SPATIAL, -1, -1))
        turned_N1TVM = (axis_N31M.unsqueeze(3) * x_N3TVM).sum(dim=1, keepdim=True)
        coordinates.append(torch.where(is_found_N11M.unsqueeze(3), turned_N1TVM, x_N3TVM[:, i : i + 1]))
    return torch.cat(coordinates, dim=1)


def scaled(x_NKTVM: Tensor, bones_NKTVM: Tensor, seen_N1TVM: Tensor, *, group: bool = False) -> Tensor:
    """Coordinates in units of a person's mean bone length over all frames, with `group` of the first person's.

    Args:
        bones_NKTVM, seen_N1TVM: the bones, and which of them were seen.
    """
    total_N11M = (_length(bones_NKTVM) * seen_N1TVM).sum(dim=(2, 3))
    mean_N11M = (total_N11M / seen_N1TVM.sum(dim=(2, 3)).clamp_min(1))[:, :, None, None]
    if group:
        mean_N11M = mean_N11M[..., :1]
    return x_NKTVM / torch.where(mean_N11M > 0, mean_N11M, 1.0)


def _body(x_N3TVM: Tensor, seen_N1TVM: Tensor, layout: Layout) -> tuple[Tensor, Tensor, Tensor]:
    """From the right to the left hip, from the hips to the shoulders, and whether all four joints were seen."""
    assert layout.trunk is not None
    left_hip, right_hip, left_shoulder, right_shoulder = (x_N3TVM[:, :, :, joint] for joint in layout.trunk)
    is_seen = [seen_N1TVM[:, :, :, joint] for joint in layout.trunk]
    trunk_N3TM = left_shoulder + right_shoulder - left_hip - right_hip
    return left_hip - right_hip, trunk_N3TM, is_seen[0] & is_seen[1] & is_seen[2] & is_seen[3]


def _length(x_NKTM: Tensor) -> Tensor:
    return x_NKTM.square().sum(dim=1, keepdim=True).sqrt()


def _unit(x_NKTM: Tensor) -> Tensor:
    length_N1TM = _length(x_NKTM)
    return x_NKTM / torch.where(length_N1TM > 0, length_N1TM, 1.0)
