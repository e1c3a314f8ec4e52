"""A folded network in int8, as onnxruntime computes it fast on CPUs.

The convolutions and sums of the blocks stand between quantize and dequantize nodes, and onnxruntime computes them in
integers. The product with the adjacencies, a twentieth of the work, stays fp32, as do coordinates' batch norm and head.
Weights are rounded channel by channel. Activations are unsigned, so that rounding does what a ReLU does, and the ReLUs
go; onnxruntime.quantization keeps them and rounds what is before them too, at several times the error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

from tao_skill.models.pose_classification.deploy import tensorrt_precision

ROUNDED: Final = ("Conv", "Add")
UNSIGNED_MAX: Final = 255
WEIGHT_MAX: Final = 127

Ranges = Mapping[str, tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class _Steps:
    """How numbers are rounded: `size` of a step, one or one for each channel, and the integers that 0 becomes."""

    size: NDArray[np.float32]
    zero: NDArray[Any]


def calibrate(model: ModelProto, batches_NCTVM: Iterable[NDArray[np.float32]]) -> Ranges:
    """Smallest and largest value of each tensor that will be rounded.

    Of what a constant is added to before a ReLU, nothing counts that ends as 0: the steps get finer.

    Raises:
        BadData: a value is not finite.
    """
    ranges = tensorrt_precision.extremes(model, list(dict.fromkeys(_rounded(model.graph))), batches_NCTVM)
    stored, relus = _stored(model.graph), _relus(model.graph)
    for node in tensorrt_precision.blocks(model.graph):
        if node.op_type == "Add" and node.input[1] in stored and node.output[0] in relus:
            low, high = ranges[node.input[0]]
            ranges[node.input[0]] = max(low, -float(stored[node.input[1]].max())), high
    return ranges


def corrected(model: ModelProto, error_K: NDArray[np.float32]) -> ModelProto:
    """The model with scores lower by `error_K`: frames of padding are all rounded alike, which shifts every score."""
    changed = deepcopy(model)
    bias_name = changed.graph.node[-1].input[2]
    bias = next(one for one in changed.graph.initializer if one.name == bias_name)
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) - error_K, bias_name))
    return changed


def to_int8(model: ModelProto, ranges: Ranges) -> ModelProto:
    """The model in int8; weights are rounded within their own ranges, activations within those given.

    Raises:
        BadData: the opset knows no scale per channel.
    """
    tensorrt_precision.check_opset(model)
    converted = deepcopy(model)
    graph, relus = converted.graph, _relus(model.graph)
    stored = _stored(graph)
    steps = {name: _activation_steps(*limits) for name, limits in ranges.items()}
    inside = {node.name for node in tensorrt_precision.blocks(graph)}
    nodes: list[NodeProto] = []
    for node in list(graph.node):
        if node.name in inside and node.op_type == "Relu":
            continue
        if node.name in inside and node.op_type in ROUNDED:
            nodes += _with_rounded_weights(graph, node, stored, steps)
            node.output[0] = relus.get(node.output[0], node.output[0])
        for i, name in enumerate(node.input):
            node.input[i] = f"{name}_dequantized" if name in steps else name
        nodes.append(node)
        if (made := node.output[0]) in steps:
            nodes += [_linear(graph, "Quantize", made, steps[made]), _linear(graph, "Dequantize", made, steps[made])]
    tensorrt_precision.replace_nodes(graph, nodes)
    onnx.checker.check_model(converted, full_check=True)
    return converted


def _stored(graph: GraphProto) -> dict[str, NDArray[np.float32]]:
    return {one.name: numpy_helper.to_array(one) for one in graph.initializer}


def _relus(graph: GraphProto) -> dict[str, str]:
    """What goes into each ReLU of the blocks, and what comes out."""
    return {node.input[0]: node.output[0] for node in tensorrt_precision.blocks(graph) if node.op_type == "Relu"}


def _rounded(graph: GraphProto) -> Iterator[str]:
    """Tensors that go into or come out of what is computed in integers, with the ReLU after it."""
    stored, relus = {one.name for one in graph.initializer}, _relus(graph)
    for node in tensorrt_precision.blocks(graph):
        if node.op_type in ROUNDED:
            yield from (name for name in node.input if name not in stored)
            yield relus.get(node.output[0], node.output[0])


def _with_rounded_weights(
    graph: GraphProto, node: NodeProto, stored: Mapping[str, NDArray[np.float32]], steps: Mapping[str, _Steps]
) -> Iterator[NodeProto]:
    """Nodes that make the weights of `node` from integers; it takes them from there."""
    own = {name: stored[name] for name in node.input if name in stored}
    if node.op_type == "Conv":
        weight = _weight_steps(stored[node.input[1]])
        bias = _Steps(size=steps[node.input[0]].size * weight.size, zero=weight.zero.astype(np.int32))
        chosen = dict(zip(node.input[1:], (weight, bias), strict=False))
    else:
        chosen = {name: _activation_steps(value.min(), value.max()) for name, value in own.items()}
    for name, value in own.items():
        graph.initializer.append(numpy_helper.from_array(_integers(value, chosen[name]), f"{name}_quantized"))
        yield _linear(graph, "Dequantize", name, chosen[name])
    for i, name in enumerate(node.input):
        node.input[i] = f"{name}_dequantized" if name in own else name


def _activation_steps(low: float, high: float) -> _Steps:
    """256 steps over a range that holds 0."""
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    size = (high - low) / UNSIGNED_MAX or 1.0
    return _Steps(size=np.array(size, np.float32), zero=np.array(round(-low / size), np.uint8))


def _weight_steps(weight_OIKK: NDArray[np.float32]) -> _Steps:
    """Symmetric steps for each output channel."""
    largest_O = np.abs(weight_OIKK).max(axis=(1, 2, 3))
    size_O = np.where(largest_O > 0, largest_O / WEIGHT_MAX, 1.0).astype(np.float32)
    return _Steps(size=size_O, zero=np.zeros(len(size_O), np.int8))


def _integers(value: NDArray[np.float32], steps: _Steps) -> NDArray[Any]:
    size = steps.size.reshape(steps.size.shape + (1,) * (value.ndim - 1)) if steps.size.ndim else steps.size
    limits = np.iinfo(steps.zero.dtype)
    zero = steps.zero.flat[0].astype(np.float64)
    found: NDArray[Any] = np.clip(np.round(value / size) + zero, limits.min, limits.max).astype(steps.zero.dtype)
    return found


def _linear(graph: GraphProto, direction: str, name: str, steps: _Steps) -> NodeProto:
    """The node that makes a tensor's integers, or numbers of them."""
    source, target = {
        "Quantize": (name, f"{name}_quantized"),
        "Dequantize": (f"{name}_quantized", f"{name}_dequantized"),
    }[direction]
    names = [f"{name}_step", f"{name}_zero"]
    if direction == "Dequantize":  # every tensor has one
        values = zip(names, (steps.size, steps.zero), strict=True)
        graph.initializer.extend(numpy_helper.from_array(value, one) for one, value in values)
    node = helper.make_node(f"{direction}Linear", [source, *names], [target], name=target)
    if steps.size.ndim:
        node.attribute.append(helper.make_attribute("axis", 0))
    return node
