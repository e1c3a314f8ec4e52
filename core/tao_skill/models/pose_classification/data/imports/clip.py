"""One recording as every format hands it over, and how its files are found and read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tao_skill.errors import BadData, NotFound
from tao_skill.io import strict_json

FILE_BYTES_LIMIT: Final = 64 * 2**20
"""Largest file of one recording; a folder may hold any number of them."""

MESSAGE_LIMIT: Final = 300

FRAMES_LIMIT: Final = 2**16
"""Longest recording that is read: 36 minutes at 30 frames a second."""

Array: TypeAlias = NDArray[np.float64]
Label: TypeAlias = tuple[int, str | None]


@dataclass(frozen=True)
class Place:
    """A file, and where in it: a line, a clip."""

    file: Path
    where: str = ""

    def __str__(self) -> str:
        return f"{self.file}, {self.where}" if self.where else str(self.file)


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One recording.

    Attributes:
        place: where it comes from, for messages.
        x_CTVP: its own frames and people, best person first.
        people: most people in one frame, before any were left out.
        label: class id and, where it is known, its name; None where the source gives no class.
    """

    name: str
    place: Place
    layout: str
    x_CTVP: Array
    people: int
    label: Label | None = None

    def __post_init__(self) -> None:
        """Refuse a name that no text file can hold.

        Raises:
            BadData: it is empty, or made of bytes that are no UTF-8.
        """
        if not self.name or not strict_json.is_utf8(self.name):
            raise bad(self.place, f"the clip has the name {self.name!r}", "rename it")


def bad(place: Place | Path, problem: str, fix: str) -> BadData:
    """The error for a file that cannot be used."""
    file = place.file if isinstance(place, Place) else place
    shown = " ".join(problem.split())[:MESSAGE_LIMIT]  # it may quote the file, which may hold anything
    return BadData(f"{place}: {shown}", fix=fix, path=str(file))


def clip_files(source: Path, *patterns: str) -> list[Path]:
    """The files of a folder that match, in order of their names; a file stands for itself.

    Raises:
        NotFound: there is no such folder or file.
        BadData: nothing in the folder matches.
    """
    if not source.exists():
        raise NotFound(f"there is no {source}", fix="check the path; relative paths start at the working directory")
    if source.is_file():
        return [source]
    found = sorted(file for pattern in patterns for file in source.glob(pattern) if file.is_file())
    if not found:
        raise bad(source, f"holds no {' or '.join(patterns)}", "give the folder that holds the clips themselves")
    return found


def read_text(file: Path) -> str:
    """A bounded text file.

    Raises:
        BadData: it is too large or no UTF-8.
    """
    size = file.stat().st_size
    if size > FILE_BYTES_LIMIT:
        raise bad(file, f"has {size} bytes; one recording has at most {FILE_BYTES_LIMIT}", "cut the recording")
    try:
        return strict_json.read_text(file, FILE_BYTES_LIMIT)
    except UnicodeDecodeError as error:
        raise bad(file, f"is no text ({error.reason} at byte {error.start})", "copy or write it again") from error


def read_json(file: Path) -> Any:
    """The value of a bounded file of strict JSON.

    Raises:
        BadData: it is too large, cut short or no JSON.
    """
    try:
        return strict_json.bounded(strict_json.parse_json(read_text(file)), FILE_BYTES_LIMIT)
    except ValueError as error:
        raise bad(file, f"is cut short or no JSON ({error})", "copy or write it again") from error


def numbers(values: Any, count: int) -> Array | None:
    """A flat list of `count` finite numbers as an array; None where it is anything else."""
    if not isinstance(values, list) or len(values) != count:
        return None
    try:
        found = np.array(values)
    except (ValueError, OverflowError):
        return None
    is_fit = found.dtype.kind in "fi" and found.shape == (count,) and np.isfinite(found).all()
    return found.astype(np.float64) if is_fit else None
