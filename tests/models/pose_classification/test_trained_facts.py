"""The metadata of trained files: what is written is read again, from files of older versions too."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from tao_skill import __version__
from tao_skill.errors import BadData
from tao_skill.models.pose_classification.trained_facts import (
    OWN_LENGTH,
    TrainedFacts,
    fix_of,
    trimming_warning,
)
from tests.support.experiments import experiment

PATH = Path("model")

OLD = TrainedFacts(
    model_type="ST-GCN",
    graph_layout="nvidia",
    graph_strategy="spatial",
    input_channels=3,
    num_classes=2,
    center="false",
    align_view=False,
    normalize_scale=False,
    streams=("joint",),
    resample_frames=OWN_LENGTH,
    label_map={"größe": 0, "b": 1},
    version="0.8.0",
    trim_padding=True,
)

OLD_CHECKPOINT: dict[str, Any] = {
    "version": "0.8.0",
    "model_name": None,
    "model_type": "ST-GCN",
    "center": "false",
    "graph_layout": "nvidia",
    "graph_strategy": "spatial",
    "input_channels": 3,
    "resample_frames": None,
    "num_classes": 2,
    "label_map": {"größe": 0, "b": 1},
    "trim_padding": True,
    "metrics": {"val_acc": 0.5},
    "train_sums": (1.0, 2.0, 3),
}

OLD_ONNX = {
    "model_type": "ST-GCN",
    "graph_layout": "nvidia",
    "graph_strategy": "spatial",
    "input_channels": "3",
    "num_classes": "2",
    "center": "false",
    "resample_frames": "none",
    "label_map": json.dumps({"größe": 0, "b": 1}),
    "model_name": "",
    "precision": "fp32",
    "producer": "tao-skill 0.8.0",
    "trim_padding": "true",
}


@pytest.mark.parametrize("frames", [None, 12])
@pytest.mark.parametrize("label_map", [None, {"größe": 0, "b": 1}])
@pytest.mark.parametrize("name", [None, "mine"])
def test_both_forms_give_back_what_was_written(frames: Any, label_map: Any, name: Any, tmp_path: Path) -> None:
    config = experiment(
        tmp_path,
        tmp_path,
        dataset__resample_frames=frames,
        dataset__label_map=label_map,
        model_name=name,
        model__center="true",
        model__streams=["bone", "joint_motion"],
        model__stream_weights=[1.0, 0.5],
    )
    facts = TrainedFacts.of(config)
    written = replace(facts, edge_importance_weighting=None)
    assert TrainedFacts.read(facts.text(), PATH) == written
    assert TrainedFacts.read(facts.plain(), PATH) == replace(written, stream_weights=None)
    assert facts.plain()["resample_frames"] == frames
    assert (facts.version, facts.num_classes, facts.center) == (__version__, 6, "true")
    assert all(isinstance(value, str) for value in facts.text().values())
    assert facts.differences(facts) == []


def test_files_of_older_versions_are_read() -> None:
    assert TrainedFacts.read(OLD_CHECKPOINT, PATH) == OLD
    assert TrainedFacts.read(OLD_ONNX, PATH) == replace(OLD, version=None)
    assert TrainedFacts.read({}, PATH) == TrainedFacts()
    assert not TrainedFacts.read({}, PATH).states_any()


def test_older_versions_find_the_names_and_values_that_they_read() -> None:
    """Checkpoints and ONNX files keep every name, in the type that older versions expect."""
    stated = {name: value for name, value in OLD_CHECKPOINT.items() if name in asdict(OLD) and name != "trim_padding"}
    assert stated.items() <= OLD.plain().items()
    texts = {name: value for name, value in OLD_ONNX.items() if name in stated}
    assert (texts | {"version": "0.8.0"}).items() <= OLD.text().items()


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("num_classes", "many", "an integer"),
        ("num_classes", "9" * 5000, "an integer"),
        ("input_channels", 3.0, "an integer"),
        ("input_channels", True, "an integer"),
        ("resample_frames", "always", "an integer"),
        ("center", "perhaps", "false, true, group"),
        ("center", [True], "false, true, group"),
        ("graph_layout", 7, "text"),
        ("streams", ["up"], "a list of joint, bone"),
        ("streams", 3, "a list of joint, bone"),
        ("stream_weights", "[1,many]", "a list of numbers"),
        ("align_view", "perhaps", "true or false"),
    ],
)
def test_damaged_metadata_is_refused_and_named(name: str, value: Any, accepted: str) -> None:
    with pytest.raises(BadData, match=f"model has the metadata {name}=.*, accepted: {accepted}") as caught:
        TrainedFacts.read({name: value}, PATH)
    assert len(caught.value.message) < 200


def test_facts_that_one_side_does_not_state_do_not_differ() -> None:
    spec = replace(OLD, graph_layout="coco", resample_frames=12, label_map=None, version="1.0")
    assert [str(one) for one in OLD.differences(spec)] == [
        "model.graph_layout is nvidia in the file, coco in the spec",
        "dataset.resample_frames is null in the file, 12 in the spec",
    ]
    assert fix_of(OLD.differences(spec)).startswith("set model.graph_layout=nvidia dataset.resample_frames=null")
    assert replace(OLD, graph_layout=None, resample_frames=None).differences(spec) == []


def test_a_warning_tells_of_a_setting_that_was_removed() -> None:
    assert "dataset.trim_padding, which was removed" in (trimming_warning(PATH, OLD) or "")
    assert trimming_warning(PATH, replace(OLD, trim_padding=False)) is None
    assert trimming_warning(PATH, TrainedFacts()) is None
