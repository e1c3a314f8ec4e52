"""The common representation of a recording, and functions to find and read its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tao_skill.errors import BadData, NotFound
from tao_skill.io import strict_json

FILE_BYTES_LIMIT: Final = 64 * 2**20
"""Largest accepted file of a recording in bytes; a folder may hold any number of files."""

MESSAGE_LIMIT: Final = 300

FRAMES_LIMIT: Final = 2**16
"""Longest accepted recording: 36 minutes at 30 frames per second."""

Array: TypeAlias = NDArray[np.float64]
Label: TypeAlias = tuple[int, str | None]


@dataclass(frozen=True)
class Place:
    """A place in a file, such as a line or a clip."""

    file: Path
    where: str = ""

    def __str__(self) -> str:
        return f"{self.file}, {self.where}" if self.where else str(self.file)


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One recording.

    Attributes:
        place: source of the recording, for error messages.
        x_CTVP: channels, frames, joints and people, the highest-ranked person first.
        people: largest number of people in a frame, including those that were dropped.
        label: class id and class name (None if unknown); None if the source gives no class.
    """

    name: str
    place: Place
    layout: str
    x_CTVP: Array
    people: int
    label: Label | None = None

    def __post_init__(self) -> None:
        """Check that a text file can hold the name.

        Raises:
            BadData: the name is empty or not valid Unicode.
        """
        if not self.name or not strict_json.is_utf8(self.name):
            raise bad_data(self.place, f"the clip has the name {self.name!r}", "rename the clip")


def bad_data(place: Place | Path, problem: str, fix: str) -> BadData:
    """An error for a file that cannot be imported."""
    file = place.file if isinstance(place, Place) else place
    line = " ".join(problem.split())[:MESSAGE_LIMIT]  # `problem` may quote arbitrary content of the file
    return BadData(f"{place}: {line}", fix=fix, path=str(file))


def clip_files(source: Path, *patterns: str) -> list[Path]:
    """Files of a folder that match a pattern, sorted by name; for a file, the file itself.

    Raises:
        NotFound: the folder or file does not exist.
        BadData: no file in the folder matches.
    """
    if not source.exists():
        raise NotFound(f"there is no {source}", fix="check the path; relative paths start at the working directory")
    if source.is_file():
        return [source]
    files = sorted(file for pattern in patterns for file in source.glob(pattern) if file.is_file())
    if not files:
        raise bad_data(source, f"holds no {' or '.join(patterns)}", "give the folder that directly contains the clips")
    return files


def read_text(file: Path) -> str:
    """Read a text file of limited size.

    Raises:
        BadData: the file is too large or not UTF-8.
    """
    size = file.stat().st_size
    if size > FILE_BYTES_LIMIT:
        raise bad_data(file, f"has {size} bytes, accepted: at most {FILE_BYTES_LIMIT}", "split the recording")
    try:
        return strict_json.read_text(file, FILE_BYTES_LIMIT)
    except UnicodeDecodeError as error:
        raise bad_data(
            file, f"is not UTF-8 text ({error.reason} at byte {error.start})", "copy or write it again"
        ) from error


def read_json(file: Path) -> Any:
    """Read a file of strict JSON of limited size.

    Raises:
        BadData: the file is too large, cut short or not JSON.
    """
    try:
        return strict_json.bounded(strict_json.parse_json(read_text(file)), FILE_BYTES_LIMIT)
    except ValueError as error:
        raise bad_data(file, f"is cut short or not JSON ({error})", "copy or write it again") from error


def numbers(values: Any, count: int) -> Array | None:
    """A flat list of `count` finite numbers as an array; None for any other value."""
    if not isinstance(values, list) or len(values) != count:
        return None
    try:
        array = np.array(values)
    except (ValueError, OverflowError):
        return None
    is_valid = array.dtype.kind in "fi" and array.shape == (count,) and np.isfinite(array).all()
    return array.astype(np.float64) if is_valid else None
