from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tao_skill.models.pose_classification.data.sample.sample import write_sample
from tests.conftest import dataset


@pytest.fixture(scope="package")
def searchable(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command of a train on a small generated set, without the budget of its search."""
    folder = tmp_path_factory.mktemp("searched")
    write_sample(folder, train=24, val=12, frames=12, seed=3)
    facts = [f"{key}={value}" for key, value in dataset(folder).items()]
    return ["run", "train", *facts, "batch_size=8", "num_workers=0", "lr=0.02", "dropout=0.1"]


def report_of(root: Path, document: dict[str, Any]) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((root / document["job"]["id"] / "report.json").read_text())
    return loaded


def results_of(report: dict[str, Any]) -> list[Any]:
    """What a search found, without how long it took."""
    kept = ("number", "state", "epochs", "metric", "best_epoch", "values", "last")
    return [{name: one[name] for name in kept} for one in report["trials"]] + [report["winner"]["number"]]
