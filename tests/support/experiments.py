"""Specs of trainings that take a second, and what trainings leave."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tao_skill.models.pose_classification.config import ExperimentConfig
from tao_skill.models.pose_classification.training import checkpoint_index
from tao_skill.spec import load

FRAMES = 8
"""Of a sequence of the generated sets: few, as the time of a training grows with them."""


def dataset(folder: Path) -> dict[str, Any]:
    """Spec keys of the generated set."""
    return {
        f"dataset.{split}_dataset.{name}_path": str(folder / f"{split}_{name}.{ending}")
        for split in ("train", "val")
        for name, ending in (("data", "npy"), ("label", "pkl"))
    }


def dataset_overrides(folder: Path) -> list[str]:
    """The same as overrides of a command line."""
    return [f"{key}={value}" for key, value in dataset(folder).items()]


def without_label_map(folder: Path, target: Path) -> Path:
    """Links to the arrays and labels of a set, in a folder that names no classes."""
    for path in (*folder.glob("*.npy"), *folder.glob("*.pkl")):
        (target / path.name).symlink_to(path)
    return target


def experiment(folder: Path, results_dir: Path, /, **overrides: Any) -> ExperimentConfig:
    """A config that trains on the generated set in a second; keys with `__` for dots change it."""
    pairs = {
        **dataset(folder),
        "results_dir": str(results_dir),
        "dataset.batch_size": 5,
        "dataset.num_workers": 0,
        "model.dropout": 0.2,
        "train.num_epochs": 2,
        "train.optim.lr": 0.02,
        **{key.replace("__", "."): value for key, value in overrides.items()},
    }
    config = load.build(ExperimentConfig, load.override(ExperimentConfig, {}, pairs.items()))
    assert isinstance(config, ExperimentConfig)
    return config


def leave_checkpoints(folder: Path, *metrics: Mapping[str, float]) -> None:
    """Fill a results folder as a training does, with an empty checkpoint an epoch and the index of their metrics."""
    folder.mkdir(parents=True)
    entries = [
        checkpoint_index.Checkpoint(file=checkpoint_index.checkpoint_name(i, i), epoch=i, step=i, metrics=one)
        for i, one in enumerate(metrics)
    ]
    for entry in entries:
        (folder / entry.file).touch()
    checkpoint_index.write_index(folder, entries)
    (folder / checkpoint_index.LATEST).symlink_to(entries[-1].file)
