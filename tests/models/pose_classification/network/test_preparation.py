"""Views, scales and streams of skeletons with missing joints, against loops over joints, in torch and in ONNX."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from onnx.reference import ReferenceEvaluator

from tao_skill.models.pose_classification.checks.check import check
from tao_skill.models.pose_classification.deploy import onnx_graph
from tao_skill.models.pose_classification.network.blocks import Block
from tao_skill.models.pose_classification.network.layouts import LAYOUTS
from tao_skill.models.pose_classification.network.preparation import Preparation
from tao_skill.models.pose_classification.network.stgcn import STGCN
from tests.support.equations import prepared
from tests.support.experiments import experiment
from tests.support.recordings import INCOMPLETE, SHORT, incomplete

STREAMS = ("joint", "bone", "joint_motion", "bone_motion")
CENTERS = ("false", "true", "group")
NONE: dict[str, Any] = {"center": "false", "align_view": False, "normalize_scale": False, "stream": "joint"}


CASES = pytest.mark.parametrize(("layout", "kind"), INCOMPLETE)


@CASES
@pytest.mark.parametrize("center", CENTERS)
def test_it_equals_the_rules_written_joint_by_joint(layout: str, kind: str, center: str) -> None:
    skeleton, x_NCTVM = LAYOUTS[layout], incomplete(layout, kind)
    x_NCTVM[0, :, 0, [*(skeleton.trunk or ())]] = 0  # the first frame does not tell the view
    for align_view, normalize_scale, stream in product([False, True], [False, True], STREAMS):
        if align_view and skeleton.coordinates < 3:
            continue
        chosen = {"center": center, "align_view": align_view, "normalize_scale": normalize_scale, "stream": stream}
        found = Preparation(skeleton, **chosen)(x_NCTVM)
        np.testing.assert_allclose(found, prepared(x_NCTVM.numpy(), skeleton, **chosen), rtol=1e-9, atol=1e-9)
        assert torch.equal(found, x_NCTVM) == (chosen == NONE)


@CASES
@pytest.mark.parametrize("frames", [SHORT, None])
@pytest.mark.parametrize("opset", [12, 18])
def test_the_onnx_graph_does_the_same(layout: str, kind: str, frames: int | None, opset: int) -> None:
    x_NCTVM = incomplete(layout, kind)
    spatial = LAYOUTS[layout].coordinates == 3
    for center, stream in zip((*CENTERS, "true"), STREAMS, strict=True):
        torch.manual_seed(0)
        net = STGCN(
            layout=LAYOUTS[layout],
            num_classes=4,
            blocks=(Block(4), Block(4, 2)),
            center=center,
            align_view=spatial,
            normalize_scale=True,
            stream=stream,
        )
        model = onnx_graph.to_onnx(net.double().eval(), frames=frames, persons=2, opset=opset)
        (found_NK,) = ReferenceEvaluator(model).run(None, {"input": x_NCTVM.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(found_NK, net(x_NCTVM).numpy(), rtol=1e-9, atol=1e-9)


def rotation(seed: int) -> torch.Tensor:
    turned, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)))
    return turned * torch.linalg.det(turned)


@pytest.mark.parametrize("center", ["true", "group"])
def test_the_view_and_the_distance_of_the_camera_do_not_matter(center: str) -> None:
    x_NCTVM = torch.randn(2, 3, 6, 25, 2, dtype=torch.float64) + 8
    moved = 3.0 * torch.einsum("ij,njtvm->nitvm", rotation(1), x_NCTVM)
    prepare = Preparation(LAYOUTS["ntu-rgb+d"], center=center, align_view=True, normalize_scale=True)
    torch.testing.assert_close(prepare(moved), prepare(x_NCTVM))
    plain = Preparation(LAYOUTS["ntu-rgb+d"], center=center)
    assert not torch.allclose(plain(moved), plain(x_NCTVM))


def test_people_start_upright_and_to_the_front() -> None:
    layout = LAYOUTS["ntu-rgb+d"]
    assert layout.trunk is not None
    x_NCTVM = torch.randn(1, 3, 4, 25, 1, dtype=torch.float64)
    left_hip, right_hip, left_shoulder, right_shoulder = (
        Preparation(layout, align_view=True)(x_NCTVM)[0, :, 0, joint, 0] for joint in layout.trunk
    )
    across = left_hip - right_hip
    assert across[0] > 0
    torch.testing.assert_close(across[1:], torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-12)
    trunk = left_shoulder + right_shoulder - left_hip - right_hip
    assert trunk[1] > 0
    assert abs(float(trunk[2])) < 1e-12


def test_the_precision_of_training_does_not_round_positions() -> None:
    x_NCTVM = torch.randn(1, 3, 6, 25, 1)
    prepare = Preparation(LAYOUTS["ntu-rgb+d"], center="true", align_view=True, normalize_scale=True, stream="bone")
    with torch.autocast("cpu", torch.bfloat16):
        found = prepare(x_NCTVM)
    assert torch.equal(found, prepare(x_NCTVM))


REFUSED = [
    ({"streams": ["bone", "bone"]}, "model.streams", "bone twice"),
    ({"streams": []}, "model.streams", "is empty"),
    ({"streams": ["joint", "bone"], "stream_weights": [1.0]}, "model.stream_weights", "1 weights for 2 streams"),
    ({"align_view": True, "graph_layout": "hand_21"}, "model.align_view", "hand_21 has no joints for hips"),
    ({"align_view": True, "graph_layout": "coco"}, "model.align_view", "needs x, y, z"),
    ({"align_view": True, "input_channels": 2}, "model.align_view", "model.input_channels=2"),
]


@pytest.mark.parametrize(("model", "key", "said"), REFUSED)
def test_what_the_skeleton_cannot_give_is_refused(
    model: dict[str, Any], key: str, said: str, tiny: Any, tmp_path: Any
) -> None:
    changes = {f"model__{name}": value for name, value in model.items()}
    (problem,) = check(experiment(tiny, tmp_path, **changes), "export").problems
    assert problem.key == key
    assert said in problem.message
