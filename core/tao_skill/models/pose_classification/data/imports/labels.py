"""Classes of clips: a label file that replaces those of the source, and the label_map.json of a folder's splits."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from tao_skill.errors import BadData
from tao_skill.models.pose_classification.data.imports.clip import Label, Place, bad_data, clip_files, read_json

CLASSES_LIMIT: Final = 10_000
_FORM: Final = 'a JSON object of {clip: class id}, {clip: class name} or {clip: {"label_index": id, "label": name}}'


def read_label_file(path: Path) -> dict[str, Label]:
    """Class of each clip by clip name; class names without ids are numbered in sorted order.

    Raises:
        NotFound: the file does not exist.
        BadData: the file has another structure.
    """
    (file,) = clip_files(path)[:1]
    value = read_json(file)
    if not isinstance(value, dict) or not value:
        raise bad_data(file, "is not a label file", f"write {_FORM}")
    if all(isinstance(entry, str) for entry in value.values()):
        ids = {name: number for number, name in enumerate(sorted(set(value.values())))}
        return {clip: (ids[name], name) for clip, name in value.items()}
    return {clip: _entry(file, clip, entry) for clip, entry in value.items()}


def _entry(file: Path, clip: str, entry: Any) -> Label:
    number, name = (entry.get("label_index"), entry.get("label")) if isinstance(entry, dict) else (entry, None)
    if type(number) is not int or not isinstance(name, str | None):
        raise bad_data(Place(file, f"clip {clip!r}"), "has no class id", f"write {_FORM}")
    return number, name


class Classes:
    """Class names by class id, from label_map.json of an earlier import and from the clips of this import."""

    def __init__(self, file: Path) -> None:
        """Read `file`, the label_map.json of an earlier import, if it exists.

        Raises:
            BadData: the file is not a label map.
        """
        self.file = file
        self.count = 0
        self.names: dict[int, str] = {}
        label_map = read_json(file) if file.is_file() else {}
        if not isinstance(label_map, dict) or not all(type(number) is int for number in label_map.values()):
            raise bad_data(
                file, "is not a label map {class name: class id}", "remove it, or set --out to another folder"
            )
        for name, number in label_map.items():
            self.add(Place(file), (number, name))

    def add(self, place: Place, label: Label) -> None:
        """Add a class.

        Raises:
            BadData: the class id is out of bounds, or two classes share an id.
        """
        number, name = label
        if not 0 <= number < CLASSES_LIMIT:
            raise bad_data(
                place, f"class id is {number}, accepted: 0 to {CLASSES_LIMIT - 1}", "number the classes from 0"
            )
        self.count = max(self.count, number + 1)
        if name is None or name == _placeholder(number):
            return
        if not name.strip() or not name.isprintable():
            raise bad_data(place, f"class {number} has the name {name!r}", "give it a single-line name")
        if self.names.setdefault(number, name) != name:
            raise self._conflict(place, f"class id {number} is {name!r} here and {self.names[number]!r} elsewhere")

    def label_map(self) -> dict[str, int]:
        """Class id by class name; an id without a name is named `class_<id>`.

        Raises:
            BadData: two ids have the same name.
        """
        ids: dict[str, int] = {}
        for number in range(self.count):
            name = self.names.get(number) or _placeholder(number)
            if ids.setdefault(name, number) != number:
                raise self._conflict(
                    Place(self.file), f"{name!r} is the name of the class ids {ids[name]} and {number}"
                )
        return ids

    def _conflict(self, place: Place, problem: str) -> BadData:
        fix = f"give one label file that covers every split, or remove {self.file} if it belongs to other data"
        return bad_data(place, problem, fix)


def _placeholder(number: int) -> str:
    return f"class_{number}"
