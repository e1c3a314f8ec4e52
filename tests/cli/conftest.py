from __future__ import annotations

import pytest

from tao_skill.models.pose_classification.data.sample.sample import write_sample
from tests.support.experiments import FRAMES, dataset_overrides


@pytest.fixture(scope="package")
def searchable(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command of a train on a small generated set, without the budget of its search."""
    folder = tmp_path_factory.mktemp("searched")
    write_sample(folder, train=24, val=12, frames=FRAMES, seed=3)
    facts = dataset_overrides(folder)
    return ["run", "train", *facts, "batch_size=8", "num_workers=0", "lr=0.02", "dropout=0.1"]
