from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tao_skill.models.pose_classification import winograd
from tao_skill.models.pose_classification.channels_last import conv_before_norm, split
from tao_skill.models.pose_classification.net import STGCN

SETS = pytest.mark.parametrize(
    ("shape", "lengths"),
    [
        ((3, 4, 24, 5), None),
        ((2, 4, 25, 3), None),
        ((1, 2, 1, 2), None),
        ((1, 4, 59, 3), (7, 12, 32, 8)),
        ((1, 4, 6, 3), (1, 2, 3)),
        ((1, 4, 9, 3), (3, 6)),
    ],
)


@pytest.fixture(params=[1, winograd.PART], ids=["one by one", "together"])
def _parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How many sequences are added up at a time."""
    monkeypatch.setattr(winograd, "PART", request.param)


def drawn(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> Tensor:
    """Channels last, as the network has them."""
    return torch.randn(shape, dtype=dtype).contiguous(memory_format=torch.channels_last)


def plainly(x_NCTV: Tensor, weight: Tensor, bias: Tensor | None, lengths: tuple[int, ...] | None) -> Tensor:
    return torch.cat([F.conv2d(part, weight, bias, padding=(4, 0)) for part in split(x_NCTV, lengths)], 2)


@pytest.mark.usefixtures("_parts")
@SETS
def test_frames_and_gradients_are_those_of_the_plain_convolution(
    shape: tuple[int, ...], lengths: tuple[int, ...] | None
) -> None:
    torch.manual_seed(0)
    x_NCTV, weight, bias = drawn(shape).requires_grad_(), drawn((6, shape[1], 9, 1)).requires_grad_(), torch.randn(6)
    out_NCTV = plainly(x_NCTV, weight, bias.double(), lengths)
    grad_NCTV = drawn(tuple(out_NCTV.shape))
    expected = torch.autograd.grad(out_NCTV, (x_NCTV, weight), grad_NCTV)
    with torch.no_grad():
        found_NCTV = winograd.convolve(x_NCTV, weight, bias.double(), lengths)
        found = winograd.gradients(grad_NCTV, x_NCTV, weight, lengths)
        of_weight = winograd.gradients(grad_NCTV, x_NCTV, weight, lengths, of_x=False)
    assert found_NCTV.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found_NCTV, out_NCTV.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert of_weight[0] is None
    assert torch.equal(of_weight[1], found[1])


def test_rounding_in_float32_is_close_to_the_plain_convolution_s() -> None:
    torch.manual_seed(0)
    x_NCTV, weight, grad_NCTV = drawn((2, 64, 96, 5)), drawn((64, 64, 9, 1)), drawn((2, 64, 96, 5))

    def found(dtype: torch.dtype, worth: int, monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
        monkeypatch.setattr(winograd, "WORTH", worth)
        conv = torch.nn.Conv2d(64, 64, (9, 1), padding=(4, 0)).to(dtype)
        conv.weight = torch.nn.Parameter(weight.to(dtype))
        x = x_NCTV.to(dtype).requires_grad_()
        out = conv_before_norm(x, conv) - conv.bias.detach().view(-1, 1, 1)  # type: ignore[union-attr]
        return [out.detach(), *torch.autograd.grad(out, (x, conv.weight), grad_NCTV.to(dtype))]

    with pytest.MonkeyPatch.context() as patch:
        exact = found(torch.float64, sys.maxsize, patch)
        plain = found(torch.float32, sys.maxsize, patch)
        ours = found(torch.float32, 0, patch)
    for right, theirs, mine in zip(exact, plain, ours, strict=True):
        their_error, error = (float((one.double() - right).norm()) for one in (theirs, mine))
        assert 0 < error < 3 * their_error
        assert error < 3e-6 * float(right.norm())


@pytest.mark.usefixtures("_parts")
@pytest.mark.parametrize("lengths", [(6, 9, 6), (7, 8, 10), (8, 7, 4)])
def test_a_sequence_knows_nothing_of_its_neighbours(lengths: tuple[int, ...]) -> None:
    """To the last bit, whatever they hold: they share images and, at their borders, tiles."""
    torch.manual_seed(0)
    x_1CFV, weight, grad_1CFV = (
        drawn(shape) for shape in ((1, 4, sum(lengths), 3), (4, 4, 9, 1), (1, 4, sum(lengths), 3))
    )
    beside, of_beside = x_1CFV.clone(), grad_1CFV.clone()
    for changed in (beside, of_beside):
        first, _, last = split(changed, lengths)
        first.fill_(torch.nan)
        last.fill_(torch.inf)
    frames, seen = (split(winograd.convolve(x, weight, None, lengths), lengths)[1] for x in (x_1CFV, beside))
    assert torch.equal(frames, seen)
    before, after = (
        split(found, lengths)[1]
        for found, _ in (
            winograd.gradients(grad_1CFV, x_1CFV, weight, lengths),
            winograd.gradients(of_beside, beside, weight, lengths),
        )
        if found is not None
    )
    assert torch.equal(before, after)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"stride": (2, 1)}, False),
        ({"shape": (2, 64, 63, 3)}, False),
        ({"shape": (0, 64, 64, 3)}, False),
        ({"shape": (1, 64, 200, 3), "lengths": (160, 40)}, True),
        ({"shape": (1, 64, 200, 3), "lengths": (80, 56, 40, 24)}, False),
        ({"kernel": (3, 1)}, False),
        ({"dtype": torch.bfloat16}, False),
        ({"dtype": torch.float64}, True),
        ({"device": "meta"}, False),
    ],
)
def test_when_it_pays(changes: dict[str, Any], expected: bool) -> None:
    of = {"stride": (1, 1), "shape": (2, 64, 64, 3), "lengths": None, "kernel": (9, 1), "dtype": None, "device": None}
    of |= changes
    x_NCTV = torch.empty(of["shape"], dtype=of["dtype"], device=of["device"])
    weight = torch.empty(64, 64, *of["kernel"], dtype=of["dtype"], device=of["device"])
    assert winograd.pays(x_NCTV, weight, of["stride"], of["lengths"]) is expected


@pytest.mark.parametrize(("frames", "expected"), [(60, 0), (64, 8)])
def test_a_network_convolves_so_where_it_pays(frames: int, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All blocks but the two whose convolutions stride, in training and when an epoch is validated."""
    calls: list[str] = []
    for name in ("convolve", "gradients"):
        original = getattr(winograd, name)
        monkeypatch.setattr(winograd, name, lambda *a, n=name, f=original, **k: calls.append(n) or f(*a, **k))
    net = STGCN(layout="coco", num_classes=5)
    x_NCTVM = torch.randn(1, 3, frames, 17, 1)
    net(x_NCTVM).sum().backward()
    with torch.no_grad():
        net.eval()(x_NCTVM)
        with torch.autocast("cpu", torch.bfloat16):
            net(x_NCTVM)
    assert calls == ["convolve"] * expected + ["gradients"] * expected + ["convolve"] * expected
