"""The test set that lies beside a training set. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from tao_skill.io.s3 import is_remote
from tao_skill.models.pose_classification.config import DatasetConfig


def test_set(dataset: DatasetConfig) -> tuple[Path, Path] | None:
    """Data and labels in local files named as those of the training set, with `test` for `train`.

    None if one of the two does not exist.
    """
    data, labels = map(_beside, (dataset.train_dataset.data_path, dataset.train_dataset.label_path))
    return (data, labels) if data and labels else None


def _beside(train_path: str) -> Path | None:
    name = Path(train_path).name
    path = Path(train_path).with_name(name.replace("train", "test"))
    return path if "train" in name and not is_remote(train_path) and path.is_file() else None
