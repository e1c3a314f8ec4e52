"""Spec and data looked at together, before a job exists. Imports no torch; reads array headers and label files only."""

from __future__ import annotations

import importlib.util
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tao_skill.errors import Problem, TaoSkillError
from tao_skill.io.atomic import similar_file
from tao_skill.io.s3 import is_remote
from tao_skill.models.pose_classification.checks.small_sets import small_set_warning
from tao_skill.models.pose_classification.config import ON_MODEL, Calibration, DatasetConfig, ExperimentConfig, Gpus
from tao_skill.models.pose_classification.data import label_map, npy_header
from tao_skill.models.pose_classification.data.hold_out import (
    class_ids,
    holds_out,
    is_validated,
    split_of,
    training_size,
)
from tao_skill.models.pose_classification.data.windows import step
from tao_skill.models.pose_classification.network.graph import LAYOUTS
from tao_skill.models.pose_classification.training.devices import requested_gpus, used_gpus
from tao_skill.outcome import Advice
from tao_skill.spec.tree import iter_params

IN_SPACE: Final = ("random_rotate", "random_scale")
"""Augmentations of three dimensions."""

PER_CHANNEL_OPSET: Final = 13
"""First ONNX opset that rounds each channel of a weight by itself."""


def check(config: ExperimentConfig, action: str) -> Advice:
    """All that can be known to go wrong (problems) or badly (warnings) with this spec on this data.

    Remote data are passed over; the job checks again when it has copies.
    """
    problems = list(_missing_files(config, action))
    if problems or action not in _CHECKS:
        return Advice(problems=problems)
    found = [*_label_map(config.dataset), *_CHECKS[action](config)]
    problems = list({(problem.key, problem.fix): problem for problem in reversed(found)}.values())[::-1]
    if problems:
        return Advice(problems=problems)
    return Advice(
        problems=problems,
        warnings=[*_gpu_warnings(config, action), *_warnings(config, action)],
        direct=list(_direct_warnings(config, action)),
        gpus=used_gpus(config, action),
    )


def _missing_files(config: ExperimentConfig, action: str) -> Iterator[Problem]:
    for leaf in iter_params(ExperimentConfig, action):
        value = attrgetter(leaf.key)(config)
        if leaf.param.reads_file and value and not is_remote(value) and not Path(value).is_file():
            near = similar_file(Path(value))
            yield Problem(
                key=leaf.key,
                message=f"{leaf.key} is {value!r}, and there is no such file",
                fix=f"set {leaf.key}={near}" if near else f"set {leaf.key} to an existing file",
            )


def _label_map(dataset: DatasetConfig) -> Iterator[Problem]:
    if dataset.label_map is None:
        return
    ids = sorted(dataset.label_map.values())
    if ids != list(range(dataset.num_classes)):
        yield Problem(
            key="dataset.label_map",
            message=f"dataset.label_map has the ids {ids}, dataset.num_classes is {dataset.num_classes}, "
            f"accepted: each of 0..{dataset.num_classes - 1} once",
            fix=f"set dataset.num_classes={len(ids)}, or give every class id from 0 on one name",
        )


def _train(config: ExperimentConfig) -> Iterator[Problem]:
    yield from _train_settings(config)
    for split in ("train_dataset", "val_dataset"):
        files = getattr(config.dataset, split)
        if files.data_path:
            yield from _data(config, f"dataset.{split}", files.data_path, files.label_path)
    yield from _hold_out(config)


def _hold_out(config: ExperimentConfig) -> Iterator[Problem]:
    if not holds_out(config.dataset) or is_remote(config.dataset.train_dataset.label_path):
        return
    try:
        parts = split_of(config.dataset, config.train.seed)
    except TaoSkillError:  # the labels have a problem of their own
        return
    if parts is not None and not parts.validation:
        yield Problem(
            key="dataset.val_dataset.data_path",
            message="dataset.val_dataset is not set, and no class has two training sequences, one of which could be "
            "held out for validation",
            fix="set dataset.val_dataset.data_path and dataset.val_dataset.label_path",
        )


