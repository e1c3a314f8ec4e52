"""Coordinates relative to the centre joint, with joints and frames missing.

Estimators and recorders write 0 for a joint that they did not find, and padding is 0 too.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from tao_skill.models.pose_classification.network.layouts import Layout

FAR: Final = 1e30
"""Bound of coordinates, instead of infinity, whose difference is not a number."""


def center_of(layout: Layout, channels: int) -> Tensor:
    """(C, V): 1 at the coordinates of the centre joint, 0 elsewhere."""
    center_CV = torch.zeros(channels, layout.joints)
    center_CV[: layout.coordinates, layout.center] = 1
    return center_CV


def centered(x_NKTVM: Tensor, seen_N1TVM: Tensor, layout: Layout, *, group: bool = False) -> Tensor:
    """Coordinates relative to each person's centre joint, with `group` to the centre joint of the first person.

    Where the centre is missing, the last one seen before is used, else the first one after. Missing joints stay.
    """
    found_N1TM = seen_N1TVM[:, :, :, layout.center]
    origin_NKTM = torch.where(found_N1TM, x_NKTVM[:, :, :, layout.center], 0.0)
    if group:
        found_N1TM, origin_NKTM = found_N1TM[..., :1], origin_NKTM[..., :1]
    origin_NKTM = origin_NKTM.gather(2, _nearest(found_N1TM).expand_as(origin_NKTM))
    return x_NKTVM - torch.where(seen_N1TVM, origin_NKTM.unsqueeze(3), 0.0)


def seen(x_NCTVM: Tensor, coordinates: int) -> Tensor:
    """Which joints were found, (N, 1, T, V, M).

    The channel after the coordinates tells it, if a person's values there are confidences: in 0 to 1, not all 0.
    Without it a joint is missing if its coordinates are all 0, unless 0 is near the person: in the range of the other
    joints of the frame, widened by half of it on both sides.
    """
    x_NKTVM = x_NCTVM[:, :coordinates]
    zero_N1TVM = x_NKTVM.eq(0).all(dim=1, keepdim=True)
    low = torch.where(zero_N1TVM, FAR, x_NKTVM).amin(dim=3, keepdim=True)
    high = torch.where(zero_N1TVM, -FAR, x_NKTVM).amax(dim=3, keepdim=True)
    reach = (high - low) / 2
    near_N1T1M = ((low - reach <= 0) & (high + reach >= 0)).all(dim=1, keepdim=True)
    by_value_N1TVM = ~zero_N1TVM | near_N1T1M
    if x_NCTVM.shape[1] <= coordinates:
        return by_value_N1TVM
    confidence_N1TVM = x_NCTVM[:, coordinates : coordinates + 1]
    least, most = confidence_N1TVM.amin(dim=(2, 3), keepdim=True), confidence_N1TVM.amax(dim=(2, 3), keepdim=True)
    is_confidence_N111M = (least >= 0) & (most > 0) & (most <= 1)
    return torch.where(is_confidence_N111M, confidence_N1TVM > 0, by_value_N1TVM)


def first_frame(found_N1TM: Tensor) -> Tensor:
    """The first frame that was found, else the last frame, (N, 1, 1, M)."""
    frames = found_N1TM.shape[2]
    at_T1 = torch.arange(frames, device=found_N1TM.device)[:, None]
    return torch.where(found_N1TM, at_T1, frames - 1).amin(dim=2, keepdim=True)


def _nearest(found_N1TM: Tensor) -> Tensor:
    """For each frame the last one before, or itself, in which the joint was found, else the first one after."""
    frames = found_N1TM.shape[2]
    at_T1 = torch.arange(frames, device=found_N1TM.device)[:, None]
    found_first_N1TM = torch.where(found_N1TM, at_T1, frames).sort(dim=2).values
    so_far_N1TM = found_N1TM.long().cumsum(dim=2)
    nearest_N1TM = found_first_N1TM.gather(2, (so_far_N1TM - 1).clamp_min(0))
    return torch.where(nearest_N1TM < frames, nearest_N1TM, 0)
