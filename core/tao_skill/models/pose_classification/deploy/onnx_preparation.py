"""The ONNX graph of `network.preparation`: centre, view, scale and streams of the joints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from onnx import helper

from tao_skill.models.pose_classification.deploy.onnx_centering import add_centering, add_seen
from tao_skill.models.pose_classification.deploy.onnx_nodes import Graph
from tao_skill.models.pose_classification.deploy.onnx_view import add_aligned, add_scaled
from tao_skill.models.pose_classification.network.layouts import Layout
from tao_skill.models.pose_classification.network.preparation import BONE, MOTION, Preparation

END: Final = int(np.iinfo(np.int64).max)
"""Of a slice: the end of its axis."""


def add_preparations(graph: Graph, x: str, preparations: Mapping[str, Preparation], channels: int) -> dict[str, str]:
    """The input (N, C, T, V, M) as each network gets it; the networks differ in their stream alone."""
    first = next(iter(preparations.values()))
    if not any(one.is_needed for one in preparations.values()):
        return dict.fromkeys(preparations, x)
    coordinates = min(first.layout.coordinates, channels)
    has_more = coordinates < channels
    places = graph.cut("coordinates", x, 1, 0, coordinates) if has_more else x
    rest = graph.cut("rest", x, 1, coordinates, channels) if has_more else ""
    seen = add_seen(graph, x, places, coordinates, channels)
    if first.center != "false":
        places = add_centering(graph, places, seen, first.layout, group=first.group)
    if first.align_view:
        places = add_aligned(graph, places, seen, first.layout, group=first.group)
    if first.normalize_scale:
        places = _scaled(graph, places, seen, first)
    return {
        name: _stream(graph, one.stream, _Parts(places=places, rest=rest, seen=seen), first.layout)
        for name, one in preparations.items()
    }


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """Coordinates, the channels after them ("" if there are none), and which joints were seen."""

    places: str
    rest: str
    seen: str


def _scaled(graph: Graph, places: str, seen: str, preparation: Preparation) -> str:
    bones = _bones(graph, "scale", _Parts(places=places, rest="", seen=seen), preparation.layout)
    has_parent = [float(parent != joint) for joint, parent in enumerate(preparation.layout.parents())]
    kind = helper.np_dtype_to_tensor_dtype(graph.kind)
    found = graph.add("Cast", "scale.found", bones.seen, to=kind)
    found = graph.add("Mul", "scale.is_bone", found, graph.store("scale.has_parent", np.array(has_parent)[:, None]))
    return add_scaled(graph, places, bones.places, found, group=preparation.group)


def _stream(graph: Graph, stream: str, parts: _Parts, layout: Layout) -> str:
    if stream in BONE:
        parts = _bones(graph, stream, parts, layout)
    if stream in MOTION:
        parts = _motion(graph, stream, parts)
    return graph.add("Concat", stream, parts.places, parts.rest, axis=1) if parts.rest else parts.places


def _bones(graph: Graph, name: str, parts: _Parts, layout: Layout) -> _Parts:
    """Joints minus their parents."""
    parents = graph.store(f"{name}.parents", list(layout.parents()))

    def of_parent(x: str) -> str:
        return graph.add("Gather", f"{name}.{x}.of_parent", x, parents, axis=3)

    return _differences(graph, f"{name}.bones", parts, of_parent, is_after=False)


def _motion(graph: Graph, name: str, parts: _Parts) -> _Parts:
    """The next frame minus this one; the last frame has itself as the next one."""

    def of_next(x: str) -> str:
        later, last = (graph.cut(f"{name}.{x}.{key}", x, 2, start, END) for key, start in (("later", 1), ("last", -1)))
        return graph.add("Concat", f"{name}.{x}.of_next", later, last, axis=2)

    return _differences(graph, f"{name}.motion", parts, of_next, is_after=True)


def _differences(graph: Graph, name: str, parts: _Parts, other: Callable[[str], str], *, is_after: bool) -> _Parts:
    """This minus the other, or after it the other minus this; 0 where either is missing; the mean of the rest."""
    both = graph.add("And", f"{name}.both", parts.seen, other(parts.seen))
    pair = (parts.places, other(parts.places))
    difference = graph.add("Sub", f"{name}.difference", *(reversed(pair) if is_after else pair))
    places = graph.add("Where", name, both, difference, graph.store(f"{name}.zero", np.zeros(())))
    rest = parts.rest
    if rest:
        total = graph.add("Add", f"{name}.rest.sum", rest, other(rest))
        rest = graph.add("Mul", f"{name}.rest", total, graph.store(f"{name}.half", np.full((), 0.5)))
    return _Parts(places=places, rest=rest, seen=both)
