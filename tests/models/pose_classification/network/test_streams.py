"""Several streams: trained, saved, scored and exported together, each as if it were alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator

from tao_skill.errors import BadData
from tao_skill.models.pose_classification.actions import evaluate, export, train
from tao_skill.models.pose_classification.config import ExperimentConfig
from tao_skill.models.pose_classification.deploy import onnx_file, onnx_graph, onnx_torch, tensorrt_precision
from tao_skill.models.pose_classification.deploy.scorers import open_scorer
from tao_skill.models.pose_classification.network.architecture import epoch_flop
from tao_skill.models.pose_classification.network.blocks import Block
from tao_skill.models.pose_classification.network.layouts import LAYOUTS
from tao_skill.models.pose_classification.network.preparation import Preparation
from tao_skill.models.pose_classification.network.registry import NETWORKS, build_net
from tao_skill.models.pose_classification.network.stgcn import STGCN
from tao_skill.models.pose_classification.network.streams import Streams
from tao_skill.models.pose_classification.training import checkpoint_file
from tests.support.experiments import experiment
from tests.support.networks import MaxPool, Traced, acquainted, weights

BLOCKS = (Block(8), Block(16, 2))
PAIR = {"model__streams": ["joint", "bone_motion"]}
FOUR = ["joint", "bone", "joint_motion", "bone_motion"]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of two narrow blocks."""
    for name, network in list(NETWORKS.items()):
        monkeypatch.setitem(NETWORKS, name, replace(network, blocks=BLOCKS))


def pair(kind: type[STGCN] = STGCN, **settings: Any) -> Streams:
    torch.manual_seed(0)
    skeleton = {"layout": LAYOUTS["ntu-rgb+d"], "num_classes": 5, "blocks": BLOCKS}
    nets = {stream: kind(**skeleton, stream=stream, **settings) for stream in ("joint", "bone_motion")}
    net = Streams(nets, weights=[3.0, 1.0])
    for one in nets.values():
        acquainted(one, torch.randn(8, 3, 9, 25, 2))
    return net.eval()


def config_of(tiny: Path, folder: Path, **changes: Any) -> ExperimentConfig:
    checkpoint = str(folder / "train" / "pc_model_latest.pth")
    given = {
        "train__num_epochs": 1,
        "export__checkpoint": checkpoint,
        "evaluate__checkpoint": checkpoint,
        "evaluate__test_dataset__data_path": str(tiny / "val_data.npy"),
        "evaluate__test_dataset__label_path": str(tiny / "val_label.pkl"),
    }
    return experiment(tiny, folder, **given | PAIR | changes)


def test_the_score_is_the_weighted_mean_of_the_probabilities() -> None:
    net, x_NCTVM = pair(), torch.randn(3, 3, 9, 25, 2)
    with torch.no_grad():
        first, second = (one(x_NCTVM).softmax(1) for one in net.streams.values())
        torch.testing.assert_close(net(x_NCTVM).exp(), 0.75 * first + 0.25 * second)


@pytest.mark.parametrize("stream", FOUR)
def test_a_network_of_one_stream_is_a_plain_one_on_prepared_sequences(stream: str) -> None:
    torch.manual_seed(0)
    one = STGCN(layout=LAYOUTS["coco"], blocks=BLOCKS, stream=stream)
    plain = STGCN(layout=LAYOUTS["coco"], blocks=BLOCKS)
    plain.load_state_dict(one.state_dict())
    x_NCTVM = torch.randn(2, 3, 9, 17, 1)
    prepared = Preparation(LAYOUTS["coco"], stream=stream)(x_NCTVM)
    with torch.no_grad():
        assert torch.equal(one.eval()(x_NCTVM), plain.eval()(prepared))


def test_together_they_learn_what_they_learn_alone(tiny: Path, tmp_path: Path) -> None:
    together = config_of(tiny, tmp_path, model__dropout=0.0, train__num_epochs=2)
    alone = config_of(tiny, tmp_path / "alone", model__dropout=0.0, train__num_epochs=2, model__streams=["joint"])
    torch.manual_seed(together.train.seed)
    start = build_net(together.model, 6).state_dict()
    train.run(together)
    first = {name.removeprefix("streams.joint."): value for name, value in start.items() if ".joint." in name}
    checkpoint_file.save({"state_dict": first}, tmp_path / "start.pth")
    begun = replace(alone, model=replace(alone.model, pretrained_model_path=str(tmp_path / "start.pth")))
    train.run(begun)
    learnt, expected = weights(tmp_path / "train"), weights(tmp_path / "alone" / "train")
    for name, value in expected.items():
        torch.testing.assert_close(learnt[f"streams.joint.{name}"], value, rtol=1e-4, atol=1e-5)
    assert set(start) == set(learnt)


