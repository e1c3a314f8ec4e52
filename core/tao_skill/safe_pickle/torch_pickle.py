"""Read the pickle of a checkpoint: tensors as stand-ins that fit their storages, and plain data.

Sources: torch.serialization (`persistent_id` of `_save` and `_legacy_save`), torch._utils (`_rebuild_tensor_v2`, and
`_rebuild_tensor` of torch before 0.4).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import IO, Any, Final, TypeAlias

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

PICKLE_BYTES: Final = 16 * 2**20
PICKLE_VALUES: Final = 500_000
"""Maximum size of the pickle in bytes, and maximum instructions and values: room for twenty thousand tensors."""

_COPIES: Final = "copies of a dictionary"
_DIMENSIONS: Final = 64
"""Maximum dimensions of a tensor in torch."""

_ITEM_BYTES: Final = {
    **dict.fromkeys(("ByteStorage", "CharStorage", "BoolStorage"), 1),
    **dict.fromkeys(("HalfStorage", "BFloat16Storage", "ShortStorage"), 2),
    **dict.fromkeys(("FloatStorage", "IntStorage"), 4),
    **dict.fromkeys(("DoubleStorage", "LongStorage"), 8),
}
_TYPES: Final = ("float16", "bfloat16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64", "bool")


@dataclass(frozen=True, kw_only=True)
class StorageClaim:
    """A storage as a pickle describes it.

    Attributes:
        fields: parts of the description, five in an archive and six in the format before torch 1.6.
    """

    key: str
    kind: str
    items: int
    item_bytes: int
    fields: int

    def __str__(self) -> str:
        return f"storage {self.key[:20]!r} of {self.items} items of {self.item_bytes} bytes"


Claim: TypeAlias = Callable[[StorageClaim], None]
"""Checks a storage against the bytes of the file, or notes it for a later check; raises ValueError."""


def read_pickle(stream: IO[bytes], size: int, claim: Claim) -> Any:
    """Read one pickle of at most `size` bytes, with stand-ins for tensors.

    Raises:
        ValueError: it has values other than tensors and plain data, a tensor does not fit its storage, or `claim`
            refuses a storage. No code from the file is executed.
    """
    return bounded(_Checkpoint(stream, size, claim).load(), PICKLE_VALUES)


@dataclass(frozen=True, kw_only=True)
class _Storage:
    """Replacement of a tensor storage; `items` is its size."""

    items: int


class _Tensor:
    """Replacement of a tensor that fits its storage."""


class _OrderedDict(dict[Any, Any], StandIn):
    """Replacement of collections.OrderedDict; a state_dict has the versions of its modules as an attribute."""

    def __init__(self, pairs: Iterable[Any], budget: Budget) -> None:
        super().__init__(pairs)
        self.budget = budget

    def set_state(self, state: Any) -> None:
        """Check the attributes, e.g. `_metadata`, which are not kept."""
        if not isinstance(state, dict):
            raise ValueError("the state of an OrderedDict is not a dictionary")
        self.budget.spend(len(state), _COPIES)


class _Checkpoint(Unpickler):
    """Reader for the pickle of a checkpoint."""

    values = "tensors and plain data"
    keys = (str, int)
    dispatch = allowed(*PLAIN, *DICTIONARIES, "BINFLOAT", "BINPERSID")

    def __init__(self, pickled: IO[bytes], size: int, claim: Claim) -> None:
        super().__init__(pickled, _names(size), steps=PICKLE_VALUES)
        self.claim = claim

    def persistent_load(self, pid: Any) -> _Storage:
        """Resolve the storage ("storage", type, key, device, items) or, in older files, (..., view)."""
        if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage":
            raise ValueError("it refers to something other than a storage")
        _, kind, key, device, items, *view = pid
        item_bytes = _ITEM_BYTES.get(kind.name) if isinstance(kind, Name) else None
        if item_bytes is None or type(key) is not str or type(device) is not str or not _is_count(items):
            raise ValueError("a reference to a storage is malformed")
        if view not in ([], [None]):
            raise ValueError(f"storage {key[:20]!r} is a part of another one, accepted: whole storages")
        self.claim(StorageClaim(key=key, kind=kind.name, items=items, item_bytes=item_bytes, fields=len(pid)))
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


def _tensor_before_0_4(storage: Any, offset: Any, size: Any, stride: Any) -> _Tensor:
    return _tensor(storage, offset, size, stride, False, {})


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
        budget.spend(len(counts or ()), _COPIES)
        return dict(counts or ())

    return counter


def _ordered_dict(budget: Budget) -> Callable[..., _OrderedDict]:
    def ordered_dict(pairs: Any = ()) -> _OrderedDict:
        if type(pairs) not in (list, tuple):
            raise ValueError("a collections.OrderedDict is built from something other than a list")
        budget.spend(len(pairs), _COPIES)
        if not all(map(_is_item, pairs)):
            raise ValueError("a collections.OrderedDict is built from something other than keys and values")
        return _OrderedDict(pairs, budget)

    return ordered_dict


def _is_item(pair: Any) -> bool:
    return type(pair) in (list, tuple) and len(pair) == 2 and type(pair[0]) in _Checkpoint.keys


def _are_counts(*values: Any) -> bool:
    return all(
        isinstance(value, tuple) and len(value) <= _DIMENSIONS and all(map(_is_count, value)) for value in values
    )


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**48


def _names(size: int) -> Names:
    """Return the replacements of torch's names in a pickle of `size` bytes."""
    copies = Budget(min(size, PICKLE_VALUES))  # torch.load makes these copies too
    return {
        ("collections", "OrderedDict"): _ordered_dict(copies),
        ("collections", "Counter"): _counter(copies),
        ("torch._utils", "_rebuild_tensor"): _tensor_before_0_4,
        ("torch._utils", "_rebuild_tensor_v2"): _tensor,
        ("torch._utils", "_rebuild_parameter"): _parameter,
        ("torch", "Size"): _size,
        ("torch", "device"): _device,
        ("_codecs", "encode"): encoder(Budget(size)),
        **{("torch", name): None for name in (*_ITEM_BYTES, *_TYPES)},
    }
