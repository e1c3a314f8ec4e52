"""Readers for pickles of NumPy arrays, scalars and plain values, which execute no code from the file.

An array is kept as shape, type and the bytes of the file, so memory depends on the content of the file and not on the
sizes it claims. Only `PickledArray.array` imports NumPy, since a plan reads labels too.
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
"""Maximum instructions of a pickle of arrays: room for half a million clips."""

ITEMS_LIMIT: Final = 2**21
"""Maximum items of an array that are converted to Python values."""

_DIMENSIONS_LIMIT: Final = 8
_NUMBERS: Final = re.compile(r"f[248]|[iu][1248]|b1")
_INTEGERS_AND_TEXT: Final = re.compile(r"[iu][1248]|U[1-9]\d{0,6}|O8?")
_CHARACTER_BYTES: Final = 4
"""Bytes of a character in a NumPy string."""

_STRUCT_CODES: Final = {
    **{"i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H", "u4": "I", "u8": "Q"},
    **{"f2": "e", "f4": "f", "f8": "d", "b1": "?"},
}


@dataclass(kw_only=True)
class ItemType(StandIn):
    """Replacement of numpy.dtype: numbers (f4), strings of fixed length (U5) or Python objects (O8)."""

    code: str
    order: str = "<"

    def set_state(self, state: Any) -> None:
        """Set the byte order from (version, byte order, subtype, names, fields, size, alignment, flags)."""
        if not isinstance(state, tuple) or len(state) != 8 or state[1] not in ("<", ">", "|"):
            raise ValueError("the state of a NumPy type is malformed")
        if any(part is not None for part in state[2:5]):
            raise ValueError("it has a structured NumPy type")
        self.order = ">" if state[1] == ">" else "<"

    @property
    def size(self) -> int:
        """Bytes of an item; 0 for Python objects."""
        return 0 if self.code[0] == "O" else int(self.code[1:]) * (_CHARACTER_BYTES if self.code[0] == "U" else 1)

    def items(self, data: bytes | bytearray) -> tuple[Any, ...]:
        """Decode bytes as numbers or strings.

        Raises:
            ValueError: the bytes of a string are not valid UTF-32.
        """
        if self.code[0] != "U":
            return struct.unpack(f"{self.order}{len(data) // self.size}{_STRUCT_CODES[self.code]}", data)
        codec = "utf-32-be" if self.order == ">" else "utf-32-le"
        parts = (data[at : at + self.size] for at in range(0, len(data), self.size))
        return tuple(part.decode(codec).rstrip("\0") for part in parts)


@dataclass(kw_only=True)
class PickledArray(StandIn):
    """Replacement of numpy.ndarray: the array as stored in the file.

    Attributes:
        axes: permutation of the axes that restores `shape`, if the bytes are stored in another order.
    """

    content: bytes | bytearray | list[Any] = b""
    kind: ItemType | None = None
    shape: tuple[int, ...] = (0,)
    order: str = "C"
    axes: tuple[int, ...] | None = None

    def set_state(self, state: Any) -> None:
        """Set the array from (version, shape, type, is Fortran order, bytes or a list of objects)."""
        if not isinstance(state, tuple) or len(state) != 5:
            raise ValueError("the state of an array is malformed")
        _, shape, kind, is_fortran, content = state
        self.fill(content, kind, shape, "F" if is_fortran else "C")

    def fill(self, content: Any, kind: Any, shape: Any, order: Any, axes: Any = None) -> None:
        """Set shape, type and content after checking that they are consistent.

        Raises:
            ValueError: they are not.
        """
        if not isinstance(kind, ItemType) or not isinstance(content, bytes | bytearray if kind.size else list):
            raise ValueError("it has an array of an unknown type, or with content that does not match its type")
        if isinstance(shape, int):
            shape = (shape,)
        if not _are_sizes(shape) or order not in ("C", "F", "K"):
            raise ValueError(f"an array has more than {_DIMENSIONS_LIMIT} dimensions, or a malformed shape or order")
        if axes is not None and (not _are_sizes(axes) or sorted(axes) != list(range(len(shape)))):
            raise ValueError("the axes of an array are malformed")
        if math.prod(shape) * (kind.size or 1) != len(content):
            raise ValueError(f"an array of shape {shape} and type {kind.code} has a content of length {len(content)}")
        self.content, self.kind, self.shape, self.order, self.axes = content, kind, shape, order, axes

    def array(self) -> NDArray[Any]:
        """Return an array of numbers, as a view of the bytes.

        Raises:
            ValueError: the file creates the array without content.
        """
        import numpy as np

        if self.kind is None or isinstance(self.content, list):
            raise ValueError("an array has no numbers")
        flat = np.frombuffer(self.content, dtype=np.dtype(self.kind.order + self.kind.code))
        if self.axes is not None:
            return flat.reshape(self.shape).transpose(self.axes)
        return flat.reshape(self.shape, order="F" if self.order == "F" else "C")

    def items(self) -> Sequence[Any]:
        """Return the items of a one-dimensional array as Python numbers, strings or objects.

        Raises:
            ValueError: it is not one-dimensional, has more than ITEMS_LIMIT items, or a string is not valid UTF-32.
        """
        if self.kind is None or len(self.shape) != 1 or self.shape[0] > ITEMS_LIMIT:
            raise ValueError(f"it has an array that is not one-dimensional or has more than {ITEMS_LIMIT} items")
        return self.content if isinstance(self.content, list) else self.kind.items(self.content)


class _Labels(Unpickler):
    values = "lists, tuples, text, integers, arrays"
    dispatch = allowed(*PLAIN, "BYTEARRAY8")


class _Arrays(Unpickler):
    values = "plain values and arrays of numbers"
    keys = (str,)
    dispatch = allowed(*PLAIN, *DICTIONARIES, "FLOAT", "BINFLOAT", "BYTEARRAY8")


def load_labels(data: bytes, *, steps: int) -> Any:
    """Load a pickle of list, tuple, str, bytes, int, bool, None, and arrays of integers, strings or these types.

    Raises:
        ValueError: the pickle is damaged, has more than `steps` instructions, or other types or names. No code from it
            is executed.
    """
    return _Labels(data, _names(len(data), _INTEGERS_AND_TEXT, "integers or text"), steps=steps).load()


def read_arrays(file: Path) -> Any:
    """Read a pickle of dict (with str keys), list, tuple, str, bytes, int, float, bool, None and arrays of numbers.

    The file is memory-mapped, so memory holds its content once, or twice with protocols 0 to 2.

    Raises:
        ValueError: the file is empty or damaged, or has other types or names. No code from it is executed.
        OSError: the file cannot be read.
    """
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        return load_arrays(mapped, len(mapped))


def load_arrays(source: Any, size: int) -> Any:
    """Load bytes or a binary stream of `size` bytes as `read_arrays` loads a file."""
    return _Arrays(source, _names(size, _NUMBERS, "numbers"), steps=STEPS).load()


def _are_sizes(values: Any) -> bool:
    return (
        isinstance(values, tuple)
        and len(values) <= _DIMENSIONS_LIMIT
        and all(type(value) is int and 0 <= value < 2**48 for value in values)
    )


def _names(size: int, codes: re.Pattern[str], accepted: str) -> Names:
    """Return the replacements of NumPy's names in a pickle of `size` bytes."""
    budget = Budget(size)

    def item_type(code: Any, *_: Any) -> ItemType:
        if not isinstance(code, str):
            raise ValueError(f"the name of a NumPy type is a {type(code).__name__}, accepted: str")
        if not codes.fullmatch(code):
            raise ValueError(f"it has NumPy values of type {code[:20]!r}, accepted: {accepted}")
        return ItemType(code=code)

    def scalar(kind: Any, raw: Any) -> Any:
        if not isinstance(kind, ItemType) or not isinstance(raw, bytes | str) or not 0 < kind.size == len(raw):
            raise ValueError(f"it has a NumPy scalar that is malformed, accepted: {accepted}")
        budget.spend(len(raw), "NumPy values")
        (value,) = kind.items(raw.encode("latin-1") if isinstance(raw, str) else raw)
        return value

    functions = {"multiarray.scalar": scalar, "multiarray._reconstruct": _empty, "numeric._frombuffer": _from_buffer}
    paths = {f"numpy.{core}.{name}": function for core in ("core", "_core") for name, function in functions.items()}
    return {
        **{(path.rpartition(".")[0], path.rpartition(".")[2]): function for path, function in paths.items()},
        ("numpy", "dtype"): item_type,
        ("numpy", "ndarray"): None,
        ("_codecs", "encode"): encoder(Budget(size)),
        ("__builtin__", "bytes"): _empty_bytes,
    }


def _empty(*_: Any) -> PickledArray:
    return PickledArray()


def _from_buffer(content: Any, kind: Any, shape: Any, order: Any, axes: Any = None) -> PickledArray:
    array = PickledArray()
    array.fill(content, kind, shape, order, axes)
    return array


def _empty_bytes() -> bytes:
    return b""
