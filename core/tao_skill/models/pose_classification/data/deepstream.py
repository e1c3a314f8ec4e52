"""Read poses from DeepStream bodypose-3d recordings (`--save-pose` JSON) in bounded memory, validating each.

A recording is an array of batches, a batch has frames, a frame has objects (deepstream_pose_estimation_app.cpp of
NVIDIA-AI-IOT/deepstream_reference_apps). Errors name batch, frame and object, counted from 0, and the byte.
The standard JSON decoder receives one batch at a time: it is as fast as a C event parser, accepts 64-bit object ids,
and reports the byte of a syntax error.
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
"""Object id of an untracked object."""

POSE_KEYS: Final = {"3dbp": "pose3d", "25dbp": "pose25d", "2dbp": "pose25d"}
"""JSON key of the joints, by pose type."""

VALUES_PER_JOINT: Final = 4
BATCH_BYTES_LIMIT: Final = 16 * 2**20
"""Largest batch in bytes: enough for several thousand people."""

VALUE_LIMIT: Final = 1e30
"""Far above any coordinate in millimetres or pixels, and low enough for finite results in float32."""

_BLOCK: Final = 2**20
_NOT_SPACE: Final = re.compile(r"[^ \t\n\r]")
_NOT_FINITE: Final = re.compile(r"[-+]?(nan|inf)", re.IGNORECASE)
_INCOMPLETE: Final = re.compile(r'"(?:[^"\\]|\\.)*\\?|[-+.\w]*', re.DOTALL)
"""An incomplete token, at which the decoder fails if the text read so far ends within it."""

_FRAME_FIX: Final = "record each source separately: the app omits the batch when its first frame has no objects"
_REPAIR_FIX: Final = "record it again, or repair the file at this byte"
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
        """The place of a part of this place."""
        return Place(file=self.file, byte=self.byte, steps=f"{self.steps}, {step}")

    def error(self, message: str, *, fix: str) -> BadData:
        """An error that names this place."""
        return BadData(f"{self.file}, {self.steps}: {message}", fix=fix, path=self.file)


@dataclass(frozen=True, kw_only=True)
class Pose:
    """One person in one frame.

    Attributes:
        joints_V4: finite x, y, z, confidence of each joint: millimetres in the camera frame for pose3d, pixels for
            pose25d.
        frame_num: number of the frame in its source. batch_id: index of the frame in its batch.
    """

    object_id: int
    batch_id: int
    frame_num: int
    joints_V4: NDArray[np.float64]
    place: Place


def read_poses(path: Path, pose_type: str, num_joints: int) -> Iterator[Pose]:
    """Iterate over the poses of a recording in their order.

    Args:
        pose_type: a key of POSE_KEYS.
        num_joints: required number of joints of each pose.

    Raises:
        BadData: the file is not a valid recording; the message names the place.
    """
    for place, batch in _batches(path):
        if isinstance(batch, dict) and "objects" in batch and "batches" not in batch:
            raise place.error("this is a frame without a batch", fix=_FRAME_FIX)
        frames = _field(batch, "batches", list, place)
        count = _field(batch, "num_frames_in_batch", int, place)
        if count != len(frames):
            raise place.error(
                f"num_frames_in_batch is {count}, but there are {len(frames)} frames", fix="record it again"
            )
        for index, frame in enumerate(frames):
            yield from _poses_of_frame(frame, POSE_KEYS[pose_type], num_joints, place.inside(f"frame {index}"))


def _poses_of_frame(frame: Any, key: str, num_joints: int, place: Place) -> Iterator[Pose]:
    frame_num = _field(frame, "frame_num", int, place)
    place = place.inside(f"frame_num {frame_num}")
    batch_id = _field(frame, "batch_id", int, place)
    object_ids: set[int] = set()
    for index, item in enumerate(_field(frame, "objects", list, place)):
        object_id = _object_id(item, place.inside(f"object {index}"))
        object_place = place.inside(f"object {index} (object_id {object_id})")
        if object_id in object_ids:
            raise object_place.error(
                "this object_id occurs twice in the frame", fix="remove one of the two objects, or record it again"
            )
        object_ids.add(object_id)
        yield Pose(
            object_id=object_id,
            batch_id=batch_id,
            frame_num=frame_num,
            joints_V4=_joints(item, key, num_joints, object_place),
            place=object_place,
        )


def _object_id(item: Any, place: Place) -> int:
    object_id: int = _field(item, "object_id", int, place)
    if object_id == UNTRACKED:
        raise place.error(
            f"object_id is {UNTRACKED}, which means untracked, so people cannot be told apart",
            fix="record with a tracker (nvtracker), or remove untracked objects",
        )
    return object_id


def _joints(item: Any, key: str, num_joints: int, place: Place) -> NDArray[np.float64]:
    if key not in item and (others := [name for name in POSE_KEYS if POSE_KEYS[name] in item]):
        message = f"there is no {key}, only {POSE_KEYS[others[0]]}"
        raise place.error(message, fix=f"set dataset_convert.pose_type={'|'.join(others)}")
    values = _field(item, key, list, place)
    joints, rest = divmod(len(values), VALUES_PER_JOINT)
    if (joints, rest) != (num_joints, 0):
        raise place.error(
            f"{key} has {len(values)} numbers, accepted: {VALUES_PER_JOINT * num_joints} for {num_joints} joints",
            fix="record it again" if rest or not joints else f"set dataset_convert.num_joints={joints}",
        )
    index = next((i for i, value in enumerate(values) if not _is_coordinate(value)), None)
    if index is not None:
        message = f"{key}[{index}] is {truncate(values[index]):.40}, accepted: a number below {VALUE_LIMIT:g}"
        raise place.error(message, fix="remove the object")
    return np.array(values, dtype=np.float64).reshape(num_joints, VALUES_PER_JOINT)


def _is_coordinate(value: Any) -> bool:
    return type(value) in _NUMBERS and abs(value) < VALUE_LIMIT


def _field(holder: Any, name: str, kind: type, place: Place) -> Any:
    if type(holder) is not dict:
        message = f"the value is {truncate(holder):.40}, accepted: an object with {name}"
        raise place.error(message, fix="give a bodypose-3d recording")
    if name not in holder:
        raise place.error(f"there is no {name}", fix="give a recording that bodypose-3d wrote with --save-pose")
    value: Any = holder[name]
    if type(value) is not kind or (isinstance(value, int) and not 0 <= value <= UNTRACKED):
        raise place.error(f"{name} is {truncate(value):.40}, accepted: {_KINDS[kind]}", fix="record it again")
    return value


def _batches(path: Path) -> Iterator[tuple[Place, Any]]:
    """Iterate over the elements of the JSON array in a file, each with its place."""
    where = "before the first batch"
    with path.open("rb") as stream:
        text = _JsonReader(stream)
        try:
            text.expect("[")
            for index in count():
                if text.peek() == "]":
                    break
                if index:
                    text.expect(",")
                    text.peek()
                place = Place(file=str(path), byte=text.byte, steps=f"batch {index} (byte {text.byte})")
                where = f"in {place.steps}"
                yield place, text.value()
                where = f"after batch {index}"
            text.expect("]")
            if text.peek():
                raise text.error("the array ends before", text.at)
        except _JsonError as error:
            message = f"{path} is not a JSON array at byte {error.byte}, {where}: {error.reason}"
            raise BadData(message, fix=error.fix, path=str(path)) from None


class _JsonError(Exception):
    """A syntax error in JSON, with its byte."""

    def __init__(self, byte: int, reason: str, fix: str) -> None:
        super().__init__(reason)
        self.byte, self.reason, self.fix = byte, reason, fix


class _JsonReader:
    """Decodes the values of a JSON file one after another, and keeps only the current value in memory.

    Attributes:
        text: part of the file, one character per byte. at: position in `text`; text before it is dropped on reading.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.text = ""
        self.at = 0
        self._dropped = 0

    @property
    def byte(self) -> int:
        """Position in the file."""
        return self._dropped + self.at

    def peek(self) -> str:
        """Skip white space and return the next character; empty at the end of the file."""
        while True:
            match = _NOT_SPACE.search(self.text, self.at)
            self.at = match.start() if match else len(self.text)
            if match or not self._read_more():
                return self.text[self.at : self.at + 1]

    def expect(self, character: str) -> None:
        """Skip white space and this character; any other is an error."""
        if self.peek() != character:
            raise self.error(f"{character!r} is expected", self.at)
        self.at += 1

    def value(self) -> Any:
        """Decode the value at the current position, reading more of the file while it is incomplete."""
        while True:
            try:
                value, self.at = _DECODER.raw_decode(self.text, self.at)
                return value
            except json.JSONDecodeError as error:
                at, reason = error.pos, error.msg
            except (ValueError, RecursionError) as error:  # digits or depth beyond the decoder's limits
                raise _JsonError(self.byte, str(error), _REPAIR_FIX) from None
            if len(self.text) - self.at > BATCH_BYTES_LIMIT:
                raise _JsonError(self.byte, f"the batch is longer than {BATCH_BYTES_LIMIT} bytes", _REPAIR_FIX)
            if not _INCOMPLETE.fullmatch(self.text, at) or not self._read_more():
                raise self.error(reason, at)

    def error(self, reason: str, at: int) -> _JsonError:
        """A syntax error at a position of `text`, with the text there and the fix."""
        if _NOT_FINITE.match(self.text, at):
            actual, fix = f"there is {self.text[at : at + 4]!r}", "remove the object with that value"
        elif _INCOMPLETE.fullmatch(self.text, at):
            actual, fix = "the file ends", "record again and let the app exit by itself, so that it closes the array"
        else:
            actual, fix = f"there is {self.text[at : at + 24]!r}", _REPAIR_FIX
        return _JsonError(self._dropped + at, f"{reason}, but {actual}", fix)

    def _read_more(self) -> bool:
        """Double the unread text; False at the end of the file."""
        block = self.stream.read(max(_BLOCK, len(self.text) - self.at))
        if block:
            self._dropped += self.at
            self.text = self.text[self.at :] + block.decode("latin-1")
            self.at = 0
        return bool(block)
