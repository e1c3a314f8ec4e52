"""Looking at a data set: every finding is counted, located and comes with what to try."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tao_skill.models.pose_classification.data.inspect import inspect, small_set_warning
from tests.support.folders import REAL_DATA, needs_real_data


def save(folder: Path, data: Any, ids: list[int], name: str = "train") -> tuple[Path, Path]:
    np.save(folder / f"{name}.npy", data)
    (folder / f"{name}.pkl").write_bytes(pickle.dumps([[f"s{i}" for i in range(len(ids))], ids], protocol=2))
    return folder / f"{name}.npy", folder / f"{name}.pkl"


@pytest.fixture
def data() -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).normal(size=(8, 3, 10, 34, 1)).astype(np.float32)


def test_a_clean_set_is_described(tmp_path: Path, data: Any) -> None:
    report = inspect(*save(tmp_path, data, [0, 1] * 4))
    assert report["data"] | {"path": ""} == {
        "path": "",
        "shape": [8, 3, 10, 34, 1],
        "dtype": "float32",
        "sequences": 8,
        "channels": 3,
        "frames": 10,
        "joints": 34,
        "persons": 1,
    }
    assert report["layouts"] == ["nvidia"]
    assert report["labels"]["per_class"] == {"0": 4, "1": 4}
    assert report["suggested"]["dataset.num_classes"] == 2
    assert report["suggested"]["model.graph_layout"] == "nvidia"
    assert report["suggested"]["dataset.batch_size"] == 8
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_labels_are_not_needed(tmp_path: Path, data: Any) -> None:
    report = inspect(save(tmp_path, data, [])[0])
    assert report["labels"] is None
    assert "dataset.num_classes" not in report["suggested"]


def test_frames_used_and_padding_are_measured(tmp_path: Path, data: Any) -> None:
    data[:, :, 4:] = 0
    data[0, :, 2:] = 0
    report = inspect(*save(tmp_path, data, [0, 1] * 4))
    assert report["frames_used"] == {
        "min": 2,
        "median": 4.0,
        "mean": 3.75,
        "max": 4,
        "padding_share": pytest.approx(0.625),
    }
    text = " ".join(report["warnings"])
    assert "data[:, :, :4]" in text
    assert "62% of the frames are padding" in text
    assert report["suggested"]["dataset.resample_frames"] == 16


@pytest.mark.parametrize(("used", "suggested"), [(5, 16), (16, 16), (17, 20), (30, 32), (49, None)])
def test_sequences_are_to_be_resampled_where_most_frames_are_padding(
    tmp_path: Path, used: int, suggested: int | None
) -> None:
    data = np.zeros((4, 3, 96, 34, 1))
    data[:, :, :used] = np.random.default_rng(0).normal(size=(4, 3, used, 34, 1))
    found = inspect(save(tmp_path, data, [])[0])
    assert found["suggested"].get("dataset.resample_frames") == suggested
    assert any(f"dataset.resample_frames={suggested}" in one for one in found["warnings"]) == bool(suggested)


@pytest.mark.parametrize(("value", "kind"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "inf")])
def test_odd_values_are_counted_and_located(tmp_path: Path, data: Any, value: float, kind: str) -> None:
    data[5, 1, 2, 3, 0] = data[6, 0, 0, 0, 0] = value
    report = inspect(*save(tmp_path, data, [0, 1] * 4))
    assert report["values"][kind] == {"count": 2, "first": [5, 1, 2, 3, 0]}
    assert any("(5, 1, 2, 3, 0)" in warning for warning in report["warnings"])


def test_empty_sequences_are_named_and_are_no_duplicates(tmp_path: Path, data: Any) -> None:
    data[[3, 6]] = 0
    report = inspect(*save(tmp_path, data, [0, 1] * 4))
    assert report["values"]["zero_sequences"] == {"count": 2, "indices": [3, 6]}
    assert report["duplicates"]["within"]["count"] == 0


def test_duplicates_are_found_within_a_set(tmp_path: Path, data: Any) -> None:
    data[7] = data[4] = data[2]
    report = inspect(*save(tmp_path, data, [0, 1] * 4))
    assert report["duplicates"] == {"within": {"count": 2, "pairs": [[2, 4], [2, 7]]}, "across": None}
    assert any("2 sequences repeat" in warning for warning in report["warnings"])


def test_duplicates_across_splits_are_leakage_whatever_their_type_and_padding(tmp_path: Path, data: Any) -> None:
    other = np.zeros((3, 3, 15, 34, 1), dtype=np.float64)
    other[1, :, :10] = data[6]
    other[0, :, :5] = other[2, :, :5] = 1.0
    report = inspect(*save(tmp_path, data, [0, 1] * 4), *save(tmp_path, other, [0, 1, 2], "val"))
    assert report["duplicates"]["across"] == {"count": 1, "pairs": [[6, 1]]}
    assert any("leakage" in warning for warning in report["warnings"])
    assert any("only the other split has the class ids [2]" in warning for warning in report["warnings"])


def test_imbalance_gaps_and_a_wrong_label_count_are_said(tmp_path: Path, data: Any) -> None:
    report = inspect(*save(tmp_path, data, [0] * 6 + [3]))
    assert report["labels"]["imbalance"] == 6.0
    text = " ".join(report["warnings"])
    assert "7 labels for 8 sequences" in text
    assert "6.0 times" in text
    assert "class ids [1, 2]" in text


@pytest.mark.parametrize(
    ("joints", "layouts"),
    [(18, ["openpose"]), (17, ["human3.6m", "coco"]), (25, ["ntu-rgb+d", "openpose_25"]), (24, ["ntu_edge"]), (7, [])],
)
def test_joints_and_channels_tell_the_layout(tmp_path: Path, joints: int, layouts: list[str]) -> None:
    report = inspect(save(tmp_path, np.full((1, 3, 2, joints, 1), 5.0), [])[0])
    assert report["layouts"] == layouts
    assert report["suggested"].get("model.graph_layout") == (layouts[0] if layouts else None)
    confident = inspect(save(tmp_path, np.ones((1, 3, 2, joints, 1)), [])[0])
    assert confident["suggested"].get("model.graph_layout") == (layouts[-1] if layouts else None)
    assert any("fit no layout" in warning for warning in report["warnings"]) == (not layouts)


def test_other_channels_are_suggested(tmp_path: Path) -> None:
    assert inspect(save(tmp_path, np.ones((1, 2, 2, 34, 1)), [])[0])["suggested"]["model.input_channels"] == 2


def test_the_small_set_warning_names_what_to_change() -> None:
    warning = small_set_warning(1401, 0.1, 64)
    assert warning is not None
    for override in ("train.optim.lr=0.01", "model.dropout=0.1", "dataset.batch_size=16"):
        assert override in warning
    assert "dataset.batch_size" not in (small_set_warning(1401, 0.1, 8) or "dataset.batch_size")
    assert small_set_warning(1401, 0.01, 64) is None
    assert small_set_warning(50_000, 0.1, 64) is None


@needs_real_data
def test_the_real_set_is_understood() -> None:
    irds = REAL_DATA / "irds"
    report = inspect(irds / "train_data.npy", irds / "train_label.pkl", irds / "val_data.npy", irds / "val_label.pkl")
    assert report["layouts"] == ["ntu-rgb+d", "openpose_25"]
    assert report["labels"]["classes"] == report["suggested"]["dataset.num_classes"] == 9
    assert report["duplicates"]["across"]["count"] == 0
    assert report["values"]["nan"]["count"] == 0
    assert any("lr=0.01" in warning for warning in report["warnings"])


@pytest.mark.parametrize(("joints", "channel", "told"), [(18, 3.0, True), (18, 0.9, False), (34, 3.0, False)])
def test_a_third_channel_that_is_no_confidence_is_told(joints: int, channel: float, told: bool, tmp_path: Path) -> None:
    x_NCTVM = np.random.default_rng(0).normal(size=(4, 3, 8, joints, 1)).astype(np.float32)
    x_NCTVM[:, 2] = np.abs(x_NCTVM[:, 2]).clip(0, 1) * channel
    np.save(tmp_path / "x.npy", x_NCTVM)
    report = inspect(tmp_path / "x.npy")
    assert report["values"]["ranges"][0] == [float(x_NCTVM[:, 0].min()), float(x_NCTVM[:, 0].max())]
    assert any("base: openpose, coordinates: 3" in warning for warning in report["warnings"]) == told
