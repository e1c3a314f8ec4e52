"""Validate a file of torch.save before torch loads it: the sizes in it and the contents of its pickle.

`torch.load` with `weights_only` executes no code, but trusts sizes: members that decompress to a thousand times the
file, storages and tensors larger than their bytes, a few values that refer to each other a billion times. So the pickle
is read by torch_pickle.py first, and torch gets a rewritten copy of the archive. torch before 1.6 wrote no archives:
see torch_legacy.py.
Source: torch.serialization (`_save`).
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping
from typing import Final

from tao_skill.safe_pickle import torch_legacy
from tao_skill.safe_pickle.torch_pickle import PICKLE_BYTES, StorageClaim, read_pickle

SIGNATURE: Final = b"PK\x03\x04"
MEMBERS: Final = 50_000
FIELDS: Final = 5
"""Parts of a reference to a storage."""

_TAR: Final = b"ustar"
_TAR_AT: Final = 257
_PICKLE: Final = b"\x80"
_ENTRY: Final = b"PK\x01\x02"
_UNREADABLE: Final = (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OverflowError, struct.error)


def validated(data: bytes) -> io.BytesIO:
    """Validate a checkpoint, an archive or of the format before torch 1.6, and return what torch.load may read.

    Raises:
        ValueError: it is not a file of torch.save, a size in it is wrong, or its pickle has values other than tensors
            and plain data. No code from it is executed.
    """
    if data.startswith(torch_legacy.SIGNATURE):
        torch_legacy.validate(data)
        return io.BytesIO(data)
    if not data.startswith(SIGNATURE):
        raise ValueError(f"it is {unsupported(data) or 'not a file of torch.save'}")
    return _write_archive(_validated_members(data))


def unsupported(data: bytes) -> str | None:
    """The format of a file that is not read here, but that other programs or versions can read and save again."""
    if data.startswith(_TAR, _TAR_AT):
        return "a tar archive, the format of torch before 0.1.10"
    if data.startswith(_PICKLE) and not data.startswith(torch_legacy.SIGNATURE):
        return "a pickle that torch.save did not write"
    return None


def _validated_members(data: bytes) -> dict[str, bytes]:
    if (entries := data.count(_ENTRY)) > MEMBERS:
        raise ValueError(f"it has {entries} members, accepted: {MEMBERS}")
    try:
        members = _members(data)
    except (OSError, *_UNREADABLE) as error:
        raise ValueError(f"its archive is damaged ({error})") from error
    roots = {name.partition("/")[0] for name in members}
    pickles = [name for name in members if name.partition("/")[2] == "data.pkl"]
    if len(roots) != 1 or len(pickles) != 1:
        raise ValueError("its archive has no data.pkl, or more than one directory")
    _validate_pickle(members[pickles[0]], {name.partition("/")[2]: len(content) for name, content in members.items()})
    return members


def _validate_pickle(pickled: bytes, sizes: Mapping[str, int]) -> None:
    """Check that the pickle has only plain data and tensors that fit their storages, members of these sizes."""
    if len(pickled) > PICKLE_BYTES:
        raise ValueError(f"its data.pkl has {len(pickled)} bytes, accepted: {PICKLE_BYTES}")

    def claim(storage: StorageClaim) -> None:
        if storage.fields != FIELDS:
            raise ValueError("a reference to a storage is malformed")
        if (size := sizes.get(f"data/{storage.key}", "no")) != storage.items * storage.item_bytes:
            raise ValueError(f"{storage} has {size} bytes")

    read_pickle(io.BytesIO(pickled), len(pickled), claim)


def _members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        if compressed := [entry.filename for entry in entries if entry.compress_type != zipfile.ZIP_STORED]:
            raise zipfile.BadZipFile(f"member {compressed[0][:80]!r} is compressed, accepted: uncompressed members")
        if (claimed := sum(entry.file_size for entry in entries)) > len(data):
            raise zipfile.BadZipFile(f"its members claim {claimed} bytes, the file has {len(data)}")
        if len({entry.filename for entry in entries}) != len(entries):
            raise zipfile.BadZipFile("two members have the same name")
        return {entry.filename: archive.read(entry) for entry in entries}


def _write_archive(members: Mapping[str, bytes]) -> io.BytesIO:
    copy = io.BytesIO()
    with zipfile.ZipFile(copy, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    copy.seek(0)
    return copy
