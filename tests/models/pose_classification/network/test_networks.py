"""Every network of the table, with four narrow blocks: it trains, evaluates and exports as the full one does."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tao_skill.errors import BadData, BadRequest, JobFailed, MissingDependency
from tao_skill.models.pose_classification.actions import evaluate, export, train
from tao_skill.models.pose_classification.config import ExperimentConfig
from tao_skill.models.pose_classification.deploy import onnx_graph, onnx_torch, tensorrt_precision
from tao_skill.models.pose_classification.deploy.scorers import open_scorer
from tao_skill.models.pose_classification.network.architecture import epoch_flop, forward_flop
from tao_skill.models.pose_classification.network.blocks import Block
from tao_skill.models.pose_classification.network.layouts import LAYOUTS
from tao_skill.models.pose_classification.network.registry import NETWORKS, Network, build_net
from tao_skill.models.pose_classification.network.stgcn import STGCN
from tao_skill.models.pose_classification.training import checkpoint_file, checkpoint_index
from tests.support.experiments import experiment
from tests.support.networks import Traced, acquainted, weights

BLOCKS = (Block(8), Block(8), Block(8, 2), Block(16))
"""One block changes the frames alone, and one the channels alone."""

SMALL = "small"


TRACED = Network(load=lambda: Traced, blocks=BLOCKS)
VARIANTS = {name: replace(network, blocks=BLOCKS) for name, network in NETWORKS.items()} | {"traced": TRACED}


@pytest.fixture(params=VARIANTS)
def small(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Network:
    """A narrow variant, registered as a network of its own."""
    monkeypatch.setitem(NETWORKS, SMALL, VARIANTS[request.param])
    return VARIANTS[request.param]


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> STGCN:
    """The variant without a hand-written graph, which has seen data."""
    monkeypatch.setitem(NETWORKS, SMALL, TRACED)
    torch.manual_seed(0)
    return acquainted(Traced(blocks=BLOCKS), torch.randn(16, 3, 16, 34, 1))


def config_of(tiny: Path, folder: Path, checkpoint: Path | None = None, **changes: Any) -> ExperimentConfig:
    model = checkpoint or folder / "train" / checkpoint_index.LATEST
    given = {
        "model__model_type": SMALL,
        "train__num_epochs": 1,
        "export__checkpoint": str(model),
        "evaluate__checkpoint": str(model),
        "evaluate__test_dataset__data_path": str(tiny / "val_data.npy"),
        "evaluate__test_dataset__label_path": str(tiny / "val_label.pkl"),
    }
    return experiment(tiny, folder, **given | changes)


def scores(model: bytes, x_NCTVM: torch.Tensor) -> Any:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(["fc_pred"], {"input": x_NCTVM.numpy()})[0]


def widths(net: STGCN) -> list[int]:
    """The channels that leave each block."""
    found, x_NCTV = [], torch.zeros(1, 3, 8, 34)
    with torch.no_grad():
        for i, block in enumerate(net.st_gcn_networks):
            x_NCTV = block(x_NCTV, net.adjacency(i))
            found.append(x_NCTV.shape[1])
    return found


def saved(net: STGCN, folder: Path) -> Path:
    checkpoint_file.save({"state_dict": net.state_dict()}, folder / "c.pth")
    return folder / "c.pth"


def test_it_trains_evaluates_and_exports_with_any_blocks(small: Network, tiny: Path, tmp_path: Path) -> None:
    config = config_of(tiny, tmp_path, export__sequence_length=-1, export__num_persons=2)
    train.run(config)
    net = build_net(config.model, 6)
    new = {name: value.clone() for name, value in net.named_parameters()}
    facts = checkpoint_file.load_network(net.eval(), Path(config.export.checkpoint))
    assert facts.model_type == SMALL
    assert widths(net) == [8, 8, 8, 16]
    assert not any(torch.equal(value, new[name]) for name, value in net.named_parameters() if "conv.weight" in name)

    (artifact,) = export.run(config).artifacts
    model = onnx.load(artifact.path)
    assert {entry.key: entry.value for entry in model.metadata_props}["model_type"] == SMALL
    sizes = [dim.dim_param or dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    assert sizes == ["batch", 3, "frames", 34, 2]
    for n, frames in ((1, 16), (3, 9)):
        x_NCTVM = torch.randn(n, 3, frames, 34, 2)
        with torch.no_grad():
            np.testing.assert_allclose(scores(model.SerializeToString(), x_NCTVM), net(x_NCTVM), atol=1e-4)

    measured = [
        evaluate.run(config_of(tiny, tmp_path, evaluate__checkpoint=str(path))).metrics
        for path in (config.evaluate.checkpoint, artifact.path)
    ]
    assert measured[0] == measured[1]


def test_it_resumes_in_bf16_without_a_trace(small: Network, tiny: Path, tmp_path: Path) -> None:
    twice = {"train__num_epochs": 2, "train__precision": "bf16"}
    train.run(config_of(tiny, tmp_path / "whole", **twice))
    train.run(config_of(tiny, tmp_path / "parts", **twice | {"train__num_epochs": 1}))
    half = weights(tmp_path / "parts" / "train")
    train.run(config_of(tiny, tmp_path / "parts", **twice))
    whole, parts = (weights(tmp_path / name / "train") for name in ("whole", "parts"))
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())
    assert not all(torch.equal(value, parts[name]) for name, value in half.items())


def test_its_operations_are_those_that_torch_counts(small: Network, tiny: Path, tmp_path: Path) -> None:
    config = config_of(tiny, tmp_path)
    if small.products is None:
        assert epoch_flop(config) is None
        return
    net = build_net(config.model, 6).eval()

    def counted(sequences: int) -> int:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            net(torch.zeros(sequences, 3, 21, 34, 1))
        return counter.get_total_flops()

    each = counted(2) - counted(1)  # without the biases of joints, which are computed once for a batch
    head = 2 * BLOCKS[-1].channels * 6
    assert forward_flop(21, 34, 3, model_type=SMALL) == each - head


def test_a_checkpoint_of_other_blocks_is_refused_and_named(small: Network, tiny: Path, tmp_path: Path) -> None:
    checkpoint = saved(small.load()(blocks=BLOCKS), tmp_path)
    with pytest.raises(BadData, match=r"model\.model_type is small in the file, ST-GCN in the spec") as caught:
        evaluate.run(config_of(tiny, tmp_path, checkpoint, model__model_type="ST-GCN"))
    assert "set model.model_type=small" in caught.value.fix


@pytest.mark.parametrize("model_type", NETWORKS)
def test_the_tensors_of_a_network_tell_its_type_whatever_the_skeleton(model_type: str) -> None:
    net = NETWORKS[model_type].load()(layout=LAYOUTS["coco"], strategy="distance", num_classes=4)
    facts = checkpoint_file.tensor_facts(net.state_dict())
    assert (facts.model_type, facts.graph_layout, facts.graph_strategy) == (model_type, "coco", "distance")
    assert facts.edge_importance_weighting


def test_a_network_of_the_same_tensors_is_told_by_the_metadata(
    traced: STGCN, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train.run(config_of(tiny, tmp_path))
    monkeypatch.setitem(NETWORKS, "other", replace(NETWORKS["ST-GCN"], blocks=BLOCKS))
    with pytest.raises(BadData, match=r"model\.model_type is small in the file, other in the spec") as caught:
        evaluate.run(config_of(tiny, tmp_path, model__model_type="other"))
    assert caught.value.path == "model.model_type"


def test_a_checkpoint_without_a_hand_written_graph_is_scored_by_torch(
    traced: STGCN, tiny: Path, tmp_path: Path
) -> None:
    x_NCTVM = torch.randn(3, 3, 12, 34, 2)
    config = config_of(tiny, tmp_path)
    found_NK = open_scorer(saved(traced, tmp_path), config, torch.device("cpu"))(x_NCTVM.numpy())
    with torch.no_grad():
        np.testing.assert_allclose(found_NK, traced(x_NCTVM), atol=1e-5)
        folded_NK = STGCN(blocks=BLOCKS)
        folded_NK.load_state_dict(traced.state_dict())
        assert np.abs(found_NK - folded_NK.eval()(x_NCTVM).numpy()).max() > 0.01


def test_the_graph_of_torch_serves_tensorrt_in_every_precision(traced: STGCN, tiny: Path, tmp_path: Path) -> None:
    x_NCTVM = torch.randn(4, 3, 16, 34, 1)
    config = config_of(tiny, tmp_path, saved(traced, tmp_path), export__sequence_length=16)
    (artifact,) = export.run(config).artifacts
    model = tensorrt_precision.read_onnx(artifact.path, None)
    ranges = tensorrt_precision.calibrate(model, [x_NCTVM.numpy()])
    exact_NK, *others = (
        scores(one.SerializeToString(), x_NCTVM)
        for one in (model, tensorrt_precision.to_fp16(model), tensorrt_precision.to_int8(model, ranges))
    )
    for found_NK, most in zip(others, (0.02, 0.5), strict=True):
        assert 0 < np.abs(found_NK - exact_NK).max() < most * exact_NK.std()


REFUSALS: list[tuple[dict[str, Any], type[Exception], str, str]] = [
    ({"export__opset_version": 17}, BadRequest, "opset_version is 17", "export.opset_version=18"),
    ({"export__precision": "int8"}, BadRequest, "precision is int8", "export.precision=fp32"),
    ({}, MissingDependency, "needs onnxscript", "pip install onnxscript"),
]


@pytest.mark.parametrize(("changes", "error", "said", "fix"), REFUSALS)
def test_what_torch_cannot_export_is_refused_before_a_file_is_written(
    changes: dict[str, Any],
    error: type[Any],
    said: str,
    fix: str,
    traced: STGCN,
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(error, match=said) as caught:
        export.run(config_of(tiny, tmp_path, saved(traced, tmp_path), **changes))
    assert fix in caught.value.fix
    assert not (tmp_path / "export" / "model.onnx").exists()


def test_the_cause_of_a_failure_of_torch_onnx_is_named(traced: STGCN, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise torch.onnx.OnnxExporterError("step 1/3") from ValueError("a branch on data\nmore")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(JobFailed, match=r"torch\.onnx cannot write Traced: a branch on data$"):
        onnx_torch.to_onnx(traced, frames=None)


def test_a_subclass_has_no_hand_written_graph_and_any_blocks_do(traced: STGCN) -> None:
    assert type(traced) not in onnx_graph.WRITERS
    assert type(STGCN(blocks=BLOCKS)) in onnx_graph.WRITERS
    assert onnx_torch.LOWEST_OPSET <= onnx_graph.OPSET
