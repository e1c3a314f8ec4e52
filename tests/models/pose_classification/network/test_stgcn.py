from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tao_skill.models.pose_classification.network.centering import center_of
from tao_skill.models.pose_classification.network.dg_stgcn import DGSTGCN, DynamicGraphConv
from tao_skill.models.pose_classification.network.graph import STRATEGIES
from tao_skill.models.pose_classification.network.layers import (
    add_last_joint,
    conv_before_norm,
    dilated_conv,
    dropout_add_relu,
    dynamic_adjacency,
    transposing_conv,
)
from tao_skill.models.pose_classification.network.layouts import LAYOUTS
from tao_skill.models.pose_classification.network.stgcn import STGCN
from tao_skill.models.pose_classification.network.stgcn_plus_plus import STGCNPlusPlus
from tests.support.equations import reference_scores
from tests.support.networks import stirred

EVERY_NETWORK = pytest.mark.parametrize("network", [STGCN, STGCNPlusPlus, DGSTGCN])


@pytest.mark.parametrize(
    ("strategy", "expected"), [("uniform", 2_640_442), ("distance", 2_870_690), ("spatial", 3_100_938)]
)
def test_parameter_counts_are_those_of_tao(strategy: str, expected: int) -> None:
    assert sum(p.numel() for p in STGCN(strategy=strategy).parameters()) == expected


def test_st_gcn_plus_plus_has_the_parameters_of_its_paper() -> None:
    """Of the report's 1.39 million, those of NTU60; the head of 60 classes has 15,420."""
    net = STGCNPlusPlus(layout=LAYOUTS["ntu-rgb+d"], num_classes=60)
    assert sum(p.numel() for p in net.parameters()) == pytest.approx(1.39e6, rel=0.01)
    for learnt_KVV in net.edge_importance or ():
        assert torch.equal(learnt_KVV, net.A)


def test_dg_stgcn_has_the_parameters_of_its_paper() -> None:
    """Of the 1.69 million with the head of 60 classes; the adjacencies start without the skeleton."""
    net = DGSTGCN(layout=LAYOUTS["ntu-rgb+d"], num_classes=60)
    assert sum(p.numel() for p in net.parameters()) == pytest.approx(1.69e6, rel=0.01)
    learnt = torch.cat([A_KVV.detach().flatten() for A_KVV in net.edge_importance or ()])
    assert learnt.numel() == 10 * 8 * 25 * 25
    assert (float(learnt.mean()), float(learnt.std())) == pytest.approx((0.04, 0.02), rel=0.02)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_without_edge_importance_the_groups_of_dg_stgcn_share_the_subsets_of_the_strategy(strategy: str) -> None:
    torch.manual_seed(0)
    net = stirred(DGSTGCN(layout=LAYOUTS["coco"], strategy=strategy, edge_importance=False)).double().eval()
    assert all(torch.equal(net.adjacency(3)[k], net.A[k % len(net.A)]) for k in range(8))
    x_NCTVM = torch.randn(2, 3, 12, 17, 1, dtype=torch.float64)
    expected = reference_scores(dict(net.state_dict()), x_NCTVM, training=False)
    torch.testing.assert_close(net(x_NCTVM), expected, rtol=1e-9, atol=1e-9)


def test_the_links_of_dg_stgcn_depend_on_the_sequence_once_their_scales_are_learnt() -> None:
    torch.manual_seed(0)
    graph_conv, A_KVV = DynamicGraphConv(3, 16, 3), torch.rand(8, 17, 17)
    frames_NCV = torch.randn(2, 3, 17)
    first, second = graph_conv.adjacency(frames_NCV, A_KVV)
    assert torch.equal(first, second)
    assert torch.equal(first, A_KVV.repeat_interleave(2, dim=0))
    for scale in (graph_conv.alpha, graph_conv.beta):
        torch.nn.init.zeros_(graph_conv.alpha)
        torch.nn.init.constant_(scale, 0.5)
        first, second = graph_conv.adjacency(frames_NCV, A_KVV)
        assert not torch.allclose(first, second, atol=1e-3)
    added = first - A_KVV.repeat_interleave(2, dim=0)
    torch.testing.assert_close(added.sum(1), torch.full((16, 17), 0.5))
    assert torch.equal(added[0], added[1])


