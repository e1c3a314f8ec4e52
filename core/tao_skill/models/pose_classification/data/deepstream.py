"""Read DeepStream bodypose-3d recordings (`--save-pose` JSON), one checked pose after another, in bounded memory.

A recording is an array of batches, a batch has frames, a frame has objects (deepstream_pose_estimation_app.cpp of
NVIDIA-AI-IOT/deepstream_reference_apps). Errors name the place in that order, each counted from 0, and the byte.
The standard decoder gets one batch at a time: it is as fast as a C event parser, takes object ids of 64 bits, and
knows the byte at which a file is broken.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from tao_skill.errors import BadData
from tao_skill.io.strict_json import truncate, unique_keys

UNTRACKED: Final = 2**64 - 1
"""The object id of what no tracker follows."""

POSE_KEYS: Final = {"3dbp": "pose3d", "25dbp": "pose25d", "2dbp": "pose25d"}
"""What a pose type is made of."""

VALUES_PER_JOINT: Final = 4
LONGEST_BATCH: Final = 16 * 2**20
"""Bytes; a batch of some thousand people."""

LARGEST: Final = 1e30
"""No millimetre or pixel comes near it; what is computed from smaller ones is finite in float32."""

_BLOCK: Final = 2**20
_SIGN: Final = re.compile(r"[^ \t\n\r]")
_NOT_FINITE: Final = re.compile(r"[-+]?(nan|inf)", re.IGNORECASE)
_INCOMPLETE: Final = re.compile(r'"(?:[^"\\]|\\.)*\\?|[-+.\w]*', re.DOTALL)
"""What the decoder stumbles over where a text stops short: the part of a token."""

_QUIRK: Final = "record one source a file: the app writes no batch around frames if the first of them has no object"
_AGAIN: Final = "record it again, or repair the file at this byte"
_DECODER: Final = json.JSONDecoder(object_pairs_hook=unique_keys)
_NUMBERS: Final = (float, int)
_KINDS: Final = {int: f"an integer from 0 to {UNTRACKED}", list: "a list"}


@dataclass(frozen=True, kw_only=True)
class Place:
    """A place in a recording, e.g. batch 3 (byte 812), frame 0, object 2 (object_id 7)."""

    file: str
    byte: int
    steps: str

    def inside(self, step: str) -> Place:
        """A place within this one."""
        return Place(file=self.file, byte=self.byte, steps=f"{self.steps}, {step}")

    def bad(self, message: str, *, fix: str) -> BadData:
        """The error that something is wrong here."""
        return BadData(f"{self.file}, {self.steps}: {message}", fix=fix, path=self.file)


@dataclass(frozen=True, kw_only=True)
class Pose:
    """One person in one frame.

    Attributes:
        joints_V4: x, y, z, confidence of each joint, finite: camera-frame millimetres of pose3d, pixels of pose25d.
        frame_num: number of the frame in its source. batch_id: place of the frame in its batch.
    """

    object_id: int
    batch_id: int
    frame_num: int
    joints_V4: NDArray[np.float64]
    place: Place


def read_poses(path: Path, pose_type: str, num_joints: int) -> Iterator[Pose]:
    """Every pose of a recording in its order.

    Args:
        path: the recording.
        pose_type: a key of POSE_KEYS.
        num_joints: joints that each pose must have.

    Raises:
        BadData: the file is no such recording; says where and why.
    """
    for place, batch in _batches(path):
        if isinstance(batch, dict) and "objects" in batch and "batches" not in batch:
            raise place.bad("a frame without a batch around it", fix=_QUIRK)
        frames = _field(batch, "batches", list, place)
        stated = _field(batch, "num_frames_in_batch", int, place)
        if stated != len(frames):
            raise place.bad(
                f"num_frames_in_batch is {stated}, but there are {len(frames)} frames", fix="record it again"
            )
        for index, frame in enumerate(frames):
            yield from _poses_of_frame(frame, POSE_KEYS[pose_type], num_joints, place.inside(f"frame {index}"))


def _poses_of_frame(frame: Any, key: str, num_joints: int, place: Place) -> Iterator[Pose]:
    frame_num = _field(frame, "frame_num", int, place)
    place = place.inside(f"frame_num {frame_num}")
    batch_id = _field(frame, "batch_id", int, place)
    seen: set[int] = set()
    for index, item in enumerate(_field(frame, "objects", list, place)):
        object_id = _object_id(item, place.inside(f"object {index}"))
        here = place.inside(f"object {index} (object_id {object_id})")
        if object_id in seen:
            raise here.bad("this object_id occurs twice in the frame", fix="leave one of the two, or record it again")
        seen.add(object_id)
        yield Pose(
            object_id=object_id,
            batch_id=batch_id,
            frame_num=frame_num,
            joints_V4=_joints(item, key, num_joints, here),
            place=here,
        )


def _object_id(item: Any, place: Place) -> int:
    object_id: int = _field(item, "object_id", int, place)
    if object_id == UNTRACKED:
        raise place.bad(
            f"object_id is {UNTRACKED}, which means untracked: people would be mixed",
            fix="record with a tracker (nvtracker), or leave such objects out",
        )
    return object_id


def _joints(item: Any, key: str, num_joints: int, place: Place) -> NDArray[np.float64]:
    if key not in item and (others := [name for name in POSE_KEYS if POSE_KEYS[name] in item]):
        what = f"there is no {key}, only {POSE_KEYS[others[0]]}"
        raise place.bad(what, fix=f"set dataset_convert.pose_type={'|'.join(others)}")
    values = _field(item, key, list, place)
    joints, rest = divmod(len(values), VALUES_PER_JOINT)
    if (joints, rest) != (num_joints, 0):
        raise place.bad(
            f"{key} has {len(values)} numbers, but {num_joints} joints have {VALUES_PER_JOINT * num_joints}",
            fix="record it again" if rest or not joints else f"set dataset_convert.num_joints={joints}",
        )
    odd = (index for index, value in enumerate(values) if type(value) not in _NUMBERS or not abs(value) < LARGEST)
    if (index := next(odd, None)) is not None:
        what = f"{key}[{index}] is {truncate(values[index]):.40}, accepted: a number below {LARGEST:g}"
        raise place.bad(what, fix="leave the object out")
    return np.array(values, dtype=np.float64).reshape(num_joints, VALUES_PER_JOINT)


def _field(holder: Any, name: str, kind: type, place: Place) -> Any:
    if type(holder) is not dict:
        what = f"there is {truncate(holder):.40}, accepted: an object with {name}"
        raise place.bad(what, fix="give a bodypose-3d recording")
    if name not in holder:
        raise place.bad(f"there is no {name}", fix="give a recording that bodypose-3d wrote with --save-pose")
    value: Any = holder[name]
    if type(value) is not kind or (isinstance(value, int) and not 0 <= value <= UNTRACKED):
        raise place.bad(f"{name} is {truncate(value):.40}, accepted: {_KINDS[kind]}", fix="record it again")
    return value


def _batches(path: Path) -> Iterator[tuple[Place, Any]]:
    """Every element of the array that the file is, with its place."""
    where = "before the first batch"
    with path.open("rb") as stream:
        text = _Text(stream)
        try:
            text.take("[")
            for index in count():
                if text.sign() == "]":
                    break
                if index:
                    text.take(",")
                    text.sign()
                place = Place(file=str(path), byte=text.byte, steps=f"batch {index} (byte {text.byte})")
                where = f"in {place.steps}"
                yield place, text.value()
                where = f"after batch {index}"
            text.take("]")
            if text.sign():
                raise text.broken("the array ends before", text.at)
        except _BrokenError as broken:
            message = f"{path} is no JSON array at byte {broken.byte}, {where}: {broken.reason}"
            raise BadData(message, fix=broken.fix, path=str(path)) from None


class _BrokenError(Exception):
    """The JSON ends being JSON at this byte."""

    def __init__(self, byte: int, reason: str, fix: str) -> None:
        super().__init__(reason)
        self.byte, self.reason, self.fix = byte, reason, fix


class _Text:
    """A file as text of one character a byte; what lies before `at` is forgotten when more is read."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.text = ""
        self.at = 0
        self._forgotten = 0

    @property
    def byte(self) -> int:
        """Where `at` is in the file."""
        return self._forgotten + self.at

    def sign(self) -> str:
        """Go to the next character that is no white space; it is empty at the end of the file."""
        while True:
            found = _SIGN.search(self.text, self.at)
            self.at = found.start() if found else len(self.text)
            if found or not self._more():
                return self.text[self.at : self.at + 1]

    def take(self, sign: str) -> None:
        """Go beyond the next sign, which must be this one."""
        if self.sign() != sign:
            raise self.broken(f"{sign!r} is expected", self.at)
        self.at += 1

    def value(self) -> Any:
        """Go beyond the value that starts here, reading on while it is incomplete."""
        while True:
            try:
                value, self.at = _DECODER.raw_decode(self.text, self.at)
                return value
            except json.JSONDecodeError as error:
                at, reason = error.pos, error.msg
            except (ValueError, RecursionError) as error:  # digits or depth beyond the decoder's limits
                raise _BrokenError(self.byte, str(error), _AGAIN) from None
            if len(self.text) - self.at > LONGEST_BATCH:
                raise _BrokenError(self.byte, f"the batch is longer than {LONGEST_BATCH} bytes", _AGAIN)
            if not _INCOMPLETE.fullmatch(self.text, at) or not self._more():
                raise self.broken(reason, at)

    def broken(self, reason: str, at: int) -> _BrokenError:
        """The error that the text cannot go on like this, with what there is and what to do."""
        if _NOT_FINITE.match(self.text, at):
            found, fix = "there is " + repr(self.text[at : at + 4]), "leave the object with that value out"
        elif _INCOMPLETE.fullmatch(self.text, at):
            found, fix = "the file ends", "let the app end by itself, so that it closes the array"
        else:
            found, fix = f"there is {self.text[at : at + 24]!r}", _AGAIN
        return _BrokenError(self._forgotten + at, f"{reason}, but {found}", fix)

    def _more(self) -> bool:
        """Read on, as much again as is waiting; False at the end of the file."""
        block = self.stream.read(max(_BLOCK, len(self.text) - self.at))
        if block:
            self._forgotten += self.at
            self.text = self.text[self.at :] + block.decode("latin-1")
            self.at = 0
        return bool(block)
