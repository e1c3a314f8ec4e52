"""Networks whose batch norms have seen data, and their ONNX as torch writes it; weights of trainings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from onnx.reference.op_run import OpRun

from tao_skill.models.pose_classification.network.stgcn import STGCN
from tao_skill.models.pose_classification.training import checkpoint_file, checkpoint_index
from tests.support.experiments import FRAMES


class MaxPool(OpRun):
    """The reference's own mixes up the two dimensions of `pads`."""

    op_domain = ""

    def _run(self, x: Any, kernel_shape: Any, pads: Any, strides: Any, **_: Any) -> tuple[Any]:
        assert pads[:2] == pads[2:]
        return (F.max_pool2d(torch.from_numpy(x), kernel_shape, strides, pads[:2]).numpy(),)


class Traced(STGCN):
    """A network without a hand-written graph: its edge weights are a softmax over the joints."""

    def adjacency(self, block: int) -> torch.Tensor:
        assert self.edge_importance is not None
        return torch.softmax(self.edge_importance[block] + self.A, dim=1)


def stirred(net: STGCN) -> STGCN:
    """The network with values in each parameter that starts at 0."""
    for parameter in net.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, 0.0, 0.3)
    return net


def acquainted(net: STGCN, x_NCTVM: torch.Tensor) -> STGCN:
    """The network with varied batch norms that have seen these sequences, and no parameter at 0."""
    stirred(net)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.8, 1.6)
            torch.nn.init.normal_(module.bias, 0.0, 0.2)
    net.train()
    with torch.no_grad():
        for batch_NCTVM in x_NCTVM.split(8):
            net(batch_NCTVM)
    return net.eval()


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Those of the newest checkpoint that a training left in its folder."""
    newest = checkpoint_index.latest(folder)
    assert newest is not None
    return checkpoint_file.network_state(checkpoint_file.load(newest))


def export(network: STGCN, path: Path) -> Path:
    """The ONNX as torch writes it, with batch norms and transposes: input `input` of any batch, output `fc_pred`."""
    torch.onnx.export(
        network,
        (torch.zeros(2, 3, FRAMES, 34, 1),),
        path,
        input_names=["input"],
        output_names=["fc_pred"],
        dynamo=True,
        dynamic_shapes=({0: "batch"},),
        external_data=False,
        verbose=False,
    )
    return path