def _train_settings(config: ExperimentConfig) -> Iterator[Problem]:
    dataset, optim = config.dataset, config.train.optim
    if bool(dataset.val_dataset.data_path) != bool(dataset.val_dataset.label_path):
        key = "dataset.val_dataset.label_path" if dataset.val_dataset.data_path else "dataset.val_dataset.data_path"
        yield Problem(key=key, message=f"{key} is not set, but the other of the two is", fix=f"set {key}")
    if dataset.random_choose and dataset.window_size < 1:
        yield Problem(
            key="dataset.window_size",
            message=f"dataset.random_choose is true, so dataset.window_size must be at least 1, "
            f"but it is {dataset.window_size}",
            fix="set dataset.window_size to the frames of a fragment, or dataset.random_choose=false",
        )
    for name in IN_SPACE:
        if (most := getattr(dataset, name)) > 0 and config.model.input_channels != len("xyz"):
            yield Problem(
                key=f"dataset.{name}",
                message=f"dataset.{name} is {most}, which is for x, y, z, "
                f"but model.input_channels is {config.model.input_channels}",
                fix=f"set dataset.{name}=0, or dataset.random_move=true, which is for the image plane",
            )
    if optim.optimizer_type == "torch.optim.SGD" and optim.nesterov and optim.momentum == 0:
        yield Problem(
            key="train.optim.nesterov",
            message="train.optim.nesterov is true, which needs train.optim.momentum above 0, but it is 0",
            fix="set train.optim.nesterov=false or train.optim.momentum=0.9",
        )
    if optim.lr_scheduler == "AutoReduce" and optim.lr_monitor == "val_loss" and not is_validated(dataset):
        yield Problem(
            key="train.optim.lr_monitor",
            message="train.optim.lr_monitor is 'val_loss', but dataset.val_dataset.data_path is not set",
            fix="set dataset.val_dataset, or train.optim.lr_monitor=train_loss",
        )


def _export(config: ExperimentConfig) -> Iterator[Problem]:
    path = config.export.onnx_file
    if path and Path(path).exists() and not config.export.overwrite:
        yield Problem(
            key="export.onnx_file",
            message=f"export.onnx_file is {path!r}, which exists already",
            fix="set export.overwrite=true, or another export.onnx_file",
        )
    if config.export.sample_data:
        yield from _data(config, "export", config.export.sample_data, None, "sample_data")
    if config.export.precision == "int8":
        yield from _export_int8(config)


def _export_int8(config: ExperimentConfig) -> Iterator[Problem]:
    if (opset := config.export.opset_version or PER_CHANNEL_OPSET) < PER_CHANNEL_OPSET:
        yield Problem(
            key="export.opset_version",
            message=f"export.opset_version is {opset}, but export.precision=int8 needs {PER_CHANNEL_OPSET} or above",
            fix=f"set export.opset_version={PER_CHANNEL_OPSET}, or export.precision=fp32",
        )
    if path := config.export.calibration.data_path:
        yield from _data(config, "export.calibration", path, None)
        return
    yield Problem(
        key="export.calibration.data_path",
        message="export.precision is int8, but export.calibration.data_path is not set",
        fix="set export.calibration.data_path to the training data, or give the training as parent",
    )


def _test_set(action: str) -> Callable[[ExperimentConfig], Iterator[Problem]]:
    def look(config: ExperimentConfig) -> Iterator[Problem]:
        files = getattr(config, action).test_dataset
        yield from _data(config, f"{action}.test_dataset", files.data_path, files.label_path)

    return look


