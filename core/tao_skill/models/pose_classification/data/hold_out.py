"""Hold out training sequences for validation when there is no validation set. Imports no torch."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from tao_skill.io.atomic import cached_by_file
from tao_skill.io.s3 import is_remote
from tao_skill.models.pose_classification.config import DatasetConfig
from tao_skill.models.pose_classification.data import npy_header
from tao_skill.models.pose_classification.data.sequences import read_labels
from tao_skill.spec.tree import lookup


@dataclass(frozen=True, kw_only=True)
class Split:
    """Disjoint indices into the training set, in ascending order; together they cover it."""

    training: tuple[int, ...]
    validation: tuple[int, ...]


def validation_data(spec: Mapping[str, Any]) -> str:
    """The data that a training with this spec validates on, in words."""
    path, share = lookup(spec, "dataset.val_dataset.data_path"), lookup(spec, "dataset.validation_split")
    if path or share is None:
        return str(path or "the validation set")
    seed = lookup(spec, "train.seed")
    return f"{share:.0%} of the training sequences, held out by class with train.seed {seed}"


def is_validated(dataset: DatasetConfig) -> bool:
    """Whether training computes validation metrics, on a validation set or on held-out training sequences."""
    return bool(dataset.val_dataset.data_path) or dataset.validation_split is not None


def holds_out(dataset: DatasetConfig) -> bool:
    """Whether training sequences are held out; a validation set takes precedence."""
    return dataset.validation_split is not None and not dataset.val_dataset.data_path


def split(ids: Sequence[int], share: float, seed: int) -> Split:
    """Hold out a share of each class: at least one sequence but not all, unless the class has only one, which stays.

    Args:
        ids: class id of each sequence. share: 0 to 1. seed: the same seed draws the same sequences.
    """
    rng = random.Random(seed)  # noqa: S311
    indices_by_class: dict[int, list[int]] = {}
    for index, class_id in enumerate(ids):
        indices_by_class.setdefault(class_id, []).append(index)
    validation: set[int] = set()
    for _, indices in sorted(indices_by_class.items()):
        size = min(max(1, round(share * len(indices))), len(indices) - 1)
        validation.update(rng.sample(indices, size))
    training = tuple(index for index in range(len(ids)) if index not in validation)
    return Split(training=training, validation=tuple(sorted(validation)))


_cached_split: Final = lru_cache(maxsize=2)(split)
"""Cached, since a plan needs the split of the same label file several times."""


def split_of(dataset: DatasetConfig, seed: int) -> Split | None:
    """The split of a training set; None if nothing is held out.

    Raises:
        NotFound, BadData: the training labels cannot be read.
    """
    if not holds_out(dataset):
        return None
    assert dataset.validation_split is not None
    return _cached_split(class_ids(Path(dataset.train_dataset.label_path)), dataset.validation_split, seed)


def training_size(dataset: DatasetConfig, sequences: int, seed: int) -> int:
    """Number of sequences to train on, of `sequences` in the training file.

    Raises:
        NotFound, BadData: the training labels cannot be read.
    """
    held_out = split_of(dataset, seed)
    return len(held_out.training) if held_out else sequences


def validation_size(dataset: DatasetConfig, seed: int) -> int | None:
    """Number of sequences that training validates on, 0 without validation; None if remote data determine it.

    Raises:
        NotFound, BadData: the validation data or the training labels cannot be read.
    """
    if path := dataset.val_dataset.data_path:
        return None if is_remote(path) else npy_header.shape(path)[0]
    if holds_out(dataset) and is_remote(dataset.train_dataset.label_path):
        return None
    held_out = split_of(dataset, seed)
    return len(held_out.validation) if held_out else 0


@cached_by_file(files=2)
def class_ids(label_path: Path) -> tuple[int, ...]:
    """Class id of each sequence, cached until the file changes.

    Raises:
        NotFound, BadData: as `read_labels`.
    """
    return read_labels(label_path).ids
