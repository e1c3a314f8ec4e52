"""Validate a checkpoint in the format of torch before 1.6: a stream of pickles, then the bytes of the storages.

The stream has a magic number, the version of the format, facts of the machine, the saved object, the keys of its
storages, and each storage as its number of items and their bytes. `torch.load` allocates what the object claims before
it reads the storages, so the claims are compared with the file first. The format has no checksums.
Source: torch.serialization (`_legacy_save`, `_legacy_load`).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from typing import Any, Final

from tao_skill.safe_pickle.torch_pickle import PICKLE_BYTES, StorageClaim, read_pickle

SIGNATURE: Final = b"\x80\x02\x8a\x0a" + 0x1950A86A20F9469CFC6C.to_bytes(10, "little") + b"."
"""The magic number as a pickle of protocol 2, the only protocol that torch.load reads without running code."""

VERSION: Final = 1001
FIELDS: Final = 6
"""Parts of a reference to a storage."""

_COUNT: Final = struct.Struct("<q")


def validate(data: bytes) -> None:
    """Check that the pickles have only plain data and tensors, and that the file has exactly the storages they claim.

    Raises:
        ValueError: it does not, or it is damaged. No code from it is executed.
    """
    stream = io.BytesIO(data[:PICKLE_BYTES])
    stream.seek(len(SIGNATURE))
    size = min(len(data), PICKLE_BYTES)
    version = read_pickle(stream, size, _unexpected)
    if type(version) is not int or version != VERSION:
        raise ValueError(f"it has another format version than {VERSION}")
    read_pickle(stream, size, _unexpected)
    storages: dict[str, StorageClaim] = {}
    read_pickle(stream, size, lambda storage: _note(storages, storage))
    keys = read_pickle(stream, size, _unexpected)
    if not _are_texts(keys) or sorted(keys) != sorted(storages):
        raise ValueError("its list of storages is not that of its tensors")
    _check_storages(data, stream.tell(), [storages[key] for key in keys])


def _unexpected(storage: StorageClaim) -> None:
    raise ValueError(f"it refers to {storage} outside of the saved object")


def _note(storages: dict[str, StorageClaim], storage: StorageClaim) -> None:
    """Note a storage; keys are ASCII, because torch decodes other bytes of old pickles in another way."""
    if storage.fields != FIELDS or not storage.key.isascii():
        raise ValueError("a reference to a storage is malformed")
    if storages.setdefault(storage.key, storage) != storage:
        raise ValueError(f"{storage} is also {storages[storage.key]}")


def _are_texts(keys: Any) -> bool:
    return type(keys) is list and all(type(key) is str for key in keys)


def _check_storages(data: bytes, start: int, storages: Sequence[StorageClaim]) -> None:
    for storage in storages:
        if len(data) - start < _COUNT.size:
            raise ValueError(f"it ends before {storage}")
        (items,) = _COUNT.unpack_from(data, start)
        if items != storage.items:
            raise ValueError(f"{storage} has {items} items")
        start += _COUNT.size + items * storage.item_bytes
        if start > len(data):
            raise ValueError(f"it ends {start - len(data)} bytes before the end of {storage}")
    if start < len(data):
        raise ValueError(f"it has {len(data) - start} bytes after its last storage")
