"""Kinetics-skeleton: a JSON file a clip, 18 OpenPose joints, x and y as shares of the picture.

Source: ST-GCN (arXiv 1801.07455) and its published Kinetics feeder. As there, a frame stands at its own frame_index,
which starts at 1, and only the first five people of a frame are looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from tao_skill.models.pose_classification.data.imports.clip import (
    FRAMES_LIMIT,
    Array,
    Clip,
    Label,
    Place,
    bad,
    clip_files,
    numbers,
    read_json,
)
from tao_skill.models.pose_classification.data.imports.people import PEOPLE_KEPT, by_score, in_picture, sequence
from tao_skill.models.pose_classification.data.imports.request import RecordingImport

JOINTS: Final = 18
RULE: Final = "x and y are shares of the picture minus 0.5, and 0 where the score is 0; channels are x, y, score"
_FIX: Final = 'give clips of the form {"data": [{"frame_index", "skeleton": [{"pose", "score"}]}], "label_index"}'


def read(request: RecordingImport) -> Iterator[Clip]:
    """The clips of a folder.

    Raises:
        NotFound, BadData: there is none, or one cannot be read.
    """
    for file in clip_files(request.source, "*.json"):
        yield read_clip(file, request.width or 1.0, request.height or 1.0)


def read_clip(file: Path, width: float = 1.0, height: float = 1.0) -> Clip:
    """One clip.

    Raises:
        BadData: it is no such file, or has other joints.
    """
    value = read_json(file)
    if not isinstance(value, dict) or not isinstance(value.get("data"), list):
        raise bad(file, "has no list 'data' of frames", _FIX)
    frames: dict[int, Array] = {}
    people = 0
    for position, frame in enumerate(value["data"]):
        index, skeletons = _frame(file, position, frame)
        if index in frames:
            raise bad(file, f"has frame_index {index} twice", "write each frame once")
        people = max(people, len(skeletons))
        if skeletons:
            found = [_person(file, index, number, one) for number, one in enumerate(skeletons[:PEOPLE_KEPT])]
            frames[index] = by_score(np.stack(found))
    x_CTVP = in_picture(sequence(frames, JOINTS), width, height)
    label = _label(file, value)
    return Clip(name=file.stem, place=Place(file), layout="openpose", x_CTVP=x_CTVP, people=people, label=label)


def _frame(file: Path, position: int, frame: Any) -> tuple[int, list[Any]]:
    index = frame.get("frame_index") if isinstance(frame, dict) else None
    if type(index) is not int or not 0 <= index < FRAMES_LIMIT or not isinstance(frame.get("skeleton"), list):
        what = f"entry {position} of 'data' has no frame_index from 0 to {FRAMES_LIMIT - 1} with a list 'skeleton'"
        raise bad(file, what, _FIX)
    return index, frame["skeleton"]


def _person(file: Path, index: int, number: int, one: Any) -> Array:
    pose, score = (one.get("pose"), one.get("score")) if isinstance(one, dict) else (None, None)
    xy, scores = numbers(pose, 2 * JOINTS), numbers(score, JOINTS)
    if xy is None or scores is None:
        sizes = " and ".join(str(len(part)) if isinstance(part, list) else "no" for part in (pose, score))
        what = (
            f"person {number} of frame_index {index} has {sizes} values of pose and score, not 36 and 18 finite numbers"
        )
        raise bad(file, what, "give 18 OpenPose joints as x, y and a score each")
    return np.column_stack([xy.reshape(JOINTS, 2), scores])


def _label(file: Path, value: dict[str, Any]) -> Label | None:
    number, name = value.get("label_index"), value.get("label")
    if type(number) not in (int, type(None)) or not isinstance(name, str | None):
        raise bad(file, "has a label_index that is no integer, or a label that is no text", _FIX)
    return None if number is None or number == -1 else (number, name)
