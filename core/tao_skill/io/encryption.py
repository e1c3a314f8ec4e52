"""Files encrypted at rest: AES-256-GCM under a key derived with scrypt (RFC 7914)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from tao_skill.errors import BadData
from tao_skill.io.strict_json import read_bytes

PUBLIC_KEY: Final = "tlt_encode"
"""TAO's well-known default."""

PUBLIC_KEYS: Final = (PUBLIC_KEY, "nvidia_tlt", "nvidia_tao")
"""Keys printed in TAO's documents and tutorials. They protect nothing, so files stay plain and portable with them."""

MODEL_BYTES: Final = 2**31 - 1
"""Largest file of a model: as much as AES-GCM takes at once, and as ONNX can be."""

_MAGIC: Final = b"TAOSKILL-AESGCM1"
_SALT: Final = 16
_NONCE: Final = 12


class CannotOpen(BadData):
    """A file is encrypted, and the key is wrong or missing, or the file was changed."""


def is_secret(key: str | None) -> bool:
    """Whether files are encrypted with this key; without one, or with a public one, they stay plain."""
    return (key or "") not in ("", *PUBLIC_KEYS)


def sealed(plain: bytes, key: str | None) -> bytes:
    """The bytes to store: encrypted if `key` is a secret one, else as they are."""
    if not is_secret(key):
        return plain
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    salt, nonce = os.urandom(_SALT), os.urandom(_NONCE)
    return _MAGIC + salt + nonce + AESGCM(_derive(key or "", salt)).encrypt(nonce, plain, _MAGIC)


def read(path: Path, key: str | None) -> bytes:
    """The plain bytes of a file, however it was stored.

    Raises:
        CannotOpen: it is encrypted, and the key is wrong or missing, or it was changed.
        BadData: it cannot be read or is larger than MODEL_BYTES.
    """
    try:
        data = read_bytes(path, MODEL_BYTES)
    except (OSError, ValueError) as error:
        raise BadData(f"{path} cannot be read: {error}", fix="give a whole file of a model", path=str(path)) from error
    return _opened(data[len(_MAGIC) :], path, key) if data.startswith(_MAGIC) else data


def _opened(body: bytes, path: Path, key: str | None) -> bytes:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    salt, nonce, cipher = body[:_SALT], body[_SALT : _SALT + _NONCE], body[_SALT + _NONCE :]
    try:
        return AESGCM(_derive(key or "", salt)).decrypt(nonce, cipher, _MAGIC)
    except (InvalidTag, ValueError):
        raise CannotOpen(
            f"{path} is encrypted and encryption_key is {'wrong' if is_secret(key) else 'not set'}",
            fix="set encryption_key to the key it was saved with",
            path=str(path),
        ) from None


def _derive(key: str, salt: bytes) -> bytes:
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    return Scrypt(salt=salt, length=32, n=2**15, r=8, p=1).derive(key.encode("utf-8"))
