"""An ONNX network at another precision: its blocks in fp16, or their convolutions in int8 between Q/DQ nodes.

Only the blocks, from the first convolution to the pooling over frames and joints, are converted. The data batch norm
before them may process millimetres, whose variance exceeds fp16; the pooling over some ten thousand values and the head
after them are cheap. Q/DQ nodes have the form that TensorRT reads: int8, zero point 0, one scale for an activation and
one for each output channel of a weight (TensorRT documentation, "Working with Quantized Types"). This module inserts
them, and not onnxruntime.quantization, so that the ranges are plain numbers that a cache can store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from tao_skill.errors import BadData
from tao_skill.models.pose_classification.checks.deployment import PER_CHANNEL_OPSET
from tao_skill.models.pose_classification.deploy import onnx_file

UNREADABLE: Final = (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError)
POOLING: Final = ("GlobalAveragePool", "ReduceMean")
"""The operator of the pooling after the blocks: the first that a graph has, because a block may also take a mean."""

INT8_MAX: Final = 127.0
FP16_MAX: Final = float(np.finfo(np.float16).max)


def read_onnx(path: Path, key: str | None) -> ModelProto:
    """A checked ONNX model, weights included, with one float32 input (N, C, T, V, M) and one output.

    Raises:
        BadData: it is damaged, encrypted with another key or already in int8, has weights in other files, other inputs
            or outputs, or a dynamic size other than its batch.
    """
    model = onnx_file.load(path, key)
    try:
        onnx.checker.check_model(model, full_check=True)
        for weight in model.graph.initializer:
            numpy_helper.to_array(weight)
    except UNREADABLE as error:
        raise BadData(
            f"{path} cannot be read as ONNX: {' '.join(str(error).split())[:200] or type(error).__name__}",
            fix="export the model again, or copy the complete file",
            path=str(path),
        ) from error
    _check_interface(model, path)
    if -1 in (shape := input_shape(model))[1:]:
        raise BadData(
            f"{path} has an input of {shape}, accepted for an engine: a dynamic batch, all other sizes fixed",
            fix="export it again with the sequence length of the data as export.sequence_length",
            path=str(path),
        )
    if any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        raise BadData(
            f"{path} is in int8 for onnxruntime, accepted for an engine: fp32",
            fix="export it with export.precision=fp32, and set gen_trt_engine.tensorrt.data_type=int8",
            path=str(path),
        )
    return model


def input_shape(model: ModelProto) -> tuple[int, ...]:
    """(N, C, T, V, M) of the input; -1 stands for a dynamic size."""
    dims = model.graph.input[0].type.tensor_type.shape.dim
    return tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims)


def digest(model: ModelProto) -> str:
    """SHA-256 of the model, which identifies its ranges in a calibration cache."""
    return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()


def to_fp16(model: ModelProto) -> ModelProto:
    """The model with its blocks in fp16; input, output, data batch norm, pooling and head stay fp32.

    Raises:
        BadData: a weight exceeds fp16, or the blocks have an operator that does not support fp16.
    """
    converted = deepcopy(model)
    graph = converted.graph
    before, inside, after = _parts(graph)
    outputs = {name for node in inside for name in node.output}
    leaving = outputs & {*(name for node in after for name in node.input), *(output.name for output in graph.output)}
    floats = _float_tensors(converted)
    weights = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
    renamed = {name: f"{name}_fp16" for node in inside for name in node.input if name in floats and name not in outputs}
    graph.initializer.extend(_halved(weights[name], new) for name, new in renamed.items() if name in weights)
    entering = [_cast(name, new, TensorProto.FLOAT16) for name, new in renamed.items() if name not in weights]
    renamed |= {name: f"{name}_fp16" for name in leaving}
    for node in inside:
        _rename(node, renamed)
    exits = [_cast(renamed[name], name, TensorProto.FLOAT) for name in sorted(leaving)]
    replace_nodes(graph, [*before, *entering, *inside, *exits, *after])
    return _checked(converted, "fp16")


def calibrate(model: ModelProto, batches_NCTVM: Iterable[NDArray[np.float32]]) -> dict[str, float]:
    """Largest absolute value of each input of a convolution of the blocks, over all batches.

    Raises:
        BadData: a value is not finite.
    """
    names = list(dict.fromkeys(node.input[0] for node in _convolutions(model.graph)))
    return {name: max(-low, high) for name, (low, high) in extremes(model, names, batches_NCTVM).items()}


def extremes(
    model: ModelProto, names: Sequence[str], batches_NCTVM: Iterable[NDArray[np.float32]]
) -> dict[str, tuple[float, float]]:
    """Smallest and largest value of tensors over all batches.

    Raises:
        BadData: a value is not finite.
    """
    import onnxruntime

    watched = deepcopy(model)
    del watched.graph.output[:]
    watched.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    session = onnxruntime.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
    found = dict.fromkeys(names, (np.inf, -np.inf))
    for x_NCTVM in batches_NCTVM:
        for name, value in zip(names, session.run(names, {model.graph.input[0].name: x_NCTVM}), strict=True):
            low, high = found[name]
            found[name] = (
                float(np.minimum(low, value.min())),
                float(np.maximum(high, value.max())),
            )  # unlike min and max, these propagate NaN
    if invalid := [name for name, limits in found.items() if not np.isfinite(limits).all()]:
        raise BadData(
            f"calibration reached values that are not finite, first in {invalid[0]}",
            fix="inspect the calibration data for NaN",
        )
    return found


def to_int8(model: ModelProto, ranges: Mapping[str, float]) -> ModelProto:
    """The model with the convolutions of its blocks between Q/DQ nodes; all other operators stay fp32.

    Raises:
        BadData: the opset has no scale per channel, or a range is missing.
    """
    check_opset(model)
    converted = deepcopy(model)
    graph = converted.graph
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    convolutions = {node.output[0] for node in _convolutions(graph)}
    nodes: list[NodeProto] = []
    done: set[str] = set()
    for node in list(graph.node):
        if node.output[0] in convolutions:
            data, weight = node.input[0], node.input[1]
            for name, largest in ((data, _range(ranges, data)), (weight, _channel_ranges(weights[weight]))):
                if name not in done:
                    nodes += _quantized(graph, name, largest)
                    done.add(name)
            node.input[0], node.input[1] = f"{data}_dequantized", f"{weight}_dequantized"
        nodes.append(node)
    replace_nodes(graph, nodes)
    return _checked(converted, "int8")


def check_opset(model: ModelProto) -> None:
    """Check that the opset of a model has scales per channel.

    Raises:
        BadData: it does not.
    """
    opset = next(opset_id.version for opset_id in model.opset_import if opset_id.domain in ("", "ai.onnx"))
    if opset < PER_CHANNEL_OPSET:
        raise BadData(
            f"int8 needs ONNX opset {PER_CHANNEL_OPSET} or above, but the model has {opset}",
            fix=f"export it again with export.opset_version={PER_CHANNEL_OPSET} or above",
        )


def _check_interface(model: ModelProto, path: Path) -> None:
    """Check for one float32 input of five dimensions and one output; weights that are listed as inputs are dropped."""
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in stored]
    kinds = [(value.type.tensor_type.elem_type, len(value.type.tensor_type.shape.dim)) for value in inputs]
    if kinds != [(TensorProto.FLOAT, 5)] or len(model.graph.output) != 1:
        names, outputs = [value.name for value in inputs], [value.name for value in model.graph.output]
        raise BadData(
            f"{path} has the inputs {names} and the outputs {outputs}, "
            "accepted: one float32 input (N, C, T, V, M) and one output",
            fix="use an ONNX file that the export action wrote",
            path=str(path),
        )
    del model.graph.input[:]
    model.graph.input.extend(inputs)


def blocks(graph: GraphProto) -> list[NodeProto]:
    """Nodes of the blocks, in topological order."""
    return _parts(graph)[1]


def _parts(graph: GraphProto) -> tuple[list[NodeProto], list[NodeProto], list[NodeProto]]:
    """Nodes before, in and after the blocks, in topological order."""
    nodes = list(graph.node)
    begin = next((i for i, node in enumerate(nodes) if node.op_type == "Conv"), 0)
    pooling = (i for kind in POOLING for i, node in enumerate(nodes) if node.op_type == kind and i > begin)
    end = next(pooling, len(nodes))
    return nodes[:begin], nodes[begin:end], nodes[end:]


def _convolutions(graph: GraphProto) -> Iterator[NodeProto]:
    stored = {tensor.name for tensor in graph.initializer}
    return (node for node in _parts(graph)[1] if node.op_type == "Conv" and node.input[1] in stored)


def _float_tensors(model: ModelProto) -> set[str]:
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    typed = [*graph.value_info, *graph.input, *graph.output]
    names = {value.name for value in typed if value.type.tensor_type.elem_type == TensorProto.FLOAT}
    return names | {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}


def _halved(weight: TensorProto, name: str) -> TensorProto:
    value = numpy_helper.to_array(weight)
    if (largest := float(np.abs(value).max(initial=0.0))) > FP16_MAX:
        raise BadData(
            f"weight {weight.name} has the value {largest:g}, accepted for fp16: at most {FP16_MAX:g}",
            fix="set gen_trt_engine.tensorrt.data_type=fp32",
        )
    return numpy_helper.from_array(value.astype(np.float16), name)


def _cast(name: str, new: str, kind: int) -> NodeProto:
    return helper.make_node("Cast", [name], [new], name=f"{new}_cast", to=kind)


def _rename(node: NodeProto, renamed: Mapping[str, str]) -> None:
    for names in (node.input, node.output):
        for i, name in enumerate(names):
            names[i] = renamed.get(name, name)


def _range(ranges: Mapping[str, float], name: str) -> NDArray[np.float32]:
    if name not in ranges:
        raise BadData(
            f"the calibration has no range for {name}", fix="delete the calibration cache and calibrate again"
        )
    return np.array(ranges[name], np.float32)


def _channel_ranges(weight_OIKK: NDArray[np.float32]) -> NDArray[np.float32]:
    largest: NDArray[np.float32] = np.abs(weight_OIKK).max(axis=tuple(range(1, weight_OIKK.ndim)))
    return largest


def _quantized(graph: GraphProto, name: str, largest: NDArray[np.float32]) -> list[NodeProto]:
    """A quantize and a dequantize node after tensor `name`; TensorRT does not accept a scale of 0."""
    scale = np.where(largest > 0, largest / INT8_MAX, 1.0).astype(np.float32)
    graph.initializer.append(numpy_helper.from_array(scale, f"{name}_scale"))
    graph.initializer.append(numpy_helper.from_array(np.zeros(scale.shape, np.int8), f"{name}_zero_point"))
    nodes = [
        helper.make_node(operator, [source, f"{name}_scale", f"{name}_zero_point"], [target], name=target)
        for operator, source, target in (
            ("QuantizeLinear", name, f"{name}_quantized"),
            ("DequantizeLinear", f"{name}_quantized", f"{name}_dequantized"),
        )
    ]
    if scale.ndim:
        for node in nodes:
            node.attribute.append(helper.make_attribute("axis", 0))
    return nodes


def replace_nodes(graph: GraphProto, nodes: list[NodeProto]) -> None:
    """Replace the nodes of a graph and drop unused weights."""
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    del graph.value_info[:]  # it has the old types


def _checked(model: ModelProto, precision: str) -> ModelProto:
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise BadData(
            f"the ONNX cannot be converted to {precision}: {' '.join(str(error).split())[:200]}",
            fix="set gen_trt_engine.tensorrt.data_type=fp32, or use an ONNX file that the export action wrote",
        ) from error
    return model