def _dataset_convert(config: ExperimentConfig) -> Iterator[Problem]:
    settings = config.dataset_convert
    length = settings.sequence_length
    if length > settings.sequence_length_max:
        yield Problem(
            key="dataset_convert.sequence_length",
            message=f"dataset_convert.sequence_length is {length}, accepted: at most "
            f"dataset_convert.sequence_length_max, which is {settings.sequence_length_max}",
            fix=f"set dataset_convert.sequence_length_max={length}, or a shorter dataset_convert.sequence_length",
        )
    if settings.sequence_length_min > length:
        yield Problem(
            key="dataset_convert.sequence_length_min",
            message=f"dataset_convert.sequence_length_min is {settings.sequence_length_min}, accepted: at most "
            f"dataset_convert.sequence_length, which is {length}",
            fix=f"set dataset_convert.sequence_length_min={length} or lower",
        )
    if step(settings) == 0:
        yield Problem(
            key="dataset_convert.sequence_overlap",
            message=f"dataset_convert.sequence_overlap is {settings.sequence_overlap}, which makes the step between "
            f"windows int({length} * {settings.sequence_overlap}) = 0 frames; at least 1 is needed",
            fix="set dataset_convert.sequence_overlap=1.0, or a longer dataset_convert.sequence_length",
        )


def _gen_trt_engine(config: ExperimentConfig) -> Iterator[Problem]:
    section, trt = "gen_trt_engine.tensorrt", config.gen_trt_engine.tensorrt
    for low, high in (("min_batch_size", "opt_batch_size"), ("opt_batch_size", "max_batch_size")):
        least, given = getattr(trt, low), getattr(trt, high)
        if given < least:
            yield Problem(
                key=f"{section}.{high}",
                message=f"{section}.{high} is {given}, below {section}.{low}, which is {least}",
                fix=f"set {section}.{high}={least} or above",
            )
    if trt.data_type == "int8":
        yield from _calibration(f"{section}.calibration", trt.calibration)


def _calibration(section: str, calibration: Calibration) -> Iterator[Problem]:
    key, path = f"{section}.cal_image_dir", calibration.cal_image_dir
    if path is None:
        if not calibration.cal_cache_file or not Path(calibration.cal_cache_file).is_file():
            yield Problem(
                key=key,
                message=f"int8 needs calibration, but neither {key} nor an existing {section}.cal_cache_file is set",
                fix=f"set {key} to sequences like those the network will see",
            )
        return
    if is_remote(path):
        return
    try:
        sequences = npy_header.shape(path)[0]
    except TaoSkillError as error:
        yield Problem(key=key, message=f"{key}: {error.message}", fix=error.fix)
        return
    if (wanted := calibration.cal_batches * calibration.cal_batch_size) > sequences:
        yield Problem(
            key=f"{section}.cal_batches",
            message=f"{section}.cal_batches times cal_batch_size is {wanted}, but {path} has {sequences} sequences",
            fix=f"set {section}.cal_batches={max(1, sequences // calibration.cal_batch_size)}",
        )


_CHECKS: Final[Mapping[str, Callable[[ExperimentConfig], Iterator[Problem]]]] = MappingProxyType(
    {
        "train": _train,
        "evaluate": _test_set("evaluate"),
        "inference": _test_set("inference"),
        "export": _export,
        "dataset_convert": _dataset_convert,
        "gen_trt_engine": _gen_trt_engine,
    }
)


def _data(
    config: ExperimentConfig, section: str, data_path: str, label_path: str | None, name: str = "data_path"
) -> Iterator[Problem]:
    if is_remote(data_path):
        return
    key = f"{section}.{name}"
    try:
        shape = npy_header.shape(data_path)
    except TaoSkillError as error:
        yield Problem(key=key, message=f"{key}: {error.message}", fix=error.fix)
        return
    yield from _shape(config, key, shape)
    if not npy_header.is_plainly_finite(data_path):
        yield from _not_finite(key, data_path)
    if label_path and not is_remote(label_path):
        yield from _labels(config, f"{section}.label_path", label_path, shape[0])


def _not_finite(key: str, data_path: str) -> Iterator[Problem]:
    from tao_skill.models.pose_classification.data.inspect import not_finite
    from tao_skill.models.pose_classification.data.sequences import open_sequences

    if (odd := not_finite(open_sequences(data_path))).count:
        yield Problem(
            key=key,
            message=f"{key} holds {odd.count} values that are NaN or infinite, the first at index {odd.first}",
            fix=_finite_fix(key, Path(data_path)),
        )


