from __future__ import annotations

import pickle
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tao_skill.models.pose_classification.actions import evaluate, inference, train
from tao_skill.models.pose_classification.checks.check import check
from tao_skill.models.pose_classification.config import ExperimentConfig
from tao_skill.models.pose_classification.data.sequences import read_labels
from tao_skill.models.pose_classification.model import MODEL
from tao_skill.spec.tree import iter_params
from tests.support.experiments import experiment


def problems(tiny: Path, tmp_path: Path, **changes: Any) -> dict[str, tuple[str, str]]:
    found = check(experiment(tiny, tmp_path, **changes), "train").problems
    return {problem.key: (problem.message, problem.fix) for problem in found}


def test_a_fitting_spec_has_no_problem(tiny: Path, tmp_path: Path) -> None:
    assert problems(tiny, tmp_path) == {}


def test_another_layout_is_named_with_those_that_fit(tiny: Path, tmp_path: Path) -> None:
    message, fix = problems(tiny, tmp_path, model__graph_layout="openpose")["model.graph_layout"]
    assert "'openpose' of 18 joints" in message
    assert "has 34" in message
    assert fix == "set model.graph_layout=nvidia"


def test_labels_outside_the_classes_are_named(tiny: Path, tmp_path: Path) -> None:
    message, fix = problems(tiny, tmp_path, dataset__num_classes=4)["dataset.num_classes"]
    assert "class ids [4, 5]" in message
    assert "num_classes=6" in fix


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"dataset__random_choose": True}, "dataset.window_size"),
        ({"train__optim__momentum": 0.0}, "train.optim.nesterov"),
        ({"dataset__val_dataset__data_path": None}, "dataset.val_dataset.data_path"),
        (
            {
                "dataset__val_dataset__data_path": None,
                "dataset__val_dataset__label_path": None,
                "train__optim__lr_scheduler": "AutoReduce",
            },
            "train.optim.lr_monitor",
        ),
        ({"dataset__label_map": {"a": 0, "b": 0}}, "dataset.label_map"),
        ({"train__optim__warmup_epochs": 2}, "train.optim.warmup_epochs"),
        (
            {"train__optim__warmup_epochs": 3, "train__num_epochs": 9, "train__optim__lr_steps": [2, 4]},
            "train.optim.lr_steps",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    tiny: Path, tmp_path: Path, changes: dict[str, Any], key: str
) -> None:
    message, fix = problems(tiny, tmp_path, **changes)[key]
    assert key in message
    assert fix


def test_a_warm_up_that_ends_before_the_training_and_the_first_decay_is_accepted(tiny: Path, tmp_path: Path) -> None:
    decays = {"train__num_epochs": 4, "train__optim__lr_steps": [3]}
    assert problems(tiny, tmp_path, train__optim__warmup_epochs=3, **decays) == {}
    early = {"train__num_epochs": 4, "train__optim__lr_steps": [1], "train__optim__lr_scheduler": "Cosine"}
    assert problems(tiny, tmp_path, train__optim__warmup_epochs=3, **early) == {}


def test_more_accumulated_batches_than_an_epoch_has_are_warned_of(tiny: Path, tmp_path: Path) -> None:
    """Twelve sequences are three batches of up to five."""
    for accumulated in (3, 4):
        config = experiment(tiny, tmp_path, train__optim__accumulate_batches=accumulated)
        warned = [warning for warning in check(config, "train").warnings if "accumulate_batches" in warning]
        assert len(warned) == (accumulated > 3)


SIDED = {"wave left": 0, "wave right": 1, "sit": 2, "stand": 3, "all right": 4, "fall": 5}


@pytest.mark.parametrize(
    ("label_map", "pairs", "key", "said"),
    [
        (SIDED, None, "dataset.random_flip", "'wave left' may name a side"),
        (SIDED, {"wave left": "wave right"}, "dataset.random_flip", "'all right' may name a side"),
        (SIDED, {"wave left": "sit", "sit": "fall"}, "dataset.flip_labels", "'sit' is paired with"),
        (SIDED, {"wave left": "jump"}, "dataset.flip_labels", "'jump', which is not a class name"),
        (None, {"wave left": "wave right"}, "dataset.flip_labels", "set dataset.label_map"),
    ],
)
def test_mirrored_classes_that_name_a_side_must_be_paired(
    tiny: Path, tmp_path: Path, label_map: dict[str, int] | None, pairs: dict[str, str] | None, key: str, said: str
) -> None:
    changes = {"dataset__label_map": label_map, "dataset__flip_labels": pairs}
    assert said in " ".join(problems(tiny, tmp_path, dataset__random_flip=True, **changes)[key])
    assert problems(tiny, tmp_path, **changes) == {}


