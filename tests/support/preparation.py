"""What networks compute from the joints, a second time: joint by joint, in plain numbers."""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray

from tao_skill.models.pose_classification.network.layouts import Layout
from tests.support.equations import found, relative

Array = NDArray[np.float64]


def expected(
    x_NCTVM: Array, layout: Layout, *, center: str, align_view: bool, normalize_scale: bool, stream: str
) -> Array:
    """The input of the first layer."""
    n, c, t, v, m = x_NCTVM.shape
    places = min(layout.coordinates, c)
    seen = np.zeros((n, t, v, m), bool)
    for i, frame, joint, person in product(range(n), range(t), range(v), range(m)):
        seen[i, frame, joint, person] = found(torch.from_numpy(x_NCTVM[i, ..., person]), places, frame, joint)
    x = x_NCTVM.copy()
    if center != "false":
        x = relative(torch.from_numpy(x), places, layout.center, group=center == "group").numpy()
    for i in range(n):
        people = [0] * m if center == "group" else range(m)
        if align_view:
            turns = [turn(x[i, ..., leader], seen[i, ..., leader], layout) for leader in people]
            for person, frame, joint in product(range(m), range(t), range(v)):
                x[i, :3, frame, joint, person] = turns[person] @ x[i, :3, frame, joint, person]
        if normalize_scale:
            units = [unit(x[i, ..., leader], seen[i, ..., leader], layout, places) for leader in people]
            for person in range(m):
                x[i, :places, ..., person] /= units[person]
    if "bone" in stream:
        x, seen = bones(x, seen, layout, places)
    if "motion" in stream:
        x = motion(x, seen, places)
    return x


def turn(x_CTV: Array, seen_TV: NDArray[np.bool_], layout: Layout) -> Array:
    """The rotation by the first frame that tells the view."""
    assert layout.trunk is not None
    for frame in range(x_CTV.shape[1]):
        left_hip, right_hip, left_shoulder, right_shoulder = (x_CTV[:3, frame, joint] for joint in layout.trunk)
        if not all(seen_TV[frame, joint] for joint in layout.trunk):
            continue
        hips, middle = (left_hip + right_hip) / 2, (left_shoulder + right_shoulder) / 2
        side, trunk = left_hip - right_hip, middle - hips
        sizes = np.linalg.norm(side) * np.linalg.norm(trunk)
        if np.linalg.norm(np.cross(side, trunk)) <= 1e-3 * sizes:  # hips and trunk in a line
            continue
        side = side / np.linalg.norm(side)
        up = trunk - (trunk @ side) * side
        up = up / np.linalg.norm(up)
        return np.stack([side, up, np.cross(side, up)])
    return np.eye(3)


def unit(x_CTV: Array, seen_TV: NDArray[np.bool_], layout: Layout, places: int) -> float:
    """The mean length of the bones that were seen."""
    lengths = [
        float(np.linalg.norm(x_CTV[:places, frame, joint] - x_CTV[:places, frame, parent]))
        for frame, (joint, parent) in product(range(x_CTV.shape[1]), enumerate(layout.parents()))
        if joint != parent and seen_TV[frame, joint] and seen_TV[frame, parent]
    ]
    return sum(lengths) / len(lengths) if lengths and any(lengths) else 1.0


def bones(x: Array, seen: NDArray[np.bool_], layout: Layout, places: int) -> tuple[Array, NDArray[np.bool_]]:
    made, both = np.zeros_like(x), np.zeros_like(seen)
    for joint, parent in enumerate(layout.parents()):
        both[:, :, joint] = seen[:, :, joint] & seen[:, :, parent]
        difference = x[:, :places, :, joint] - x[:, :places, :, parent]
        made[:, :places, :, joint] = difference * both[:, None, :, joint]
        made[:, places:, :, joint] = (x[:, places:, :, joint] + x[:, places:, :, parent]) / 2
    return made, both


def motion(x: Array, seen: NDArray[np.bool_], places: int) -> Array:
    made = np.zeros_like(x)
    made[:, places:, -1] = x[:, places:, -1]
    for frame in range(x.shape[2] - 1):
        both = seen[:, frame] & seen[:, frame + 1]
        made[:, :places, frame] = (x[:, :places, frame + 1] - x[:, :places, frame]) * both[:, None]
        made[:, places:, frame] = (x[:, places:, frame + 1] + x[:, places:, frame]) / 2
    return made
