"""Read a pickle of plain values and numeric NumPy arrays without being able to run what it names.

The tables of plain_pickle.py with dictionaries, floats and arrays added. An array is kept as its shape, its number type
and the bytes that stand in the file; nothing is allocated by what a file claims, only by what it holds.
Sources: NumPy's `ndarray.__reduce__` and `__setstate__`, and `numpy._core.numeric._frombuffer` of protocol 5.
"""

from __future__ import annotations

import math
import mmap
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tao_skill.models.pose_classification.plain_pickle import (
    INSTRUCTIONS,
    Constructors,
    StandIn,
    encoder,
    execute,
    mapping_instructions,
    push,
)
from tao_skill.records import dataclass

_CODES: Final = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")
_DIMENSIONS_LIMIT: Final = 8

STEPS: Final = 2**25
"""Instructions of a pickle: room for half a million clips."""


@dataclass(kw_only=True)
class NumberType(StandIn):
    """A numeric numpy.dtype, such as <f4."""

    code: str
    order: str = "<"

    def set_state(self, state: Any) -> None:
        """(version, byte order, subtype, names, fields, size, alignment, flags): only the order may be set."""
        if not isinstance(state, tuple) or len(state) != 8 or state[1] not in ("<", ">", "|"):
            raise ValueError("a NumPy type has a state of another form")
        if any(part is not None for part in state[2:5]):
            raise ValueError("it holds a structured NumPy type")
        self.order = state[1]

    def dtype(self) -> np.dtype[Any]:
        """The type itself."""
        return np.dtype(self.order + self.code)


@dataclass(kw_only=True)
class PickledArray(StandIn):
    """An array as the file has it; `axes` is set where the bytes are in the order of permuted axes."""

    buffer: bytes | bytearray = b""
    kind: NumberType | None = None
    shape: tuple[int, ...] = (0,)
    order: str = "C"
    axes: tuple[int, ...] | None = None

    def set_state(self, state: Any) -> None:
        """(version, shape, type, whether in Fortran order, bytes)."""
        if not isinstance(state, tuple) or len(state) != 5:
            raise ValueError("an array has a state of another form")
        _, shape, kind, is_fortran, buffer = state
        self.fill(buffer, kind, shape, "F" if is_fortran else "C")

    def fill(self, buffer: Any, kind: Any, shape: Any, order: Any, axes: Any = None) -> None:
        """Take shape, type and bytes once they agree.

        Raises:
            ValueError: they do not, or the type is not numeric.
        """
        if not isinstance(kind, NumberType) or not isinstance(buffer, bytes | bytearray):
            raise ValueError("it holds an array of something other than numbers")
        if isinstance(shape, int):
            shape = (shape,)
        if not _are_sizes(shape) or order not in ("C", "F", "K"):
            raise ValueError(
                f"an array has more than {_DIMENSIONS_LIMIT} dimensions, or a shape or order of another form"
            )
        if axes is not None and (not _are_sizes(axes) or sorted(axes) != list(range(len(shape)))):
            raise ValueError("an array has axes of another form")
        if math.prod(shape) * kind.dtype().itemsize != len(buffer):
            raise ValueError(f"an array of shape {shape} and type {kind.code} has {len(buffer)} bytes")
        self.buffer, self.kind, self.shape, self.order, self.axes = buffer, kind, shape, order, axes

    def array(self) -> NDArray[Any]:
        """The array, as a view of the bytes.

        Raises:
            ValueError: the file made an array and never filled it.
        """
        if self.kind is None:
            raise ValueError("an array has no content")
        flat = np.frombuffer(self.buffer, dtype=self.kind.dtype())
        if self.axes is not None:
            return flat.reshape(self.shape).transpose(self.axes)
        return flat.reshape(self.shape, order="F" if self.order == "F" else "C")


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
    return execute(source, _INSTRUCTIONS, _constructors(size), "plain values and arrays of numbers", steps=STEPS)


def _are_sizes(values: Any) -> bool:
    return (
        isinstance(values, tuple)
        and len(values) <= _DIMENSIONS_LIMIT
        and all(type(value) is int and 0 <= value < 2**48 for value in values)
    )


def _number_type(code: Any, *_: Any) -> NumberType:
    if not isinstance(code, str):
        raise ValueError(f"it names a NumPy type by a {type(code).__name__}")
    if code not in _CODES:
        raise ValueError(f"it holds NumPy values of type {code[:20]!r}, not numbers")
    return NumberType(code=code)


def _scalar(kind: Any, raw: Any) -> Any:
    one = PickledArray()
    one.fill(raw, kind, (1,), "C")
    return one.array()[0].item()


def _reconstruct(*_: Any) -> PickledArray:
    return PickledArray()


def _from_buffer(buffer: Any, kind: Any, shape: Any, order: Any, axes: Any = None) -> PickledArray:
    filled = PickledArray()
    filled.fill(buffer, kind, shape, order, axes)
    return filled


def _not_called(*_: Any) -> Any:
    raise ValueError("it calls numpy.ndarray itself")


def _no_bytes(*values: Any) -> bytes:
    if values:
        raise ValueError("it calls bytes with an argument")
    return b""


def _constructors(size: int) -> Constructors:
    return {
        ("numpy", "dtype"): _number_type,
        ("numpy", "ndarray"): _not_called,
        **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
        **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
        **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
        ("_codecs", "encode"): encoder(size),
        ("__builtin__", "bytes"): _no_bytes,
    }


_INSTRUCTIONS: Final = {
    **INSTRUCTIONS,
    **dict.fromkeys(("FLOAT", "BINFLOAT", "BYTEARRAY8"), push),
    **mapping_instructions(str),
}
