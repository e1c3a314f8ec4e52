"""Checks of train: settings that contradict each other, validation, and the size of the training set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tao_skill.errors import Problem, TaoSkillError
from tao_skill.io.s3 import is_remote
from tao_skill.io.strict_json import truncate
from tao_skill.models.pose_classification.checks.data_files import sequence_problems
from tao_skill.models.pose_classification.checks.small_sets import small_set_warning
from tao_skill.models.pose_classification.config import DatasetConfig, ExperimentConfig, TrainConfig
from tao_skill.models.pose_classification.data import npy_header
from tao_skill.models.pose_classification.data.hold_out import (
    class_ids,
    holds_out,
    is_validated,
    split_of,
    training_size,
)
from tao_skill.models.pose_classification.data.label_map import mirrored_names, names_side
from tao_skill.models.pose_classification.network.layout_file import known_layout

THREE_DIMENSIONAL: Final = ("random_rotate", "random_scale")
"""Augmentations that need x, y, z."""

FLIP_LABELS: Final = "dataset.flip_labels"


def train_problems(config: ExperimentConfig) -> Iterator[Problem]:
    """Everything that would make a training fail."""
    yield from _validation_set_problems(config.dataset)
    yield from _augmentation_problems(config)
    yield from _flip_problems(config.dataset)
    yield from _optimizer_problems(config)
    for split in ("train_dataset", "val_dataset"):
        files = getattr(config.dataset, split)
        if files.data_path:
            key = f"dataset.{split}.data_path"
            yield from sequence_problems(config, key, files.data_path, label_path=files.label_path)
    yield from _hold_out_problems(config)


def _validation_set_problems(dataset: DatasetConfig) -> Iterator[Problem]:
    data_key, label_key = "dataset.val_dataset.data_path", "dataset.val_dataset.label_path"
    if bool(dataset.val_dataset.data_path) != bool(dataset.val_dataset.label_path):
        key, other = (label_key, data_key) if dataset.val_dataset.data_path else (data_key, label_key)
        yield Problem(key=key, message=f"{key} is not set, but {other} is", fix=f"set {key}")


def _augmentation_problems(config: ExperimentConfig) -> Iterator[Problem]:
    dataset = config.dataset
    if dataset.random_choose and dataset.window_size < 1:
        yield Problem(
            key="dataset.window_size",
            message=f"dataset.random_choose is true, so dataset.window_size must be at least 1, "
            f"but it is {dataset.window_size}",
            fix="set dataset.window_size to the frames of a fragment, or dataset.random_choose=false",
        )
    for name in THREE_DIMENSIONAL:
        if (value := getattr(dataset, name)) > 0 and config.model.input_channels != len("xyz"):
            yield Problem(
                key=f"dataset.{name}",
                message=f"dataset.{name} is {value}, which needs the three channels x, y, z, "
                f"but model.input_channels is {config.model.input_channels}",
                fix=f"set dataset.{name}=0, or dataset.random_move=true, which works in the image plane",
            )


def _flip_problems(dataset: DatasetConfig) -> Iterator[Problem]:
    """Class names that tell left from right, and flip_labels that do not say which classes a reflection exchanges."""
    if not dataset.random_flip:
        return
    names, pairs = dataset.label_map or {}, dataset.flip_labels or {}
    try:
        mirrored = mirrored_names(pairs)
    except ValueError as error:
        yield Problem(
            key=FLIP_LABELS, message=f"in {FLIP_LABELS}, {error}", fix="pair each class with one class or with itself"
        )
        return
    if unknown := [name for name in mirrored if name not in names]:
        yield Problem(
            key=FLIP_LABELS,
            message=f"{FLIP_LABELS} has {truncate(unknown[0])}, which is not a class name in dataset.label_map",
            fix=f"correct {FLIP_LABELS} or set dataset.label_map",
        )
    if sided := [name for name in names if names_side(name) and name not in mirrored]:
        yield Problem(
            key="dataset.random_flip",
            message=f"dataset.random_flip is true, but the class {truncate(sided[0])} may name a side, and "
            f"{FLIP_LABELS} does not give its mirrored class",
            fix=f"set {FLIP_LABELS} to {{class: mirrored class}}, with itself if it names none, "
            "or dataset.random_flip=false",
        )


def _optimizer_problems(config: ExperimentConfig) -> Iterator[Problem]:
    optim = config.train.optim
    if optim.optimizer_type == "torch.optim.SGD" and optim.nesterov and optim.momentum == 0:
        yield Problem(
            key="train.optim.nesterov",
            message="train.optim.nesterov is true, which needs train.optim.momentum above 0, but it is 0",
            fix="set train.optim.nesterov=false or train.optim.momentum=0.9",
        )
    yield from _warmup_problems(config.train)
    if optim.lr_scheduler == "AutoReduce" and optim.lr_monitor == "val_loss" and not is_validated(config.dataset):
        yield Problem(
            key="train.optim.lr_monitor",
            message="train.optim.lr_monitor is 'val_loss', but dataset.val_dataset.data_path is not set",
            fix="set dataset.val_dataset, or train.optim.lr_monitor=train_loss",
        )


def _warmup_problems(train: TrainConfig) -> Iterator[Problem]:
    warmup, lr_steps = train.optim.warmup_epochs, train.optim.lr_steps
    if warmup >= train.num_epochs:
        yield Problem(
            key="train.optim.warmup_epochs",
            message=f"train.optim.warmup_epochs is {warmup}, but train.num_epochs is {train.num_epochs}: "
            "the warm-up would not end before the training",
            fix=f"set train.optim.warmup_epochs below {train.num_epochs}, or a higher train.num_epochs",
        )
    elif train.optim.lr_scheduler == "MultiStep" and (early := [step for step in lr_steps if step < warmup]):
        yield Problem(
            key="train.optim.lr_steps",
            message=f"train.optim.lr_steps {lr_steps} has {early}, within the warm-up of "
            f"train.optim.warmup_epochs={warmup} epochs: the learning rate would decay while it rises",
            fix=f"set the steps of train.optim.lr_steps to {warmup} or higher, or train.optim.warmup_epochs to "
            f"{min(early)} or lower",
        )


def _hold_out_problems(config: ExperimentConfig) -> Iterator[Problem]:
    if not holds_out(config.dataset) or is_remote(config.dataset.train_dataset.label_path):
        return
    try:
        split = split_of(config.dataset, config.train.seed)
    except TaoSkillError:  # sequence_problems reports unreadable labels
        return
    if split is not None and not split.validation:
        yield Problem(
            key="dataset.val_dataset.data_path",
            message="dataset.val_dataset is not set, and no class has two training sequences, "
            "so none can be held out for validation",
            fix="set dataset.val_dataset.data_path and dataset.val_dataset.label_path",
        )


def direct_warnings(config: ExperimentConfig) -> Iterator[str]:
    """Of a direct training: it ends before its first validation, or its settings are for larger sets."""
    train, data = config.train, config.dataset.train_dataset
    if is_validated(config.dataset) and train.num_epochs < train.validation_interval:
        yield (
            f"train.num_epochs is {train.num_epochs}, below train.validation_interval, which is "
            f"{train.validation_interval}: no validation runs, and the latest checkpoint is used as the best; "
            f"set train.validation_interval={train.num_epochs} or lower"
        )
    if not is_remote(data.data_path) and not is_remote(data.label_path):
        n = training_size(config.dataset, npy_header.shape(data.data_path)[0], train.seed)
        if warning := small_set_warning(n, train.optim.lr, config.dataset.batch_size):
            yield warning


def train_warnings(config: ExperimentConfig) -> Iterator[str]:
    """Everything that would make a training less useful than it could be."""
    dataset = config.dataset
    if not is_validated(dataset):
        yield "dataset.val_dataset is not set: no validation runs, and the latest checkpoint is used as the best"
    if holds_out(dataset):
        yield _hold_out_warning(config)
    elif dataset.validation_split is not None:
        yield "dataset.validation_split has no effect beside dataset.val_dataset"
    if not any(map(is_remote, (dataset.train_dataset.data_path, dataset.train_dataset.label_path))):
        yield from _training_set_warnings(config)


def _hold_out_warning(config: ExperimentConfig) -> str:
    dataset = config.dataset
    if is_remote(dataset.train_dataset.label_path):
        part = f"{dataset.validation_split:.0%} of the training sequences"
    else:
        split = split_of(dataset, config.train.seed)
        assert split is not None
        part = f"{len(split.validation)} of {len(split.training) + len(split.validation)} training sequences"
    return (
        f"dataset.val_dataset is not set: {part}, drawn by class with train.seed={config.train.seed}, are held out "
        "for validation; the same person may be in both parts, so the validation accuracy may be too high"
    )


def _training_set_warnings(config: ExperimentConfig) -> Iterator[str]:
    dataset = config.dataset
    sequences, _, frames, _, _ = npy_header.shape(dataset.train_dataset.data_path)
    n = training_size(dataset, sequences, config.train.seed)
    if (batches := -(-n // dataset.batch_size)) < (accumulated := config.train.optim.accumulate_batches):
        yield (
            f"train.optim.accumulate_batches is {accumulated}, above the number of batches in an epoch, {batches}: "
            "every epoch is one step"
        )
    elif dataset.batch_size > n:
        yield f"dataset.batch_size is {dataset.batch_size}, but there are {n} sequences: every epoch is one step"
    if where := _ineffective_window(dataset, frames):
        yield f"dataset.window_size={dataset.window_size} has no effect {where} unless dataset.random_choose=true"
    layout = known_layout(config.model.graph_layout)
    is_planar = layout is not None and layout.coordinates < len("xyz")
    if is_planar and (used := [name for name in THREE_DIMENSIONAL if getattr(dataset, name) > 0]):
        channels = f"the channels of {config.model.graph_layout} are usually x, y, confidence"
        yield f"dataset.{used[0]} is for x, y, z, but {channels}: use dataset.random_move=true for those"
    counts = Counter(class_ids(Path(dataset.train_dataset.label_path)))
    if absent := [class_id for class_id in range(dataset.num_classes) if not counts[class_id]]:
        yield f"no training sequence has the class ids {absent}"


def _ineffective_window(dataset: DatasetConfig, frames: int) -> str | None:
    """The condition under which window_size, which without random_choose only pads, does not pad; None if it does."""
    if dataset.window_size <= 0 or dataset.random_choose:
        return None
    if dataset.resample_frames is not None:
        return f"with dataset.resample_frames={dataset.resample_frames}"
    return f"on sequences of {frames} frames" if dataset.window_size < frames else None
