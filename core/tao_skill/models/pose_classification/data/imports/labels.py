"""Classes of clips: a label file in place of the source's own, and label_map.json shared by the splits of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from tao_skill.errors import BadData
from tao_skill.models.pose_classification.data.imports.clip import Label, Place, bad, clip_files, read_json

CLASSES_LIMIT: Final = 10_000
_FORM: Final = 'a JSON object of {clip: class id}, {clip: class name} or {clip: {"label_index": id, "label": name}}'


def read_label_file(path: Path) -> dict[str, Label]:
    """Class of each clip by its name; where only class names are given, they are numbered in their sorted order.

    Raises:
        NotFound: there is no such file.
        BadData: it has another form.
    """
    (file,) = clip_files(path)[:1]
    value = read_json(file)
    if not isinstance(value, dict) or not value:
        raise bad(file, "is no label file", f"write {_FORM}")
    if all(isinstance(entry, str) for entry in value.values()):
        ids = {name: number for number, name in enumerate(sorted(set(value.values())))}
        return {clip: (ids[name], name) for clip, name in value.items()}
    return {clip: _entry(file, clip, entry) for clip, entry in value.items()}


def _entry(file: Path, clip: str, entry: Any) -> Label:
    number, name = (entry.get("label_index"), entry.get("label")) if isinstance(entry, dict) else (entry, None)
    if type(number) is not int or not isinstance(name, str | None):
        raise bad(Place(file, f"clip {clip!r}"), "has no class id", f"write {_FORM}")
    return number, name


class Classes:
    """Names of class ids as clips bring them, after those of an earlier import into the same folder."""

    def __init__(self, file: Path) -> None:
        """Start with label_map.json, if there is one.

        Raises:
            BadData: it is no label map.
        """
        self.file = file
        self.count = 0
        self.names: dict[int, str] = {}
        known = read_json(file) if file.is_file() else {}
        if not isinstance(known, dict) or not all(type(number) is int for number in known.values()):
            raise bad(file, "is no label map {class name: class id}", "remove it, or give another --out")
        for name, number in known.items():
            self.add(Place(file), (number, name))

    def add(self, place: Place, label: Label) -> None:
        """Take note of a class.

        Raises:
            BadData: its id is out of bounds, or it and another class share an id or a name.
        """
        number, name = label
        if not 0 <= number < CLASSES_LIMIT:
            raise bad(place, f"class id {number} is not from 0 to {CLASSES_LIMIT - 1}", "number the classes from 0")
        self.count = max(self.count, number + 1)
        if name is None or name == _placeholder(number):
            return
        if not name.strip() or not name.isprintable():
            raise bad(place, f"class {number} has the name {name!r}", "give it a name of one line")
        if self.names.setdefault(number, name) != name:
            raise self._clash(place, f"class id {number} is {name!r} here and {self.names[number]!r} elsewhere")

    def label_map(self) -> dict[str, int]:
        """Class id by name for every id; `class_<id>` where no clip brought a name.

        Raises:
            BadData: two ids have one name.
        """
        found: dict[str, int] = {}
        for number in range(self.count):
            name = self.names.get(number) or _placeholder(number)
            if found.setdefault(name, number) != number:
                raise self._clash(Place(self.file), f"{name!r} is the name of the class ids {found[name]} and {number}")
        return found

    def _clash(self, place: Place, problem: str) -> BadData:
        fix = f"give one label file that covers every split, or remove {self.file} if it belongs to other data"
        return bad(place, problem, fix)


def _placeholder(number: int) -> str:
    return f"class_{number}"
