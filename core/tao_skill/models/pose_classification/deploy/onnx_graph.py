"""A trained ST-GCN as an ONNX graph of few operators: each batch norm is folded into the convolution beside it.

Of a block's graph convolution with weights W_k and biases b_k over adjacencies A_k, and the scale s and shift h of the
batch norm after it,

    s sum_k (W_k x + b_k) A_k + h  =  sum_k (s W_k) (x A_k)  +  (sum_k s b_k A_k + h).

On the right, all x A_k are one matrix product over joints, (V) -> (K V); the sum over k is one convolution whose K taps
lie V joints apart; the last term is a constant of channel and joint. Nothing is transposed, and x has no more channels
than W_k x has. onnxruntime runs this several times as fast as torch runs the network it was folded from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor

from tao_skill import __version__
from tao_skill.models.pose_classification.deploy.onnx_file import INPUT, OUTPUT
from tao_skill.models.pose_classification.network.architecture import (
    BLOCKS,
    BRANCHED,
    DILATIONS,
    TEMPORAL_KERNEL,
    branch_widths,
)

Array = NDArray[np.float64]
Pair = tuple[Array, Array]

OPSET: Final = 18
EPSILON: Final = 1e-5
"""What torch's batch norms add to a variance."""


def to_onnx(
    state: Mapping[str, Tensor], *, frames: int | None, persons: int = 1, batch: int | None = None, opset: int = OPSET
) -> ModelProto:
    """A network's `state_dict` as a model (batch, C, T, V, M) -> (batch, classes), in the precision of its weights.

    Args:
        frames: T; None takes any.
        batch: a fixed one; None takes any.
        opset: at least 7; the operators used mean the same in all that came since.
    """
    weights = {name: value.detach().cpu().double().numpy() for name, value in state.items()}
    (_, joints, _), (classes, width) = weights["A"].shape, weights["fcn.weight"].shape[:2]
    channels = len(weights["data_bn.weight"]) // joints
    graph = _Graph(kind=np.dtype(f"f{state['A'].element_size()}"))
    x = _centered(graph, weights["center"]) if "center" in weights else INPUT
    x = _normalised(graph, weights, (channels, frames, joints, persons), x)
    for i, (_, stride) in enumerate(BLOCKS):
        at = f"st_gcn_networks.{i}"
        y = (_branches if BRANCHED in weights else _temporal_convolution)(
            graph, at, weights, _adjacency(weights, i), stride, x
        )
        x = _sum(graph, at, weights, stride, y, x) if i > 0 else graph.add("Relu", at, y)
    x = graph.add("GlobalAveragePool", "pooled", x)
    x = graph.add("Reshape", "persons", x, graph.store("persons.shape", [-1, persons * width]))
    head = np.tile(weights["fcn.weight"][:, :, 0, 0] / persons, persons)  # their mean, and then the head
    stored = graph.store("fcn.weight", head), graph.store("fcn.bias", weights["fcn.bias"])
    graph.add("Gemm", OUTPUT, x, *stored, transB=1)
    return graph.model((batch or "batch", channels, frames or "frames", joints, persons), classes, opset)


