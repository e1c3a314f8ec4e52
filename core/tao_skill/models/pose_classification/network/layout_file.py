"""Skeletons of users: layout files, and layouts as text in the metadata of trained models. Imports no torch.

name: dog
joints: [nose, neck, tail, ...]     # names, or their number
edges: [[nose, neck], [1, 2], ...]  # by name or by index
center: neck
mirror: [[left_ear, right_ear], ...]
coordinates: 2

With `base`, the name of a layout, a file needs no more than its own name and what differs.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from tao_skill.errors import BadData, NotFound
from tao_skill.io.atomic import cached_by_file, similar_file
from tao_skill.io.strict_json import parse_json, read_text, truncate
from tao_skill.io.strict_yaml import YAML_BYTES, parse_yaml
from tao_skill.models.pose_classification.network.layouts import LAYOUTS, Layout

JOINTS_LIMIT: Final = 1024
"""Largest accepted number of joints; adjacency matrices grow with its square."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}")
_FIX: Final = "correct the layout file; docs/your_data.md describes it"


def layout_of(value: str) -> Layout:
    """The layout that `model.graph_layout` names: one of LAYOUTS, a layout file, or text of `stated_layout`.

    Raises:
        NotFound: the file does not exist. BadData: the file or the text does not describe a skeleton.
    """
    if value in LAYOUTS:
        return LAYOUTS[value]
    return _parsed(value)[1] if value.startswith("{") else _read(Path(value))[1]


def stated_layout(value: str) -> str:
    """The layout of `model.graph_layout` for the metadata of a model: its name, or the whole layout as JSON.

    Raises:
        As `layout_of`.
    """
    return value if value in LAYOUTS or value.startswith("{") else _read(Path(value))[0]


def stated_name(stated: str) -> str:
    """The name of a layout in the metadata of a model; the text itself if it describes no skeleton."""
    try:
        return str(parse_json(_parsed(stated)[0])["name"]) if stated.startswith("{") else stated
    except BadData:
        return stated


def known_layout(value: str) -> Layout | None:
    """As `layout_of`; None for a layout file that is remote or does not exist."""
    return None if is_absent(value) else layout_of(value)


def is_absent(value: str) -> bool:
    """Whether a value of `model.graph_layout` is a layout file that is remote or does not exist."""
    return value not in LAYOUTS and not value.startswith("{") and not Path(value).is_file()


@cached_by_file(files=16)
def _read(file: Path) -> tuple[str, Layout]:
    """The layout of a file, as JSON and checked."""
    if not file.is_file():
        near = similar_file(file)
        fix = f"use {near}" if near else f"give an existing file, or one of {', '.join(LAYOUTS)}"
        raise NotFound(f"there is no layout file {file}", fix=fix)
    try:
        return _checked(parse_yaml(read_text(file, YAML_BYTES)))
    except (ValueError, OSError) as error:
        raise BadData(f"layout file {file}: {error}", fix=_FIX, path=str(file)) from error


@lru_cache(16)
def _parsed(stated: str) -> tuple[str, Layout]:
    try:
        return _checked(parse_json(stated))
    except ValueError as error:
        raise BadData(
            f"the layout {truncate(stated)} of a model: {error}", fix="use a file as training wrote it"
        ) from error


@dataclass(frozen=True, kw_only=True)
class _Joints:
    """The joints of a layout file, which other entries name or number."""

    names: tuple[str, ...]
    count: int

    def index(self, value: Any, where: str) -> int:
        if isinstance(value, str):
            if value not in self.names:
                raise ValueError(f"{where} names the joint {truncate(value)}, which is not in joints")
            return self.names.index(value)
        if type(value) is not int:
            raise ValueError(f"{where} has {truncate(value)}, accepted: a joint by its name or index")
        if not 0 <= value < self.count:
            raise ValueError(f"{where} has the joint {value}, but the {self.count} joints are 0 to {self.count - 1}")
        return value

    def pair(self, value: Any, where: str) -> tuple[int, int]:
        if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
            raise ValueError(f"{where} has {truncate(value)}, accepted: pairs of joints, such as [0, 1]")
        first, second = (self.index(item, where) for item in value)
        if first == second:
            raise ValueError(f"{where} pairs the joint {truncate(value[0])} with itself")
        return first, second

    def pairs(self, value: Any, where: str) -> tuple[tuple[int, int], ...]:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise ValueError(f"{where} is {truncate(value)}, accepted: a list of pairs of joints")
        return tuple(self.pair(item, where) for item in value)