def _finite_fix(key: str, path: Path) -> str:
    """A copy with 0, as of a joint that was not seen, in the place of what is not finite; the file stays as it is."""
    finite = path.with_name(f"{path.stem}_finite.npy")
    code = "import sys, numpy as n; n.save(sys.argv[2], n.nan_to_num(n.load(sys.argv[1]), posinf=0, neginf=0))"
    command = f'python -c "{code}" {shlex.quote(str(path))} {shlex.quote(str(finite))}'
    return f"run `{command}`, then set {key}={finite}; or leave those sequences out"


def _shape(config: ExperimentConfig, key: str, shape: tuple[int, ...]) -> Iterator[Problem]:
    _, channels, _, joints, _ = shape
    layout = config.model.graph_layout
    if joints != LAYOUTS[layout].joints:
        fitting = [name for name, one in LAYOUTS.items() if one.joints == joints]
        yield Problem(
            key="model.graph_layout",
            message=f"model.graph_layout is {layout!r} of {LAYOUTS[layout].joints} joints, but {key} has {joints}",
            fix=f"set model.graph_layout={'|'.join(fitting)}" if fitting else "convert the data to a known layout",
        )
    if channels != config.model.input_channels:
        yield Problem(
            key="model.input_channels",
            message=f"model.input_channels is {config.model.input_channels}, but {key} has {channels} channels",
            fix=f"set model.input_channels={channels}",
        )


def _labels(config: ExperimentConfig, key: str, label_path: str, sequences: int) -> Iterator[Problem]:
    try:
        ids = class_ids(Path(label_path))
    except TaoSkillError as error:
        yield Problem(key=key, message=f"{key}: {error.message}", fix=error.fix)
        return
    if len(ids) != sequences:
        yield Problem(
            key=key,
            message=f"{key} has {len(ids)} labels for {sequences} sequences",
            fix="give the label file of that data file",
        )
    classes = config.dataset.num_classes
    if outside := sorted({identity for identity in ids if not 0 <= identity < classes}):
        yield Problem(
            key="dataset.num_classes",
            message=f"dataset.num_classes is {classes}, but {key} has the class ids {outside[:5]}",
            fix=f"set dataset.num_classes={max(ids) + 1}, or number the classes from 0",
        )


def _warnings(config: ExperimentConfig, action: str) -> Iterator[str]:
    if action in ON_MODEL and config.dataset.label_map is None:
        yield from _unnamed(config.dataset, action)
    if action in _WARNINGS:
        yield from _WARNINGS[action](config)


def _unnamed(dataset: DatasetConfig, action: str) -> Iterator[str]:
    numbers = f"class_0 to class_{dataset.num_classes - 1}"
    if action != "train":
        yield f"dataset.label_map is not set: the classes are called as the model file says, or else {numbers}"
        return
    if path := label_map.beside(dataset.train_dataset.data_path):
        try:
            named = len(label_map.read(path))
        except TaoSkillError as error:
            yield f"{error.message}; it is not used"
        else:
            yield f"{path} is not used: it names {named} classes, dataset.num_classes is {dataset.num_classes}"
    yield f"dataset.label_map is not set: the classes are called {numbers}"


def _gpu_warnings(config: ExperimentConfig, action: str) -> Iterator[str]:
    task, default = getattr(config, action), Gpus()
    if not isinstance(task, Gpus):
        return
    requested, used = requested_gpus(task.num_gpus, task.gpu_ids), used_gpus(config, action)
    keys = f"{action}.num_gpus={task.num_gpus} and {action}.gpu_ids={task.gpu_ids}"
    if action != "train" and len(requested) > 1:
        yield f"{action} uses one GPU, number {used[0]}, of the {len(requested)} that {keys} ask for"
    both_set = task.num_gpus != default.num_gpus and task.gpu_ids != default.gpu_ids
    if action == "train" and both_set and task.num_gpus != len(set(task.gpu_ids)):
        yield f"{keys} do not agree: the larger is used, GPUs {used}"


