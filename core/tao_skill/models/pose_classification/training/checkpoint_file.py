"""Checkpoint files: written atomically, loaded without running code, encrypted at rest if a key is set."""

from __future__ import annotations

import io
import pickle
import re
import shlex
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from tao_skill.errors import BadData
from tao_skill.io import atomic, encryption
from tao_skill.models.pose_classification.network.graph import STRATEGIES, adjacency
from tao_skill.models.pose_classification.network.layouts import LAYOUTS
from tao_skill.models.pose_classification.network.registry import NETWORKS
from tao_skill.models.pose_classification.network.streams import Net
from tao_skill.models.pose_classification.trained_facts import Difference, TrainedFacts, fix_of
from tao_skill.models.pose_classification.training import checkpoint_index, weight_names
from tao_skill.models.pose_classification.training.weight_names import (
    CONTAINERS,
    HEAD,
    PREFIX,
    Weights,
    listed,
)
from tao_skill.safe_pickle import torch_archive

BLOCKS: Final = "st_gcn_networks."
FACTS: Final = "tao_skill"
"""Key of a checkpoint under which training stores its metadata."""

ENCRYPTED: Final = "state_dict_encrypted"
"""Key that TAO adds to a checkpoint whose weights it has encrypted."""

TRAINING_STATE: Final = ("epoch", "global_step", "optimizer_states", "lr_schedulers")
_NAMED: Final = re.compile(r"^it names (\S+), which")
_UNREADABLE: Final = (
    pickle.UnpicklingError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""Errors of torch.load for damaged pickles and for tensors that do not fit their storage."""

_SAVE_AGAIN: Final = "load it where it was made and save its state_dict with torch.save"
_CONVERT: Final = (
    "import sys, torch; c = torch.load(sys.argv[1], map_location='cpu', weights_only=False); "
    "c = c if isinstance(c, dict) else c.state_dict(); "
    f"torch.save(next((c[k] for k in {CONTAINERS} if isinstance(c.get(k), dict)), c), 'weights.pth')"
)
TENSORS_SHOWN: Final = 3
ONE_STREAM: Final = ("joint",)
"""Stream of a network without several, whose tensors do not tell it."""


class Damaged(BadData):
    """A checkpoint file is truncated or was changed since it was written."""


def save(checkpoint: Mapping[str, Any], path: Path, key: str | None = None) -> None:
    """Write a checkpoint atomically, encrypted if `key` is a secret.

    Raises:
        CannotWrite: the folder cannot be written or the disk is full; an existing file is kept.
    """
    plain = io.BytesIO()  # if torch writes to a file itself, it hides the cause of a failure
    torch.save(checkpoint, plain)
    atomic.write_with(path, lambda stream: stream.write(encryption.encrypt(plain.getvalue(), key)))


def load(path: Path, key: str | None = None) -> dict[str, Any]:
    """Read a checkpoint as plain data (torch.load with weights_only), the file that `checkpoint_index.actual` names.

    Raises:
        Damaged: truncated, or changed since it was written.
        CannotDecrypt: encrypted with another key.
        BadData: the file does not exist, is not a checkpoint or was encrypted by TAO.
    """
    path = checkpoint_index.actual(path)
    if not path.is_file():
        raise BadData(f"checkpoint {path} does not exist", fix="give the path of a .pth file", path=str(path))
    data = encryption.read(path, key)
    try:
        loaded = torch.load(torch_archive.validated(data), map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        raise _unreadable(path, data, error) from error
    if not isinstance(loaded, dict):
        raise BadData(f"checkpoint {path} has no state_dict", fix="use a .pth file saved by training", path=str(path))
    if loaded.get(ENCRYPTED):
        raise _encrypted_by_tao(path)
    return loaded


def network_state(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of the network, also as other programs save them (see `weight_names.read`)."""
    return weight_names.read(checkpoint).tensors


def load_network(net: Net, path: Path, key: str | None = None) -> TrainedFacts:
    """Fill `net` with a trained model of the same network, layout, strategy and classes.

    Returns:
        The metadata that training stored in the file; empty for weights from elsewhere.

    Raises:
        BadData: the checkpoint is of another network (the message names the differences), or its metadata is damaged.
    """
    loaded = load(path, key)
    net.load_state_dict(_fitting(net, weight_names.read(loaded), path).tensors)
    return stated_facts(loaded, path)


def stated_facts(checkpoint: Mapping[str, Any], path: Path) -> TrainedFacts:
    """The metadata that training stored in a checkpoint; empty for weights from elsewhere.

    Raises:
        BadData: it is damaged.
    """
    stated = checkpoint.get(FACTS)
    return TrainedFacts.read(stated, path) if isinstance(stated, dict) else TrainedFacts()


def check_resumable(net: Net, path: Path, key: str | None = None) -> None:
    """Check that training of `net` can resume from a checkpoint, also one of TAO.

    Raises:
        BadData: the checkpoint has no training state, or is of another network.
    """
    checkpoint = load(path, key)
    fix = f"start from its weights: set model.pretrained_model_path={path} and another results_dir"
    if missing := [name for name in TRAINING_STATE if name not in checkpoint]:
        raise BadData(
            f"checkpoint {path} has weights but no training state to resume from: {', '.join(missing)} missing",
            fix=fix,
            path=str(path),
        )
    _fitting(net, weight_names.read(checkpoint), path)
    state = checkpoint.get(CONTAINERS[0])
    names = state if isinstance(state, dict) else {}
    if missing := [PREFIX + name for name in net.state_dict() if PREFIX + name not in names]:
        raise BadData(
            f"checkpoint {path} lacks {len(missing)} tensors to resume from: {listed(missing)}",
            fix=fix,
            path=str(path),
        )


def load_pretrained(net: Net, path: Path, key: str | None = None) -> str:
    """Fill `net` with pretrained weights, also those of other programs.

    Newly initialised are a head with another number of classes or of another form, and the edge importance if the file
    has none.

    Returns:
        What was loaded, for the log.

    Raises:
        BadData: a tensor other than the head does not fit.
    """
    weights, own = weight_names.read(load(path, key)), net.state_dict()
    heads = [name for name in own if weight_names.is_head(name)]
    is_new = any(name not in weights.tensors or weights.tensors[name].shape != own[name].shape for name in heads)
    in_file, in_spec = (tensor_facts(tensors).num_classes for tensors in (weights.tensors, own))
    if is_new:
        weights = weight_names.with_new_head(net, weights)
    weights = _fitting(net, weight_names.with_initial(net, weights), path)
    net.load_state_dict(weights.tensors)
    head = f"head newly initialised: {in_file or 'unknown'} classes in the file, {in_spec} in the spec"
    return ", ".join([f"weights of {path}", *weights.notes, *([head] if is_new else [])])


def _unreadable(path: Path, data: bytes, error: Exception) -> BadData:
    """The error for a file that torch.load refused."""
    if ENCRYPTED.encode() in data:
        return _encrypted_by_tao(path)
    if named := _NAMED.search(str(error)):
        command = f'python -c "{_CONVERT}" {shlex.quote(str(path))}'
        return BadData(
            f"checkpoint {path} names {named[1]}, which is neither a tensor nor plain data, and was not run",
            fix=f"if you trust the file, extract its weights where it was made: {command}",
            path=str(path),
        )
    complete = "use a complete .pth file of tensors and plain data only"
    return Damaged(
        f"checkpoint {path} is damaged or not a checkpoint: {' '.join(str(error).split())[:200]}",
        fix=_SAVE_AGAIN if torch_archive.unsupported(data) else complete,
        path=str(path),
    )


def _encrypted_by_tao(path: Path) -> BadData:
    return BadData(
        f"checkpoint {path} has weights that were encrypted by TAO ({ENCRYPTED}), which only TAO can decrypt",
        fix="train or resume in TAO without encryption_key, and use the checkpoint that it saves",
        path=str(path),
    )


def tensor_facts(state: Mapping[str, Tensor]) -> TrainedFacts:
    """The facts that the tensors of a network tell; layout and strategy only if the graph is a known one."""
    found: dict[str, Any] = {}
    names = {match[0]: match[1] for match in map(weight_names.STREAM.match, state) if match}
    if state:
        found["streams"] = tuple(names.values()) or ONE_STREAM
    if names:
        prefix = next(iter(names))
        state = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    if "A" in state and state["A"].dim() == 3:
        found |= _graph_facts(state["A"])
        found["edge_importance_weighting"] = "edge_importance.0" in state
        found["center"] = "true" if "center" in state else "false"
        if "data_bn.weight" in state:
            found["input_channels"] = state["data_bn.weight"].numel() // max(1, state["A"].shape[1])
            found["model_type"] = _model_type(state, len(state["A"]), found["input_channels"])
    if f"{HEAD}weight" in state:
        found["num_classes"] = state[f"{HEAD}weight"].shape[:1].numel()
    return TrainedFacts(**found)


def _graph_facts(A_KVV: Tensor) -> dict[str, str]:
    for layout, strategy in product(LAYOUTS, STRATEGIES):
        known_KVV = torch.from_numpy(adjacency(LAYOUTS[layout], strategy))
        if known_KVV.shape == A_KVV.shape and torch.allclose(known_KVV, A_KVV.cpu().float(), atol=1e-4):
            return {"graph_layout": layout, "graph_strategy": strategy}
    return {}


def _model_type(state: Mapping[str, Tensor], subsets: int, channels: int) -> str | None:
    """The network of the table whose blocks have convolutions of these names and shapes."""
    strategy = next((name for name, rule in STRATEGIES.items() if rule.subsets == subsets), None)
    if strategy is None or channels < 1:
        return None
    for name, network in NETWORKS.items():
        with torch.device("meta"):
            net = network.load()(strategy=strategy, channels=channels, blocks=network.blocks)
        if _block_convolutions(net.state_dict()) == _block_convolutions(state):
            return name
    return None


def _block_convolutions(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    """Shapes that do not depend on the skeleton."""
    return {name: value.shape for name, value in state.items() if name.startswith(BLOCKS) and value.dim() > 1}


def _fitting(net: Net, weights: Weights, path: Path) -> Weights:
    """Complete tensors that fill `net`; else name the facts that differ, and the first tensors.

    Raises:
        BadData: they do not fill it.
    """
    own, complete = net.state_dict(), weight_names.completed(net, weights)
    facts = tensor_facts(complete.tensors).differences(tensor_facts(own))
    names, shapes = _other_names(own, complete), _other_shapes(own, complete.tensors)
    if facts or (shapes and not names):
        raise _other_network(path, facts, [*map(str, facts), *shapes, *names])
    if names:
        raise BadData(
            f"checkpoint {path} has other tensors than the network: {'; '.join([*names, *shapes])}",
            fix=f"use weights whose tensors have these names, after prefixes such as {PREFIX}, or rename them",
            path=str(path),
        )
    return complete


def _other_names(own: Mapping[str, Tensor], weights: Weights) -> list[str]:
    """The tensors that only the file has, or else all of it, and those that only the network has."""
    unknown = [weights.names.get(name, name) for name in weights.tensors if name not in own]
    lacking = [name for name in own if name not in weights.tensors]
    if not unknown and not lacking:
        return []
    has = _counted(unknown, " unknown") if unknown else _counted([*weights.names.values()])
    return [f"it has {has}", f"it lacks {_counted(lacking, f' of {len(own)}')}"]


def _counted(names: Sequence[str], of: str = "") -> str:
    return f"{len(names)}{of} ({listed(names)})" if names else "none"


def _other_shapes(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> list[str]:
    found = [
        f"{name} is {tuple(state[name].shape)}, the spec makes {tuple(value.shape)}"
        for name, value in own.items()
        if name in state and state[name].shape != value.shape
    ]
    return found[:TENSORS_SHOWN] + (["..."] if len(found) > TENSORS_SHOWN else [])


def _other_network(path: Path, facts: list[Difference], differences: list[str]) -> BadData:
    every_key = (
        "set model.model_type, model.center, model.graph_layout, model.graph_strategy, model.input_channels and "
        "dataset.num_classes as in training"
    )
    return BadData(
        f"checkpoint {path} does not fit the spec: {'; '.join(differences)}",
        fix=fix_of(facts) if facts else every_key,
        path=str(path),
    )
