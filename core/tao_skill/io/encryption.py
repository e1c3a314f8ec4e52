"""File encryption: AES-256-GCM with a key derived by scrypt (RFC 7914)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from tao_skill.errors import BadData
from tao_skill.io.strict_json import read_bytes

PUBLIC_KEY: Final = "tlt_encode"
"""TAO's published default key."""

PUBLIC_KEYS: Final = (PUBLIC_KEY, "nvidia_tlt", "nvidia_tao")
"""Keys published in TAO's documentation. They protect nothing, so files are written unencrypted with them."""

MODEL_BYTES: Final = 2**31 - 1
"""Maximum size of a model file: the limit of a single AES-GCM operation and of ONNX."""

_MAGIC: Final = b"TAOSKILL-AESGCM1"
_SALT: Final = 16
_NONCE: Final = 12


class CannotDecrypt(BadData):
    """The key of an encrypted file is wrong or missing, or the file was modified."""


def is_secret(key: str | None) -> bool:
    """Whether files are encrypted with this key; without a key, or with a public one, they are not."""
    return (key or "") not in ("", *PUBLIC_KEYS)


def encrypt(plain: bytes, key: str | None) -> bytes:
    """Encrypt bytes with a secret key; with a public key or None they are returned unchanged."""
    if not is_secret(key):
        return plain
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    salt, nonce = os.urandom(_SALT), os.urandom(_NONCE)
    return _MAGIC + salt + nonce + AESGCM(_derive(key or "", salt)).encrypt(nonce, plain, _MAGIC)


def read(path: Path, key: str | None) -> bytes:
    """Read a file and decrypt it if it is encrypted.

    Raises:
        CannotDecrypt: the key is wrong or missing, or the file was modified.
        BadData: the file cannot be read or is larger than MODEL_BYTES.
    """
    try:
        data = read_bytes(path, MODEL_BYTES)
    except (OSError, ValueError) as error:
        raise BadData(f"{path} cannot be read: {error}", fix="give a complete model file", path=str(path)) from error
    return _decrypt(data[len(_MAGIC) :], path, key) if data.startswith(_MAGIC) else data


def _decrypt(body: bytes, path: Path, key: str | None) -> bytes:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    salt, nonce, cipher = body[:_SALT], body[_SALT : _SALT + _NONCE], body[_SALT + _NONCE :]
    try:
        return AESGCM(_derive(key or "", salt)).decrypt(nonce, cipher, _MAGIC)
    except (InvalidTag, ValueError):
        raise CannotDecrypt(
            f"{path} is encrypted and encryption_key is {'wrong' if is_secret(key) else 'not set'}",
            fix="set encryption_key to the key it was saved with",
            path=str(path),
        ) from None


def _derive(key: str, salt: bytes) -> bytes:
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    return Scrypt(salt=salt, length=32, n=2**15, r=8, p=1).derive(key.encode("utf-8"))
