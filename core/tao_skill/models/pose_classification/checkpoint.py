"""Checkpoint files: durable, loaded without executing anything, encrypted at rest when a key is set."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from tao_skill import files
from tao_skill.errors import BadData
from tao_skill.models.pose_classification.net import STGCN

PREFIX: Final = "model."
HEAD: Final = "fcn."

_MAGIC: Final = b"TAOSKILL-AESGCM1"
_SALT: Final = 16
_NONCE: Final = 12
_PUBLIC_KEYS: Final = ("", "tlt_encode")
"""Keys that are no secret: TAO's well-known default protects nothing, so files stay plain and portable."""


def save(checkpoint: Mapping[str, Any], path: Path, key: str | None = None) -> None:
    """Write a checkpoint in one step, encrypted if `key` is a secret one."""
    if (key or "") in _PUBLIC_KEYS:
        files.write_with(path, lambda stream: torch.save(checkpoint, stream))
        return
    plain = io.BytesIO()
    torch.save(checkpoint, plain)
    files.write_with(path, lambda stream: stream.write(_encrypt(plain.getvalue(), key or "")))


def load(path: Path, key: str | None = None) -> dict[str, Any]:
    """Read a checkpoint as plain data (torch.load with weights_only).

    Raises:
        BadData: missing, truncated, not a checkpoint, encrypted with another key or by TAO.
    """
    if not path.is_file():
        raise BadData(f"checkpoint {path} does not exist", fix="give the path of a .pth file", path=str(path))
    try:
        loaded = torch.load(_open(path, key), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise BadData(
            f"checkpoint {path} cannot be read: {type(error).__name__}",
            fix="use a whole .pth file that holds tensors and plain data only",
            path=str(path),
        ) from error
    if not isinstance(loaded, dict):
        raise BadData(f"checkpoint {path} holds no state_dict", fix="use a .pth file saved by training", path=str(path))
    if loaded.get("state_dict_encrypted"):
        raise BadData(
            f"checkpoint {path} was encrypted by TAO", fix="save it without encryption in TAO first", path=str(path)
        )
    return loaded


def network_state(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The network's own tensors, whether saved under `state_dict`, under `model.` or bare."""
    state = checkpoint.get("state_dict", checkpoint)
    return {name.removeprefix(PREFIX): value for name, value in state.items() if isinstance(value, Tensor)}


def load_network(net: STGCN, path: Path, key: str | None = None) -> None:
    """Fill `net` with a trained model of the same layout, strategy and classes.

    Raises:
        BadData: the checkpoint is of another network; the message says both sides.
    """
    state = network_state(load(path, key))
    if differences := _differences(net.state_dict(), state):
        raise _other_network(path, differences)
    net.load_state_dict(state)


def load_pretrained(net: STGCN, path: Path, key: str | None = None) -> str:
    """Start `net` from pretrained weights; a head of another class count is left as initialised.

    Returns:
        One sentence that says what was taken.

    Raises:
        BadData: anything but the head does not fit.
    """
    state = network_state(load(path, key))
    own = net.state_dict()
    head_differs = any(state[name].shape != own[name].shape for name in own if name.startswith(HEAD) and name in state)
    if head_differs:
        state |= {name: own[name] for name in own if name.startswith(HEAD)}
    if differences := _differences(own, state):
        raise _other_network(path, differences)
    net.load_state_dict(state)
    return f"weights of {path}" + (", head newly initialised for another class count" if head_differs else "")


def _differences(own: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> list[str]:
    found = [f"{name} is missing" for name in own if name not in other]
    found += [f"{name} is unknown" for name in other if name not in own]
    found += [
        f"{name} is {tuple(other[name].shape)}, the spec makes {tuple(value.shape)}"
        for name, value in own.items()
        if name in other and other[name].shape != value.shape
    ]
    return found


def _other_network(path: Path, differences: list[str]) -> BadData:
    shown = "; ".join(differences[:4]) + ("; ..." if len(differences) > 4 else "")
    return BadData(
        f"checkpoint {path} does not fit the spec: {shown}",
        fix="set model.graph_layout, model.graph_strategy, model.input_channels and dataset.num_classes as in training",
        path=str(path),
    )


def _open(path: Path, key: str | None) -> Any:
    with path.open("rb") as stream:
        encrypted = stream.read(len(_MAGIC)) == _MAGIC
    return io.BytesIO(_decrypt(path, key or "")) if encrypted else path


def _derive(key: str, salt: bytes) -> bytes:
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    return Scrypt(salt=salt, length=32, n=2**15, r=8, p=1).derive(key.encode("utf-8"))


def _encrypt(plain: bytes, key: str) -> bytes:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    salt, nonce = os.urandom(_SALT), os.urandom(_NONCE)
    return _MAGIC + salt + nonce + AESGCM(_derive(key, salt)).encrypt(nonce, plain, _MAGIC)


def _decrypt(path: Path, key: str) -> bytes:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    body = path.read_bytes()[len(_MAGIC) :]
    salt, nonce, sealed = body[:_SALT], body[_SALT : _SALT + _NONCE], body[_SALT + _NONCE :]
    try:
        return AESGCM(_derive(key, salt)).decrypt(nonce, sealed, _MAGIC)
    except (InvalidTag, ValueError):
        raise BadData(
            f"checkpoint {path} is encrypted and encryption_key is {'wrong' if key else 'not set'}",
            fix="set encryption_key to the key it was saved with",
            path=str(path),
        ) from None
