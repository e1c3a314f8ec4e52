"""Skeletons of users: every fault has a sentence, and a model carries its layout."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from tao_skill.errors import BadData, NotFound
from tao_skill.models.pose_classification.actions import evaluate, export, inference, train
from tao_skill.models.pose_classification.checks.check import check
from tao_skill.models.pose_classification.deploy import onnx_graph
from tao_skill.models.pose_classification.deploy.scorers import open_scorer
from tao_skill.models.pose_classification.network.layout_file import layout_of, stated_layout, stated_name
from tao_skill.models.pose_classification.network.layouts import LAYOUTS, Layout
from tao_skill.models.pose_classification.network.registry import build_net
from tao_skill.models.pose_classification.training import checkpoint_file
from tests.support.experiments import experiment

DOG: dict[str, Any] = {
    "name": "dog",
    "joints": ["nose", "neck", "tail", "left_paw", "right_paw"],
    "edges": [["nose", "neck"], ["neck", 2], [1, "left_paw"], [1, 4]],
    "center": "neck",
    "mirror": [["left_paw", "right_paw"]],
    "coordinates": 2,
}


def labels(path: Path, ids: list[int]) -> None:
    path.write_bytes(pickle.dumps([[str(i) for i in range(len(ids))], ids]))


def write(path: Path, **changes: Any) -> Path:
    path.write_text(yaml.safe_dump({key: value for key, value in (DOG | changes).items() if value is not None}))
    return path


def test_joints_are_named_or_numbered(tmp_path: Path) -> None:
    expected = Layout(joints=5, center=1, edges=((0, 1), (1, 2), (1, 3), (1, 4)), mirror=((3, 4),), coordinates=2)
    path = write(tmp_path / "dog.yaml")
    assert layout_of(str(path)) == expected
    stated = stated_layout(str(path))
    assert layout_of(stated) == expected
    assert stated_name(stated) == "dog"
    numbered = write(tmp_path / "5.yml", joints=5, edges=[[0, 1], [1, 2], [1, 3], [1, 4]], center=1, mirror=[[3, 4]])
    assert stated_layout(str(numbered)) == stated
    assert expected.parents() == (1, 1, 1, 1, 1)


def test_a_base_gives_what_the_file_does_not_change(tmp_path: Path) -> None:
    path = tmp_path / "openpose_3d.yaml"
    path.write_text("name: openpose_3d\nbase: openpose\ncoordinates: 3\n")
    layout = layout_of(str(path))
    assert layout == replace(LAYOUTS["openpose"], coordinates=3)
    assert layout_of(stated_layout(str(path))) == layout
    path.write_text("name: hand\nbase: hand_21\npersons: 2\n")
    assert layout_of(str(path)) == replace(LAYOUTS["hand_21"], persons=2)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"base": "horse"}, "base is 'horse', accepted: nvidia, openpose"),
        ({"name": None}, "name is missing; required: name, joints, edges, center"),
        ({"name": "coco"}, "name is coco, which is a layout of tao-skill"),
        ({"name": "a dog"}, "name is 'a dog', accepted: letters, digits"),
        ({"bones": []}, "'bones' is not a key of a layout, accepted: name, base, joints, edges"),
        ({"joints": "five"}, "joints is 'five', accepted: a list of names or a number"),
        ({"joints": 1}, "joints has 1 joints, accepted: 2 to 1024"),
        ({"joints": ["neck"] * 5}, "joints has the name 'neck' more than once"),
        ({"center": "head"}, "center names the joint 'head', which is not in joints"),
        ({"center": 5}, "center has the joint 5, but the 5 joints are 0 to 4"),
        ({"center": 1.0}, "center has 1.0, accepted: a joint by its name or index"),
        ({"edges": [[0, 1, 2]]}, "edges has [0, 1, 2], accepted: pairs of joints"),
        ({"edges": [[0, 0]]}, "edges pairs the joint 0 with itself"),
        ({"edges": "0-1"}, "edges is '0-1', accepted: a list of pairs"),
        ({"edges": [[0, 1], [1, 2], [1, 3], [1, 4], [1, 0]]}, "edges has the bone [0, 1] 2 times"),
        ({"edges": [[0, 1], [1, 2], [3, 4]]}, "no chain of edges leads from the joint 3 to the center 1"),
        ({"mirror": [[3, 4], [4, 2]]}, "mirror has the joint 4 in 2 pairs"),
        ({"coordinates": 4}, "coordinates is 4, accepted: 2 to 3"),
        ({"persons": 0}, "persons is 0, accepted: 1 to 100"),
    ],
)
def test_each_fault_has_its_sentence(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    path = write(tmp_path / "dog.yaml", **changes)
    with pytest.raises(BadData, match="layout file") as caught:
        layout_of(str(path))
    assert said in caught.value.message
    assert str(path) in caught.value.message
    config = experiment(tmp_path, tmp_path, model__graph_layout=str(path))
    for name in ("train", "val"):
        np.save(tmp_path / f"{name}_data.npy", np.ones((4, 3, 8, 5, 1), np.float32))
        labels(tmp_path / f"{name}_label.pkl", [0, 1, 2, 3])
    (problem,) = check(config, "train").problems
    assert (problem.key, said in problem.message) == ("model.graph_layout", True)


def test_a_file_that_does_not_exist_is_named_with_the_known_layouts(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no layout file") as caught:
        layout_of(str(tmp_path / "cat.yaml"))
    assert all(name in caught.value.fix for name in LAYOUTS)


@pytest.mark.usefixtures("small_networks")
@pytest.mark.parametrize("gone", [False, True])
def test_a_model_carries_its_layout(tmp_path: Path, gone: bool) -> None:
    path = write(tmp_path / "dog.yaml")
    rng = np.random.default_rng(0)
    for name in ("train", "val"):
        np.save(tmp_path / f"{name}_data.npy", rng.normal(size=(6, 3, 8, 5, 1)).astype(np.float32))
        labels(tmp_path / f"{name}_label.pkl", [0, 1, 2, 3, 4, 5])
    spec: dict[str, Any] = {"model__graph_layout": str(path), "model__center": "true", "train__num_epochs": 1}
    assert check(experiment(tmp_path, tmp_path, **spec), "train").problems == []
    train.run(experiment(tmp_path, tmp_path, **spec))
    if gone:
        path.unlink()
    checkpoint = str(tmp_path / "train" / "pc_model_latest.pth")
    files = {
        "test_dataset__data_path": f"{tmp_path}/val_data.npy",
        "test_dataset__label_path": f"{tmp_path}/val_label.pkl",
    }
    tested = experiment(
        tmp_path, tmp_path, **spec, evaluate__checkpoint=checkpoint, **{f"evaluate__{k}": v for k, v in files.items()}
    )
    assert check(tested, "evaluate").problems == []
    accuracy = evaluate.run(tested).metrics["accuracy"]
    exported = experiment(tmp_path, tmp_path, **spec, export__checkpoint=checkpoint, export__sequence_length=8)
    assert export.run(exported).metrics["max_difference"] < 1e-4
    onnx = f"{tmp_path}/export/model.onnx"
    again = experiment(
        tmp_path, tmp_path, **spec, evaluate__checkpoint=onnx, **{f"evaluate__{k}": v for k, v in files.items()}
    )
    assert evaluate.run(again).metrics["accuracy"] == accuracy
    predicted = experiment(
        tmp_path, tmp_path, **spec, inference__checkpoint=onnx, **{f"inference__{k}": v for k, v in files.items()}
    )
    inference.run(predicted)
    assert len((tmp_path / "inference" / "results.txt").read_text().splitlines()) == 6


@pytest.mark.usefixtures("small_networks")
def test_a_model_that_states_no_layout_needs_the_file(tmp_path: Path) -> None:
    """As weights of others, and ONNX files without metadata."""
    spec: dict[str, Any] = {"model__graph_layout": str(write(tmp_path / "dog.yaml"))}
    net = build_net(experiment(tmp_path, tmp_path, **spec).model, 6)
    checkpoint_file.save({"state_dict": net.state_dict()}, tmp_path / "weights.pth")
    model = onnx_graph.to_onnx(net.eval(), frames=8)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    config = experiment(tmp_path, tmp_path, **spec)
    for name in ("weights.pth", "model.onnx"):
        open_scorer(tmp_path / name, config, torch.device("cpu"))
    (tmp_path / "dog.yaml").unlink()
    for name in ("weights.pth", "model.onnx"):
        with pytest.raises(NotFound, match="there is no layout file"):
            open_scorer(tmp_path / name, config, torch.device("cpu"))