def test_gradients_of_a_dynamic_adjacency_and_of_a_joint_that_is_added() -> None:
    torch.manual_seed(0)
    sizes = (2, 6, 4), (2, 6, 4), (2, 3, 4, 4), (3,)
    tensors = [torch.randn(size, dtype=torch.float64, requires_grad=True) for size in sizes]
    assert torch.autograd.gradcheck(dynamic_adjacency, tensors)
    x_NTVC, weight_V = torch.randn(2, 3, 5, 6, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    assert torch.autograd.gradcheck(add_last_joint, (x_NTVC.requires_grad_(), weight_V.requires_grad_()))


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_transposing_convolution_swaps_channels_and_positions_in_memory(channels_last: bool) -> None:
    torch.manual_seed(0)
    x_NCF, weight_OC = torch.randn(2, 3, 5, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    x_NCF = x_NCF.transpose(1, 2).contiguous().transpose(1, 2) if channels_last else x_NCF
    x_NCF, weight_OC = x_NCF.requires_grad_(), weight_OC.requires_grad_()
    out_NOF = transposing_conv(x_NCF, weight_OC)
    torch.testing.assert_close(out_NOF, F.conv1d(x_NCF, weight_OC[..., None]))
    (to_x_NCF,) = torch.autograd.grad(out_NOF.square().sum(), x_NCF, retain_graph=True)
    assert out_NOF.is_contiguous() == channels_last
    assert to_x_NCF.is_contiguous() != channels_last
    assert torch.autograd.gradcheck(transposing_conv, (x_NCF, weight_OC))


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


@EVERY_NETWORK
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("layout", ["nvidia", "ntu-rgb+d", "hand_21"])
def test_forward_equals_a_second_writing_of_the_equations(layout: str, training: bool, network: type[STGCN]) -> None:
    torch.manual_seed(0)
    net = stirred(network(layout=LAYOUTS[layout], num_classes=5, dropout=0.0)).double().train(training)
    for importance in net.edge_importance or ():
        torch.nn.init.uniform_(importance)
    x_NCTVM = torch.randn(2, 3, 12, LAYOUTS[layout].joints, LAYOUTS[layout].persons, dtype=torch.float64)
    with torch.set_grad_enabled(training):
        expected = reference_scores(dict(net.state_dict()), x_NCTVM, training=training)
        torch.testing.assert_close(net(x_NCTVM), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_of_a_convolution_before_a_norm(stride: int) -> None:
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(2, 3, (9, 1), (stride, 1), (4, 0)).double()
    x_NCTV = torch.randn(2, 2, 10, 2, dtype=torch.float64).contiguous(memory_format=torch.channels_last)

    def convolved(x_NCTV: Tensor, weight: Tensor) -> Tensor:
        conv.weight = weight  # type: ignore[assignment]
        return conv_before_norm(x_NCTV, conv)

    weight = conv.weight.detach().requires_grad_()
    del conv.weight
    assert torch.autograd.gradcheck(convolved, (x_NCTV.requires_grad_(), weight))
    expected = F.conv2d(x_NCTV, weight, conv.bias, (stride, 1), (4, 0))
    torch.testing.assert_close(convolved(x_NCTV, weight), expected)


@pytest.mark.parametrize(("layout", "joint", "channels"), [("ntu-rgb+d", 20, 3), ("coco", 0, 2)])
def test_centred_people_look_alike_wherever_they_stand(layout: str, joint: int, channels: int) -> None:
    torch.manual_seed(0)
    net = STGCN(layout=LAYOUTS[layout], num_classes=5, center="true").double().eval()
    x_NCTVM = torch.randn(2, 3, 12, LAYOUTS[layout].joints, 2, dtype=torch.float64)
    x_NCTVM[:, :, 9:] = 0
    x_NCTVM[0, :, :, :, 1] = 0
    walking = x_NCTVM.clone()
    walking[:, :channels] += torch.randn(2, channels, 12, 1, 2, dtype=torch.float64) * (walking[:, :channels] != 0)
    assert not torch.allclose(walking, x_NCTVM)
    torch.testing.assert_close(net(walking), net(x_NCTVM), rtol=1e-9, atol=1e-9)
    expected = reference_scores(dict(net.state_dict()), x_NCTVM, training=False)
    torch.testing.assert_close(net(x_NCTVM), expected, rtol=1e-9, atol=1e-9)
    assert int(center_of(LAYOUTS[layout], 3).sum(0).argmax()) == joint


@EVERY_NETWORK
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("layout", ["ntu-rgb+d", "coco"])
def test_gradients_equal_those_of_the_equations(layout: str, strategy: str, network: type[STGCN]) -> None:
    torch.manual_seed(0)
    net = stirred(network(layout=LAYOUTS[layout], strategy=strategy, num_classes=5, dropout=0.0)).double()
    state = {name: value.detach().clone() for name, value in net.state_dict().items()}
    learnt = {name: state[name].requires_grad_() for name, _ in net.named_parameters()}
    x_NCTVM = torch.randn(2, 3, 8, LAYOUTS[layout].joints, 1, dtype=torch.float64)
    ids_N = torch.tensor([1, 4])
    F.cross_entropy(net(x_NCTVM), ids_N).backward()
    F.cross_entropy(reference_scores(state, x_NCTVM, training=True), ids_N).backward()
    found = {name: parameter.grad for name, parameter in net.named_parameters()}
    torch.testing.assert_close(found, {name: value.grad for name, value in learnt.items()}, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize(("channels", "joints", "dilation"), [(21, 34, 2), (42, 34, 4), (42, 59, 2), (16, 25, 3)])
def test_bf16_on_cpus_has_the_gradients_of_fp32(channels: int, joints: int, dilation: int) -> None:
    conv = torch.nn.Conv2d(channels, channels, (3, 1), 1, (dilation, 0), (dilation, 1))
    x_NCTV = torch.randn(8, 2 * channels, 16, joints).contiguous(memory_format=torch.channels_last)
    weights_NCTV = torch.randn(8, channels, 16, joints).contiguous(memory_format=torch.channels_last)
    gradients = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            out_NCTV = dilated_conv(x_NCTV.to(torch.bfloat16 if enabled else torch.float32)[:, :channels], conv)
        gradients += torch.autograd.grad((out_NCTV.float() * weights_NCTV).sum(), conv.weight)
    exact, found = gradients
    assert float((found - exact).norm() / exact.norm()) < 0.02


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_keeps_its_share_and_scales_what_it_keeps(p: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(4, 8, 64, 25).contiguous(memory_format=torch.channels_last).requires_grad_()
    residual = torch.zeros_like(x).requires_grad_()
    out = dropout_add_relu(x.clone(), residual, p)
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
    assert torch.equal(dropout_add_relu(torch.ones_like(x), None, p), out)


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_dropout_of_nothing_and_of_everything(p: float) -> None:
    x = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(dropout_add_relu(x.clone(), x.abs(), p), torch.relu(x * (1 - p) + x.abs()))


@EVERY_NETWORK
def test_blocks_drop_out_only_while_training(network: type[STGCN]) -> None:
    net = network(dropout=0.5)
    x = torch.randn(1, 3, 8, 34, 1)
    assert not torch.equal(net.train()(x), net(x))
    assert torch.equal(net.eval()(x), net(x))


@EVERY_NETWORK
def test_gradients_in_bf16_stray_no_further_than_those_of_the_equations(network: type[STGCN]) -> None:
    torch.manual_seed(0)
    net = stirred(network(layout=LAYOUTS["coco"], num_classes=5, dropout=0.0))
    x_NCTVM, ids_N = torch.randn(6, 3, 16, 17, 1), torch.tensor([0, 1, 2, 3, 4, 0])
    state = dict(net.named_parameters()) | dict(net.named_buffers())

    def gradient(*, lower: bool, plain: bool = False) -> Tensor:
        net.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=lower):
            scores_NK = reference_scores(state, x_NCTVM, training=True) if plain else net(x_NCTVM)
        F.cross_entropy(scores_NK.float(), ids_N).backward()
        assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in net.parameters())
        return torch.cat([p.grad.flatten().clone() for p in net.parameters() if p.grad is not None])

    exact, ours, plain = gradient(lower=False), gradient(lower=True), gradient(lower=True, plain=True)
    kept, wanted = (float(F.cosine_similarity(exact, one, dim=0)) for one in (ours, plain))
    assert kept > wanted - 0.05
    assert 0.4 < kept < 0.9999


@EVERY_NETWORK
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_activations_and_gradients_stay_channels_last(network: type[STGCN], precision: torch.dtype) -> None:
    """Another format somewhere makes the operations after it several times as slow."""
    net, found = network(layout=LAYOUTS["ntu-rgb+d"], dropout=0.5), []

    def record(module: torch.nn.Module, inputs: tuple[Tensor, ...], out_NCTV: Tensor) -> None:
        for tensor in (inputs[0], out_NCTV):
            found.append((tensor.is_contiguous(memory_format=torch.channels_last), tensor.dtype))
            tensor.register_hook(lambda grad: found.append((grad.stride()[1] == 1, grad.dtype)))

    for block in list(net.st_gcn_networks)[1:]:
        assert isinstance(block.tcn, torch.nn.Module)
        block.register_forward_hook(record)
        block.tcn.register_forward_hook(record)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        scores_NK = net(torch.randn(2, 3, 8, 25, 1))
    scores_NK.float().sum().backward()
    calls = 9 * (2 if network is not STGCN else 1)
    assert found == [(True, precision)] * len(found)
    assert len(found) >= 4 * calls
