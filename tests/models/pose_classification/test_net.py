from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tao_skill.models.pose_classification.channels_last import dropped_sum
from tao_skill.models.pose_classification.graph import LAYOUTS, STRATEGIES
from tao_skill.models.pose_classification.net import STGCN


def reference_scores(state: dict[str, Tensor], x_NCTVM: Tensor, *, training: bool) -> Tensor:
    """ST-GCN written a second time, straight from its equations and the state_dict, without modules."""
    n, c, t, v, m = x_NCTVM.shape
    people = []
    moved = x_NCTVM.permute(0, 4, 3, 1, 2).reshape(n * m, v * c, t)
    x = norm(state, "data_bn", moved, training).view(n * m, v, c, t).permute(0, 2, 3, 1)
    for i in range(10):
        at = f"st_gcn_networks.{i}"
        kernel = state["A"] * state.get(f"edge_importance.{i}", torch.tensor(1.0))
        weight, bias = state[f"{at}.gcn.conv.weight"][:, :, 0, 0], state[f"{at}.gcn.conv.bias"]
        width = len(weight) // len(kernel)
        y = torch.zeros(n * m, width, x.shape[2], v, dtype=x.dtype)
        for k, a_VV in enumerate(kernel):
            part = slice(k * width, (k + 1) * width)
            lifted = torch.tensordot(weight[part], x, ([1], [1])).permute(1, 0, 2, 3) + bias[part, None, None]
            y = y + lifted @ a_VV
        stride = 2 if i in (4, 7) else 1
        y = F.relu(norm(state, f"{at}.tcn.0", y, training))
        y = F.conv2d(y, state[f"{at}.tcn.2.weight"], state[f"{at}.tcn.2.bias"], (stride, 1), (4, 0))
        y = norm(state, f"{at}.tcn.3", y, training)
        if f"{at}.residual.0.weight" in state:
            carried = F.conv2d(x, state[f"{at}.residual.0.weight"], state[f"{at}.residual.0.bias"], (stride, 1))
            y = y + norm(state, f"{at}.residual.1", carried, training)
        elif i > 0:
            y = y + x
        x = F.relu(y)
    for person in x.view(n, m, 256, -1, v).unbind(1):
        people.append(person.flatten(2).mean(2))
    return torch.stack(people).mean(0) @ state["fcn.weight"][:, :, 0, 0].T + state["fcn.bias"]


def norm(state: dict[str, Tensor], at: str, x: Tensor, training: bool) -> Tensor:
    shape = (1, -1) + (1,) * (x.dim() - 2)
    over = [d for d in range(x.dim()) if d != 1]
    mean = x.mean(over) if training else state[f"{at}.running_mean"]
    variance = x.var(over, unbiased=False) if training else state[f"{at}.running_var"]
    scaled = (x - mean.view(shape)) / (variance.view(shape) + 1e-5).sqrt()
    return scaled * state[f"{at}.weight"].view(shape) + state[f"{at}.bias"].view(shape)


@pytest.mark.parametrize(
    ("strategy", "expected"), [("uniform", 2_640_442), ("distance", 2_870_690), ("spatial", 3_100_938)]
)
def test_parameter_counts_are_those_of_tao(strategy: str, expected: int) -> None:
    assert sum(p.numel() for p in STGCN(strategy=strategy).parameters()) == expected


def test_state_dict_keys_are_those_of_tao() -> None:
    bn = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    expected = {"A", "fcn.weight", "fcn.bias", *(f"data_bn.{name}" for name in bn)}
    expected |= {f"edge_importance.{i}" for i in range(10)}
    for i in range(10):
        block = f"st_gcn_networks.{i}"
        expected |= {f"{block}.{conv}.{name}" for conv in ("gcn.conv", "tcn.2") for name in ("weight", "bias")}
        expected |= {f"{block}.tcn.{j}.{name}" for j in (0, 3) for name in bn}
        if i in (4, 7):
            expected |= {f"{block}.residual.0.weight", f"{block}.residual.0.bias"}
            expected |= {f"{block}.residual.1.{name}" for name in bn}
    assert set(STGCN().state_dict()) == expected


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_forward_equals_a_second_writing_of_the_equations(layout: str, training: bool) -> None:
    torch.manual_seed(0)
    net = STGCN(layout=layout, num_classes=5, dropout=0.0).double().train(training)
    for importance in net.edge_importance or ():
        torch.nn.init.uniform_(importance)
    x_NCTVM = torch.randn(2, 3, 12, LAYOUTS[layout].joints, LAYOUTS[layout].persons, dtype=torch.float64)
    expected = reference_scores(dict(net.state_dict()), x_NCTVM, training=training)
    torch.testing.assert_close(net(x_NCTVM), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradients_equal_those_of_the_equations(layout: str, strategy: str) -> None:
    torch.manual_seed(0)
    net = STGCN(layout=layout, strategy=strategy, num_classes=5, dropout=0.0).double()
    state = {name: value.detach().clone() for name, value in net.state_dict().items()}
    learnt = {name: state[name].requires_grad_() for name, _ in net.named_parameters()}
    x_NCTVM = torch.randn(2, 3, 8, LAYOUTS[layout].joints, 1, dtype=torch.float64)
    ids_N = torch.tensor([1, 4])
    F.cross_entropy(net(x_NCTVM), ids_N).backward()
    F.cross_entropy(reference_scores(state, x_NCTVM, training=True), ids_N).backward()
    found = {name: parameter.grad for name, parameter in net.named_parameters()}
    torch.testing.assert_close(found, {name: value.grad for name, value in learnt.items()}, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_keeps_its_share_and_scales_what_it_keeps(p: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(4, 8, 64, 25).contiguous(memory_format=torch.channels_last).requires_grad_()
    residual = torch.zeros_like(x).requires_grad_()
    out = dropped_sum(x.clone(), residual, p)
    out.sum().backward()
    kept = out > 0
    spread = (p * (1 - p) / out.numel()) ** 0.5
    assert abs(float(kept.double().mean()) - (1 - p)) < 4 * spread
    assert out[kept].unique().numel() == 1
    assert float(out[kept][0].detach()) == pytest.approx(1 / (1 - p), rel=1e-4)
    assert x.grad is not None
    torch.testing.assert_close(x.grad, out)
    assert residual.grad is not None
    assert torch.equal(residual.grad, kept.float())
    torch.manual_seed(0)
    assert torch.equal(dropped_sum(torch.ones_like(x), None, p), out)


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_dropout_of_nothing_and_of_everything(p: float) -> None:
    x = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(dropped_sum(x.clone(), x.abs(), p), torch.relu(x * (1 - p) + x.abs()))


def test_every_block_drops_out_only_while_training() -> None:
    net = STGCN(dropout=0.5)
    assert [block.tcn[4].p for block in net.st_gcn_networks] == [0.5] * 10
    x = torch.randn(1, 3, 8, 34, 1)
    assert not torch.equal(net.train()(x), net(x))
    assert torch.equal(net.eval()(x), net(x))
