"""Check the archive of a checkpoint before torch reads it: its parts are as long as they say, its pickle of known form.

torch.load with weights_only runs no code, but it believes sizes: of members that unpack to a thousand times the file,
of storages and tensors larger than their bytes, of a few values that refer to each other a billion times. So the pickle
goes through unpickler.py first, and torch gets a copy of the archive that was written here.
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
"""Bounds of the pickle, in bytes, and in instructions and values: room for twenty thousand tensors."""

_ENTRY: Final = b"PK\x01\x02"
_UNREADABLE: Final = (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OverflowError, struct.error)
_DIMENSIONS: Final = 64
"""Of a tensor in torch, at most."""

_ITEM_BYTES: Final = {
    **dict.fromkeys(("ByteStorage", "CharStorage", "BoolStorage"), 1),
    **dict.fromkeys(("HalfStorage", "BFloat16Storage", "ShortStorage"), 2),
    **dict.fromkeys(("FloatStorage", "IntStorage"), 4),
    **dict.fromkeys(("DoubleStorage", "LongStorage"), 8),
}
_TYPES: Final = ("float16", "bfloat16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64", "bool")


def checked(data: bytes) -> io.BytesIO:
    """The archive of a checkpoint, written anew.

    Raises:
        ValueError: it is no archive of torch.save, a size in it does not hold, or its pickle does or names more than
            tensors and plain data need; nothing of it has been run.
    """
    if not data.startswith(SIGNATURE):
        raise ValueError("it is no archive of torch.save")
    if (entries := data.count(_ENTRY)) > MEMBERS:
        raise ValueError(f"it has {entries} members, accepted: {MEMBERS}")
    try:
        members = _members(data)
    except (OSError, *_UNREADABLE) as error:
        raise ValueError(f"its archive is damaged ({error})") from error
    roots = {name.partition("/")[0] for name in members}
    pickled = [name for name in members if name.partition("/")[2] == "data.pkl"]
    if len(roots) != 1 or len(pickled) != 1:
        raise ValueError("its archive has no data.pkl, or more than one folder")
    look_through(members[pickled[0]], {name.partition("/")[2]: len(content) for name, content in members.items()})
    return _archive(members)


def look_through(pickled: bytes, sizes: Mapping[str, int]) -> None:
    """Make sure that the pickle of a checkpoint builds nothing but tensors of these members, and plain data.

    Args:
        sizes: bytes of each member of the archive, by its name without the folder.

    Raises:
        ValueError: it does not; says what it does or names.
    """
    if len(pickled) > PICKLE_BYTES:
        raise ValueError(f"its data.pkl has {len(pickled)} bytes, accepted: {PICKLE_BYTES}")
    bounded(_Checkpoint(pickled, sizes).load(), PICKLE_VALUES)


def _members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        found = archive.infolist()
        if odd := [one.filename for one in found if one.compress_type != zipfile.ZIP_STORED]:
            raise zipfile.BadZipFile(f"member {odd[0][:80]!r} is compressed, which torch.save does to none")
        if (said := sum(one.file_size for one in found)) > len(data):
            raise zipfile.BadZipFile(f"its members are said to have {said} bytes, the file has {len(data)}")
        if len({one.filename for one in found}) != len(found):
            raise zipfile.BadZipFile("two members have one name")
        return {one.filename: archive.read(one) for one in found}


def _archive(members: Mapping[str, bytes]) -> io.BytesIO:
    copy = io.BytesIO()
    with zipfile.ZipFile(copy, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    copy.seek(0)
    return copy


@dataclass(frozen=True, kw_only=True)
class _Storage:
    """A member of the archive, in items."""

    items: int


class _Tensor:
    """A tensor that fits its storage."""


class _OrderedDict(dict[Any, Any], StandIn):
    """A collections.OrderedDict; a module's state_dict has its versions beside the items."""

    def set_state(self, state: Any) -> None:
        """The attributes, e.g. `_metadata`."""
        if not isinstance(state, dict):
            raise ValueError("it sets the state of an OrderedDict to no dictionary")


