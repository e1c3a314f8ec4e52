"""Training sequences held out for validation where no validation set is given. Imports no torch."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from tao_skill.io.atomic import cached_by_file
from tao_skill.models.pose_classification.config import DatasetConfig
from tao_skill.models.pose_classification.data.sequences import read_labels
from tao_skill.spec.tree import lookup


@dataclass(frozen=True, kw_only=True)
class Split:
    """Indices into the training set, each once, in ascending order."""

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
    """Whether a training measures validation metrics: on a set of its own, or on held-out training sequences."""
    return bool(dataset.val_dataset.data_path) or dataset.validation_split is not None


def holds_out(dataset: DatasetConfig) -> bool:
    """Whether training sequences are held out; a validation set takes precedence."""
    return dataset.validation_split is not None and not dataset.val_dataset.data_path


def split(ids: Sequence[int], share: float, seed: int) -> Split:
    """Hold out a share of the sequences of each class, at least one and not all where the class has two or more.

    Args:
        ids: class id of each sequence. share: 0 to 1. seed: the same seed draws the same sequences.
    """
    draw = random.Random(seed)  # noqa: S311
    members_of: dict[int, list[int]] = {}
    for index, identity in enumerate(ids):
        members_of.setdefault(identity, []).append(index)
    held: set[int] = set()
    for _, members in sorted(members_of.items()):
        size = min(max(1, round(share * len(members))), len(members) - 1)
        held.update(draw.sample(members, size))
    training = tuple(index for index in range(len(ids)) if index not in held)
    return Split(training=training, validation=tuple(sorted(held)))


_split_once: Final = lru_cache(maxsize=2)(split)
"""A plan needs the split of one label file several times."""


def split_of(dataset: DatasetConfig, seed: int) -> Split | None:
    """The split of a spec's training set; None where nothing is held out.

    Raises:
        NotFound, BadData: the training labels cannot be read.
    """
    if not holds_out(dataset):
        return None
    assert dataset.validation_split is not None
    return _split_once(class_ids(Path(dataset.train_dataset.label_path)), dataset.validation_split, seed)


def training_size(dataset: DatasetConfig, sequences: int, seed: int) -> int:
    """How many of the sequences of the training file are trained on.

    Raises:
        NotFound, BadData: the training labels cannot be read.
    """
    parts = split_of(dataset, seed)
    return len(parts.training) if parts else sequences


@cached_by_file(files=2)
def class_ids(label_path: Path) -> tuple[int, ...]:
    """Class id of each sequence, read once while the file stays as it is.

    Raises:
        NotFound, BadData: as `read_labels`.
    """
    return read_labels(label_path).ids
