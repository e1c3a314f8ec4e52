"""Read pickles of NumPy arrays, scalars and plain values without running what they name.

An array stays as its shape, its type and the bytes of the file; nothing is allocated by what a file claims, only by
what it holds. NumPy itself is loaded by `PickledArray.array` alone, since plans read labels, too.
Sources: NumPy's `ndarray.__reduce__` and `__setstate__`, and `numpy._core.numeric._frombuffer` of protocol 5.
"""

from __future__ import annotations

import math
import mmap
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tao_skill.safe_pickle.unpickler import DICTIONARIES, PLAIN, Budget, Names, StandIn, Unpickler, allowed, encoder

if TYPE_CHECKING:
    from numpy.typing import NDArray

STEPS: Final = 2**25
"""Instructions of a pickle of arrays: room for half a million clips."""

ITEMS_LIMIT: Final = 2**21
"""Items of an array that become Python values: twice the labels that a file of lists has room for."""

_DIMENSIONS_LIMIT: Final = 8
_NUMBERS: Final = re.compile(r"f[248]|[iu][1248]|b1")
_INTEGERS_AND_TEXT: Final = re.compile(r"[iu][1248]|U[1-9]\d{0,6}|O8?")
_CHARACTER: Final = 4
"""Bytes of a character in NumPy's texts."""

_STRUCT_CODES: Final = {
    **{"i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H", "u4": "I", "u8": "Q"},
    **{"f2": "e", "f4": "f", "f8": "d", "b1": "?"},
}


@dataclass(kw_only=True)
class ItemType(StandIn):
    """A numpy.dtype: numbers (f4), texts of a number of characters (U5) or Python objects (O8)."""

    code: str
    order: str = "<"

    def set_state(self, state: Any) -> None:
        """(version, byte order, subtype, names, fields, size, alignment, flags): only the order may be set."""
        if not isinstance(state, tuple) or len(state) != 8 or state[1] not in ("<", ">", "|"):
            raise ValueError("a NumPy type has a state of another form")
        if any(part is not None for part in state[2:5]):
            raise ValueError("it holds a structured NumPy type")
        self.order = ">" if state[1] == ">" else "<"

    @property
    def size(self) -> int:
        """Bytes of an item; 0 for objects, which are not bytes."""
        return 0 if self.code[0] == "O" else int(self.code[1:]) * (_CHARACTER if self.code[0] == "U" else 1)

    def items(self, data: bytes | bytearray) -> tuple[Any, ...]:
        """The numbers or texts that these bytes stand for.

        Raises:
            ValueError: they are not text.
        """
        if self.code[0] != "U":
            return struct.unpack(f"{self.order}{len(data) // self.size}{_STRUCT_CODES[self.code]}", data)
        codec = "utf-32-be" if self.order == ">" else "utf-32-le"
        parts = (data[at : at + self.size] for at in range(0, len(data), self.size))
        return tuple(part.decode(codec).rstrip("\0") for part in parts)


@dataclass(kw_only=True)
class PickledArray(StandIn):
    """An array as the file has it; `axes` is set where the bytes are in the order of permuted axes."""

    content: bytes | bytearray | list[Any] = b""
    kind: ItemType | None = None
    shape: tuple[int, ...] = (0,)
    order: str = "C"
    axes: tuple[int, ...] | None = None

    def set_state(self, state: Any) -> None:
        """(version, shape, type, whether in Fortran order, bytes or a list of objects)."""
        if not isinstance(state, tuple) or len(state) != 5:
            raise ValueError("an array has a state of another form")
        _, shape, kind, is_fortran, content = state
        self.fill(content, kind, shape, "F" if is_fortran else "C")

    def fill(self, content: Any, kind: Any, shape: Any, order: Any, axes: Any = None) -> None:
        """Take shape, type and content once they agree.

        Raises:
            ValueError: they do not.
        """
        if not isinstance(kind, ItemType) or not isinstance(content, bytes | bytearray if kind.size else list):
            raise ValueError("it holds an array of an unknown type, or of a content that does not fit its type")
        if isinstance(shape, int):
            shape = (shape,)
        if not _are_sizes(shape) or order not in ("C", "F", "K"):
            raise ValueError(
                f"an array has more than {_DIMENSIONS_LIMIT} dimensions, or a shape or order of another form"
            )
        if axes is not None and (not _are_sizes(axes) or sorted(axes) != list(range(len(shape)))):
            raise ValueError("an array has axes of another form")
        if math.prod(shape) * (kind.size or 1) != len(content):
            raise ValueError(f"an array of shape {shape} and type {kind.code} has a content of length {len(content)}")
        self.content, self.kind, self.shape, self.order, self.axes = content, kind, shape, order, axes

    def array(self) -> NDArray[Any]:
        """An array of numbers, as a view of the bytes.

        Raises:
            ValueError: the file made an array and never filled it.
        """
        import numpy as np

        if self.kind is None or isinstance(self.content, list):
            raise ValueError("an array has no numbers")
        flat = np.frombuffer(self.content, dtype=np.dtype(self.kind.order + self.kind.code))
        if self.axes is not None:
            return flat.reshape(self.shape).transpose(self.axes)
        return flat.reshape(self.shape, order="F" if self.order == "F" else "C")

    def items(self) -> Sequence[Any]:
        """The items of an array of one dimension as Python numbers and texts, objects as they are.

        Raises:
            ValueError: it has other dimensions, more than ITEMS_LIMIT items, or an item that is not text.
        """
        if self.kind is None or len(self.shape) != 1 or self.shape[0] > ITEMS_LIMIT:
            raise ValueError(f"it holds an array that is not of one dimension and at most {ITEMS_LIMIT} items")
        return self.content if isinstance(self.content, list) else self.kind.items(self.content)


