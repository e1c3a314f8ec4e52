"""Tensors of a checkpoint by the names of a network, whatever program saved it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from torch import Tensor, nn

PREFIX: Final = "model."
HEAD: Final = "fcn."

STREAM: Final = re.compile(r"streams\.(\w+)\.")
"""Prefix of the tensors of one of several streams."""

CONTAINERS: Final = ("state_dict", "model_state_dict", "model", "weights")
"""Keys under which training programs store the tensors; without them the tensors are at the top level."""

COUNTER: Final = "num_batches_tracked"
"""Last part of the name of a batch norm's counter, which torch before 0.4.1 did not have."""

WRAPPERS: Final = re.compile(r"(?:(?:module|model|backbone)\.)+(?=.)")
"""Prefixes of DataParallel, of Lightning modules and of recognizers with a backbone."""

HEADS: Final = ("cls_head.fc_cls.", "cls_head.fc.", "cls_head.", "head.fc.", "head.", "fc_cls.", "fc.", "classifier.")
"""Prefixes of a linear head in other programs."""

_HEAD_FROM: Final = "head from"
_NESTED: Final = 3
_LISTED: Final = 3
_GRAPH: Final = "A"
_IMPORTANCE: Final = re.compile(r"(?:^|\.)edge_importance\.\d+$")


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Tensors by the names of a network.

    Attributes:
        names: the name in the file of each tensor that was read from it.
        notes: for the log, what was renamed or added.
    """

    tensors: dict[str, Tensor]
    names: dict[str, str]
    notes: tuple[str, ...] = ()

    def with_tensors(self, tensors: Mapping[str, Tensor], *notes: str) -> Weights:
        """The same with more tensors, which are not in the file."""
        return replace(self, tensors=self.tensors | dict(tensors), notes=(*self.notes, *notes))


def read(checkpoint: Mapping[Any, Any]) -> Weights:
    """The tensors of a network in a checkpoint, without prefixes; a head of another program is renamed."""
    container, found = _located(checkpoint)
    names = _without_wrappers(found)
    notes = [f"from its {container}"] if container not in ("", CONTAINERS[0]) else []
    if removed := sorted({name.removesuffix(bare) for bare, name in names.items()} - {"", PREFIX}):
        notes.append(f"without the prefix {listed(removed)}")
    tensors = {bare: found[name] for bare, name in names.items()}
    if head := _head(tensors):
        notes.append(f"{_HEAD_FROM} {head}*")
        for part in ("weight", "bias"):
            names[HEAD + part], tensors[HEAD + part] = names.pop(head + part), tensors.pop(head + part)
        tensors[f"{HEAD}weight"] = tensors[f"{HEAD}weight"].flatten(1)[..., None, None]
    return Weights(tensors=tensors, names=names, notes=tuple(notes))


def is_head(name: str) -> bool:
    """Whether a tensor of a network is of its head, or of that of a stream."""
    return STREAM.sub("", name, count=1).startswith(HEAD)


def completed(net: nn.Module, weights: Weights) -> Weights:
    """Add buffers of `net` that other programs do not save, and that do not change its scores.

    They are the batch counters and, if the file's batch norm of the joints fits, the graph.
    """
    own = net.state_dict()
    missing = {name: value for name, value in net.named_buffers() if name in own and name not in weights.tensors}
    counters = {name: value for name, value in missing.items() if name.rpartition(".")[2] == COUNTER}
    graphs = {name: value for name, value in missing.items() if _is_decided(name, own, weights.tensors)}
    notes = [f"without {COUNTER}"] if counters else []
    notes += ["without A, which is that of the spec"] if graphs else []
    return weights.with_tensors(counters | graphs, *notes)


def with_initial(net: nn.Module, weights: Weights) -> Weights:
    """Add the initial edge importance of `net` if the file has none: with it, `net` computes the same as without it."""
    own = {name: value for name, value in net.state_dict().items() if _IMPORTANCE.search(name)}
    if not own or any(map(_IMPORTANCE.search, weights.tensors)):
        return weights
    return weights.with_tensors(own, "edge_importance newly initialised: the file has none")


def with_new_head(net: nn.Module, weights: Weights) -> Weights:
    """Replace the head, also one of another program, by that of `net`."""
    others = {name: value for name, value in weights.tensors.items() if not _is_any_head(name)}
    own = {name: value for name, value in net.state_dict().items() if is_head(name)}
    notes = tuple(note for note in weights.notes if not note.startswith(_HEAD_FROM))
    return replace(weights, tensors=others | own, notes=notes)


def listed(names: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    shown = [" ".join(name.split())[:60] for name in names]
    more = f" and {len(shown) - _LISTED} more" if len(shown) > _LISTED else ""
    return ", ".join(shown[:_LISTED]) + more


def _located(checkpoint: Mapping[Any, Any], depth: int = 0) -> tuple[str, dict[str, Tensor]]:
    """The tensors and the key of their container, "" for the top level."""
    for container in CONTAINERS:
        inner = checkpoint.get(container)
        if isinstance(inner, Mapping) and depth < _NESTED and (found := _located(inner, depth + 1))[1]:
            return container, found[1]
    return "", {
        name: value for name, value in checkpoint.items() if isinstance(name, str) and isinstance(value, Tensor)
    }


def _without_wrappers(names: Iterable[str]) -> dict[str, str]:
    """Each name by itself without prefixes; names that would become the same stay as they are."""
    bare = {name: WRAPPERS.sub("", name, count=1) if WRAPPERS.match(name) else name for name in names}
    counts = Counter(bare.values())
    return {short if counts[short] == 1 else name: name for name, short in bare.items()}


def _head(tensors: Mapping[str, Tensor]) -> str | None:
    """The prefix of another program's head: its only linear one, if no tensor has this network's name of a head."""
    if any(name.startswith(HEAD) for name in tensors):
        return None
    found = [prefix for prefix in HEADS if _is_linear(tensors.get(f"{prefix}weight"), tensors.get(f"{prefix}bias"))]
    return found[0] if len(found) == 1 else None


def _is_any_head(name: str) -> bool:
    return is_head(name) or name.startswith(HEADS)


def _is_linear(weight: Tensor | None, bias: Tensor | None) -> bool:
    if weight is None or bias is None or weight.dim() not in (2, 4):
        return False
    return tuple(weight.shape[2:]) in ((), (1, 1)) and bias.shape == weight.shape[:1]


def _is_decided(name: str, own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> bool:
    """Whether `name` is a graph whose number of joints and channels is that of the file's batch norm."""
    parent, _, last = name.rpartition(".")
    norm = f"{parent}.data_bn.weight".removeprefix(".")
    return last == _GRAPH and norm in own and norm in tensors and tensors[norm].shape == own[norm].shape
