"""The accuracy table is made of real trainings, each run once, whose specs the schema accepts."""

from __future__ import annotations

import json
import math
import pickle
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tao_skill.models.pose_classification.config import ExperimentConfig
from tao_skill.spec.check import check
from tao_skill.spec.load import override
from tests.support.folders import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "benchmarks"))

import accuracy
import accuracy_grid
from accuracy_grid import SETS, Row, rows
from accuracy_table import noise, page, wilson

FIRST = Row(network="ST-GCN++", set="utkinect")
PATHS = {f"dataset.{split}_dataset.{name}": "a" for split in ("train", "val") for name in ("data_path", "label_path")}


def checked(action: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    return check(ExperimentConfig, action, override(ExperimentConfig, {}, spec.items()))


def test_every_row_is_a_spec_that_train_accepts() -> None:
    for row in rows():
        trained = {key: value for key, value in row.spec.items() if not key.startswith(accuracy.EVALUATE)}
        spec = checked("train", trained | PATHS)
        assert spec["model"]["graph_layout"] == row.data.layout
        assert (row.option == "num_clips=10") == (trained != row.spec)


def test_every_network_stream_and_recipe_is_measured_on_the_small_sets() -> None:
    grid = {(row.network, row.streams, row.recipe, row.set) for row in rows() if row.option == "-"}
    small = {cell for cell in grid if cell[-1] in accuracy_grid.SMALL}
    assert len(small) == 3 * len(accuracy_grid.STREAMS) * len(accuracy_grid.RECIPES) * len(accuracy_grid.SMALL)
    assert len({row.name for row in rows()}) == len(list(rows()))


def test_every_option_changes_the_recipe_of_its_row() -> None:
    for row in rows():
        if row.option != "-":
            assert row.spec != Row(network=row.network, set=row.set, seed=row.seed).spec, row.name


def test_twice_the_frames_cost_about_twice_as_much() -> None:
    frames = Row(network="ST-GCN++", set="utkinect", option="twice the frames")
    assert frames.forward_gflop == pytest.approx(2 * FIRST.forward_gflop, rel=0.1)
    epochs = Row(network="ST-GCN++", set="utkinect", option="twice the epochs")
    assert epochs.expected_s - accuracy_grid.START_S == pytest.approx(2 * (FIRST.expected_s - accuracy_grid.START_S))


def write_set(folder: Path, counts: Mapping[str, int]) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for split, count in counts.items():
        ids = [index % 2 for index in range(count)]
        joints = SETS[folder.name].skeleton.joints
        x = rng.normal(size=(count, 3, 12, joints, 1)) + np.array(ids)[:, None, None, None, None]
        np.save(folder / f"{split}_data.npy", x.astype(np.float32))
        names = [f"{split}{index}" for index in range(count)]
        (folder / f"{split}_label.pkl").write_bytes(pickle.dumps([names, ids], protocol=2))
    (folder / "label_map.json").write_text(json.dumps({"walk": 0, "sit": 1}))


def test_a_training_is_recorded_once_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_set(tmp_path / "utkinect", {"train": 8, "val": 4})
    small = {"dataset.resample_frames": 8, "dataset.batch_size": 8, "train.num_epochs": 1}
    monkeypatch.setitem(accuracy_grid.RECIPES, "best", lambda data: small)
    monkeypatch.setattr(accuracy, "SETS", {"utkinect": SETS["utkinect"]})
    results = tmp_path / "results.jsonl"
    asked = ["accuracy.py", "--data", str(tmp_path), "--only", FIRST.name, "--results", str(results)]
    monkeypatch.setattr(sys, "argv", asked)
    with pytest.raises(SystemExit) as ended:
        accuracy.main()
    assert ended.value.code == 0
    *baselines, found = accuracy.read_rows(results)
    assert [one["baseline"] for one in baselines] == list(accuracy.BASELINES)
    assert found["row"] == FIRST.name
    assert found["epochs"] == 1
    assert found["best_val_acc"] in (0, 0.25, 0.5, 0.75, 1)
    assert found["epoch_s"] > 0
    assert found["parameters"] == pytest.approx(1.4e6, rel=0.1)

    monkeypatch.setattr(accuracy, "Training", None)  # nothing may be trained again
    with pytest.raises(SystemExit) as ended:
        accuracy.main()
    assert ended.value.code == 0
    assert len(accuracy.read_rows(results)) == 4

    monkeypatch.setattr(sys, "argv", [*asked, "--table"])
    accuracy.main()
    assert f"| ST-GCN++ | joint | best | {100 * found['best_val_acc']:.1f} |" in results.with_suffix(".md").read_text()


def test_a_failed_training_is_reported_and_not_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "results.jsonl"
    assert accuracy.train_all([FIRST], tmp_path / "missing", results, jobs=1, hours=1) == 1
    assert not results.exists()
    assert f"{FIRST.name}: failed with" in capsys.readouterr().err


def test_an_incomplete_line_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text('{"a": 1}\n{"a": ')
    assert accuracy.read_rows(path) == [{"a": 1}]
    accuracy.append(path, {"a": 2})
    assert accuracy.read_rows(path) == [{"a": 1}, {"a": 2}]


def result(row: Row, best: float, **changes: Any) -> dict[str, Any]:
    facts = {name: getattr(row, name) for name in ("network", "streams", "recipe", "option", "set", "seed")}
    costs = {"epoch_s": 1.5, "parameters": 1_400_000, "forward_gflop": 0.87, "machine": "a machine"}
    accuracies = {"best_val_acc": best, "val_acc": best - 0.01}
    return {"row": row.name, "spec": dict(row.spec), **facts, **costs, **accuracies, **changes}


def test_a_result_of_an_older_recipe_is_neither_done_nor_shown() -> None:
    found = result(FIRST, 0.9)
    older = found | {"spec": found["spec"] | {"train.optim.lr": 0.3}}
    assert accuracy.is_done(FIRST, [json.loads(json.dumps(found))])
    assert not accuracy.is_done(FIRST, [older])
    assert "90.0" in page([found])
    assert "90.0" not in page([older])


def test_the_tables_have_the_mean_the_range_and_the_gain_of_an_option() -> None:
    seeds = [result(Row(network="ST-GCN++", set="utkinect", seed=seed), 0.9 + seed / 100) for seed in (0, 1, 2)]
    option = result(Row(network="ST-GCN++", set="utkinect", option="dropout=0.5"), 0.88)
    text = page([*seeds, option, {"baseline": "1-NN", "set": "utkinect", "accuracy": 0.789}])
    assert "| ST-GCN++ | joint | best | 91.0 (90.0 to 92.0, 3) |" in text
    assert "| ST-GCN++ | joint | best | 90.0 (89.0 to 91.0, 3) |" in text
    assert "| ST-GCN++ | joint | best | 1.40 M | 0.87, 1.5 s |" in text
    assert "| dropout=0.5 | -2.0 |" in text
    assert "| 78.9 |" in text


def test_intervals_are_those_of_wilson_and_of_the_difference_of_two_shares() -> None:
    assert wilson(0.5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson(1.0, 99) == pytest.approx((0.9626, 1.0), abs=1e-4)
    assert noise([(0.5, 0.5, 100)]) == pytest.approx(1.96 * math.sqrt(0.005), abs=1e-4)
    assert noise([(0.9, 0.8, 100)] * 4) == pytest.approx(noise([(0.9, 0.8, 100)]) / 2)