def test_paired_and_unknown_classes_may_be_mirrored(tiny: Path, tmp_path: Path) -> None:
    pairs = {"wave left": "wave right", "all right": "all right"}
    for changes in ({}, {"dataset__label_map": SIDED, "dataset__flip_labels": pairs}):
        assert problems(tiny, tmp_path, dataset__random_flip=True, **changes) == {}


@pytest.mark.parametrize(
    ("name", "break_it", "said"),
    [
        ("train_data.npy", lambda path: path.write_bytes(path.read_bytes()[:1000]), "data_path"),
        ("train_data.npy", lambda path: np.save(path, np.zeros((3, 4), np.float32)), "shape"),
        ("train_label.pkl", lambda path: path.write_bytes(pickle.dumps([["a"], [0]])), "1 labels for 12 sequences"),
        ("train_label.pkl", lambda path: path.write_bytes(pickle.dumps({"a": print})), "label_path"),
    ],
)
def test_broken_files_are_refused_before_a_job_exists(
    tiny: Path, tmp_path: Path, name: str, break_it: Callable[[Path], object], said: str
) -> None:
    path = tmp_path / name
    path.write_bytes((tiny / name).read_bytes())
    break_it(path)
    key = "dataset__train_dataset__data_path" if name.endswith("npy") else "dataset__train_dataset__label_path"
    messages = [message for message, _ in problems(tiny, tmp_path, **{key: str(path)}).values()]
    assert any(said in message for message in messages), messages


def test_a_misspelt_file_is_corrected(tiny: Path, tmp_path: Path) -> None:
    key = "dataset.train_dataset.data_path"
    _, fix = problems(tiny, tmp_path, dataset__train_dataset__data_path=str(tiny / "trian_data.npy"))[key]
    assert fix == f"set {key}={tiny / 'train_data.npy'}"


def test_values_that_are_not_finite_come_with_the_command_that_removes_them(tiny: Path, tmp_path: Path) -> None:
    data_NCTVM = np.load(tiny / "train_data.npy")
    data_NCTVM[1, 0, 3], data_NCTVM[2, 0, 3] = np.nan, -np.inf
    folder = tmp_path / "it's odd"
    folder.mkdir()
    np.save(folder / "odd.npy", data_NCTVM)
    key = "dataset.train_dataset.data_path"
    _, fix = problems(tiny, tmp_path, dataset__train_dataset__data_path=str(folder / "odd.npy"))[key]
    command = fix.split("`")[1].replace("python", shlex.quote(sys.executable), 1)
    subprocess.run(command, shell=True, check=True)
    assert f"set {key}={folder / 'odd_finite.npy'}" in fix
    np.testing.assert_array_equal(
        np.load(folder / "odd_finite.npy"), np.where(np.isfinite(data_NCTVM), data_NCTVM, np.float32(0))
    )


@pytest.mark.parametrize("action", MODEL.actions)
def test_remote_files_are_passed_over_whatever_the_action(tiny: Path, tmp_path: Path, action: str) -> None:
    keys = [leaf.key for leaf in iter_params(ExperimentConfig, action) if leaf.param.reads_file]
    assert keys
    remote = {key.replace(".", "__"): f"s3://bucket/{key}" for key in keys}
    changes = {"gen_trt_engine__tensorrt__data_type": "int8"} if action == "gen_trt_engine" else {}
    assert check(experiment(tiny, tmp_path, **remote, **changes), action).problems == []


def test_short_real_sequences_train_evaluate_and_predict(real_data: Path, tmp_path: Path) -> None:
    """Recorded people, cut to 24 frames: ten actions, two-person layout with one person, float16 on disk."""
    for split in ("train", "val"):
        np.save(tmp_path / f"{split}_data.npy", np.load(real_data / "utkinect" / f"{split}_data.npy")[:20, :, :24])
        labels = read_labels(real_data / "utkinect" / f"{split}_label.pkl")
        cut = [list(labels.names[:20]), list(labels.ids[:20])]
        (tmp_path / f"{split}_label.pkl").write_bytes(pickle.dumps(cut, protocol=2))
    changes = {"model__graph_layout": "ntu_edge", "dataset__num_classes": 10, "train__num_epochs": 1}
    config = experiment(tmp_path, tmp_path / "out", **changes)
    assert not check(config, "train").problems
    train.run(config)
    checkpoint = str(tmp_path / "out" / "train" / "pc_model_latest.pth")
    for action, module in (("evaluate", evaluate), ("inference", inference)):
        task = {
            f"{action}__checkpoint": checkpoint,
            f"{action}__test_dataset__data_path": str(tmp_path / "val_data.npy"),
            f"{action}__test_dataset__label_path": str(tmp_path / "val_label.pkl"),
        }
        config = experiment(tmp_path, tmp_path / "out", **changes, **task)
        assert not check(config, action).problems
        assert 0 <= module.run(config).metrics["accuracy"] <= 100
