"""Checks of data files: existence, shape, finite values, labels and class names."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path

from tao_skill.errors import Problem, TaoSkillError
from tao_skill.io.atomic import similar_file
from tao_skill.io.s3 import is_remote
from tao_skill.models.pose_classification.config import DatasetConfig, ExperimentConfig
from tao_skill.models.pose_classification.data import label_map, npy_header
from tao_skill.models.pose_classification.data.hold_out import class_ids
from tao_skill.models.pose_classification.network.layout_file import known_layout
from tao_skill.models.pose_classification.network.layouts import LAYOUTS
from tao_skill.spec.tree import iter_params


def missing_files(config: ExperimentConfig, action: str) -> Iterator[Problem]:
    """Every local file that the action reads and that does not exist."""
    for leaf in iter_params(ExperimentConfig, action):
        value = attrgetter(leaf.key)(config)
        if leaf.param.writes or not leaf.param.names_path(value) or is_remote(value) or Path(value).is_file():
            continue
        if action == "train" or not leaf.param.inherit:  # a trained model states the layout of a missing layout file
            near = similar_file(Path(value))
            yield Problem(
                key=leaf.key,
                message=f"{leaf.key} is {value!r}, but there is no such file",
                fix=f"set {leaf.key}={near}" if near else f"set {leaf.key} to an existing file",
            )


def label_map_problems(dataset: DatasetConfig) -> Iterator[Problem]:
    """A label map that does not name each class id once."""
    if dataset.label_map is None:
        return
    ids = sorted(dataset.label_map.values())
    if ids != list(range(dataset.num_classes)):
        yield Problem(
            key="dataset.label_map",
            message=f"dataset.label_map has the ids {ids}, but dataset.num_classes is {dataset.num_classes}; "
            f"accepted: each id from 0 to {dataset.num_classes - 1} once",
            fix=f"set dataset.num_classes={len(ids)}, or give each class id from 0 upwards exactly one name",
        )


def class_name_warnings(dataset: DatasetConfig, action: str) -> Iterator[str]:
    """The class names that are used without dataset.label_map."""
    numbers = f"class_0 to class_{dataset.num_classes - 1}"
    if action != "train":
        yield f"dataset.label_map is not set: class names are read from the model file, or else are {numbers}"
        return
    if path := label_map.beside(dataset.train_dataset.data_path):
        try:
            count = len(label_map.read(path))
        except TaoSkillError as error:
            yield f"{error.message}; it is not used"
        else:
            yield f"{path} is not used: it names {count} classes, but dataset.num_classes is {dataset.num_classes}"
    yield f"dataset.label_map is not set: class names are {numbers}"


def sequence_problems(
    config: ExperimentConfig, key: str, data_path: str, *, label_path: str | None = None
) -> Iterator[Problem]:
    """The problems of an array and its labels.

    Args:
        key: spec key of `data_path`; the key of `label_path` is `label_path` in the same section.
    """
    if is_remote(data_path):
        return
    try:
        shape = npy_header.shape(data_path)
    except TaoSkillError as error:
        yield Problem(key=key, message=f"{key}: {error.message}", fix=error.fix)
        return
    yield from _shape_problems(config, key, shape)
    if not npy_header.is_plainly_finite(data_path):
        yield from _value_problems(key, data_path)
    if label_path and not is_remote(label_path):
        yield from _label_problems(config, f"{key.rpartition('.')[0]}.label_path", label_path, shape[0])


def _value_problems(key: str, data_path: str) -> Iterator[Problem]:
    from tao_skill.models.pose_classification.data.inspect import count_not_finite
    from tao_skill.models.pose_classification.data.sequences import open_sequences

    if (values := count_not_finite(open_sequences(data_path))).count:
        yield Problem(
            key=key,
            message=f"{key} holds {values.count} values that are NaN or infinite, the first at index {values.first}",
            fix=_finite_fix(key, Path(data_path)),
        )


def _finite_fix(key: str, path: Path) -> str:
    """Write a copy in which 0, the value of an undetected joint, replaces NaN and infinity; keep the original."""
    finite = path.with_name(f"{path.stem}_finite.npy")
    code = "import sys, numpy as n; n.save(sys.argv[2], n.nan_to_num(n.load(sys.argv[1]), posinf=0, neginf=0))"
    command = f'python -c "{code}" {shlex.quote(str(path))} {shlex.quote(str(finite))}'
    return f"run `{command}`, then set {key}={finite}; or remove those sequences"


def _shape_problems(config: ExperimentConfig, key: str, shape: tuple[int, ...]) -> Iterator[Problem]:
    _, channels, _, joints, _ = shape
    value = config.model.graph_layout
    layout = known_layout(value)
    if layout is not None and joints != layout.joints:
        fitting = [name for name, candidate in LAYOUTS.items() if candidate.joints == joints]
        yield Problem(
            key="model.graph_layout",
            message=f"model.graph_layout is {value!r} of {layout.joints} joints, but {key} has {joints}",
            fix=f"set model.graph_layout={'|'.join(fitting) or 'FILE.yaml, a layout file of this skeleton'}",
        )
    if channels != config.model.input_channels:
        yield Problem(
            key="model.input_channels",
            message=f"model.input_channels is {config.model.input_channels}, but {key} has {channels} channels",
            fix=f"set model.input_channels={channels}",
        )


def _label_problems(config: ExperimentConfig, key: str, label_path: str, sequences: int) -> Iterator[Problem]:
    try:
        ids = class_ids(Path(label_path))
    except TaoSkillError as error:
        yield Problem(key=key, message=f"{key}: {error.message}", fix=error.fix)
        return
    if len(ids) != sequences:
        yield Problem(
            key=key,
            message=f"{key} has {len(ids)} labels for {sequences} sequences",
            fix="give the label file that belongs to the data file",
        )
    classes = config.dataset.num_classes
    if outside := sorted({class_id for class_id in ids if not 0 <= class_id < classes}):
        yield Problem(
            key="dataset.num_classes",
            message=f"dataset.num_classes is {classes}, but {key} has the class ids {outside[:5]}",
            fix=f"set dataset.num_classes={max(ids) + 1}, or number the classes from 0",
        )
