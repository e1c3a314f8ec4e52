"""The folded network is the network."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx.reference import ReferenceEvaluator

from tao_skill.models.pose_classification.deploy import onnx_file, onnx_graph, tensorrt_precision
from tao_skill.models.pose_classification.deploy.scorers import open_scorer
from tao_skill.models.pose_classification.network.dg_stgcn import DGSTGCN
from tao_skill.models.pose_classification.network.graph import STRATEGIES
from tao_skill.models.pose_classification.network.layouts import LAYOUTS
from tao_skill.models.pose_classification.network.registry import NETWORKS
from tao_skill.models.pose_classification.network.stgcn import STGCN
from tao_skill.models.pose_classification.network.stgcn_plus_plus import STGCNPlusPlus
from tao_skill.models.pose_classification.training import checkpoint_file
from tests.support.experiments import experiment
from tests.support.networks import MaxPool, acquainted

CPU = torch.device("cpu")


def network(
    layout: str,
    strategy: str,
    persons: int,
    *,
    edge_importance: bool = True,
    frames: int = 5,
    kind: type[STGCN] = STGCN,
    center: str = "false",
) -> STGCN:
    """A network with other numbers everywhere than those it starts with."""
    torch.manual_seed(0)
    net = kind(layout=LAYOUTS[layout], strategy=strategy, num_classes=5, edge_importance=edge_importance, center=center)
    for importance in net.edge_importance or ():
        torch.nn.init.uniform_(importance, -0.5, 1.5)
    return acquainted(net, torch.randn(4, 3, frames, LAYOUTS[layout].joints, persons))


@pytest.mark.parametrize("kind", onnx_graph.WRITERS)
@pytest.mark.parametrize(
    ("layout", "strategy", "edge_importance"),
    [*product(["nvidia", "ntu-rgb+d", "coco"], STRATEGIES, [True]), *product(["coco"], STRATEGIES, [False])],
)
def test_it_gives_the_same_scores_in_double_precision(
    layout: str, strategy: str, edge_importance: bool, kind: type[STGCN]
) -> None:
    persons = LAYOUTS[layout].persons
    center = {"uniform": "false", "distance": "true", "spatial": "group"}[strategy]
    net = network(layout, strategy, persons, edge_importance=edge_importance, kind=kind, center=center).double()
    x_NCTVM = torch.randn(1, 3, 8, LAYOUTS[layout].joints, persons, dtype=torch.float64)
    x_NCTVM[:, :, 6:] = 0
    model = onnx_graph.to_onnx(net, frames=8, persons=persons)
    (found_NK,) = ReferenceEvaluator(model, new_ops=[MaxPool]).run(None, {"input": x_NCTVM.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(found_NK, net(x_NCTVM).numpy(), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("persons", [1, 2])
@pytest.mark.parametrize("kind", onnx_graph.WRITERS)
def test_any_number_of_frames_is_taken_where_none_is_fixed(kind: type[STGCN], persons: int) -> None:
    net = network("coco", "spatial", persons, kind=kind, center="true").double()
    evaluator = ReferenceEvaluator(onnx_graph.to_onnx(net, frames=None, persons=persons), new_ops=[MaxPool])
    for n, frames in ((1, 5), (3, 12)):
        x_NCTVM = torch.randn(n, 3, frames, 17, persons, dtype=torch.float64)
        (found_NK,) = evaluator.run(None, {"input": x_NCTVM.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(found_NK, net(x_NCTVM).numpy(), rtol=1e-11, atol=1e-11)


def scored(net: STGCN, x_NCTVM: torch.Tensor, folder: Path, **model: Any) -> Any:
    checkpoint_file.save({"state_dict": net.state_dict()}, folder / "c.pth")
    config = experiment(folder, folder, dataset__num_classes=5, model__graph_layout="ntu_edge", **model)
    return open_scorer(folder / "c.pth", config, CPU)(x_NCTVM.numpy())


@pytest.mark.parametrize("model_type", NETWORKS)
def test_a_checkpoint_is_scored_as_torch_scores_it_whatever_frames_and_persons(tmp_path: Path, model_type: str) -> None:
    net = network("ntu_edge", "spatial", 2, kind=NETWORKS[model_type].load(), center="true")
    for frames, persons in ((9, 1), (20, 2), (1, 3)):
        x_NCTVM = torch.randn(3, 3, frames, 24, persons)
        found_NK = scored(net, x_NCTVM, tmp_path, model__model_type=model_type, model__center="true")
        with torch.no_grad():
            np.testing.assert_allclose(found_NK, net(x_NCTVM), atol=1e-4)


def test_threads_share_the_sequences_and_nothing_else(tmp_path: Path) -> None:
    net = network("coco", "distance", 1)
    x_NCTVM = torch.randn(7, 3, 12, 17, 1).numpy()
    session = onnx_file.open_session(onnx_graph.to_onnx(net, frames=None).SerializeToString(), tmp_path)
    alone, together = (onnx_file.scores(session, x_NCTVM, 5, tmp_path, threads=threads) for threads in (1, 3))
    assert np.array_equal(alone, together)


def test_what_is_no_number_gets_no_class(tmp_path: Path) -> None:
    x_NCTVM = torch.randn(3, 3, 9, 24, 1)
    x_NCTVM[1, 2, 4, 3] = torch.nan
    found_NK = scored(network("ntu_edge", "spatial", 1), x_NCTVM, tmp_path)
    assert np.isfinite(found_NK).all(axis=1).tolist() == [True, False, True]


@pytest.mark.parametrize("kind", [STGCNPlusPlus, DGSTGCN])
def test_branched_networks_in_the_precisions_of_tensorrt(kind: type[STGCN], tmp_path: Path) -> None:
    net = network("ntu_edge", "spatial", 1, kind=kind, center="true", frames=20)
    x_NCTVM = torch.randn(4, 3, 20, 24, 1).numpy()
    model = onnx_graph.to_onnx(net, frames=20)
    ranges = tensorrt_precision.calibrate(model, [x_NCTVM])
    exact_NK, *others = (
        onnx_file.scores(onnx_file.open_session(one.SerializeToString(), tmp_path), x_NCTVM, 5, tmp_path)
        for one in (model, tensorrt_precision.to_fp16(model), tensorrt_precision.to_int8(model, ranges))
    )
    spread = exact_NK.std()
    for found_NK, most in zip(others, (0.02, 0.5), strict=True):
        assert 0 < np.abs(found_NK - exact_NK).max() < most * spread
