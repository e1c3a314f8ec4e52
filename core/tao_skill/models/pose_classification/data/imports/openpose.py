"""OpenPose's own output: a JSON file a frame, named <clip>_<12 digits>_keypoints.json, 18 or 25 joints in pixels.

Source: OpenPose's documentation, "Output". BODY_25 is brought to the 18 joints by their names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from tao_skill.errors import BadRequest
from tao_skill.models.pose_classification.data.imports.clip import (
    FRAMES_LIMIT,
    Array,
    Clip,
    Place,
    bad,
    clip_files,
    numbers,
    read_json,
)
from tao_skill.models.pose_classification.data.imports.people import by_score, in_picture, sequence
from tao_skill.models.pose_classification.data.imports.request import RecordingImport

RULE: Final = (
    "x / width - 0.5 and y / height - 0.5, and 0 where the score is 0; channels are x, y, score; "
    "the first frame of a clip is frame 0"
)


def _joints(text: str) -> tuple[str, ...]:
    return tuple(text.split())


COCO_18: Final = _joints(
    "Nose Neck RShoulder RElbow RWrist LShoulder LElbow LWrist RHip RKnee RAnkle LHip LKnee LAnkle REye LEye REar LEar"
)
BODY_25: Final = _joints(
    "Nose Neck RShoulder RElbow RWrist LShoulder LElbow LWrist MidHip RHip RKnee RAnkle LHip LKnee LAnkle "
    "REye LEye REar LEar LBigToe LSmallToe LHeel RBigToe RSmallToe RHeel"
)
_ORDERS: Final[Mapping[int, list[int]]] = {
    len(joints): [joints.index(name) for name in COCO_18] for joints in (COCO_18, BODY_25)
}
_NAME: Final = re.compile(r"(?:(?P<clip>.*)_)?(?P<frame>\d{12})_keypoints\.json", re.DOTALL)


def read(request: RecordingImport) -> Iterator[Clip]:
    """The clips of a folder, frames directly in it or in folders of their own.

    Raises:
        BadRequest: the size of the picture is not given.
        NotFound, BadData: there is no clip, or one cannot be read.
    """
    if not request.width or not request.height:
        raise BadRequest(
            "OpenPose writes pixels, and its files do not say the size of the picture",
            fix="give --width and --height in pixels, or 1 and 1 where x and y are shares of the picture",
        )
    for name, files in _by_clip(request.source).items():
        yield _clip(name, files, request.width, request.height)


def _by_clip(source: Path) -> dict[str, dict[int, Path]]:
    clips: dict[str, dict[int, Path]] = {}
    for file in clip_files(source, "**/*_keypoints.json"):
        match = _NAME.fullmatch(file.name)
        if match is None:
            raise bad(file, "is not named <clip>_<12 digits>_keypoints.json", "rename or remove it")
        folder = "" if source.is_file() else file.parent.relative_to(source).as_posix()
        name = "/".join(part for part in (folder, match["clip"]) if part not in (None, "", ".")) or source.name
        clips.setdefault(name, {})[int(match["frame"])] = file
    return clips


def _clip(name: str, files: Mapping[int, Path], width: float, height: float) -> Clip:
    first, last = min(files), max(files)
    place = files[first]
    if last - first >= FRAMES_LIMIT:
        raise bad(files[last], f"is frame {last - first} of its clip; {FRAMES_LIMIT} are read at most", "cut the clip")
    frames = {frame: _people(file) for frame, file in files.items()}
    joints = {one.size // 3: files[frame] for frame, people in frames.items() for one in people}
    if len(joints) > 1:
        sizes = " and ".join(f"{file.name} has {count}" for count, file in joints.items())
        raise bad(place, f"the joint counts of a clip differ: {sizes}", "give clips of one OpenPose model")
    ranked = {
        frame - first: by_score(np.stack([one.reshape(-1, 3)[_ORDERS[one.size // 3]] for one in people]))
        for frame, people in frames.items()
        if people
    }
    x_CTVP = in_picture(sequence(ranked, len(COCO_18)), width, height)
    most = max(len(people) for people in frames.values())
    return Clip(name=name, place=Place(place), layout="openpose", x_CTVP=x_CTVP, people=most)


def _people(file: Path) -> list[Array]:
    """The people of one frame, 18 or 25 joints each; one of whom only hands or a face were seen is not counted."""
    value = read_json(file)
    people = value.get("people") if isinstance(value, dict) else None
    if not isinstance(people, list):
        raise bad(file, "has no list 'people'", "give what OpenPose writes with --write_json")
    return [one for number, person in enumerate(people) if (one := _person(file, number, person)) is not None]


def _person(file: Path, number: int, person: Any) -> Array | None:
    values = person.get("pose_keypoints_2d") if isinstance(person, dict) else None
    if values == []:
        return None
    count = len(values) if isinstance(values, list) else 0
    found = numbers(values, count) if count in [3 * joints for joints in _ORDERS] else None
    if found is None:
        what = f"person {number} has {count} values in pose_keypoints_2d, not 54 or 75 finite numbers"
        raise bad(file, what, "give x, y and score of 18 (COCO) or 25 (BODY_25) joints")
    return found
