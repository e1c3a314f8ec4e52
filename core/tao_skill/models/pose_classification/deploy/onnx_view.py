"""The ONNX graph of `network.view`: coordinates in a common view and at a common scale."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from tao_skill.models.pose_classification.deploy.onnx_centering import first_frame
from tao_skill.models.pose_classification.deploy.onnx_nodes import Graph
from tao_skill.models.pose_classification.network.layouts import Layout
from tao_skill.models.pose_classification.network.view import SLANT


def add_aligned(graph: Graph, places: str, seen: str, layout: Layout, *, group: bool) -> str:
    """Coordinates (N, 3, T, V, M) -> the same, as `view.aligned`."""
    zero, two = graph.store("view.zero", np.zeros(())), graph.store("view.two", np.full((), 2.0))
    assert layout.trunk is not None
    joints = dict(zip(("hip.l", "hip.r", "shoulder.l", "shoulder.r"), layout.trunk, strict=True))
    place, is_seen = (
        {name: graph.cut(f"view.{kind}.{name}", part, 3, joint, joint + 1) for name, joint in joints.items()}
        for kind, part in (("place", places), ("seen", seen))
    )
    hips, shoulders = (
        graph.add("Add", f"view.{pair}s", place[f"{pair}.l"], place[f"{pair}.r"]) for pair in ("hip", "shoulder")
    )
    trunk = graph.add("Div", "view.trunk", graph.add("Sub", "view.twice_trunk", shoulders, hips), two)
    side = _unit(graph, "view.side", graph.add("Sub", "view.across", place["hip.l"], place["hip.r"]))
    trunk = _unit(graph, "view.trunk.unit", trunk)
    along = graph.add(
        "Mul", "view.along", graph.reduce("ReduceSum", *_product(graph, "view.lean", trunk, side), 1), side
    )
    rise = graph.add("Sub", "view.rise", trunk, along)
    up = _unit(graph, "view.up", rise)
    front = _cross(graph, "view.front", side, up)
    steep = graph.add(
        "Greater", "view.is_steep", _length(graph, "view.slant", rise), _stored(graph, "view.least", SLANT)
    )
    wide = graph.add("Greater", "view.is_wide", _length(graph, "view.width", side), zero)
    found = graph.add("And", "view.is_usable", steep, wide)
    for name, one in is_seen.items():
        found = graph.add("And", f"view.with.{name}", found, one)
    axes = [side, up, front]
    if group:
        found, *axes = (graph.cut(f"{part}.first", part, 4, 0, 1) for part in (found, *axes))
    frame = first_frame(graph, "view.frame", found)
    some = graph.reduce("ReduceMax", "view.some", graph.add("Cast", "view.found", found, to=TensorProto.FLOAT), 2)
    is_found = graph.add("Cast", "view.is_found", some, to=TensorProto.BOOL)
    frame = graph.add("Concat", "view.frames", frame, frame, frame, axis=1)
    coordinates = []
    for i, axis in enumerate(axes):
        chosen = graph.add("GatherElements", f"view.axis.{i}", axis, frame, axis=2)
        turned = graph.reduce("ReduceSum", *_product(graph, f"view.turned.{i}", chosen, places), 1)
        own = graph.cut(f"view.own.{i}", places, 1, i, i + 1)
        coordinates.append(graph.add("Where", f"view.coordinate.{i}", is_found, turned, own))
    return graph.add("Concat", "view", *coordinates, axis=1)


def add_scaled(graph: Graph, places: str, bones: str, seen: str, *, group: bool) -> str:
    """Coordinates (N, K, T, V, M) -> the same, as `view.scaled`; `seen` is 1 where a bone was seen, else 0."""
    length = graph.add("Mul", "scale.seen", _length(graph, "scale.length", bones), seen)
    total, count = (
        graph.reduce("ReduceSum", f"scale.{name}", part, 2, 3) for name, part in (("total", length), ("count", seen))
    )
    one = _stored(graph, "scale.one", 1.0)
    mean = graph.add("Div", "scale.mean", total, graph.add("Max", "scale.most", count, one))
    if group:
        mean = graph.cut("scale.first", mean, 4, 0, 1)
    is_known = graph.add("Greater", "scale.is_known", mean, _stored(graph, "scale.zero", 0.0))
    return graph.add("Div", "scale", places, graph.add("Where", "scale.unit", is_known, mean, one))


def _stored(graph: Graph, name: str, value: float) -> str:
    return graph.store(name, np.full((), value))


def _product(graph: Graph, name: str, x: str, y: str) -> tuple[str, str]:
    """The name of a sum, and the product to sum."""
    return name, graph.add("Mul", f"{name}.product", x, y)


def _length(graph: Graph, name: str, x: str) -> str:
    squares = graph.reduce("ReduceSum", *_product(graph, f"{name}.square", x, x), 1)
    return graph.add("Sqrt", name, squares)


def _unit(graph: Graph, name: str, x: str) -> str:
    """Vectors of length 1; those of length 0 stay."""
    length = _length(graph, f"{name}.length", x)
    is_long = graph.add("Greater", f"{name}.is_long", length, _stored(graph, f"{name}.zero", 0.0))
    return graph.add(
        "Div", name, x, graph.add("Where", f"{name}.size", is_long, length, _stored(graph, f"{name}.1", 1.0))
    )


def _cross(graph: Graph, name: str, x: str, y: str) -> str:
    """The cross product over the coordinates."""
    orders = {"next": [1, 2, 0], "last": [2, 0, 1]}
    places = {key: graph.store(f"{name}.{key}", order) for key, order in orders.items()}

    def product(first: str, second: str) -> str:
        parts = (
            graph.add("Gather", f"{name}.{part}.{key}", part, places[key], axis=1)
            for part, key in ((x, first), (y, second))
        )
        return graph.add("Mul", f"{name}.{first}.{second}", *parts)

    return graph.add("Sub", name, product("next", "last"), product("last", "next"))