def _checked(value: Any) -> tuple[str, Layout]:
    """A layout as JSON with indices, and as an object.

    Raises:
        ValueError: one sentence about the first fault.
    """
    if not isinstance(value, Mapping):
        raise ValueError("it is not a mapping of name, joints, edges, center ...")
    if unknown := [name for name in value if name not in _KEYS]:
        raise ValueError(f"{truncate(unknown[0])} is not a key of a layout, accepted: {', '.join(_KEYS)}")
    value = _with_base(value)
    if missing := [name for name in _REQUIRED if value.get(name) is None]:
        raise ValueError(f"{missing[0]} is missing; required: {', '.join(_REQUIRED)}")
    name, joints = _name(value["name"]), _joints(value["joints"])
    entries = {key: _KEYS[key](joints, value[key], key) for key in _KEYS if key in value and key not in _HEAD}
    layout = Layout(joints=joints.count, **entries)
    for fault in _faults(layout):
        raise ValueError(fault)
    plain = {"name": name, "joints": joints.count, **entries}
    return json.dumps(plain, separators=(",", ":"), sort_keys=True), layout


def _with_base(value: Mapping[Any, Any]) -> dict[Any, Any]:
    """The entries of the layout that `base` names, and over them those of the file."""
    base, own = value.get("base"), {key: item for key, item in value.items() if key != "base"}
    if base is None:
        return own
    if base not in LAYOUTS:
        raise ValueError(f"base is {truncate(base)}, accepted: {', '.join(LAYOUTS)}")
    return {key: item for key, item in asdict(LAYOUTS[base]).items() if item is not None} | own


def _faults(layout: Layout) -> Iterator[str]:
    """Faults of the skeleton as a whole."""
    for edge, times in Counter(frozenset(edge) for edge in layout.edges).items():
        if times > 1:
            yield f"edges has the bone {sorted(edge)} {times} times, accepted: each bone once"
    roots = [joint for joint, parent in enumerate(layout.parents()) if joint == parent and joint != layout.center]
    if roots:
        yield f"no chain of edges leads from the joint {roots[0]} to the center {layout.center}; connect all joints"
    for joint, times in Counter(joint for pair in layout.mirror for joint in pair).items():
        if times > 1:
            yield f"mirror has the joint {joint} in {times} pairs, accepted: one"


def _name(value: Any) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError(f"name is {truncate(value)}, accepted: letters, digits and _ . + - up to 64")
    if value in LAYOUTS:
        raise ValueError(f"name is {value}, which is a layout of tao-skill; give the file another name")
    return value


def _joints(value: Any) -> _Joints:
    names = value if isinstance(value, list) else []
    count = len(names) if isinstance(value, list) else value
    if type(count) is not int or not all(isinstance(name, str) for name in names):
        raise ValueError(f"joints is {truncate(value)}, accepted: a list of names or a number")
    if not 2 <= count <= JOINTS_LIMIT:
        raise ValueError(f"joints has {count} joints, accepted: 2 to {JOINTS_LIMIT}")
    if repeated := [name for name, times in Counter(names).items() if times > 1]:
        raise ValueError(f"joints has the name {truncate(repeated[0])} more than once")
    return _Joints(names=tuple(names), count=count)


def _count(accepted: range) -> Callable[[_Joints, Any, str], int]:
    def read(joints: _Joints, value: Any, where: str) -> int:
        if type(value) is not int or value not in accepted:
            raise ValueError(f"{where} is {truncate(value)}, accepted: {accepted[0]} to {accepted[-1]}")
        return value

    return read


_HEAD: Final = ("name", "base", "joints")
_REQUIRED: Final = ("name", "joints", "edges", "center")
_KEYS: Final[Mapping[str, Callable[[_Joints, Any, str], Any]]] = MappingProxyType(
    {
        "name": lambda joints, value, where: value,
        "base": lambda joints, value, where: value,
        "joints": lambda joints, value, where: value,
        "edges": _Joints.pairs,
        "center": _Joints.index,
        "mirror": _Joints.pairs,
        "hips": _Joints.pair,
        "shoulders": _Joints.pair,
        "persons": _count(range(1, 101)),
        "coordinates": _count(range(2, 4)),
        "frames": _count(range(1, 100_001)),
    }
)
"""Keys of a layout file, and the function that reads each: those of `Layout`, and the name."""
