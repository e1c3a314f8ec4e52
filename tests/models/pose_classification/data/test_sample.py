"""The generated data set: repeatable, made of rigid bodies, and not solved by raw coordinates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tao_skill.models.pose_classification.data.inspect import inspect
from tao_skill.models.pose_classification.data.sample.body import BONES, JOINTS, place, random_body
from tao_skill.models.pose_classification.data.sample.motions import ACTIONS
from tao_skill.models.pose_classification.data.sample.sample import make_split, write_sample
from tao_skill.models.pose_classification.data.sequences import open_sequences, read_labels, unpadded_lengths
from tao_skill.models.pose_classification.network.layouts import LAYOUTS

CLASSES = ["sitting_down", "getting_up", "sitting", "standing", "walking", "jumping"]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    write_sample(folder)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    written = []
    for seed in (7, 7, 8):
        write_sample(tmp_path / "s", train=12, val=6, frames=20, seed=seed)
        written.append(contents(tmp_path / "s"))
    assert written[0] == written[1]
    assert {name for name in written[0] if written[0][name] != written[2][name]} == {
        f"{split}_{part}" for split in ("train", "val", "test") for part in ("data.npy", "label.pkl")
    }


def test_the_set_is_what_tao_reads(sample: Path) -> None:
    for split in ("train", "val", "test"):
        data, labels = open_sequences(sample / f"{split}_data.npy"), read_labels(sample / f"{split}_label.pkl")
        assert data.dtype == np.float32
        assert data.shape[1:2] + data.shape[3:] == (3, LAYOUTS["nvidia"].joints, 1)
        assert len(labels.ids) == len(data)
        assert set(labels.ids) == set(range(6))
        used = unpadded_lengths(data)
        assert used.min() >= data.shape[2] // 2
        assert used.max() <= data.shape[2]


def test_inspection_finds_nothing_wrong_and_no_sequence_in_two_splits(sample: Path) -> None:
    report = inspect(*(sample / f"{split}_{part}" for split in ("train", "val") for part in ("data.npy", "label.pkl")))
    assert report["labels"]["imbalance"] == 1.0
    assert report["duplicates"]["within"]["count"] == report["duplicates"]["across"]["count"] == 0
    assert report["values"]["nan"]["count"] == report["values"]["zero_sequences"]["count"] == 0


def test_the_spec_names_the_files_by_absolute_path(sample: Path) -> None:
    spec: dict[str, Any] = yaml.safe_load((sample / "spec.yaml").read_text())
    assert spec["model"]["graph_layout"] == "nvidia"
    assert list(spec["dataset"]["label_map"]) == CLASSES
    assert list(spec["dataset"]["label_map"].values()) == list(range(spec["dataset"]["num_classes"]))
    files = [
        *spec["dataset"]["train_dataset"].values(),
        *spec["dataset"]["val_dataset"].values(),
        *spec["evaluate"]["test_dataset"].values(),
        spec["inference"]["test_dataset"]["data_path"],
    ]
    assert all(Path(file).is_absolute() and Path(file).is_file() for file in files)


def test_the_spec_leaves_network_and_training_to_a_search(sample: Path) -> None:
    spec = yaml.safe_load((sample / "spec.yaml").read_text())
    assert set(spec) == {"model", "dataset", "evaluate", "inference"}
    assert set(spec["model"]) == {"graph_layout"}
    assert set(spec["dataset"]) == {"train_dataset", "val_dataset", "num_classes", "label_map"}


def test_the_report_lists_what_was_written(tmp_path: Path) -> None:
    report = write_sample(tmp_path / "new" / "folder", train=6, val=6, frames=12)
    assert report["classes"] == CLASSES
    assert sorted(report["files"]) == sorted(str(file) for file in (tmp_path / "new" / "folder").iterdir())


def flat(folder: Path, split: str) -> tuple[Any, tuple[int, ...]]:
    data = np.asarray(open_sequences(folder / f"{split}_data.npy"))
    return data.reshape(len(data), -1), read_labels(folder / f"{split}_label.pkl").ids


def test_a_linear_model_on_raw_coordinates_is_weak(sample: Path) -> None:
    (x_train, y_train), (x_val, y_val) = (flat(sample, split) for split in ("train", "val"))
    linear = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=200))
    assert linear.fit(x_train, y_train).score(x_val, y_val) < 0.75


def test_the_joint_order_is_the_layouts() -> None:
    joined = {frozenset((bone.joint, bone.parent)) for bone in BONES}
    edges = {frozenset(edge) for edge in LAYOUTS["nvidia"].edges}
    assert len(JOINTS) == LAYOUTS["nvidia"].joints
    assert joined <= edges
    assert {bone.joint for bone in BONES} == set(range(1, len(JOINTS)))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), action=st.sampled_from(CLASSES))
def test_bones_are_rigid_and_feet_stay_on_the_floor(seed: int, action: str) -> None:
    rng = np.random.default_rng(seed)
    body = random_body(rng)
    motion = ACTIONS[action](rng, np.arange(30) / 12)
    joints_TV3 = place(body, motion.angles, motion.flight)
    for bone in BONES:
        length_T = np.linalg.norm(joints_TV3[:, bone.joint] - joints_TV3[:, bone.parent], axis=1)
        expected = np.linalg.norm(bone.offset) * body.stature * body.proportions[bone.group]
        np.testing.assert_allclose(length_T, expected, rtol=1e-9)
    np.testing.assert_allclose(joints_TV3[:, :, 1].min(axis=1), motion.flight, atol=1e-9)


def mean_pelvis_height(action: str, part: slice) -> float:
    heights = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        motion = ACTIONS[action](rng, np.arange(40) / 12)
        heights.append(place(random_body(rng), motion.angles, motion.flight)[part, 0, 1].mean())
    return float(np.mean(heights))


def test_actions_are_what_they_are_called() -> None:
    start, end = slice(0, 3), slice(-3, None)
    assert mean_pelvis_height("sitting_down", start) > mean_pelvis_height("sitting_down", end) + 0.2
    assert mean_pelvis_height("getting_up", end) > mean_pelvis_height("getting_up", start) + 0.2
    assert mean_pelvis_height("standing", start) > mean_pelvis_height("sitting", start) + 0.2
    rng = np.random.default_rng(0)
    walk, jump = (ACTIONS[name](rng, np.arange(40) / 12) for name in ("walking", "jumping"))
    assert np.linalg.norm(np.ptp(place(random_body(rng), walk.angles, walk.flight)[:, 0], axis=0)) > 1.0
    assert 0.05 < jump.flight.max() < 0.4


@pytest.mark.parametrize("size", [1, 7])
def test_any_size_works(size: int) -> None:
    split = make_split("train", size, 9, np.random.default_rng(0))
    assert split.data.shape == (size, 3, 9, 34, 1)
    assert len(split.ids) == len(split.names) == size
