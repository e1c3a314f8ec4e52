"""Import OpenPose output: one JSON file per frame, <clip>_<12 digits>_keypoints.json, 18 or 25 joints in pixels.

Source: OpenPose's documentation, "Output". The 25 joints of BODY_25 are reduced to the 18 joints of COCO by name.
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
    bad_data,
    clip_files,
    numbers,
    read_json,
)
from tao_skill.models.pose_classification.data.imports.people import normalise_to_image, rank_by_score, stack_frames
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
    """Iterate over the clips of a folder, whose frames are directly in it or in subfolders.

    Raises:
        BadRequest: the image size is not given.
        NotFound, BadData: there are no clips, or a clip cannot be read.
    """
    if not request.width or not request.height:
        raise BadRequest(
            "OpenPose writes pixels, but its files do not contain the image size",
            fix="set --width and --height in pixels, or both to 1 if x and y are shares of the image",
        )
    for name, files in _by_clip(request.source).items():
        yield _clip(name, files, request.width, request.height)


def _by_clip(source: Path) -> dict[str, dict[int, Path]]:
    clips: dict[str, dict[int, Path]] = {}
    for file in clip_files(source, "**/*_keypoints.json"):
        match = _NAME.fullmatch(file.name)
        if match is None:
            raise bad_data(file, "is not named <clip>_<12 digits>_keypoints.json", "rename or remove it")
        folder = "" if source.is_file() else file.parent.relative_to(source).as_posix()
        name = "/".join(part for part in (folder, match["clip"]) if part not in (None, "", ".")) or source.name
        clips.setdefault(name, {})[int(match["frame"])] = file
    return clips


def _clip(name: str, files: Mapping[int, Path], width: float, height: float) -> Clip:
    first, last = min(files), max(files)
    place = files[first]
    if last - first >= FRAMES_LIMIT:
        raise bad_data(
            files[last],
            f"is frame {last - first} of its clip, accepted: at most {FRAMES_LIMIT} frames",
            "split the clip",
        )
    frames = {frame: _people(file) for frame, file in files.items()}
    joints = {person.size // 3: files[frame] for frame, people in frames.items() for person in people}
    if len(joints) > 1:
        sizes = " and ".join(f"{file.name} has {count}" for count, file in joints.items())
        raise bad_data(place, f"the joint counts of a clip differ: {sizes}", "give clips of the same OpenPose model")
    ranked = {
        frame - first: rank_by_score(np.stack([person.reshape(-1, 3)[_ORDERS[person.size // 3]] for person in people]))
        for frame, people in frames.items()
        if people
    }
    x_CTVP = normalise_to_image(stack_frames(ranked, len(COCO_18)), width, height)
    most_people = max(len(people) for people in frames.values())
    return Clip(name=name, place=Place(place), layout="openpose", x_CTVP=x_CTVP, people=most_people)


def _people(file: Path) -> list[Array]:
    """People of a frame with 18 or 25 joints each, without those of whom only hands or face were detected."""
    value = read_json(file)
    people = value.get("people") if isinstance(value, dict) else None
    if not isinstance(people, list):
        raise bad_data(file, "has no list 'people'", "give files that OpenPose wrote with --write_json")
    keypoints = [_person(file, number, person) for number, person in enumerate(people)]
    return [values for values in keypoints if values is not None]


def _person(file: Path, number: int, person: Any) -> Array | None:
    values = person.get("pose_keypoints_2d") if isinstance(person, dict) else None
    if values == []:
        return None
    count = len(values) if isinstance(values, list) else 0
    keypoints = numbers(values, count) if count in [3 * joints for joints in _ORDERS] else None
    if keypoints is None:
        problem = f"person {number} has {count} values in pose_keypoints_2d, not 54 or 75 finite numbers"
        raise bad_data(file, problem, "give x, y and score of 18 (COCO) or 25 (BODY_25) joints")
    return keypoints
