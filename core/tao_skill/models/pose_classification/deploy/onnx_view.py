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
    found, *axes = _axes(graph, places, seen, layout)
    if group:
        found, *axes = (graph.cut(f"{part}.leader", part, 4, 0, 1) for part in (found, *axes))
    frame = first_frame(graph, "view.frame", found)
    frame = graph.add("Concat", "view.frames", frame, frame, frame, axis=1)
    some = graph.reduce("ReduceMax", "view.some", graph.add("Cast", "view.found", found, to=TensorProto.FLOAT), 2)
    is_found = graph.add("Cast", "view.is_found", some, to=TensorProto.BOOL)
    coordinates = []
    for i, axis in enumerate(axes):
        chosen = graph.add("GatherElements", f"view.axis.{i}", axis, frame, axis=2)
        turned = _dot(graph, f"view.turned.{i}", chosen, places)
        own = graph.cut(f"view.own.{i}", places, 1, i, i + 1)
        coordinates.append(graph.add("Where", f"view.coordinate.{i}", is_found, turned, own))
    return graph.add("Concat", "view", *coordinates, axis=1)


def _axes(graph: Graph, places: str, seen: str, layout: Layout) -> tuple[str, str, str, str]:
    """The frames that tell the view, (N, 1, T, 1, M), and in each the axes of the body, (N, 3, T, 1, M)."""
    assert layout.trunk is not None
    joints = dict(zip(("hip.l", "hip.r", "shoulder.l", "shoulder.r"), layout.trunk, strict=True))
    place, is_seen = (
        {name: graph.cut(f"view.{kind}.{name}", part, 3, joint, joint + 1) for name, joint in joints.items()}
        for kind, part in (("place", places), ("seen", seen))
    )
    hips, shoulders = (
        graph.add("Add", f"view.{pair}s", place[f"{pair}.l"], place[f"{pair}.r"]) for pair in ("hip", "shoulder")
    )
    trunk = _unit(graph, "view.trunk", graph.add("Sub", "view.hips_to_shoulders", shoulders, hips))
    side = _unit(graph, "view.side", graph.add("Sub", "view.across", place["hip.l"], place["hip.r"]))
    along = graph.add("Mul", "view.along", _dot(graph, "view.lean", trunk, side), side)
    rise = graph.add("Sub", "view.rise", trunk, along)
    up = _unit(graph, "view.up", rise)
    found = _exceeds(graph, "view.steep", _length(graph, "view.slant", rise), SLANT)
    wide = _exceeds(graph, "view.wide", _length(graph, "view.width", side), 0.0)
    for name, one in {"width": wide, **is_seen}.items():
        found = graph.add("And", f"view.with.{name}", found, one)
    return found, side, up, _cross(graph, "view.front", side, up)


def add_scaled(graph: Graph, places: str, bones: str, seen: str, *, group: bool) -> str:
    """Coordinates (N, K, T, V, M) -> the same, as `view.scaled`; `seen` is 1 where a bone was seen, else 0."""
    length = graph.add("Mul", "scale.seen", _length(graph, "scale.length", bones), seen)
    total, count = (
        graph.reduce("ReduceSum", f"scale.{name}", part, 2, 3) for name, part in (("total", length), ("count", seen))
    )
    one = graph.store("scale.one", np.ones(()))
    mean = graph.add("Div", "scale.mean", total, graph.add("Max", "scale.most", count, one))
    if group:
        mean = graph.cut("scale.leader", mean, 4, 0, 1)
    unit = graph.add("Where", "scale.unit", _exceeds(graph, "scale.known", mean, 0.0), mean, one)
    return graph.add("Div", "scale", places, unit)


def _exceeds(graph: Graph, name: str, x: str, least: float) -> str:
    return graph.add("Greater", name, x, graph.store(f"{name}.least", np.full((), least)))


def _dot(graph: Graph, name: str, x: str, y: str) -> str:
    """The sum of the products of the coordinates."""
    return graph.reduce("ReduceSum", name, graph.add("Mul", f"{name}.product", x, y), 1)


def _length(graph: Graph, name: str, x: str) -> str:
    return graph.add("Sqrt", name, _dot(graph, f"{name}.square", x, x))


def _unit(graph: Graph, name: str, x: str) -> str:
    """Vectors of length 1; those of length 0 stay."""
    length, one = _length(graph, f"{name}.length", x), graph.store(f"{name}.one", np.ones(()))
    size = graph.add("Where", f"{name}.size", _exceeds(graph, f"{name}.is_long", length, 0.0), length, one)
    return graph.add("Div", name, x, size)


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