@dataclass(frozen=True, kw_only=True)
class _Graph:
    """Nodes, each called as what it makes, and weights, stored in one precision."""

    kind: np.dtype[Any]
    nodes: list[NodeProto] = field(default_factory=list)
    stored: list[TensorProto] = field(default_factory=list)

    def add(self, operator: str, name: str, *inputs: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def store(self, name: str, value: Array | list[int]) -> str:
        kept = np.array(value, np.int64) if isinstance(value, list) else np.ascontiguousarray(value, self.kind)
        self.stored.append(numpy_helper.from_array(kept, name))
        return name

    def model(self, shape: tuple[int | str, ...], classes: int, opset: int) -> ModelProto:
        kind = helper.np_dtype_to_tensor_dtype(self.kind)
        given = helper.make_tensor_value_info(INPUT, kind, shape)
        made = helper.make_tensor_value_info(OUTPUT, kind, (shape[0], classes))
        graph = helper.make_graph(self.nodes, "ST-GCN", [given], [made], self.stored)
        opsets = [helper.make_opsetid("", opset)]
        version = helper.find_min_ir_version_for(opsets)
        producer = {"producer_name": "tao-skill", "producer_version": __version__}
        model = helper.make_model(graph, opset_imports=opsets, ir_version=version, **producer)
        onnx.checker.check_model(model, full_check=True)
        return model


def _centered(graph: _Graph, center_CV: Array) -> str:
    """Coordinates relative to the centre joint; what is 0 stays 0, as its sign is."""
    joint, channels_C = int(center_CV.sum(axis=0).argmax()), center_CV.sum(axis=1)
    bounds = {"from": joint, "to": joint + 1, "axis": 3}
    stored = [graph.store(f"center.{name}", [value]) for name, value in bounds.items()]
    place = graph.add("Slice", "center.joint", INPUT, *stored)
    place = graph.add("Mul", "center.place", place, graph.store("center.channels", channels_C[:, None, None, None]))
    there = graph.add("Abs", "center.there", graph.add("Sign", "center.sign", INPUT))
    return graph.add("Mul", "center", graph.add("Sub", "center.relative", INPUT, place), there)


def _normalised(graph: _Graph, weights: Mapping[str, Array], shape: tuple[int, int | None, int, int], x: str) -> str:
    """The data batch norm, and persons as sequences of their own: (N, C, T, V, M) -> (N M, C, T, V)."""
    channels, frames, joints, persons = shape
    scale, shift = (part.reshape(joints, channels).T[:, None, :, None] for part in _affine(weights, "data_bn"))
    x = graph.add("Mul", "data_bn.scaled", x, graph.store("data_bn.scale", scale))
    x = graph.add("Add", "data_bn", x, graph.store("data_bn.shift", shift))
    if persons == 1:
        return graph.add("Reshape", "sequences", x, graph.store("sequences.shape", [0, channels, 0, joints]))
    x = graph.add("Transpose", "persons_first", x, perm=[0, 4, 1, 2, 3])
    if frames is not None:
        sizes = graph.store("sequences.shape", [-1, channels, frames, joints])
    else:
        seen = graph.add("Gather", "frames", graph.add("Shape", "sizes", x), graph.store("frames.axis", [3]))
        fixed = graph.store("sequences.before", [-1, channels]), graph.store("sequences.after", [joints])
        sizes = graph.add("Concat", "sequences.shape", fixed[0], seen, fixed[1], axis=0)
    return graph.add("Reshape", "sequences", x, sizes)


def _adjacency(weights: Mapping[str, Array], block: int) -> Array:
    """(K, V, V): of ST-GCN++ as it was learnt, else the skeleton's with learnt weights."""
    A_KVV, learnt = weights["A"], weights.get(f"edge_importance.{block}")
    if learnt is None:
        return A_KVV
    return learnt if BRANCHED in weights else A_KVV * learnt


def _temporal_convolution(
    graph: _Graph, at: str, weights: Mapping[str, Array], A_KVV: Array, stride: int, x: str
) -> str:
    """What a block of ST-GCN adds to its input: (N, C_in, T, V) -> (N, C_out, ceil(T / stride), V)."""
    y = graph.add("Relu", f"{at}.gcn.relu", _graph_convolution(graph, at, weights, A_KVV, f"{at}.tcn.0", x))
    half = (TEMPORAL_KERNEL - 1) // 2
    weight, affine = _stored(weights, f"{at}.tcn.2"), _affine(weights, f"{at}.tcn.3")
    return _convolution(graph, f"{at}.tcn", weight, affine, y, strides=[stride, 1], pads=[half, 0, half, 0])


def _branches(graph: _Graph, at: str, weights: Mapping[str, Array], A_KVV: Array, stride: int, x: str) -> str:
    """What a block of ST-GCN++ adds to its input, of the same shape.

    The batch norm over all branches is a part of each, so that each ends with its ReLU.
    """
    y = _graph_convolution(graph, at, weights, A_KVV, f"{at}.gcn.bn", x)
    x, tcn = _sum(graph, f"{at}.gcn", weights, 1, y, x), f"{at}.tcn"
    sliced, norm = _stored(weights, f"{tcn}.slices.0"), _affine(weights, f"{tcn}.slices.1")
    mixed = _affine(weights, f"{tcn}.mix.0")
    ends = np.cumsum(branch_widths(len(mixed[0])))
    *others, last = (slice(start, end) for start, end in pairwise((0, *ends)))
    parts = []
    for j, own in enumerate(others):
        y = _convolution(graph, f"{tcn}.{j}.slice", _of(sliced, own), _of(norm, own), x)
        y = graph.add("Relu", f"{tcn}.{j}.slice.relu", y)
        parts.append(_branch(graph, tcn, j, weights, _of(mixed, own), stride, y))
    frame = _stored(weights, f"{tcn}.frame")
    parts.append(_convolution(graph, f"{tcn}.{len(others)}", frame, _of(mixed, last), x, strides=[stride, 1]))
    y = graph.add("Concat", f"{tcn}.branches", *(graph.add("Relu", f"{one}.relu", one) for one in parts), axis=1)
    return _convolution(graph, tcn, _stored(weights, f"{tcn}.mix.2"), _affine(weights, f"{tcn}.mix.3"), y)


def _branch(graph: _Graph, tcn: str, j: int, weights: Mapping[str, Array], affine: Pair, stride: int, x: str) -> str:
    """The j-th: a dilated convolution, or the pooling after the last of them, scaled and shifted."""
    name = f"{tcn}.{j}"
    if j == len(DILATIONS):
        y = graph.add("MaxPool", f"{name}.pool", x, kernel_shape=[3, 1], strides=[stride, 1], pads=[1, 0, 1, 0])
        scale, shift = (part[:, None, None] for part in affine)
        y = graph.add("Mul", f"{name}.scaled", y, graph.store(f"{name}.scale", scale))
        return graph.add("Add", name, y, graph.store(f"{name}.shift", shift))
    step, stored = DILATIONS[j], _stored(weights, f"{tcn}.dilated.{j}")
    taps = {"dilations": [step, 1], "pads": [step, 0, step, 0]}
    return _convolution(graph, name, stored, affine, x, strides=[stride, 1], **taps)


def _sum(graph: _Graph, at: str, weights: Mapping[str, Array], stride: int, y: str, x: str) -> str:
    """ReLU of `y` and the residual, which is `x` or a convolution of it."""
    if f"{at}.residual.0.weight" in weights:
        stored, affine = _stored(weights, f"{at}.residual.0"), _affine(weights, f"{at}.residual.1")
        x = _convolution(graph, f"{at}.residual", stored, affine, x, strides=[stride, 1])
    return graph.add("Relu", f"{at}.out", graph.add("Add", f"{at}.sum", y, x))


def _graph_convolution(graph: _Graph, at: str, weights: Mapping[str, Array], A_KVV: Array, norm: str, x: str) -> str:
    """Graph convolution and batch norm."""
    subsets, joints, _ = A_KVV.shape
    scale_C, shift_C = _affine(weights, norm)
    W_KOI = weights[f"{at}.gcn.conv.weight"].reshape(subsets, len(scale_C), -1) * scale_C[:, None]
    b_KO = weights[f"{at}.gcn.conv.bias"].reshape(subsets, -1) * scale_C
    constant_OV = np.einsum("ko,kvw->ow", b_KO, A_KVV) + shift_C[:, None]
    A_VKV = A_KVV.transpose(1, 0, 2).reshape(joints, -1)
    y = graph.add("MatMul", f"{at}.neighbours", x, graph.store(f"{at}.A", A_VKV))
    weight = graph.store(f"{at}.gcn.weight", W_KOI.transpose(1, 2, 0)[:, :, None])
    y = graph.add("Conv", f"{at}.gcn", y, weight, kernel_shape=[1, subsets], dilations=[1, joints])
    return graph.add("Add", f"{at}.gcn.shifted", y, graph.store(f"{at}.gcn.constant", constant_OV[:, None]))


def _convolution(graph: _Graph, name: str, stored: Pair, affine: Pair, x: str, **steps: list[int]) -> str:
    """A convolution over frames of `stored` weight and bias, scaled and shifted."""
    (weight, bias), (scale_C, shift_C) = stored, affine
    kept = graph.store(f"{name}.weight", weight * scale_C[:, None, None, None])
    return graph.add("Conv", name, x, kept, graph.store(f"{name}.bias", bias * scale_C + shift_C), **steps)


def _stored(weights: Mapping[str, Array], convolution: str) -> Pair:
    return weights[f"{convolution}.weight"], weights[f"{convolution}.bias"]


def _of(pair: Pair, channels: slice) -> Pair:
    first, last = pair
    return first[channels], last[channels]


def _affine(weights: Mapping[str, Array], norm: str) -> Pair:
    """Scale and shift that a batch norm applies once it is trained."""
    scale = weights[f"{norm}.weight"] / np.sqrt(weights[f"{norm}.running_var"] + EPSILON)
    return scale, weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
