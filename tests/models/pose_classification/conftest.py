"""A small trained-like network as ONNX, and TensorRT by its fake."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tao_skill.models.pose_classification import tensorrt_engine
from tao_skill.models.pose_classification.net import STGCN
from tests.models.pose_classification.fake_tensorrt import VERSIONS, fake_tensorrt

FRAMES = 16


@pytest.fixture(scope="session")
def network() -> STGCN:
    """A network with batch statistics and weights that are not those of the first moment."""
    torch.manual_seed(7)
    net = STGCN(num_classes=6)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.8, 1.6)
            torch.nn.init.normal_(module.bias, 0.0, 0.2)
    net.train()
    with torch.no_grad():
        for _ in range(8):
            net(torch.randn(8, 3, FRAMES, 34, 1))
    return net.eval()


@pytest.fixture(scope="session")
def onnx_file(network: STGCN, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network with a batch of any size."""
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    return export(network, path)


def export(network: STGCN, path: Path, *, batch: int | None = None) -> Path:
    torch.onnx.export(
        network,
        (torch.zeros(batch or 2, 3, FRAMES, 34, 1),),
        path,
        input_names=["input"],
        output_names=["fc_pred"],
        dynamo=True,
        dynamic_shapes=None if batch else ({0: "batch"},),
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
