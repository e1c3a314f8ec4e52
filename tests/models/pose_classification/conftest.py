"""A network as ONNX, and TensorRT by its fake."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

from tao_skill.models.pose_classification.deploy import onnx_graph, tensorrt_engine
from tao_skill.models.pose_classification.network.stgcn import STGCN
from tests.models.pose_classification.fake_tensorrt import VERSIONS, fake_tensorrt

FRAMES = 16


@pytest.fixture(scope="session")
def network() -> STGCN:
    """A network whose batch norms have seen data, so that its scores differ from one sequence to another."""
    torch.manual_seed(7)
    return acquainted(STGCN(num_classes=6), torch.randn(64, 3, FRAMES, 34, 1))


@pytest.fixture(scope="session")
def onnx_file(network: STGCN, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network as ONNX, as the export action writes it."""
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    onnx.save(onnx_graph.to_onnx(network, frames=FRAMES), path)
    return path


def acquainted(net: STGCN, x_NCTVM: torch.Tensor) -> STGCN:
    """The network with varied batch norms that have seen these sequences."""
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.8, 1.6)
            torch.nn.init.normal_(module.bias, 0.0, 0.2)
    net.train()
    with torch.no_grad():
        for batch_NCTVM in x_NCTVM.split(8):
            net(batch_NCTVM)
    return net.eval()


def export(network: STGCN, path: Path, example_NCTVM: torch.Tensor | None = None) -> Path:
    """The ONNX as torch writes it, with batch norms and transposes: input `input` of any batch, output `fc_pred`."""
    torch.onnx.export(
        network,
        (torch.zeros(2, 3, FRAMES, 34, 1) if example_NCTVM is None else example_NCTVM,),
        path,
        input_names=["input"],
        output_names=["fc_pred"],
        dynamo=True,
        dynamic_shapes=({0: "batch"},),
        external_data=False,
        verbose=False,
    )
    return path


@pytest.fixture(params=VERSIONS)
def trt(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Each version of the fake in the place of the package, working on CPU memory."""
    return install(request.param, monkeypatch)


def install(version: str, monkeypatch: pytest.MonkeyPatch, *, has_gpu: bool = True) -> Any:
    module = fake_tensorrt(version, has_gpu=has_gpu)
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    monkeypatch.setattr(tensorrt_engine, "find_gpu", lambda gpu_id: torch.device("cpu"))
    return module
