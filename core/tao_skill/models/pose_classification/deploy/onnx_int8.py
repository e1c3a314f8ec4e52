"""A hand-written graph (see onnx_graph) in int8, in the form that onnxruntime runs fast on CPUs.

The convolutions and sums of the blocks are between quantize and dequantize nodes, and onnxruntime computes them in
integers. The product with the adjacencies (5 % of the operations), the data batch norm and the head stay fp32. Weights
have a scale for each channel. Activations are unsigned, so that quantization clips as a ReLU does, and the ReLUs are
removed; onnxruntime.quantization keeps them and quantizes their inputs too, with several times the error.
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

QUANTIZED: Final = ("Conv", "Add")
UNSIGNED_MAX: Final = 255
WEIGHT_MAX: Final = 127

Ranges = Mapping[str, tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class _Scale:
    """A linear quantization: the step between two integers, one or one for each channel, and the zero points."""

    step: NDArray[np.float32]
    zero: NDArray[Any]


def calibrate(model: ModelProto, batches_NCTVM: Iterable[NDArray[np.float32]]) -> Ranges:
    """Smallest and largest value of each tensor that is quantized.

    Before an addition of a constant and a ReLU, values that end as 0 are left out of the range: the steps get finer.

    Raises:
        BadData: a value is not finite.
    """
    ranges = tensorrt_precision.extremes(model, list(dict.fromkeys(_quantized(model.graph))), batches_NCTVM)
    stored, relus = _stored(model.graph), _relus(model.graph)
    for node in tensorrt_precision.blocks(model.graph):
        if node.op_type == "Add" and node.input[1] in stored and node.output[0] in relus:
            low, high = ranges[node.input[0]]
            ranges[node.input[0]] = max(low, -float(stored[node.input[1]].max())), high
    return ranges


def corrected(model: ModelProto, error_K: NDArray[np.float32]) -> ModelProto:
    """The model with scores lowered by their mean error: all frames of padding have the same error, which adds up."""
    changed = deepcopy(model)
    graph = changed.graph
    (output,) = graph.node[-1].output
    graph.node[-1].name = graph.node[-1].output[0] = "uncorrected"
    graph.initializer.append(numpy_helper.from_array(error_K.astype(np.float32), "mean_error"))
    graph.node.append(helper.make_node("Sub", ["uncorrected", "mean_error"], [output], name=output))
    onnx.checker.check_model(changed, full_check=True)
    return changed


def to_int8(model: ModelProto, ranges: Ranges) -> ModelProto:
    """The model in int8; weights have the scales of their own ranges, activations those of `ranges`.

    Raises:
        BadData: the opset has no scale per channel.
    """
    tensorrt_precision.check_opset(model)
    converted = deepcopy(model)
    graph, relus = converted.graph, _relus(model.graph)
    stored = _stored(graph)
    scales = {name: _activation_scale(*limits) for name, limits in ranges.items()}
    inside = {node.name for node in tensorrt_precision.blocks(graph)}
    nodes: list[NodeProto] = []
    for node in list(graph.node):
        if node.name in inside and node.op_type == "Relu":
            continue
        if node.name in inside and node.op_type in QUANTIZED:
            nodes += _quantized_weights(graph, node, stored, scales)
            node.output[0] = relus.get(node.output[0], node.output[0])
        for i, name in enumerate(node.input):
            node.input[i] = f"{name}_dequantized" if name in scales else name
        nodes.append(node)
        if (output := node.output[0]) in scales:
            nodes += [_linear(graph, direction, output, scales[output]) for direction in ("Quantize", "Dequantize")]
    tensorrt_precision.replace_nodes(graph, nodes)
    onnx.checker.check_model(converted, full_check=True)
    return converted


def _stored(graph: GraphProto) -> dict[str, NDArray[np.float32]]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def _relus(graph: GraphProto) -> dict[str, str]:
    """Input and output of each ReLU of the blocks."""
    return {node.input[0]: node.output[0] for node in tensorrt_precision.blocks(graph) if node.op_type == "Relu"}


def _quantized(graph: GraphProto) -> Iterator[str]:
    """Inputs and outputs of the operators that are computed in integers, each with the ReLU after it."""
    stored, relus = {tensor.name for tensor in graph.initializer}, _relus(graph)
    for node in tensorrt_precision.blocks(graph):
        if node.op_type in QUANTIZED:
            yield from (name for name in node.input if name not in stored)
            yield relus.get(node.output[0], node.output[0])


def _quantized_weights(
    graph: GraphProto, node: NodeProto, stored: Mapping[str, NDArray[np.float32]], scales: Mapping[str, _Scale]
) -> Iterator[NodeProto]:
    """Nodes that dequantize the weights of `node`, whose inputs are changed to them."""
    own = {name: stored[name] for name in node.input if name in stored}
    if node.op_type == "Conv":
        weight = _weight_scale(stored[node.input[1]])
        bias = _Scale(step=scales[node.input[0]].step * weight.step, zero=weight.zero.astype(np.int32))
        chosen = dict(zip(node.input[1:], (weight, bias), strict=False))
    else:
        chosen = {name: _activation_scale(value.min(), value.max()) for name, value in own.items()}
    for name, value in own.items():
        graph.initializer.append(numpy_helper.from_array(_integers(value, chosen[name]), f"{name}_quantized"))
        yield _linear(graph, "Dequantize", name, chosen[name])
    for i, name in enumerate(node.input):
        node.input[i] = f"{name}_dequantized" if name in own else name


def _activation_scale(low: float, high: float) -> _Scale:
    """256 integers over a range that includes 0."""
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    step = (high - low) / UNSIGNED_MAX or 1.0
    return _Scale(step=np.array(step, np.float32), zero=np.array(round(-low / step), np.uint8))


def _weight_scale(weight_OIKK: NDArray[np.float32]) -> _Scale:
    """A symmetric scale for each output channel."""
    largest_O = np.abs(weight_OIKK).max(axis=(1, 2, 3))
    step_O = np.where(largest_O > 0, largest_O / WEIGHT_MAX, 1.0).astype(np.float32)
    return _Scale(step=step_O, zero=np.zeros(len(step_O), np.int8))


def _integers(value: NDArray[np.float32], scale: _Scale) -> NDArray[Any]:
    step = scale.step.reshape(scale.step.shape + (1,) * (value.ndim - 1)) if scale.step.ndim else scale.step
    limits = np.iinfo(scale.zero.dtype)
    zero = scale.zero.flat[0].astype(np.float64)
    found: NDArray[Any] = np.clip(np.round(value / step) + zero, limits.min, limits.max).astype(scale.zero.dtype)
    return found


def _linear(graph: GraphProto, direction: str, name: str, scale: _Scale) -> NodeProto:
    """The node that quantizes a tensor, or that dequantizes it."""
    source, target = {
        "Quantize": (name, f"{name}_quantized"),
        "Dequantize": (f"{name}_quantized", f"{name}_dequantized"),
    }[direction]
    names = [f"{name}_step", f"{name}_zero"]
    if direction == "Dequantize":  # each quantized tensor has exactly one such node
        values = zip(names, (scale.step, scale.zero), strict=True)
        graph.initializer.extend(numpy_helper.from_array(value, key) for key, value in values)
    node = helper.make_node(f"{direction}Linear", [source, *names], [target], name=target)
    if scale.step.ndim:
        node.attribute.append(helper.make_attribute("axis", 0))
    return node
