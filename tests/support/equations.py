"""The networks, and what they compute from the joints, written a second time from their equations."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tao_skill.models.pose_classification.network.blocks import BLOCKS, Block
from tao_skill.models.pose_classification.network.layouts import Layout

Array = NDArray[np.float64]


def reference_scores(
    state: dict[str, Tensor], x_NCTVM: Tensor, *, training: bool, blocks: Sequence[Block] = BLOCKS
) -> Tensor:
    """A network written a second time, straight from its equations and the state_dict, without modules."""
    n, c, t, v, m = x_NCTVM.shape
    people = []
    if "center" in state:
        places, joint = int(state["center"].sum()), int(state["center"].sum(0).argmax())
        x_NCTVM = relative(x_NCTVM, places, joint)
    moved = x_NCTVM.permute(0, 4, 3, 1, 2).reshape(n * m, v * c, t)
    x = norm(state, "data_bn", moved, training).view(n * m, v, c, t).permute(0, 2, 3, 1)
    branched, dynamic = (f"st_gcn_networks.0.{name}" in state for name in ("tcn.frame.weight", "gcn.alpha"))
    for i, (_, stride) in enumerate(blocks):
        at = f"st_gcn_networks.{i}"
        if dynamic:
            fixed = torch.cat([state["A"]] * 8)[:8]
            y = attended(state, f"{at}.gcn", state.get(f"edge_importance.{i}", fixed), x, training)
            y = branches(state, f"{at}.tcn", y, stride, training)
            x = F.relu(y + residual(state, at, x, stride, training) if i > 0 else y)
            continue
        kernel = state.get(f"edge_importance.{i}", state["A"] if branched else torch.tensor(1.0))
        y = gathered(state, at, kernel if branched else state["A"] * kernel, x)
        if branched:
            y = norm(state, f"{at}.gcn.bn", y, training)
            y = F.relu(y + residual(state, f"{at}.gcn", x, 1, training))
            y = branches(state, f"{at}.tcn", y, stride, training)
        else:
            y = F.relu(norm(state, f"{at}.tcn.0", y, training))
            y = convolved(state, f"{at}.tcn.2", y, stride=(stride, 1), padding=(4, 0))
            y = norm(state, f"{at}.tcn.3", y, training)
        x = F.relu(y + residual(state, at, x, stride, training) if i > 0 else y)
    for person in x.view(n, m, x.shape[1], -1, v).unbind(1):
        people.append(person.flatten(2).mean(2))
    return torch.stack(people).mean(0) @ state["fcn.weight"][:, :, 0, 0].T + state["fcn.bias"]


def relative(x_NCTVM: Tensor, places: int, joint: int, *, group: bool = False) -> Tensor:
    """Coordinates relative to the centre joint, person by person and frame by frame."""
    n, _, t, v, m = x_NCTVM.shape
    moved = x_NCTVM.clone()
    for i, person in product(range(n), range(m)):
        leader = x_NCTVM[i, ..., 0 if group else person]
        centres = [frame for frame in range(t) if found(leader, places, frame, joint)]
        if not centres:
            continue
        for frame, one in product(range(t), range(v)):
            if found(x_NCTVM[i, ..., person], places, frame, one):
                source = max((at for at in centres if at <= frame), default=centres[0])
                moved[i, :places, frame, one, person] -= leader[:places, source, joint]
    return moved


def found(x_CTV: Tensor, places: int, frame: int, joint: int) -> bool:
    """Whether a joint of a person was seen in a frame: by its confidence, else by its coordinates."""
    if len(x_CTV) > places:
        confidence = x_CTV[places]
        if confidence.min() >= 0 and 0 < confidence.max() <= 1:
            return bool(confidence[frame, joint] > 0)
    frame_KV = x_CTV[:places, frame]
    if frame_KV[:, joint].any():
        return True
    others = frame_KV[:, frame_KV.any(dim=0)]
    if others.shape[1] == 0:
        return False
    low, high = others.amin(dim=1), others.amax(dim=1)
    return bool(((low - (high - low) / 2 <= 0) & (high + (high - low) / 2 >= 0)).all())


def gathered(state: dict[str, Tensor], at: str, kernel: Tensor, x: Tensor) -> Tensor:
    weight, bias = state[f"{at}.gcn.conv.weight"][:, :, 0, 0], state[f"{at}.gcn.conv.bias"]
    width = len(weight) // len(kernel)
    y = torch.zeros(len(x), width, *x.shape[2:], dtype=x.dtype)
    for k, a_VV in enumerate(kernel):
        part = slice(k * width, (k + 1) * width)
        lifted = torch.tensordot(weight[part], x, ([1], [1])).permute(1, 0, 2, 3) + bias[part, None, None]
        y = y + lifted @ a_VV
    return y


def attended(state: dict[str, Tensor], at: str, kernel: Tensor, x: Tensor, training: bool) -> Tensor:
    """DG-GCN: eight groups of channels, and for each channel of a group its own sum over the neighbours."""
    y = F.relu(norm(state, f"{at}.conv_norm", F.conv2d(x, state[f"{at}.conv.weight"]), training))
    embedded = torch.einsum("oc,nctv->notv", state[f"{at}.embed.weight"][:, :, 0], x).mean(2)
    first, second = (embedded + state[f"{at}.embed.bias"][:, None]).chunk(2, 1)
    summed = []
    for k, a_VV in enumerate(kernel):
        e, f, group = (whole.chunk(8, 1)[k] for whole in (first, second, y))
        alike = torch.einsum("ncv,ncw->nvw", e, f).exp()
        alike = (alike / alike.sum(1, keepdim=True)).unsqueeze(1)
        apart = torch.tanh(e.unsqueeze(3) - f.unsqueeze(2))
        a_NCVV = a_VV + state[f"{at}.beta"][k] * alike + state[f"{at}.alpha"][k] * apart
        summed.append(torch.einsum("nctv,ncvw->nctw", group.to(a_NCVV.dtype), a_NCVV))
    y = norm(state, f"{at}.bn", F.conv2d(torch.cat(summed, 1), state[f"{at}.mix.weight"]), training)
    return F.relu(y + residual(state, at, x, 1, training))


def residual(state: dict[str, Tensor], at: str, x: Tensor, stride: int, training: bool) -> Tensor:
    if f"{at}.residual.0.weight" not in state:
        return x
    return norm(state, f"{at}.residual.1", convolved(state, f"{at}.residual.0", x, stride=(stride, 1)), training)


def branches(state: dict[str, Tensor], at: str, x: Tensor, stride: int, training: bool) -> Tensor:
    """Channels are shared out evenly among the six, and what is left goes to the first.

    In DG-STGCN the mean of the joints passes the branches too, and is then added to each joint with its weight.
    """
    fused = f"{at}.joint_weights" in state
    x = torch.cat([x, x.mean(3, keepdim=True)], 3) if fused else x
    step, width = (stride, 1), x.shape[1] // 6
    first = x.shape[1] - 5 * width
    sliced = F.relu(norm(state, f"{at}.slices.1", convolved(state, f"{at}.slices.0", x), training))
    parts = list(sliced.split([first, width, width, width, width], 1))
    for j in range(4):
        apart = {"padding": (j + 1, 0), "dilation": (j + 1, 1)}
        parts[j] = convolved(state, f"{at}.dilated.{j}", parts[j], stride=step, **apart)
    parts[4] = F.max_pool2d(parts[4], (3, 1), step, (1, 0))
    parts.append(convolved(state, f"{at}.frame", x, stride=step))
    y = torch.cat(parts, 1)
    y = y[..., :-1] + y[..., -1:] * state[f"{at}.joint_weights"] if fused else y
    y = F.relu(norm(state, f"{at}.mix.0", y, training))
    return norm(state, f"{at}.mix.3", convolved(state, f"{at}.mix.2", y), training)


def convolved(state: dict[str, Tensor], at: str, x: Tensor, **how: Any) -> Tensor:
    return F.conv2d(x, state[f"{at}.weight"], state[f"{at}.bias"], **how)


def norm(state: dict[str, Tensor], at: str, x: Tensor, training: bool) -> Tensor:
    shape = (1, -1) + (1,) * (x.dim() - 2)
    over = [d for d in range(x.dim()) if d != 1]
    mean = x.mean(over) if training else state[f"{at}.running_mean"]
    variance = x.var(over, unbiased=False) if training else state[f"{at}.running_var"]
    scaled = (x - mean.view(shape)) / (variance.view(shape) + 1e-5).sqrt()
    return scaled * state[f"{at}.weight"].view(shape) + state[f"{at}.bias"].view(shape)


def prepared(
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
