"""Import NTU RGB+D .skeleton files: one text file per clip, 25 Kinect v2 joints in metres.

Sources: Shahroudy et al., "NTU RGB+D" (arXiv 1604.02808), and Liu et al., "NTU RGB+D 120" (arXiv 1905.04757), for the
splits; the preparation of 2s-AGCN (arXiv 1805.07694) for the choice of bodies.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np

from tao_skill.errors import BadData, BadRequest
from tao_skill.models.pose_classification.data.imports.clip import (
    FRAMES_LIMIT,
    Array,
    Clip,
    Place,
    bad_data,
    clip_files,
    read_text,
)
from tao_skill.models.pose_classification.data.imports.people import rank_by_motion
from tao_skill.models.pose_classification.data.imports.request import RecordingImport

JOINTS: Final = 25
RULE: Final = "x, y, z in metres in the camera frame; the bodies that move most come first"
BODIES_READ: Final = 4
"""Number of bodies read from each frame; their order is that of Kinect."""

TRAIN_SUBJECTS: Final = frozenset(
    [1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38, 45, 46, 47, 49, 50, 52, 53, 54, 55, 56,
     57, 58, 59, 70, 74, 78, 80, 81, 82, 83, 84, 85, 86, 89, 91, 92, 93, 94, 95, 97, 98, 100, 103]
)  # fmt: skip

_NAME: Final = re.compile(r"S(?P<setup>\d{3})C(?P<camera>\d{3})P(?P<subject>\d{3})R\d{3}A(?P<action>\d{3})")
_IS_TRAIN: Final[Mapping[str, Callable[[re.Match[str]], bool]]] = {
    "xsub": lambda name: int(name["subject"]) in TRAIN_SUBJECTS,
    "xview": lambda name: name["camera"] != "001",
    "xset": lambda name: int(name["setup"]) % 2 == 0,
}
SPLITS: Final[Mapping[str, tuple[str, bool]]] = MappingProxyType(
    {f"{rule}_{part}": (rule, part == "train") for rule in _IS_TRAIN for part in ("train", "val")}
)
"""Published splits by name: the rule, and whether the split is the training half."""


def read(request: RecordingImport) -> Iterator[Clip]:
    """Iterate over the clips of a folder, or over those of a published split.

    Raises:
        BadRequest: an image size is given.
        NotFound, BadData: there are no clips, or a clip cannot be read.
    """
    if request.width or request.height:
        raise BadRequest("NTU coordinates are metres and have no --width or --height", fix="omit --width and --height")
    files = clip_files(request.source, "*.skeleton")
    if request.split is not None and request.split in SPLITS:
        files = [file for file in files if in_split(file, request.split)]
    for file in files:
        yield read_clip(file)


def in_split(file: Path, split: str) -> bool:
    """Whether a clip belongs to a published split.

    Raises:
        BadData: the file name does not follow the NTU scheme.
    """
    match = _NAME.match(file.name)
    if match is None:
        raise bad_data(file, f"is not named SsssCcccPpppRrrrAaaa, as split {split} requires", "rename or remove it")
    rule, is_train = SPLITS[split]
    return _IS_TRAIN[rule](match) is is_train


def read_clip(file: Path) -> Clip:
    """Read a clip; its class id is the action number in its name minus 1.

    Raises:
        BadData: the file is cut short, has other joints, or has text in place of numbers.
    """
    bodies_PTV3, people = _bodies(_Lines(file))
    match = _NAME.match(file.name)
    label = (int(match["action"]) - 1, f"A{match['action']}") if match else None
    x_CTVP = rank_by_motion(bodies_PTV3).transpose(3, 1, 2, 0)
    return Clip(name=file.stem, place=Place(file), layout="ntu-rgb+d", x_CTVP=x_CTVP, people=people, label=label)


class _Lines:
    """Reads the lines of a file in order; `position` is the number of lines read."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.lines = read_text(file).rstrip().splitlines()
        self.position = 0

    def error(self, problem: str) -> BadData:
        """An error in the line that was read last."""
        return bad_data(Place(self.file, f"line {self.position}"), problem, "copy the file again, or remove it")

    def next(self) -> str:
        """Read the next line."""
        if self.position == len(self.lines):
            raise bad_data(
                self.file, f"ends within a frame, after line {self.position}", "copy the file again, or remove it"
            )
        self.position += 1
        return self.lines[self.position - 1]

    def count(self, noun: str) -> int:
        """Read a number of items, which the rest of the file must be long enough for."""
        text = self.next().strip()
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
        if number < 0:
            raise self.error(f"{text[:20]!r} is not a number of {noun}")
        if number > (left := len(self.lines) - self.position):
            raise self.error(f"{number} {noun} are announced, but only {left} lines follow: the file is cut short")
        return number


def _bodies(lines: _Lines) -> tuple[Array, int]:
    """Bodies (P, T, V, 3) in the order of the file, and the largest number of bodies in a frame."""
    frames = lines.count("frames")
    if frames > FRAMES_LIMIT:
        raise lines.error(f"{frames} frames, accepted: at most {FRAMES_LIMIT}")
    bodies_PTV3 = np.zeros((BODIES_READ, frames, JOINTS, 3))
    people = 0
    for frame in range(frames):
        bodies = lines.count("bodies")
        people = max(people, bodies)
        for body in range(bodies):
            joints_V3 = _body(lines)
            if body < BODIES_READ:
                bodies_PTV3[body, frame] = joints_V3
    if lines.position < len(lines.lines):
        raise lines.error(f"{len(lines.lines) - lines.position} lines follow the last of {frames} frames")
    return bodies_PTV3, people


def _body(lines: _Lines) -> Array:
    lines.next()  # tracking id, hand states, lean
    if (joints := lines.count("joints")) != JOINTS:
        raise lines.error(f"{joints} joints, accepted: the {JOINTS} of NTU RGB+D")
    return np.array([_joint(lines) for _ in range(JOINTS)])


def _joint(lines: _Lines) -> list[float]:
    """Read x, y, z in metres; depth and colour pixels, orientation and tracking state follow and are ignored."""
    words = lines.next().split()
    try:
        xyz = [float(word) for word in words[:3]]
    except ValueError:
        xyz = []
    if len(words) != 12 or not all(map(math.isfinite, xyz)) or not xyz:
        raise lines.error(f"{len(words)} words, accepted: the 12 finite numbers of a joint")
    return xyz
