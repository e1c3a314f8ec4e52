"""The ONNX graph of `network.centering`: missing joints, and coordinates relative to the centre joint."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

from tao_skill.models.pose_classification.deploy.onnx_nodes import Graph
from tao_skill.models.pose_classification.network.centering import FAR
from tao_skill.models.pose_classification.network.layouts import Layout


def add_seen(graph: Graph, x: str, places: str, coordinates: int, channels: int) -> str:
    """Which joints were found, (N, 1, T, V, M), as `centering.seen`; `places` are the coordinates of `x`."""
    zero = graph.store("seen.zero", np.zeros(()))
    is_missing = _missing_by_value(graph, places, zero)
    if coordinates < channels:
        is_missing = _by_confidence(graph, x, coordinates, zero, is_missing)
    return graph.add("Not", "seen", is_missing)


def add_centering(graph: Graph, places: str, seen: str, layout: Layout, *, group: bool) -> str:
    """Coordinates (N, K, T, V, M) -> the same, as `centering.centered`."""
    zero, joint = graph.store("center.zero", np.zeros(())), layout.center
    found, origin = (
        graph.cut(f"center.of_{name}", part, 3, joint, joint + 1) for name, part in (("seen", seen), ("places", places))
    )
    if group:
        found, origin = (graph.cut(f"{part}.first", part, 4, 0, 1) for part in (found, origin))
    origin = graph.add("Where", "center.known", found, origin, zero)
    size = graph.add("Shape", "center.size", origin)
    frame = graph.add("Expand", "center.frames", _nearest(graph, found), size)
    origin = graph.add("GatherElements", "center.origin", origin, frame, axis=2)
    return graph.add("Sub", "center", places, graph.add("Where", "center.shift", seen, origin, zero))


def _missing_by_value(graph: Graph, places: str, zero: str) -> str:
    """Joints whose coordinates are all 0, and 0 is not near the person, (N, 1, T, V, M)."""
    largest = graph.reduce("ReduceMax", "seen.largest", graph.add("Abs", "seen.sizes", places), 1)
    is_zero = graph.add("Equal", "seen.is_zero", largest, zero)
    extremes = []
    for name, far in (("Min", FAR), ("Max", -FAR)):
        bound = graph.store(f"seen.{name}.far", np.array(far))
        others = graph.add("Where", f"seen.{name}.others", is_zero, bound, places)
        extremes.append(graph.reduce(f"Reduce{name}", f"seen.{name}", others, 3))
    extent = graph.add("Sub", "seen.extent", extremes[1], extremes[0])
    reach = graph.add("Mul", "seen.reach", extent, graph.store("seen.half", np.array(0.5)))
    above = graph.add("Greater", "seen.is_above", graph.add("Sub", "seen.least", extremes[0], reach), zero)
    below = graph.add("Less", "seen.is_below", graph.add("Add", "seen.most", extremes[1], reach), zero)
    apart = graph.add("Cast", "seen.apart", graph.add("Or", "seen.is_apart", above, below), to=TensorProto.FLOAT)
    farthest = graph.reduce("ReduceMax", "seen.farthest", apart, 1)
    is_far = graph.add("Cast", "seen.is_far", farthest, to=TensorProto.BOOL)
    return graph.add("And", "seen.is_missing", is_zero, is_far)


def _by_confidence(graph: Graph, x: str, coordinates: int, zero: str, is_missing: str) -> str:
    """Missing joints by the confidence, where the channel after the coordinates is one, else `is_missing`."""
    values = graph.cut("seen.confidence", x, 1, coordinates, coordinates + 1)
    least = graph.reduce("ReduceMin", "seen.least_confidence", values, 2, 3)
    most = graph.reduce("ReduceMax", "seen.most_confidence", values, 2, 3)
    negative = graph.add("Less", "seen.is_negative", least, zero)
    large = graph.add("Greater", "seen.is_large", most, graph.store("seen.one", np.ones(())))
    absent = graph.add("Not", "seen.is_absent", graph.add("Greater", "seen.is_positive", most, zero))
    other = graph.add("Or", "seen.is_other", graph.add("Or", "seen.is_outside", negative, large), absent)
    unsure = graph.add("Not", "seen.is_unsure", graph.add("Greater", "seen.is_sure", values, zero))
    # Where does not choose between booleans in onnxruntime
    is_confidence = graph.add("Not", "seen.is_confidence", other)
    first = graph.add("And", "seen.missing_by_confidence", is_confidence, unsure)
    return graph.add("Or", "seen.missing", first, graph.add("And", "seen.missing_by_value", other, is_missing))


def _nearest(graph: Graph, found: str) -> str:
    """The frame whose centre is used, (N, 1, T, 1, M): the last one found before, else the first one after."""
    one, zero, time = (graph.store(f"center.{name}", value) for name, value in (("1", [1]), ("0", [0]), ("axis", 2)))
    size = graph.add("Shape", "center.found_size", found)
    filled = helper.make_tensor("value", TensorProto.INT64, [1], [1])
    number = graph.add("CumSum", "center.number", graph.add("ConstantOfShape", "center.ones", size, value=filled), time)
    at = graph.add("Sub", "center.at", number, one)
    frames = graph.cut("center.length", size, 0, 2, 3)
    order = graph.add("Where", "center.order", found, at, frames)
    found_first = graph.add_pair("TopK", "center.found_first", order, frames, axis=2, largest=0)
    count = graph.add("CumSum", "center.so_far", graph.add("Cast", "center.count", found, to=TensorProto.INT64), time)
    last = graph.add("Max", "center.last", graph.add("Sub", "center.last_found", count, one), zero)
    frame = graph.add("GatherElements", "center.frame", found_first, last, axis=2)
    return graph.add("Where", "center.nearest", graph.add("Less", "center.is_found", frame, frames), frame, zero)


def first_frame(graph: Graph, name: str, found: str) -> str:
    """The first frame that was found, else the first of all: (N, 1, T, ..) -> (N, 1, 1, ..)."""
    count = graph.add("Cast", f"{name}.count", found, to=TensorProto.INT64)
    return graph.add("ArgMax", name, count, axis=2, keepdims=1)
