"""Checkpoint files: durable, loaded without executing anything, encrypted at rest when a key is set."""

from __future__ import annotations

import io
import pickle
import re
import shlex
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from tao_skill.errors import BadData
from tao_skill.io import atomic, encryption
from tao_skill.models.pose_classification.network.architecture import BRANCHED
from tao_skill.models.pose_classification.network.graph import LAYOUTS, STRATEGIES, adjacency
from tao_skill.models.pose_classification.network.stgcn import STGCN
from tao_skill.models.pose_classification.training import checkpoint_index
from tao_skill.safe_pickle import torch_archive

PREFIX: Final = "model."
HEAD: Final = "fcn."
ENCRYPTED: Final = "state_dict_encrypted"
"""What TAO adds to a checkpoint whose weights it has encrypted; the value says how."""

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
"""What torch raises for a pickle that underflows its stack, or tensors that do not go together."""

_OLD: Final = "save it again with torch.save of torch 1.6 or newer, where it was made"
CLASSES: Final = "dataset.num_classes"
TENSORS_SHOWN: Final = 3


class Damaged(BadData):
    """A checkpoint file is not whole, or not as it was written."""


def save(checkpoint: Mapping[str, Any], path: Path, key: str | None = None) -> None:
    """Write a checkpoint in one step, encrypted if `key` is a secret one.

    Raises:
        CannotWrite: the folder cannot be written or the disk is full; the file there before is kept.
    """
    plain = io.BytesIO()  # writing straight to the file, torch would hide why that failed
    torch.save(checkpoint, plain)
    atomic.write_with(path, lambda stream: stream.write(encryption.encrypt(plain.getvalue(), key)))


def load(path: Path, key: str | None = None) -> dict[str, Any]:
    """Read a checkpoint as plain data (torch.load with weights_only); `results.actual` says which file that is.

    Raises:
        Damaged: truncated, or changed since it was written.
        CannotDecrypt: encrypted with another key.
        BadData: missing, not a checkpoint, encrypted by TAO.
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
        raise BadData(f"checkpoint {path} holds no state_dict", fix="use a .pth file saved by training", path=str(path))
    if loaded.get(ENCRYPTED):
        raise _encrypted_by_tao(path)
    return loaded


def network_state(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The network's own tensors, whether saved under `state_dict`, under `model.` or bare."""
    state = checkpoint.get("state_dict", checkpoint)
    return {name.removeprefix(PREFIX): value for name, value in state.items() if isinstance(value, Tensor)}


def load_network(net: STGCN, path: Path, key: str | None = None) -> dict[str, Any]:
    """Fill `net` with a trained model of the same layout, strategy and classes.

    Returns:
        What training wrote of itself beside the weights; empty for weights from elsewhere.

    Raises:
        BadData: the checkpoint is of another network; the message says both sides.
    """
    loaded = load(path, key)
    state = network_state(loaded)
    if differences := _differences(net.state_dict(), state):
        raise _other_network(path, differences)
    net.load_state_dict(state)
    facts = loaded.get("tao_skill")
    return facts if isinstance(facts, dict) else {}


def check_resumable(net: STGCN, path: Path, key: str | None = None) -> None:
    """Make sure that training of `net` can go on from a checkpoint, ours or TAO's.

    Raises:
        BadData: it holds weights alone, or is of another network.
    """
    checkpoint = load(path, key)
    if missing := [name for name in TRAINING_STATE if name not in checkpoint]:
        raise BadData(
            f"checkpoint {path} holds weights but no state of a training to resume: {', '.join(missing)} missing",
            fix=f"start from its weights with model.pretrained_model_path={path}, in another results_dir",
            path=str(path),
        )
    if differences := _differences(net.state_dict(), network_state(checkpoint)):
        raise _other_network(path, differences)


