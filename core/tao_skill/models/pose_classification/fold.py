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
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor

from tao_skill import __version__
from tao_skill.models.pose_classification.architecture import BLOCKS, TEMPORAL_KERNEL
from tao_skill.models.pose_classification.onnx_file import INPUT, OUTPUT

Array = NDArray[np.float64]

OPSET: Final = 18
EPSILON: Final = 1e-5
"""What torch's batch norms add to a variance."""


def to_onnx(
    state: Mapping[str, Tensor], *, frames: int | None, persons: int = 1, batch: int | None = None, opset: int = OPSET
) -> ModelProto:
    """A network's `state_dict` as a model (batch, C, T, V, M) -> (batch, classes), in the precision of its weights.

    Args:
        frames: T; None takes any, of one person.
        batch: a fixed one; None takes any.
        opset: at least 7; the operators used mean the same in all that came since.
    """
    weights = {name: value.detach().cpu().double().numpy() for name, value in state.items()}
    (_, joints, _), (classes, width) = weights["A"].shape, weights["fcn.weight"].shape[:2]
    channels = len(weights["data_bn.weight"]) // joints
    graph = _Graph(kind=np.dtype(f"f{state['A'].element_size()}"))
    x = _normalised(graph, weights, (channels, frames, joints, persons))
    for i, (_, stride) in enumerate(BLOCKS):
        A_KVV = weights["A"] * weights.get(f"edge_importance.{i}", 1.0)
        x = _block(graph, f"st_gcn_networks.{i}", weights, A_KVV, stride, x)
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


def _normalised(graph: _Graph, weights: Mapping[str, Array], shape: tuple[int, int | None, int, int]) -> str:
    """The data batch norm, and persons as sequences of their own: (N, C, T, V, M) -> (N M, C, T, V)."""
    channels, frames, joints, persons = shape
    scale, shift = (part.reshape(joints, channels).T[:, None, :, None] for part in _affine(weights, "data_bn"))
    x = graph.add("Mul", "data_bn.scaled", INPUT, graph.store("data_bn.scale", scale))
    x = graph.add("Add", "data_bn", x, graph.store("data_bn.shift", shift))
    if persons > 1:
        x = graph.add("Transpose", "persons_first", x, perm=[0, 4, 1, 2, 3])
    sizes = [0, channels, 0, joints] if frames is None else [-1, channels, frames, joints]
    return graph.add("Reshape", "sequences", x, graph.store("sequences.shape", sizes))


def _block(graph: _Graph, at: str, weights: Mapping[str, Array], A_KVV: Array, stride: int, x: str) -> str:
    """(N, C_in, T, V) -> (N, C_out, ceil(T / stride), V)."""
    y = _graph_convolution(graph, at, weights, A_KVV, x)
    half = (TEMPORAL_KERNEL - 1) // 2
    y = _convolution(graph, f"{at}.tcn", weights, (f"{at}.tcn.2", f"{at}.tcn.3"), y, [stride, 1], [half, 0, half, 0])
    if f"{at}.residual.0.weight" in weights:
        names = (f"{at}.residual.0", f"{at}.residual.1")
        x = _convolution(graph, f"{at}.residual", weights, names, x, [stride, 1], [0] * 4)
    if not at.endswith(".0"):
        y = graph.add("Add", f"{at}.sum", y, x)
    return graph.add("Relu", at, y)


def _graph_convolution(graph: _Graph, at: str, weights: Mapping[str, Array], A_KVV: Array, x: str) -> str:
    """Graph convolution, batch norm and ReLU."""
    subsets, joints, _ = A_KVV.shape
    scale_C, shift_C = _affine(weights, f"{at}.tcn.0")
    W_KOI = weights[f"{at}.gcn.conv.weight"].reshape(subsets, len(scale_C), -1) * scale_C[:, None]
    b_KO = weights[f"{at}.gcn.conv.bias"].reshape(subsets, -1) * scale_C
    constant_OV = np.einsum("ko,kvw->ow", b_KO, A_KVV) + shift_C[:, None]
    A_VKV = A_KVV.transpose(1, 0, 2).reshape(joints, -1)
    y = graph.add("MatMul", f"{at}.neighbours", x, graph.store(f"{at}.A", A_VKV))
    weight = graph.store(f"{at}.gcn.weight", W_KOI.transpose(1, 2, 0)[:, :, None])
    y = graph.add("Conv", f"{at}.gcn", y, weight, kernel_shape=[1, subsets], dilations=[1, joints])
    y = graph.add("Add", f"{at}.gcn.shifted", y, graph.store(f"{at}.gcn.constant", constant_OV[:, None]))
    return graph.add("Relu", f"{at}.gcn.relu", y)


def _convolution(
    graph: _Graph,
    name: str,
    weights: Mapping[str, Array],
    names: tuple[str, str],
    x: str,
    strides: list[int],
    pads: list[int],
) -> str:
    """A convolution over frames and the batch norm after it, which are called `names`."""
    convolution, norm = names
    scale_C, shift_C = _affine(weights, norm)
    weight = weights[f"{convolution}.weight"] * scale_C[:, None, None, None]
    bias = weights[f"{convolution}.bias"] * scale_C + shift_C
    stored = graph.store(f"{name}.weight", weight), graph.store(f"{name}.bias", bias)
    return graph.add("Conv", name, x, *stored, kernel_shape=list(weight.shape[2:]), strides=strides, pads=pads)


def _affine(weights: Mapping[str, Array], norm: str) -> tuple[Array, Array]:
    """Scale and shift that a batch norm applies once it is trained."""
    scale = weights[f"{norm}.weight"] / np.sqrt(weights[f"{norm}.running_var"] + EPSILON)
    return scale, weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
