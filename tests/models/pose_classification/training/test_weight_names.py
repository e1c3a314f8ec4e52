"""Weights of other programs load by their content; what does not fit is named by the tensors of the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tao_skill.errors import BadData
from tao_skill.models.pose_classification.network.layouts import LAYOUTS
from tao_skill.models.pose_classification.network.registry import NETWORKS
from tao_skill.models.pose_classification.network.stgcn import STGCN
from tao_skill.models.pose_classification.network.stgcn_plus_plus import STGCNPlusPlus
from tao_skill.models.pose_classification.training import checkpoint_file, weight_names

State = dict[str, Tensor]
LAYOUT = LAYOUTS["openpose"]
CLASSES = 4


def network(kind: type[STGCN] = STGCN, **settings: Any) -> STGCN:
    """A network none of whose tensors has its initial value."""
    net = kind(**{"layout": LAYOUT, "num_classes": CLASSES, **settings})
    for name, value in net.state_dict().items():
        if name != "A":
            value.add_(torch.rand(value.shape).mul(0.1) if value.is_floating_point() else 1)
    return net.eval()


@pytest.fixture(scope="module")
def trained() -> STGCN:
    return network()


@pytest.fixture(scope="module")
def state(trained: STGCN) -> State:
    return trained.state_dict()


def prefixed(state: State, prefix: str) -> State:
    return {prefix + name: value for name, value in state.items()}


def without(state: State, *parts: str) -> State:
    return {name: value for name, value in state.items() if not any(part in name for part in parts)}


def headed(state: State, head: str, *, flat: bool) -> State:
    """The names of a recognizer: a backbone, and a head that is linear or a convolution."""
    weight = state["fcn.weight"]
    others = prefixed(without(state, "fcn."), "backbone.")
    return others | {f"{head}.weight": weight.flatten(1) if flat else weight, f"{head}.bias": state["fcn.bias"]}


Change = Callable[[State], dict[str, Any]]
NO_COUNTERS = ", without num_batches_tracked"
NO_GRAPH = ", without A, which is that of the spec"

FORMS: dict[str, tuple[Change, str]] = {
    "own names": (lambda state: state, ""),
    "a Lightning module": (lambda state: {"state_dict": prefixed(state, "model.")}, ""),
    "DataParallel": (lambda state: prefixed(state, "module."), ", without the prefix module."),
    "a backbone": (lambda state: prefixed(state, "backbone."), ", without the prefix backbone."),
    "a Lightning module in DataParallel": (
        lambda state: {"state_dict": prefixed(state, "module.model.")},
        ", without the prefix module.model.",
    ),
    "DataParallel in a Lightning module": (
        lambda state: {"state_dict": prefixed(state, "model.module.backbone.")},
        ", without the prefix model.module.backbone.",
    ),
    "model_state_dict": (
        lambda state: {"model_state_dict": state, "epoch": 3, "optimizer": {"momentum": torch.ones(3)}},
        ", from its model_state_dict",
    ),
    "model": (lambda state: {"model": state, "args": {"lr": 0.1, "name": "x"}, "epoch": 3}, ", from its model"),
    "weights": (lambda state: {"weights": state, "loss": [1.5, None]}, ", from its weights"),
    "containers in each other": (
        lambda state: {"model": {"state_dict": state, "name": "x"}, "state_dict": None, "weights": 3},
        ", from its model",
    ),
    "torch 0.3": (lambda state: without(state, "num_batches_tracked"), NO_COUNTERS),
    "no graph": (lambda state: {name: state[name] for name in state if name != "A"}, NO_GRAPH),
    "neither": (
        lambda state: prefixed(without({name: state[name] for name in state if name != "A"}, "num_batches"), "module."),
        ", without the prefix module." + NO_COUNTERS + NO_GRAPH,
    ),
    "a convolution as head": (
        lambda state: {"state_dict": headed(state, "cls_head.fc", flat=False), "meta": {"epoch": 3}},
        ", without the prefix backbone., head from cls_head.fc.*",
    ),
    "a linear head": (
        lambda state: {"state_dict": prefixed(headed(state, "cls_head.fc_cls", flat=True), "module.")},
        ", without the prefix module., module.backbone., head from cls_head.fc_cls.*",
    ),
    "half precision": (lambda state: {name: value.half() for name, value in state.items()}, ""),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("zipped", [True, False], ids=["archive", "legacy"])
def test_weights_of_others_load_by_their_content(
    form: str, zipped: bool, trained: STGCN, state: State, tmp_path: Path
) -> None:
    change, note = FORMS[form]
    path = tmp_path / "w.pt"
    torch.save(change(state), path, _use_new_zipfile_serialization=zipped)
    pretrained, loaded = (STGCN(layout=LAYOUT, num_classes=CLASSES).eval() for _ in range(2))
    assert checkpoint_file.load_pretrained(pretrained, path) == f"weights of {path}{note}"
    checkpoint_file.load_network(loaded, path)
    x_NCTVM = torch.rand(2, 3, 8, 18, 1)
    with torch.inference_mode():
        expected_NK = trained(x_NCTVM)
        for net in (pretrained, loaded):
            tolerance = 2e-2 if form == "half precision" else 0
            torch.testing.assert_close(net(x_NCTVM), expected_NK, rtol=tolerance, atol=0)


def read(net: STGCN, value: dict[str, Any], path: Path, load: Callable[..., Any]) -> Any:
    torch.save(value, path)
    return load(net, path)


def message(net: STGCN, value: dict[str, Any], path: Path, load: Callable[..., Any]) -> str:
    with pytest.raises(BadData) as caught:
        read(net, value, path, load)
    assert "\n" not in caught.value.message
    return caught.value.message.removeprefix(f"checkpoint {path} ") + f" [{caught.value.fix}]"


NEW_HEADS: dict[str, tuple[Change, str]] = {
    "no head": (lambda state: without(state, "fcn."), "unknown"),
    "other classes": (lambda state: state | {"fcn.weight": torch.ones(9, 256, 1, 1), "fcn.bias": torch.ones(9)}, "9"),
    "other classes of another head": (
        lambda state: (
            without(state, "fcn.")
            | {"cls_head.fc_cls.weight": torch.ones(9, 256), "cls_head.fc_cls.bias": torch.ones(9)}
        ),
        "9",
    ),
    "two heads": (
        lambda state: (
            without(state, "fcn.")
            | {f"{name}.weight": torch.ones(CLASSES, 256) for name in ("fc", "head.fc")}
            | {f"{name}.bias": torch.ones(CLASSES) for name in ("fc", "head.fc")}
        ),
        "unknown",
    ),
    "a head of two layers": (
        lambda state: without(state, "fcn.") | {f"cls_head.{n}.weight": torch.ones(CLASSES, 256) for n in (0, 2)},
        "unknown",
    ),
}


@pytest.mark.parametrize("form", NEW_HEADS)
def test_a_head_that_does_not_correspond_is_newly_initialised_and_refused_for_scores(
    form: str, state: State, tmp_path: Path
) -> None:
    change, classes = NEW_HEADS[form]
    net = STGCN(layout=LAYOUT, num_classes=CLASSES)
    own = {name: value.clone() for name, value in net.state_dict().items()}
    told = read(net, change(state), tmp_path / "w.pt", checkpoint_file.load_pretrained)
    head = f", head newly initialised: {classes} classes in the file, {CLASSES} in the spec"
    assert told == f"weights of {tmp_path / 'w.pt'}{head}"
    for name, value in net.state_dict().items():
        torch.testing.assert_close(value, own[name] if name.startswith("fcn.") else state[name], rtol=0, atol=0)
    message(net, change(state), tmp_path / "w.pt", checkpoint_file.load_network)


@pytest.mark.parametrize("kind", [STGCN, STGCNPlusPlus])
def test_missing_edge_importance_is_that_of_a_network_without_it(kind: type[STGCN], tmp_path: Path) -> None:
    plain, net = network(kind, edge_importance=False), kind(layout=LAYOUT, num_classes=CLASSES).eval()
    told = read(net, plain.state_dict(), tmp_path / "w.pt", checkpoint_file.load_pretrained)
    assert told.endswith(", edge_importance newly initialised: the file has none")
    x_NCTVM = torch.rand(2, 3, 8, 18, 1)
    with torch.inference_mode():
        torch.testing.assert_close(net(x_NCTVM), plain(x_NCTVM))
    said = message(net, plain.state_dict(), tmp_path / "w.pt", checkpoint_file.load_network)
    assert "model.edge_importance_weighting is false in the file, true in the spec" in said


def test_some_missing_edge_importance_is_refused(state: State, tmp_path: Path) -> None:
    value = without(state, "edge_importance.3")
    said = message(network(), value, tmp_path / "w.pt", checkpoint_file.load_pretrained)
    assert "it lacks 1 of 172 (edge_importance.3)" in said


Reader = Callable[..., Any]
READERS = (checkpoint_file.load_pretrained, checkpoint_file.load_network)


@pytest.mark.parametrize("load", READERS)
def test_another_program_is_named_by_the_tensors_it_has_and_lacks(load: Reader, state: State, tmp_path: Path) -> None:
    value = prefixed(
        {name.replace("st_gcn_networks", "gcn").replace("fcn", "cls_head.fc_cls"): state[name] for name in state},
        "module.",
    )
    said = message(network(), {"state_dict": value}, tmp_path / "w.pt", load)
    assert said.startswith("has other tensors than the network: it has ")
    assert "unknown (module.gcn.0.gcn.conv.weight, module.gcn.0.gcn.conv.bias, module.gcn.0.tcn.0.weight and " in said
    assert "it lacks " in said
    assert "(st_gcn_networks.0.gcn.conv.weight, st_gcn_networks.0.gcn.conv.bias, st_gcn_networks.0.tcn.0.weight" in said
    assert "spec" not in said
    assert "model.model_type" not in said


@pytest.mark.parametrize("load", READERS)
@pytest.mark.parametrize("value", [{}, {"epoch": 3}, {"state_dict": {}}, {"state_dict": 3}, {3: torch.ones(2)}])
def test_a_file_without_tensors_is_said_to_have_none(load: Reader, value: Any, tmp_path: Path) -> None:
    assert "has other tensors than the network: it has none; it lacks " in message(
        network(), value, tmp_path / "w.pt", load
    )


@pytest.mark.parametrize("load", READERS)
def test_what_the_tensors_tell_is_still_said_as_a_difference_of_the_spec(
    load: Reader, state: State, tmp_path: Path
) -> None:
    value = prefixed(without(state, "num_batches_tracked"), "module.")
    path = tmp_path / "w.pt"
    assert "model.graph_layout is openpose in the file, coco in the spec" in message(
        STGCN(layout=LAYOUTS["coco"], num_classes=CLASSES), value, path, load
    )
    assert "model.graph_strategy is spatial in the file, distance in the spec" in message(
        network(strategy="distance"), value, path, load
    )
    for one in (value, {name: value[name] for name in value if name != "module.A"}):
        said = message(network(STGCNPlusPlus), one, path, load)
        assert "model.model_type is ST-GCN in the file, ST-GCN++ in the spec" in said
        assert "model.model_type=ST-GCN" in said


@pytest.mark.parametrize("load", READERS)
def test_a_missing_graph_of_other_joints_is_refused_by_shapes(load: Reader, state: State, tmp_path: Path) -> None:
    value = {name: state[name] for name in state if name != "A"}
    said = message(STGCN(layout=LAYOUTS["coco"], num_classes=CLASSES), value, tmp_path / "w.pt", load)
    assert "data_bn.weight is (54,), the spec makes (51,)" in said


@pytest.mark.parametrize("load", READERS)
def test_two_networks_in_one_file_are_not_mixed(load: Reader, state: State, tmp_path: Path) -> None:
    value = prefixed(state, "model.") | prefixed(state, "module.")
    said = message(network(), {"state_dict": value}, tmp_path / "w.pt", load)
    assert "model.A" in said
    assert "it lacks " in said


def test_other_names_are_no_training_to_resume(state: State, tmp_path: Path) -> None:
    training = dict.fromkeys(checkpoint_file.TRAINING_STATE, 0)
    path = tmp_path / "w.pt"
    read(network(), {"state_dict": prefixed(state, "model."), **training}, path, checkpoint_file.check_resumable)
    for value, lacking in (
        (prefixed(state, "module.model."), "model.A"),
        (prefixed(without(state, "num_batches_tracked"), "model."), "model.data_bn.num_batches_tracked"),
    ):
        said = message(network(), {"state_dict": value, **training}, path, checkpoint_file.check_resumable)
        assert f"tensors to resume from: {lacking}" in said
        assert f"model.pretrained_model_path={path}" in said


def test_hostile_names_stay_on_one_short_line(state: State, tmp_path: Path) -> None:
    value = state | {"x\ny" * 1000: torch.ones(1), "model." * 1000 + "z": torch.ones(1), "model.": torch.ones(1)}
    assert len(message(network(), value, tmp_path / "w.pt", checkpoint_file.load_pretrained)) < 1000


def test_names_are_read_without_a_network() -> None:
    weights = weight_names.read({"model": {"module.fc.weight": torch.ones(2, 3), "module.fc.bias": torch.ones(2)}})
    assert weights.tensors["fcn.weight"].shape == (2, 3, 1, 1)
    assert weights.names == {"fcn.weight": "module.fc.weight", "fcn.bias": "module.fc.bias"}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_loads_without_prefix_counters_and_graph(name: str, tmp_path: Path) -> None:
    kind, path = NETWORKS[name].load(), tmp_path / "w.pt"
    trained, net = network(kind).state_dict(), kind(layout=LAYOUT, num_classes=CLASSES)
    state = without({key: value for key, value in trained.items() if key != "A"}, "num_batches_tracked")
    torch.save({"model_state_dict": prefixed(state, "module.")}, path, _use_new_zipfile_serialization=False)
    notes = ", from its model_state_dict, without the prefix module." + NO_COUNTERS + NO_GRAPH
    assert checkpoint_file.load_pretrained(net, path) == f"weights of {path}{notes}"
    assert all(torch.equal(value, trained[key]) for key, value in net.state_dict().items() if key in {*state, "A"})
