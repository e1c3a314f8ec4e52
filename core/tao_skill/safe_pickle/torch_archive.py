"""Validate the archive of a checkpoint before torch loads it: the sizes in it and the contents of its pickle.

`torch.load` with `weights_only` executes no code, but trusts sizes: members that decompress to a thousand times the
file, storages and tensors larger than their bytes, a few values that refer to each other a billion times. So the pickle
is read by unpickler.py first, and torch gets a rewritten copy of the archive.
Sources: torch.serialization (`_save`, `persistent_load`) and torch._utils (`_rebuild_tensor_v2`).
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tao_skill.io.strict_json import bounded
from tao_skill.safe_pickle.unpickler import (
    DICTIONARIES,
    PLAIN,
    Budget,
    Name,
    Names,
    StandIn,
    Unpickler,
    allowed,
    encoder,
)

SIGNATURE: Final = b"PK\x03\x04"
MEMBERS: Final = 50_000
PICKLE_BYTES: Final = 16 * 2**20
PICKLE_VALUES: Final = 500_000
"""Maximum size of the pickle in bytes, and maximum instructions and values: room for twenty thousand tensors."""

_ENTRY: Final = b"PK\x01\x02"
_UNREADABLE: Final = (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OverflowError, struct.error)
_DIMENSIONS: Final = 64
"""Maximum dimensions of a tensor in torch."""

_ITEM_BYTES: Final = {
    **dict.fromkeys(("ByteStorage", "CharStorage", "BoolStorage"), 1),
    **dict.fromkeys(("HalfStorage", "BFloat16Storage", "ShortStorage"), 2),
    **dict.fromkeys(("FloatStorage", "IntStorage"), 4),
    **dict.fromkeys(("DoubleStorage", "LongStorage"), 8),
}
_TYPES: Final = ("float16", "bfloat16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64", "bool")


def validated(data: bytes) -> io.BytesIO:
    """Validate the archive of a checkpoint and return a rewritten copy.

    Raises:
        ValueError: it is not an archive of torch.save, a size in it is wrong, or its pickle has values other than
            tensors and plain data. No code from it is executed.
    """
    if not data.startswith(SIGNATURE):
        raise ValueError("it is not an archive of torch.save")
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
    validate_pickle(members[pickles[0]], {name.partition("/")[2]: len(content) for name, content in members.items()})
    return _write_archive(members)


def validate_pickle(pickled: bytes, sizes: Mapping[str, int]) -> None:
    """Check that the pickle of a checkpoint has only plain data and tensors that fit their storages.

    Args:
        sizes: bytes of each member of the archive, by name without the directory.

    Raises:
        ValueError: it has other values, or a tensor does not fit; the message names it.
    """
    if len(pickled) > PICKLE_BYTES:
        raise ValueError(f"its data.pkl has {len(pickled)} bytes, accepted: {PICKLE_BYTES}")
    bounded(_Checkpoint(pickled, sizes).load(), PICKLE_VALUES)


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


@dataclass(frozen=True, kw_only=True)
class _Storage:
    """Replacement of a tensor storage; `items` is its size."""

    items: int


class _Tensor:
    """Replacement of a tensor that fits its storage."""


class _OrderedDict(dict[Any, Any], StandIn):
    """Replacement of collections.OrderedDict; a state_dict has the versions of its modules as an attribute."""

    def set_state(self, state: Any) -> None:
        """Check the attributes, e.g. `_metadata`, which are not kept."""
        if not isinstance(state, dict):
            raise ValueError("the state of an OrderedDict is not a dictionary")


class _Checkpoint(Unpickler):
    """Reader for the pickle of a checkpoint; `sizes` has the bytes of each member of its archive."""

    values = "tensors and plain data"
    keys = (str, int)
    dispatch = allowed(*PLAIN, *DICTIONARIES, "BINFLOAT", "BINPERSID")

    def __init__(self, pickled: bytes, sizes: Mapping[str, int]) -> None:
        super().__init__(pickled, _names(len(pickled)), steps=PICKLE_VALUES)
        self.sizes = sizes

    def persistent_load(self, pid: Any) -> _Storage:
        """Resolve the storage ("storage", type, member, device, items)."""
        if not isinstance(pid, tuple) or len(pid) != 5 or pid[0] != "storage":
            raise ValueError("it refers to something other than a storage")
        _, kind, member, device, items = pid
        item_bytes = _ITEM_BYTES.get(kind.name) if isinstance(kind, Name) else None
        if item_bytes is None or type(member) is not str or type(device) is not str or type(items) is not int:
            raise ValueError("a reference to a storage is malformed")
        if (size := self.sizes.get(f"data/{member}", "no")) != items * item_bytes:
            raise ValueError(f"storage {member[:20]!r} of {items} items of {item_bytes} bytes has {size} bytes")
        return _Storage(items=items)


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any) -> _Tensor:
    if not isinstance(storage, _Storage) or not _are_counts((offset,)) or not _are_counts(size, stride):
        raise ValueError("a tensor is malformed")
    if len(size) != len(stride) or type(requires_grad) is not bool or hooks != {}:
        raise ValueError("a tensor is malformed")
    last = offset + sum((count - 1) * step for count, step in zip(size, stride, strict=True))
    if math.prod(size) > storage.items or (math.prod(size) and last >= storage.items):
        raise ValueError(f"a tensor of shape {size} is larger than its storage of {storage.items} items")
    return _Tensor()


def _parameter(data: Any, requires_grad: Any, hooks: Any) -> _Tensor:
    if not isinstance(data, _Tensor) or type(requires_grad) is not bool or hooks != {}:
        raise ValueError("a parameter is malformed")
    return data


def _size(counts: Any) -> tuple[int, ...]:
    if not _are_counts(counts):
        raise ValueError("a torch.Size has items other than sizes")
    return tuple(counts)


def _device(*arguments: Any) -> str:
    if not all(type(argument) in (str, int) for argument in arguments):
        raise ValueError("a torch.device has arguments other than its type and index")
    return "device"


def _counter(budget: Budget) -> Callable[..., dict[Any, Any]]:
    def counter(counts: Any = None) -> dict[Any, Any]:
        if counts is not None and type(counts) is not dict:
            raise ValueError("a collections.Counter is built from something other than a dictionary")
        budget.spend(len(counts or ()), "copies of a dictionary")  # torch.load makes these copies too
        return dict(counts or ())

    return counter


def _ordered_dict() -> _OrderedDict:
    return _OrderedDict()


def _are_counts(*values: Any) -> bool:
    return all(
        isinstance(value, tuple) and len(value) <= _DIMENSIONS and all(map(_is_count, value)) for value in values
    )


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**48


def _names(size: int) -> Names:
    """Return the replacements of torch's names in a pickle of `size` bytes."""
    return {
        ("collections", "OrderedDict"): _ordered_dict,
        ("collections", "Counter"): _counter(Budget(size)),
        ("torch._utils", "_rebuild_tensor_v2"): _tensor,
        ("torch._utils", "_rebuild_parameter"): _parameter,
        ("torch", "Size"): _size,
        ("torch", "device"): _device,
        ("_codecs", "encode"): encoder(Budget(size)),
        **{("torch", name): None for name in (*_ITEM_BYTES, *_TYPES)},
    }
