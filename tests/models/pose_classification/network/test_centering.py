"""Coordinates relative to the centre joint, with joints missing, against loops over frames and joints."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from onnx.reference import ReferenceEvaluator

from tao_skill.models.pose_classification.deploy import onnx_graph
from tao_skill.models.pose_classification.network.blocks import Block
from tao_skill.models.pose_classification.network.centering import seen
from tao_skill.models.pose_classification.network.layouts import LAYOUTS
from tao_skill.models.pose_classification.network.preparation import Preparation
from tao_skill.models.pose_classification.network.stgcn import STGCN
from tests.support.equations import relative
from tests.support.recordings import INCOMPLETE, SHORT, incomplete

CASES = pytest.mark.parametrize(("layout", "kind"), INCOMPLETE)


@CASES
@pytest.mark.parametrize("group", [False, True])
def test_it_equals_the_rule_written_joint_by_joint(layout: str, kind: str, group: bool) -> None:
    skeleton, x_NCTVM = LAYOUTS[layout], incomplete(layout, kind)
    found = Preparation(skeleton, center="group" if group else "true")(x_NCTVM)
    expected = relative(x_NCTVM, skeleton.coordinates, skeleton.center, group=group)
    torch.testing.assert_close(found, expected)
    assert not torch.equal(found, x_NCTVM)


@CASES
@pytest.mark.parametrize("center", ["true", "group"])
@pytest.mark.parametrize("frames", [SHORT, None])
@pytest.mark.parametrize("opset", [12, 18])
def test_the_onnx_graph_does_the_same(layout: str, kind: str, center: str, frames: int | None, opset: int) -> None:
    torch.manual_seed(0)
    net = STGCN(layout=LAYOUTS[layout], num_classes=4, center=center, blocks=(Block(4), Block(4, 2))).double().eval()
    x_NCTVM = incomplete(layout, kind)
    model = onnx_graph.to_onnx(net, frames=frames, persons=2, opset=opset)
    (found_NK,) = ReferenceEvaluator(model).run(None, {"input": x_NCTVM.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(found_NK, net(x_NCTVM).numpy(), rtol=1e-10, atol=1e-10)


def test_a_frame_without_its_centre_is_not_left_where_it_is() -> None:
    x_NCTVM = torch.randn(1, 3, 3, 25, 1).double() + 10
    x_NCTVM[:, :, 1, 20] = 0
    found = Preparation(LAYOUTS["ntu-rgb+d"], center="true")(x_NCTVM)
    torch.testing.assert_close(found[:, :, 1, :20], x_NCTVM[:, :, 1, :20] - x_NCTVM[:, :, 0, 20:21])
    assert not found[:, :, 1, 20].any()


def test_a_joint_at_zero_among_others_near_zero_was_seen() -> None:
    x_NCTVM = torch.randn(1, 3, 2, 25, 1).double()
    x_NCTVM[:, :, 0, 5] = 0
    assert bool(seen(x_NCTVM, 3).all())
    assert not bool(seen(x_NCTVM + 20 * x_NCTVM.ne(0), 3)[0, 0, 0, 5])


def test_with_a_common_centre_people_keep_their_distance() -> None:
    x_NCTVM = torch.randn(1, 3, 4, 25, 2).double() + 10
    found = Preparation(LAYOUTS["ntu-rgb+d"], center="group")(x_NCTVM)
    torch.testing.assert_close(found[..., 1] - found[..., 0], x_NCTVM[..., 1] - x_NCTVM[..., 0])
    apart = Preparation(LAYOUTS["ntu-rgb+d"], center="true")(x_NCTVM)
    assert not apart[:, :, :, 20].any()