@pytest.mark.parametrize("kind", onnx_graph.WRITERS)
@pytest.mark.parametrize("frames", [9, None])
@pytest.mark.parametrize("opset", [12, 18])
def test_the_onnx_graph_has_them_all(kind: type[STGCN], frames: int | None, opset: int) -> None:
    net = pair(kind, center="true").double()
    x_NCTVM = torch.randn(2, 3, 9, 25, 2, dtype=torch.float64)
    model = onnx_graph.to_onnx(net, frames=frames, persons=2, opset=opset)
    (found_NK,) = ReferenceEvaluator(model, new_ops=[MaxPool]).run(None, {"input": x_NCTVM.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(found_NK, net(x_NCTVM).numpy(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("frames", [9, None])
def test_torch_exports_networks_without_a_graph_of_ours(frames: int | None, tmp_path: Path) -> None:
    net = pair(Traced, center="group", align_view=True, normalize_scale=True)
    x_NCTVM = torch.randn(2, 3, 9, 25, 2)
    assert not onnx_graph.can_write(net)
    session = onnx_file.open_session(onnx_torch.to_onnx(net, frames=frames, persons=2).SerializeToString(), tmp_path)
    with torch.no_grad():
        found_NK = onnx_file.scores(session, x_NCTVM.numpy(), 5, tmp_path)
        np.testing.assert_allclose(found_NK, net(x_NCTVM).numpy(), atol=1e-4)


def test_engines_get_the_blocks_of_all_in_lower_precision(tmp_path: Path) -> None:
    net, x_NCTVM = pair(), torch.randn(4, 3, 9, 25, 1).numpy()
    model = onnx_graph.to_onnx(net, frames=9)
    ranges = tensorrt_precision.calibrate(model, [x_NCTVM])
    assert {name.partition(".st_gcn")[0] for name in ranges} == {"streams.joint", "streams.bone_motion"}
    exact_NK, *others = (
        onnx_file.scores(onnx_file.open_session(one.SerializeToString(), tmp_path), x_NCTVM, 5, tmp_path)
        for one in (model, tensorrt_precision.to_fp16(model), tensorrt_precision.to_int8(model, ranges))
    )
    for found_NK, most in zip(others, (0.02, 0.5), strict=True):
        assert 0 < np.abs(found_NK - exact_NK).max() < most * exact_NK.std()


def test_they_train_evaluate_and_export_to_one_file(tiny: Path, tmp_path: Path) -> None:
    settings = {"model__stream_weights": [2.0, 1.0], "model__center": "true", "export__sequence_length": -1}
    config = config_of(tiny, tmp_path, **settings)
    train.run(config)
    (artifact,) = export.run(config).artifacts
    model = onnx.load(artifact.path)
    stated = {entry.key: entry.value for entry in model.metadata_props}
    assert (stated["streams"], stated["stream_weights"]) == ("[joint,bone_motion]", "[2.0,1.0]")
    assert [value.name for value in model.graph.input] == ["input"]
    measured = [
        evaluate.run(config_of(tiny, tmp_path, **settings, evaluate__checkpoint=str(path))).metrics
        for path in (config.evaluate.checkpoint, artifact.path)
    ]
    assert measured[0] == measured[1]
    x_NCTVM = np.random.default_rng(0).normal(size=(3, 3, 12, 34, 1)).astype(np.float32)
    net = build_net(config.model, 6)
    checkpoint_file.load_network(net.eval(), Path(config.evaluate.checkpoint))
    with torch.no_grad():
        wanted_NK = net(torch.from_numpy(x_NCTVM)).numpy()
    found_NK = open_scorer(Path(config.evaluate.checkpoint), config, torch.device("cpu"))(x_NCTVM)
    np.testing.assert_allclose(found_NK, wanted_NK, atol=1e-4)


def test_int8_keeps_the_classes(tiny: Path, tmp_path: Path) -> None:
    config = config_of(tiny, tmp_path, export__precision="int8", export__sequence_length=16)
    data = replace(config.export.calibration, data_path=str(tiny / "train_data.npy"))
    config = replace(config, export=replace(config.export, calibration=data))
    train.run(config)
    assert export.run(config).metrics["int8_agreement"] >= 80


def test_other_streams_or_weights_than_those_of_the_file_are_refused(tiny: Path, tmp_path: Path) -> None:
    config = config_of(tiny, tmp_path, export__sequence_length=16)
    train.run(config)
    (artifact,) = export.run(config).artifacts
    with pytest.raises(BadData, match=r"model\.streams is \[joint,bone_motion\] in the file, \[joint\] in the spec"):
        evaluate.run(config_of(tiny, tmp_path, model__streams=["joint"]))
    weighted = {"model__stream_weights": [1.0, 2.0]}
    with pytest.raises(BadData, match=r"model\.stream_weights is \[\] in the file, \[1\.0,2\.0\] in the spec"):
        evaluate.run(config_of(tiny, tmp_path, **weighted, evaluate__checkpoint=str(artifact.path)))
    evaluate.run(config_of(tiny, tmp_path, **weighted))  # a checkpoint can be scored with any


def test_a_model_of_one_stream_is_not_taken_for_one_of_another(tiny: Path, tmp_path: Path) -> None:
    train.run(config_of(tiny, tmp_path, model__streams=["bone"], model__normalize_scale=True))
    with pytest.raises(BadData) as caught:
        evaluate.run(config_of(tiny, tmp_path, model__streams=["joint"]))
    assert "model.streams=[bone] model.normalize_scale=true" in caught.value.fix.replace(
        "model.normalize_scale=true model.streams=[bone]", "model.streams=[bone] model.normalize_scale=true"
    )


def test_the_heads_of_all_are_new_for_other_classes(tiny: Path, tmp_path: Path) -> None:
    net = build_net(config_of(tiny, tmp_path).model, 4)
    checkpoint_file.save({"state_dict": net.state_dict()}, tmp_path / "four.pth")
    other = build_net(config_of(tiny, tmp_path).model, 6)
    said = checkpoint_file.load_pretrained(other, tmp_path / "four.pth")
    assert "head newly initialised: 4 classes in the file, 6 in the spec" in said
    for name, value in other.state_dict().items():
        assert ("fcn" in name) != torch.equal(value, net.state_dict()[name]) or value.shape != value.shape


def test_the_cost_is_that_of_each(tiny: Path, tmp_path: Path) -> None:
    one = epoch_flop(config_of(tiny, tmp_path, model__streams=["bone"]))
    two = epoch_flop(config_of(tiny, tmp_path))
    assert one is not None
    assert two == 2 * one
