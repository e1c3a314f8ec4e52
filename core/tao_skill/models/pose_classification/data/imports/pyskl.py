"""Import pyskl and MMAction2 annotations: one pickle of all clips, read without executing it.

Source: pyskl's documentation of its data format (arXiv 2205.09443). People of 2D clips are ranked by score in each
frame, since detectors do not track them between frames; 3D bodies are tracked and stay in the order of the file, which
starts with the bodies that move most.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from tao_skill.errors import BadRequest
from tao_skill.models.pose_classification.data.imports.clip import (
    FRAMES_LIMIT,
    MESSAGE_LIMIT,
    Array,
    Clip,
    Place,
    bad_data,
    clip_files,
)
from tao_skill.models.pose_classification.data.imports.people import PEOPLE_KEPT, normalise_to_image
from tao_skill.models.pose_classification.data.imports.request import RecordingImport
from tao_skill.safe_pickle.arrays import PickledArray, read_arrays

RULE: Final = (
    "2D: x / width - 0.5 and y / height - 0.5 by img_shape, and 0 where the score is 0, channels x, y, score; "
    "3D: x, y, z unchanged"
)
LAYOUTS: Final[Mapping[tuple[int, int], str]] = {(17, 2): "coco", (18, 2): "openpose", (25, 3): "ntu-rgb+d"}
"""Layout by number of joints and coordinates."""

_FIX: Final = 'write {"split": {name: [frame_dir]}, "annotations": [{"frame_dir", "label", "keypoint", ...}]}'


def read(request: RecordingImport) -> Iterator[Clip]:
    """Iterate over the clips of a split, or over all clips of a file without splits.

    Names of a split that have no annotation are skipped.

    Raises:
        BadRequest: the split is not given, or the file has no such split.
        NotFound, BadData: the file does not exist, refers to code, is damaged, or has another structure.
    """
    (file, *more) = clip_files(request.source, "*.pkl", "*.pickle")
    if more:
        raise bad_data(
            request.source, f"holds several files: {file.name}, {more[0].name}, ...", "give one of the files"
        )
    try:
        value = read_arrays(file)
    except ValueError as error:
        raise bad_data(file, f"cannot be read as annotations: {error}", _FIX) from error
    annotations, splits = _parts(file, value)
    split_names = _split_names(file, splits, request.split)
    for number, annotation in enumerate(annotations):
        name = annotation.get("frame_dir") if isinstance(annotation, dict) else None
        if not isinstance(name, str):
            raise bad_data(file, f"annotation {number} has no frame_dir", _FIX)
        if split_names is None or name in split_names:
            yield _clip(Place(file, f"clip {name!r}"), name, annotation, request)


def _parts(file: Path, value: Any) -> tuple[list[Any], dict[str, Any]]:
    document = value if isinstance(value, dict) else {"annotations": value}
    annotations, splits = document.get("annotations"), document.get("split") or {}
    if not isinstance(annotations, list) or not isinstance(splits, dict):
        raise bad_data(file, "holds no list of annotations", _FIX)
    return annotations, splits


def _split_names(file: Path, splits: dict[str, Any], split: str | None) -> set[str] | None:
    """Names of the clips of a split; None if the file has no splits."""
    if not splits:
        return None
    if split is None or split not in splits:
        problem = f"has no split {split!r}" if split else "has splits, but --split is not set"
        raise BadRequest(f"{file} {problem}", fix=f"give --split {'|'.join(splits)[:MESSAGE_LIMIT]}", path=str(file))
    names = splits[split]
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise bad_data(file, f"split {split!r} is not a list of names", _FIX)
    return set(names)


def _clip(place: Place, name: str, annotation: dict[str, Any], request: RecordingImport) -> Clip:
    keypoint_PTVC = _array(place, annotation, "keypoint")
    label = annotation.get("label")
    if label is not None and type(label) is not int:
        raise bad_data(place, f"label is a {type(label).__name__}, not a class id", _FIX)
    if keypoint_PTVC.ndim != 4 or keypoint_PTVC.shape[1] > FRAMES_LIMIT:
        problem = f"keypoint has shape {keypoint_PTVC.shape}, not (persons, frames, joints, 2 or 3)"
        raise bad_data(place, problem, "write keypoint for every person and frame, uncompressed")
    people, _, joints, channels = keypoint_PTVC.shape
    if (joints, channels) not in LAYOUTS:
        known = ", ".join(f"{v} in {c}D" for v, c in LAYOUTS)
        raise bad_data(place, f"has {joints} joints in {channels}D, accepted: {known}", "convert it to one of these")
    if channels == 3:
        x_CTVP = _tracked(place, keypoint_PTVC, request)
    else:
        has_score = annotation.get("keypoint_score") is not None
        score_PTV = _array(place, annotation, "keypoint_score", keypoint_PTVC.shape[:3]) if has_score else None
        x_CTVP = normalise_to_image(_rank_people(keypoint_PTVC, score_PTV), *_size(place, annotation, request))
    return Clip(
        name=name,
        place=place,
        layout=LAYOUTS[joints, channels],
        x_CTVP=x_CTVP,
        people=people,
        label=None if label is None else (label, None),
    )


def _array(place: Place, annotation: dict[str, Any], key: str, shape: tuple[int, ...] | None = None) -> Array:
    value = annotation.get(key)
    array = value.array() if isinstance(value, PickledArray) and value.kind is not None else None
    if array is None or array.dtype.kind not in "fiu":
        raise bad_data(place, f"has no numeric array {key!r}", _FIX)
    if shape and array.shape != shape:
        raise bad_data(place, f"{key} has shape {array.shape}, not {shape}", "give one score for each joint")
    if not np.isfinite(array).all():
        raise bad_data(place, f"{key} has values that are not finite", "repair or remove the clip")
    return array.astype(np.float64)


def _tracked(place: Place, keypoint_PTVC: Array, request: RecordingImport) -> Array:
    if request.width or request.height:
        raise BadRequest(f"{place} is 3D and has no --width or --height", fix="omit --width and --height")
    return keypoint_PTVC.transpose(3, 1, 2, 0)


def _rank_people(keypoint_PTV2: Array, score_PTV: Array | None) -> Array:
    """(x, y, score) with people ranked by score in each frame; without scores, a joint at (0, 0) counts as missing."""
    if score_PTV is None:
        score_PTV = np.asarray(keypoint_PTV2.any(axis=3), dtype=np.float64)
    order_PT = np.argsort(-score_PTV.sum(axis=2), axis=0, kind="stable")[:PEOPLE_KEPT]
    people_PTV3 = np.concatenate([keypoint_PTV2, score_PTV[..., None]], axis=3)
    return np.take_along_axis(people_PTV3, order_PT[:, :, None, None], axis=0).transpose(3, 1, 2, 0)


def _size(place: Place, annotation: dict[str, Any], request: RecordingImport) -> tuple[float, float]:
    """Width and height of the image, from the annotation or else from the request."""
    shape = annotation.get("img_shape") or (request.height, request.width)
    sizes = shape[:2] if isinstance(shape, tuple | list) else ()
    if len(sizes) != 2 or not all(type(size) in (int, float) and 0 < size < 2**31 for size in sizes):
        raise bad_data(place, "has no img_shape (height, width)", "set --width and --height of the image in pixels")
    return float(sizes[1]), float(sizes[0])
