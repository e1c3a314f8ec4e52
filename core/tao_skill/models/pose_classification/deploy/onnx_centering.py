"""The ONNX graph of `network.centering`: coordinates relative to the centre joint."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from onnx import TensorProto, helper

from tao_skill.models.pose_classification.deploy.onnx_nodes import Graph
from tao_skill.models.pose_classification.network.centering import FAR
from tao_skill.models.pose_classification.network.layouts import Layout

LONGEST: Final = 1 << 16
"""Frames over which a graph of dynamic length carries the centre."""


def add_centering(graph: Graph, x: str, layout: Layout, channels: int, frames: int | None, *, group: bool) -> str:
    """(N, C, T, V, M) -> the same, as `centering.centered`."""
    coordinates = min(layout.coordinates, channels)
    has_more = coordinates < channels
    zero = graph.store("center.zero", np.zeros(()))
    places = graph.cut("center.coordinates", x, 1, 0, coordinates) if has_more else x
    is_missing = _missing_by_value(graph, places, zero)
    if has_more:
        is_missing = _by_confidence(graph, x, coordinates, zero, is_missing)
    seen = graph.add("Not", "center.seen", is_missing)
    joint = layout.center
    found, origin = (graph.cut(f"{part}.of_center", part, 3, joint, joint + 1) for part in (seen, places))
    if group:
        found, origin = (graph.cut(f"{part}.first", part, 4, 0, 1) for part in (found, origin))
    origin = graph.add("Where", "center.known", found, origin, zero)
    size = graph.add("Shape", "center.size", origin)
    frame = graph.add("Expand", "center.frames", _nearest(graph, found, frames), size)
    origin = graph.add("GatherElements", "center.origin", origin, frame, axis=2)
    centered = graph.add("Sub", "center", places, graph.add("Where", "center.shift", seen, origin, zero))
    if not has_more:
        return centered
    return graph.add("Concat", "center.all", centered, graph.cut("center.rest", x, 1, coordinates, channels), axis=1)


def _missing_by_value(graph: Graph, places: str, zero: str) -> str:
    """Joints whose coordinates are all 0, and 0 is not near the person, (N, 1, T, V, M)."""
    largest = graph.reduce("ReduceMax", "center.largest", graph.add("Abs", "center.sizes", places), 1)
    is_zero = graph.add("Equal", "center.is_zero", largest, zero)
    extremes = []
    for name, far in (("Min", FAR), ("Max", -FAR)):
        bound = graph.store(f"center.{name}.far", np.array(far))
        others = graph.add("Where", f"center.{name}.others", is_zero, bound, places)
        extremes.append(graph.reduce(f"Reduce{name}", f"center.{name}", others, 3))
    extent = graph.add("Sub", "center.extent", extremes[1], extremes[0])
    reach = graph.add("Mul", "center.reach", extent, graph.store("center.half", np.array(0.5)))
    above = graph.add("Greater", "center.is_above", graph.add("Sub", "center.least", extremes[0], reach), zero)
    below = graph.add("Less", "center.is_below", graph.add("Add", "center.most", extremes[1], reach), zero)
    apart = graph.add("Cast", "center.apart", graph.add("Or", "center.is_apart", above, below), to=TensorProto.FLOAT)
    farthest = graph.reduce("ReduceMax", "center.farthest", apart, 1)
    is_far = graph.add("Cast", "center.is_far", farthest, to=TensorProto.BOOL)
    return graph.add("And", "center.is_missing", is_zero, is_far)


def _by_confidence(graph: Graph, x: str, coordinates: int, zero: str, is_missing: str) -> str:
    """Missing joints by the confidence, where the channel after the coordinates is one, else `is_missing`."""
    values = graph.cut("center.confidence", x, 1, coordinates, coordinates + 1)
    least = graph.reduce("ReduceMin", "center.least_confidence", values, 2, 3)
    most = graph.reduce("ReduceMax", "center.most_confidence", values, 2, 3)
    negative = graph.add("Less", "center.is_negative", least, zero)
    large = graph.add("Greater", "center.is_large", most, graph.store("center.one", np.ones(())))
    absent = graph.add("Not", "center.is_absent", graph.add("Greater", "center.is_positive", most, zero))
    other = graph.add("Or", "center.is_other", graph.add("Or", "center.is_outside", negative, large), absent)
    unsure = graph.add("Not", "center.is_unsure", graph.add("Greater", "center.is_sure", values, zero))
    # Where does not choose between booleans in onnxruntime
    is_confidence = graph.add("Not", "center.is_confidence", other)
    first = graph.add("And", "center.missing_by_confidence", is_confidence, unsure)
    return graph.add("Or", "center.missing", first, graph.add("And", "center.missing_by_value", other, is_missing))


def _nearest(graph: Graph, found: str, frames: int | None) -> str:
    """The frame whose centre is used, (N, 1, T, 1, M): the last one before, found by doubling, else the first."""
    one, minus_one = graph.store("center.plus_one", [1]), graph.store("center.minus_one", [-1])
    count = graph.add("Cast", "center.count", found, to=TensorProto.INT64)
    filled = helper.make_tensor("value", TensorProto.INT64, [1], [1])
    ones = graph.add("ConstantOfShape", "center.ones", graph.add("Shape", "center.found_size", found), value=filled)
    number = graph.add("CumSum", "center.number", ones, graph.store("center.time", 2))
    at = graph.add("Sub", "center.at", number, one)
    before = graph.add("Where", "center.found_at", found, at, minus_one)
    for i in range(math.ceil(math.log2(frames or LONGEST))):
        pads = graph.store(f"center.{i}.pads", [0, 0, 1 << i, 0, 0, 0, 0, 0, 0, 0])
        padded = graph.add("Pad", f"center.{i}.padded", before, pads, minus_one)
        earlier = graph.cut(f"center.{i}.earlier", padded, 2, 0, -(1 << i))
        before = graph.add("Max", f"center.{i}.before", before, earlier)
    none = graph.add("Less", "center.is_none", before, graph.store("center.first", [0]))
    first = graph.add("ArgMax", "center.first_found", count, axis=2, keepdims=1)
    return graph.add("Where", "center.nearest", none, first, before)
