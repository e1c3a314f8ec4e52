"""Import Kinetics-skeleton: one JSON file per clip, 18 OpenPose joints, x and y as shares of the image.

Source: ST-GCN (arXiv 1801.07455) and its published Kinetics feeder. As in that feeder, frames are placed at their
frame_index, which starts at 1, and only the first five people of a frame are read.
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
    bad_data,
    clip_files,
    numbers,
    read_json,
)
from tao_skill.models.pose_classification.data.imports.people import (
    PEOPLE_KEPT,
    normalise_to_image,
    rank_by_score,
    stack_frames,
)
from tao_skill.models.pose_classification.data.imports.request import RecordingImport

JOINTS: Final = 18
RULE: Final = "x and y are shares of the image minus 0.5, and 0 where the score is 0; channels are x, y, score"
_FIX: Final = 'give clips of the form {"data": [{"frame_index", "skeleton": [{"pose", "score"}]}], "label_index"}'


def read(request: RecordingImport) -> Iterator[Clip]:
    """Iterate over the clips of a folder.

    Raises:
        NotFound, BadData: there are no clips, or a clip cannot be read.
    """
    for file in clip_files(request.source, "*.json"):
        yield read_clip(file, request.width or 1.0, request.height or 1.0)


def read_clip(file: Path, width: float = 1.0, height: float = 1.0) -> Clip:
    """Read a clip.

    Raises:
        BadData: the file has another structure or other joints.
    """
    value = read_json(file)
    if not isinstance(value, dict) or not isinstance(value.get("data"), list):
        raise bad_data(file, "has no list 'data' of frames", _FIX)
    frames: dict[int, Array] = {}
    people = 0
    for position, frame in enumerate(value["data"]):
        index, skeletons = _frame(file, position, frame)
        if index in frames:
            raise bad_data(file, f"has frame_index {index} twice", "write each frame once")
        people = max(people, len(skeletons))
        if skeletons:
            people_V3 = [_person(file, index, number, person) for number, person in enumerate(skeletons[:PEOPLE_KEPT])]
            frames[index] = rank_by_score(np.stack(people_V3))
    x_CTVP = normalise_to_image(stack_frames(frames, JOINTS), width, height)
    label = _label(file, value)
    return Clip(name=file.stem, place=Place(file), layout="openpose", x_CTVP=x_CTVP, people=people, label=label)


def _frame(file: Path, position: int, frame: Any) -> tuple[int, list[Any]]:
    index = frame.get("frame_index") if isinstance(frame, dict) else None
    if type(index) is not int or not 0 <= index < FRAMES_LIMIT or not isinstance(frame.get("skeleton"), list):
        problem = f"entry {position} of 'data' has no frame_index from 0 to {FRAMES_LIMIT - 1} with a list 'skeleton'"
        raise bad_data(file, problem, _FIX)
    return index, frame["skeleton"]


def _person(file: Path, index: int, number: int, person: Any) -> Array:
    pose, score = (person.get("pose"), person.get("score")) if isinstance(person, dict) else (None, None)
    xy, scores = numbers(pose, 2 * JOINTS), numbers(score, JOINTS)
    if xy is None or scores is None:
        sizes = " and ".join(str(len(part)) if isinstance(part, list) else "no" for part in (pose, score))
        problem = (
            f"person {number} of frame_index {index} has {sizes} values of pose and score, not 36 and 18 finite numbers"
        )
        raise bad_data(file, problem, "give 18 OpenPose joints with x, y and score each")
    return np.column_stack([xy.reshape(JOINTS, 2), scores])


def _label(file: Path, value: dict[str, Any]) -> Label | None:
    number, name = value.get("label_index"), value.get("label")
    if type(number) not in (int, type(None)) or not isinstance(name, str | None):
        raise bad_data(file, "has a label_index that is not an integer, or a label that is not a string", _FIX)
    return None if number is None or number == -1 else (number, name)
