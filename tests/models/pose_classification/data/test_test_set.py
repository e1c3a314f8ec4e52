from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tao_skill.models.pose_classification.model import MODEL
from tests.support.experiments import experiment
from tests.support.folders import REPOSITORY

DATA, LABELS = "dataset__train_dataset__data_path", "dataset__train_dataset__label_path"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("train_data.npy", "train_label.pkl", "test_data.npy", "test_label.pkl", "all.npy", "test_x.npy"):
        (tmp_path / name).touch()
    return tmp_path


def test_the_test_set_has_the_names_of_the_training_set(tiny: Path, folder: Path) -> None:
    assert MODEL.test_set(experiment(folder, folder)) == (folder / "test_data.npy", folder / "test_label.pkl")


@pytest.mark.parametrize(
    "overrides",
    [
        {DATA: "all.npy"},
        {LABELS: "labels_of_all.pkl"},
        {DATA: "train_other.npy"},
        {LABELS: "train_other.pkl"},
        {DATA: "train_x.npy", LABELS: "train_x.pkl"},
    ],
)
def test_both_files_must_exist(folder: Path, overrides: dict[str, str]) -> None:
    paths = {key: str(folder / name) for key, name in overrides.items()}
    assert MODEL.test_set(experiment(folder, folder, **paths)) is None


def test_only_the_name_of_the_file_counts_and_remote_data_have_no_test_set(folder: Path) -> None:
    below = folder / "train"
    below.mkdir()
    for name in ("train.npy", "test.npy", "y_train.pkl", "y_test.pkl"):
        (below / name).touch()
    paths = {DATA: str(below / "train.npy"), LABELS: str(below / "y_train.pkl")}
    assert MODEL.test_set(experiment(folder, folder, **paths)) == (below / "test.npy", below / "y_test.pkl")
    remote = {DATA: "s3://bucket/train.npy"}
    assert MODEL.test_set(experiment(folder, folder, **paths | remote)) is None


def test_plans_may_ask_for_sizes_schedules_and_test_sets_without_torch(tiny: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from tests.support.experiments import experiment\n"
        "from tao_skill.models.pose_classification.model import MODEL\n"
        f"config = experiment(Path({str(tiny)!r}), Path('out'))\n"
        "assert MODEL.validation_size(config) == 6\n"
        "assert MODEL.test_set(config) and MODEL.shortened(config, 5)\n"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)