def _direct_warnings(config: ExperimentConfig, action: str) -> Iterator[str]:
    train = config.train
    if action != "train" or not is_validated(config.dataset) or train.num_epochs >= train.validation_interval:
        return
    yield (
        f"train.num_epochs is {train.num_epochs}, below train.validation_interval, which is "
        f"{train.validation_interval}: no validation runs, and the latest checkpoint stands for the best; "
        f"set train.validation_interval={train.num_epochs} or lower"
    )


def _train_warnings(config: ExperimentConfig) -> Iterator[str]:
    dataset = config.dataset
    if not is_validated(dataset):
        yield "there is no dataset.val_dataset: no validation runs, and the latest checkpoint stands for the best"
    if holds_out(dataset):
        yield _held_out_warning(config)
    elif dataset.validation_split is not None:
        yield "dataset.validation_split has no effect beside dataset.val_dataset"
    if not any(map(is_remote, (dataset.train_dataset.data_path, dataset.train_dataset.label_path))):
        yield from _train_data_warnings(config)


def _held_out_warning(config: ExperimentConfig) -> str:
    dataset, how = config.dataset, f"drawn by class with train.seed={config.train.seed}"
    if is_remote(dataset.train_dataset.label_path):
        part = f"{dataset.validation_split:.0%} of the training sequences"
    else:
        parts = split_of(dataset, config.train.seed)
        assert parts is not None
        held, rest = len(parts.validation), len(parts.training)
        part = f"{held} of {held + rest} training sequences"
    return (
        f"dataset.val_dataset is not set: {part}, {how}, are held out for validation; "
        "the same person may be in both parts, which makes accuracy look better than it is"
    )


def _train_data_warnings(config: ExperimentConfig) -> Iterator[str]:
    dataset = config.dataset
    sequences, _, frames, _, _ = npy_header.shape(dataset.train_dataset.data_path)
    n = training_size(dataset, sequences, config.train.seed)
    if warning := small_set_warning(n, config.train.optim.lr, dataset.batch_size):
        yield warning
    if dataset.batch_size > n:
        yield f"dataset.batch_size is {dataset.batch_size}, but there are {n} sequences: every epoch is one step"
    if where := _unpadded(dataset, frames):
        yield f"dataset.window_size={dataset.window_size} has no effect {where} unless dataset.random_choose=true"
    in_the_plane = LAYOUTS[config.model.graph_layout].coordinates < len("xyz")
    if in_the_plane and (used := [one for one in IN_SPACE if getattr(dataset, one) > 0]):
        joints = f"joints of {config.model.graph_layout} are mostly x, y, confidence"
        yield f"dataset.{used[0]} is for x, y, z; {joints}, for which dataset.random_move is meant"
    counts = Counter(class_ids(Path(dataset.train_dataset.label_path)))
    if absent := [identity for identity in range(dataset.num_classes) if not counts[identity]]:
        yield f"no training sequence has the class ids {absent}"


def _unpadded(dataset: DatasetConfig, frames: int) -> str | None:
    """Where a window would only pad, and does not."""
    if dataset.window_size <= 0 or dataset.random_choose:
        return None
    if dataset.resample_frames is not None:
        return f"where dataset.resample_frames={dataset.resample_frames}"
    return f"on sequences of {frames} frames" if dataset.window_size < frames else None


def _gen_trt_engine_warnings(config: ExperimentConfig) -> Iterator[str]:
    if importlib.util.find_spec("tensorrt") is None:
        yield "TensorRT is not installed: this plan cannot run here until pip install 'tao-skill[tensorrt]'"
    trt = config.gen_trt_engine.tensorrt
    if trt.data_type == "int8" and trt.calibration.cal_batches * trt.calibration.cal_batch_size == 1:
        yield "int8 ranges would come from one sequence: raise gen_trt_engine.tensorrt.calibration.cal_batches"


_WARNINGS: Final[Mapping[str, Callable[[ExperimentConfig], Iterator[str]]]] = MappingProxyType(
    {"train": _train_warnings, "gen_trt_engine": _gen_trt_engine_warnings}
)