class _Labels(Unpickler):
    values = "lists, tuples, text, integers, arrays"
    dispatch = allowed(*PLAIN, "BYTEARRAY8")


class _Arrays(Unpickler):
    values = "plain values and arrays of numbers"
    keys = (str,)
    dispatch = allowed(*PLAIN, *DICTIONARIES, "FLOAT", "BINFLOAT", "BYTEARRAY8")


def label_value(data: bytes, *, steps: int) -> Any:
    """The value of a pickle of list, tuple, str, bytes, int, bool, None, and arrays of integers, text or these.

    Raises:
        ValueError: it is damaged, takes more `steps`, or holds or names anything else; nothing of it has been run.
    """
    return _Labels(data, _names(len(data), _INTEGERS_AND_TEXT, "integers or text"), steps=steps).load()


def read_arrays(file: Path) -> Any:
    """The value of a pickle of dict (keys are text), list, tuple, str, bytes, int, float, bool, None and PickledArray.

    The file is read as it is mapped, so memory holds its content once, or twice in protocols 0 to 2.

    Raises:
        ValueError: it is empty or damaged, or holds or names anything else; nothing of it has been run.
        OSError: it cannot be read.
    """
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        return arrays_value(mapped, len(mapped))


def arrays_value(source: Any, size: int) -> Any:
    """The same of bytes or a binary stream of `size` bytes."""
    return _Arrays(source, _names(size, _NUMBERS, "numbers"), steps=STEPS).load()


def _are_sizes(values: Any) -> bool:
    return (
        isinstance(values, tuple)
        and len(values) <= _DIMENSIONS_LIMIT
        and all(type(value) is int and 0 <= value < 2**48 for value in values)
    )


def _names(size: int, codes: re.Pattern[str], accepted: str) -> Names:
    """Stand-ins for what NumPy names in a pickle of `size` bytes."""
    budget = Budget(size)

    def item_type(code: Any, *_: Any) -> ItemType:
        if not isinstance(code, str):
            raise ValueError(f"it names a NumPy type by a {type(code).__name__}")
        if not codes.fullmatch(code):
            raise ValueError(f"it holds NumPy values of type {code[:20]!r}, not {accepted}")
        return ItemType(code=code)

    def scalar(kind: Any, raw: Any) -> Any:
        if not isinstance(kind, ItemType) or not isinstance(raw, bytes | str) or not 0 < kind.size == len(raw):
            raise ValueError(f"it holds a NumPy value that is not one of {accepted}")
        budget.spend(len(raw), "NumPy values")
        (value,) = kind.items(raw.encode("latin-1") if isinstance(raw, str) else raw)
        return value

    functions = {"multiarray.scalar": scalar, "multiarray._reconstruct": _empty, "numeric._frombuffer": _from_buffer}
    named = {f"numpy.{core}.{name}": function for core in ("core", "_core") for name, function in functions.items()}
    return {
        **{(name.rpartition(".")[0], name.rpartition(".")[2]): function for name, function in named.items()},
        ("numpy", "dtype"): item_type,
        ("numpy", "ndarray"): None,
        ("_codecs", "encode"): encoder(Budget(size)),
        ("__builtin__", "bytes"): _no_bytes,
    }


def _empty(*_: Any) -> PickledArray:
    return PickledArray()


def _from_buffer(content: Any, kind: Any, shape: Any, order: Any, axes: Any = None) -> PickledArray:
    filled = PickledArray()
    filled.fill(content, kind, shape, order, axes)
    return filled


def _no_bytes() -> bytes:
    return b""
