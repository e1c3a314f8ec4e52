"""A network as ONNX, and TensorRT by its fake."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

from tao_skill.models.pose_classification.deploy import onnx_graph
from tao_skill.models.pose_classification.network.registry import NETWORKS
from tao_skill.models.pose_classification.network.stgcn import STGCN
from tests.support.experiments import FRAMES
from tests.support.networks import acquainted
from tests.support.small_networks.small_networks import SMALL_BLOCKS, small
from tests.support.tensorrt.fake import VERSIONS, install


@pytest.fixture(scope="module")
def small_networks() -> Iterator[None]:
    """Every network of the table with few blocks, in this process, for tests that do not depend on their number."""
    with pytest.MonkeyPatch.context() as patch:
        for name, network in small(NETWORKS).items():
            patch.setitem(NETWORKS, name, network)
        yield


@pytest.fixture(scope="session")
def network() -> STGCN:
    """A network whose batch norms have seen data, so that its scores differ from one sequence to another."""
    torch.manual_seed(7)
    return acquainted(STGCN(num_classes=6, blocks=SMALL_BLOCKS), torch.randn(64, 3, FRAMES, 34, 1))


@pytest.fixture(scope="session")
def onnx_file(network: STGCN, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network as ONNX, as the export action writes it."""
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    onnx.save(onnx_graph.to_onnx(network, frames=FRAMES), path)
    return path


@pytest.fixture(params=VERSIONS)
def trt(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Each version of the fake in the place of the package, working on CPU memory."""
    return install(request.param, monkeypatch)