class _Checkpoint(Unpickler):
    """The pickle of a checkpoint whose members have these sizes."""

    values = "tensors and plain data"
    keys = (str, int)
    dispatch = allowed(*PLAIN, *DICTIONARIES, "BINFLOAT", "BINPERSID")

    def __init__(self, pickled: bytes, sizes: Mapping[str, int]) -> None:
        super().__init__(pickled, _names(len(pickled)), steps=PICKLE_VALUES)
        self.sizes = sizes

    def persistent_load(self, pid: Any) -> _Storage:
        """The storage named as ("storage", type, member, device, items)."""
        if not isinstance(pid, tuple) or len(pid) != 5 or pid[0] != "storage":
            raise ValueError("it refers to something other than a storage")
        _, kind, member, device, items = pid
        item_bytes = _ITEM_BYTES.get(kind.name) if isinstance(kind, Name) else None
        if item_bytes is None or type(member) is not str or type(device) is not str or type(items) is not int:
            raise ValueError("it refers to a storage of another form")
        if (there := self.sizes.get(f"data/{member}", "no")) != items * item_bytes:
            raise ValueError(f"storage {member[:20]!r} of {items} items of {item_bytes} bytes has {there} bytes")
        return _Storage(items=items)


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any) -> _Tensor:
    if not isinstance(storage, _Storage) or not _are_counts((offset,)) or not _are_counts(size, stride):
        raise ValueError("it makes a tensor in another way than torch.save")
    if len(size) != len(stride) or type(requires_grad) is not bool or hooks != {}:
        raise ValueError("it makes a tensor in another way than torch.save")
    last = offset + sum((count - 1) * step for count, step in zip(size, stride, strict=True))
    if math.prod(size) > storage.items or (math.prod(size) and last >= storage.items):
        raise ValueError(f"a tensor of shape {size} is larger than its storage of {storage.items} items")
    return _Tensor()


def _parameter(data: Any, requires_grad: Any, hooks: Any) -> _Tensor:
    if not isinstance(data, _Tensor) or type(requires_grad) is not bool or hooks != {}:
        raise ValueError("it makes a parameter in another way than torch.save")
    return data


def _size(counts: Any) -> tuple[int, ...]:
    if not _are_counts(counts):
        raise ValueError("it makes a torch.Size of something other than counts")
    return tuple(counts)


def _device(*named: Any) -> str:
    if not all(type(part) in (str, int) for part in named):
        raise ValueError("it makes a torch.device of something other than its name")
    return "device"


def _counter(budget: Budget) -> Callable[..., dict[Any, Any]]:
    def counter(counts: Any = None) -> dict[Any, Any]:
        if counts is not None and type(counts) is not dict:
            raise ValueError("it makes a collections.Counter of something other than a dictionary")
        budget.spend(len(counts or ()), "copies of a dictionary")  # torch makes them, too
        return dict(counts or ())

    return counter


def _ordered() -> _OrderedDict:
    return _OrderedDict()


def _are_counts(*several: Any) -> bool:
    return all(isinstance(one, tuple) and len(one) <= _DIMENSIONS and all(map(_is_count, one)) for one in several)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**48


def _names(size: int) -> Names:
    """Stand-ins for what torch names in a pickle of `size` bytes."""
    return {
        ("collections", "OrderedDict"): _ordered,
        ("collections", "Counter"): _counter(Budget(size)),
        ("torch._utils", "_rebuild_tensor_v2"): _tensor,
        ("torch._utils", "_rebuild_parameter"): _parameter,
        ("torch", "Size"): _size,
        ("torch", "device"): _device,
        ("_codecs", "encode"): encoder(Budget(size)),
        **{("torch", name): None for name in (*_ITEM_BYTES, *_TYPES)},
    }
