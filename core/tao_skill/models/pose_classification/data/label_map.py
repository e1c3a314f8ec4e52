"""Class names from files: label_map.json beside the training data, and the label map inside a model file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from tao_skill.errors import BadData
from tao_skill.io.s3 import is_remote
from tao_skill.io.strict_json import read_json, truncate
from tao_skill.spec.tree import lookup

FILE: Final = "label_map.json"
"""File that `data import` and `data sample` write into the folder of the data."""

BYTES_LIMIT: Final = 1 << 20
CLASSES_LIMIT: Final = 10_000
DATA: Final = "dataset.train_dataset.data_path"

_SIDES: Final = frozenset({"left", "right", "l", "r"})
_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
"""A word of a class name: raise_left_arm, swipeLeft and WAVE-L have three, two and two."""

_WHAT: Final = "a label map {class name: class id}"
_FIX: Final = "correct it or move it away, or set dataset.label_map"


def checked(value: Any) -> dict[str, int]:
    """Check that a value is a label map: each id from 0 upwards has exactly one single-line name.

    Raises:
        ValueError: the value is not a label map.
    """
    if not isinstance(value, Mapping) or not 0 < len(value) <= CLASSES_LIMIT:
        raise ValueError(f"it is {truncate(value)}, accepted: 1 to {CLASSES_LIMIT} class names with their ids")
    for name, number in value.items():
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise ValueError(f"{truncate(name)} is not a single-line name")
        if type(number) is not int:
            raise ValueError(f"{truncate(name)} has the class id {truncate(number)}, accepted: an integer")
    if sorted(value.values()) != list(range(len(value))):
        raise ValueError(f"the class ids are not each of 0..{len(value) - 1} once")
    return dict(value)


def beside(data_path: str | None) -> Path | None:
    """Path of the label map in the folder of a local data file; None if there is none."""
    if not data_path or is_remote(data_path):
        return None
    path = Path(data_path).absolute().with_name(FILE)
    return path if path.is_file() else None


def read(path: Path) -> dict[str, int]:
    """Read a label map.

    Raises:
        BadData: the file cannot be read, is too large, or is not a label map.
    """
    value = read_json(path, Any, what=_WHAT, fix=_FIX, most=BYTES_LIMIT)
    try:
        return checked(value)
    except ValueError as error:
        raise BadData(f"{path} is not {_WHAT}: {error}", fix=_FIX, path=str(path)) from error


def of_training_data(
    spec: Mapping[str, Any], confine: Callable[[str, str], None]
) -> tuple[Path, Mapping[str, int]] | None:
    """Path and content of the label map beside the training data; None if there is none or it is invalid.

    Args:
        spec: need not be checked yet. confine: refuses paths that may not be read; called with key and path.

    Raises:
        OutsideRoots: `confine` refuses its path.
    """
    data_path = lookup(spec, DATA)
    path = beside(data_path) if isinstance(data_path, str) else None
    if path is None:
        return None
    confine("dataset.label_map", str(path))
    try:
        return path, read(path)
    except BadData:
        return None  # checks/data_files.py warns about it


def names_side(name: str) -> bool:
    """Whether a class name has the word left, right, l or r, so that a mirrored sequence may be of another class."""
    return any(word.lower() in _SIDES for word in _WORD.findall(name))


def mirrored_names(pairs: Mapping[str, str]) -> dict[str, str]:
    """Class of a mirrored sequence for each class name in `pairs`, in both directions.

    Raises:
        ValueError: a name is paired with two others.
    """
    found: dict[str, str] = {}
    for name, other in (pair for one, two in pairs.items() for pair in ((one, two), (two, one))):
        if found.setdefault(name, other) != other:
            raise ValueError(f"{truncate(name)} is paired with {truncate(found[name])} and {truncate(other)}")
    return found


def mirrored_ids(label_map: Mapping[str, int] | None, pairs: Mapping[str, str] | None) -> dict[int, int]:
    """Class id of a mirrored sequence for each class id that differs; `label_map` has all names of `pairs`."""
    names = mirrored_names(pairs or {})
    ids = label_map or {}
    return {ids[name]: ids[other] for name, other in names.items() if name != other}