def load_pretrained(net: STGCN, path: Path, key: str | None = None) -> str:
    """Start `net` from pretrained weights; a head of another class count is left as initialised.

    Returns:
        One sentence that says what was taken.

    Raises:
        BadData: anything but the head does not fit.
    """
    state = network_state(load(path, key))
    own = net.state_dict()
    classes = f"{_facts(state).get(CLASSES, 'unknown')} classes there, {_facts(own)[CLASSES]} here"
    head_differs = any(state[name].shape != own[name].shape for name in own if name.startswith(HEAD) and name in state)
    if head_differs:
        state |= {name: own[name] for name in own if name.startswith(HEAD)}
    if differences := _differences(own, state):
        raise _other_network(path, differences)
    net.load_state_dict(state)
    return f"weights of {path}" + (f", head newly initialised: {classes}" if head_differs else "")


def _unreadable(path: Path, data: bytes, error: Exception) -> BadData:
    """What torch could not read, or would have had to run."""
    if ENCRYPTED.encode() in data:
        return _encrypted_by_tao(path)
    if named := _NAMED.search(str(error)):
        convert = (
            "import sys, torch; c = torch.load(sys.argv[1], map_location='cpu', weights_only=False); "
            "torch.save({'state_dict': c['state_dict']}, 'weights.pth')"
        )
        command = f'python -c "{convert}" {shlex.quote(str(path))}'
        return BadData(
            f"checkpoint {path} names {named[1]}, which is neither a tensor nor plain data and was not run",
            fix=f"if you trust the file, keep its weights alone where it was made: {command}",
            path=str(path),
        )
    return Damaged(
        f"checkpoint {path} is damaged, or is none: {' '.join(str(error).split())[:200]}",
        fix=_OLD if data.startswith(b"\x80") else "use a whole .pth file that holds tensors and plain data only",
        path=str(path),
    )


def _encrypted_by_tao(path: Path) -> BadData:
    return BadData(
        f"checkpoint {path} has weights that were encrypted by TAO ({ENCRYPTED}), with a method that is in TAO alone",
        fix="train or resume in TAO without encryption_key, and use the checkpoint that this saves",
        path=str(path),
    )


def _differences(own: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> list[str]:
    """What keeps `other` from filling `own`: in the spec's words where they can be known, then a few tensors."""
    here, there = _facts(own), _facts(other)
    words = [
        f"{key} is {there[key]} in the file, {here[key]} in the spec"
        for key in here
        if key in there and there[key] != here[key]
    ]
    tensors = _unfit(own, other)
    return [*words, *tensors[:TENSORS_SHOWN], *(["..."] if len(tensors) > TENSORS_SHOWN else [])]


def _facts(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Spec keys that the tensors of a network answer; the graph's where it is one of the known ones."""
    facts: dict[str, Any] = {}
    if "A" in state and state["A"].dim() == 3:
        facts |= _graph(state["A"])
        if "data_bn.weight" in state:
            facts["model.input_channels"] = state["data_bn.weight"].numel() // max(1, state["A"].shape[1])
        facts["model.edge_importance_weighting"] = "edge_importance.0" in state
        facts["model.center"] = "center" in state
        facts["model.model_type"] = "ST-GCN++" if BRANCHED in state else "ST-GCN"
    if f"{HEAD}weight" in state:
        facts[CLASSES] = state[f"{HEAD}weight"].shape[:1].numel()
    return facts


def _graph(A_KVV: Tensor) -> dict[str, str]:
    for layout, strategy in product(LAYOUTS, STRATEGIES):
        known_KVV = torch.from_numpy(adjacency(layout, strategy))
        if known_KVV.shape == A_KVV.shape and torch.allclose(known_KVV, A_KVV.cpu().float(), atol=1e-4):
            return {"model.graph_layout": layout, "model.graph_strategy": strategy}
    return {}


def _unfit(own: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> list[str]:
    found = [f"{name} is missing" for name in own if name not in other]
    found += [f"{name} is unknown" for name in other if name not in own]
    found += [
        f"{name} is {tuple(other[name].shape)}, the spec makes {tuple(value.shape)}"
        for name, value in own.items()
        if name in other and other[name].shape != value.shape
    ]
    return found


def _other_network(path: Path, differences: list[str]) -> BadData:
    return BadData(
        f"checkpoint {path} does not fit the spec: {'; '.join(differences)}",
        fix="set model.model_type, model.center, model.graph_layout, model.graph_strategy, model.input_channels and "
        "dataset.num_classes as in training",
        path=str(path),
    )
