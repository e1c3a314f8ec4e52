"""Names of classes as files bring them: label_map.json beside training data, and what a model says of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from tao_skill.errors import BadData
from tao_skill.io.s3 import is_remote
from tao_skill.io.strict_json import read_json, truncate
from tao_skill.spec.tree import lookup

FILE: Final = "label_map.json"
"""Written by `data import` and `data sample` into the folder of the data."""

BYTES_LIMIT: Final = 1 << 20
CLASSES_LIMIT: Final = 10_000
DATA: Final = "dataset.train_dataset.data_path"

_WHAT: Final = "a label map {class name: class id}"
_FIX: Final = "correct it or move it away, or set dataset.label_map"


def checked(value: Any) -> dict[str, int]:
    """A label map: each id from 0 on has one name of one line.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(value, Mapping) or not 0 < len(value) <= CLASSES_LIMIT:
        raise ValueError(f"it is {truncate(value)}, accepted: 1 to {CLASSES_LIMIT} names with their class ids")
    for name, number in value.items():
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise ValueError(f"{truncate(name)} is not a name of one line")
        if type(number) is not int:
            raise ValueError(f"{truncate(name)} has the class id {truncate(number)}, accepted: an integer")
    if sorted(value.values()) != list(range(len(value))):
        raise ValueError(f"the class ids are not each of 0..{len(value) - 1} once")
    return dict(value)


def beside(data_path: str | None) -> Path | None:
    """The label map in the folder of a local data file, if there is one."""
    if not data_path or is_remote(data_path):
        return None
    path = Path(data_path).absolute().with_name(FILE)
    return path if path.is_file() else None


def read(path: Path) -> dict[str, int]:
    """The label map of a file.

    Raises:
        BadData: it cannot be read, is too large, or is no label map.
    """
    value = read_json(path, Any, what=_WHAT, fix=_FIX, most=BYTES_LIMIT)
    try:
        return checked(value)
    except ValueError as error:
        raise BadData(f"{path} is not {_WHAT}: {error}", fix=_FIX, path=str(path)) from error


def of_training_data(
    spec: Mapping[str, Any], confine: Callable[[str, str], None]
) -> tuple[Path, Mapping[str, int]] | None:
    """The label map beside the training data of a spec that need not be checked; None if there is none that is one.

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
        return None  # the check of the spec warns of it
