"""An ONNX graph that is built node by node."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from tao_skill import __version__
from tao_skill.models.pose_classification.deploy.onnx_file import INPUT, OUTPUT

Array = NDArray[np.float64]

REDUCES_BY_INPUT: Final = 18
"""Opset from which reductions take their axes as an input."""


@dataclass(frozen=True, kw_only=True)
class Graph:
    """Nodes, each named after its output, and weights in one precision."""

    kind: np.dtype[Any]
    opset: int
    nodes: list[NodeProto] = field(default_factory=list)
    stored: list[TensorProto] = field(default_factory=list)

    def add(self, operator: str, name: str, *inputs: str, **attributes: Any) -> str:
        """Add a node and return its output."""
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def add_pair(self, operator: str, name: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with two outputs and return the first."""
        self.nodes.append(helper.make_node(operator, inputs, [name, f"{name}.second"], name=name, **attributes))
        return name

    def store(self, name: str, value: Array | list[int] | int) -> str:
        """Store weights, or integers, and return their name."""
        array = np.array(value, np.int64) if isinstance(value, list | int) else np.ascontiguousarray(value, self.kind)
        self.stored.append(numpy_helper.from_array(array, name))
        return name

    def reduce(self, operator: str, name: str, x: str, *axes: int, keepdims: int = 1) -> str:
        """Add a reduction over some axes."""
        if self.opset < REDUCES_BY_INPUT:
            return self.add(operator, name, x, axes=axes, keepdims=keepdims)
        return self.add(operator, name, x, self.store(f"{name}.axes", list(axes)), keepdims=keepdims)

    def cut(self, name: str, x: str, axis: int, start: int, stop: int) -> str:
        """Add a slice of an axis from `start` to `stop`."""
        bounds = {"from": start, "to": stop, "axis": axis}
        return self.add("Slice", name, x, *(self.store(f"{name}.{key}", [value]) for key, value in bounds.items()))

    def reshape(self, name: str, x: str, *sizes: int) -> str:
        """The dimensions after the first get these sizes."""
        return self.add("Reshape", name, x, self.store(f"{name}.shape", [0, *sizes]))

    def mean_of_frames(self, name: str, x_NCTV: str) -> str:
        """(N, C, T, V) -> (N, C, V)."""
        return self.reduce("ReduceMean", name, x_NCTV, 2, keepdims=0)

    def model(self, shape: tuple[int | str, ...], classes: int) -> ModelProto:
        """The checked model, from INPUT of this shape to OUTPUT of the scores of `classes` classes."""
        kind = helper.np_dtype_to_tensor_dtype(self.kind)
        source = helper.make_tensor_value_info(INPUT, kind, shape)
        target = helper.make_tensor_value_info(OUTPUT, kind, (shape[0], classes))
        graph = helper.make_graph(self.nodes, "ST-GCN", [source], [target], self.stored)
        opsets = [helper.make_opsetid("", self.opset)]
        version = helper.find_min_ir_version_for(opsets)
        producer = {"producer_name": "tao-skill", "producer_version": __version__}
        model = helper.make_model(graph, opset_imports=opsets, ir_version=version, **producer)
        onnx.checker.check_model(model, full_check=True)
        return model
