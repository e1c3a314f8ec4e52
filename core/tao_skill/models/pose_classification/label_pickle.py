"""Read a pickle of labels, as lists or NumPy arrays of one dimension, without being able to run what it names.

The tables of plain_pickle.py with NumPy's integers and texts added, and without loading NumPy: plans read labels, too.
Sources: NumPy's `ndarray.__reduce__` and `__setstate__`, and `numpy._core.numeric._frombuffer` of protocol 5.
"""

from __future__ import annotations

import re
from dataclasses import field
from typing import Any, Final, Literal

from tao_skill.models.pose_classification.plain_pickle import (
    INSTRUCTIONS,
    Constructors,
    StandIn,
    encoder,
    execute,
    push,
)
from tao_skill.records import dataclass

COLUMN_LIMIT: Final = 2**21
"""Items of an array that are read: twice the labels that a file of lists has room for."""

_CODE: Final = re.compile(r"[iu][1248]|U[1-9]\d{0,6}|O8?")
_CHARACTER: Final = 4
"""Bytes of a character in NumPy's texts."""

_ORDERS: Final[dict[str, Literal["little", "big"]]] = {"<": "little", ">": "big", "|": "little"}


@dataclass(kw_only=True)
class ItemType(StandIn):
    """The numpy.dtype of integers (i8), texts of so many characters (U5) or Python objects (O8)."""

    code: str
    order: Literal["little", "big"] = "little"

    def set_state(self, state: Any) -> None:
        """(version, byte order, subtype, names, fields, ...): only the order may be set."""
        if not isinstance(state, tuple) or not isinstance(state[1], str) or state[1] not in _ORDERS:
            raise ValueError("a NumPy type has a state of another form")
        if any(part is not None for part in state[2:5]):
            raise ValueError("it holds a structured NumPy type")
        self.order = _ORDERS[state[1]]

    @property
    def size(self) -> int:
        """Bytes of an item; 0 for objects, which are no bytes."""
        return 0 if self.code[0] == "O" else int(self.code[1:]) * (_CHARACTER if self.code[0] == "U" else 1)

    def item(self, data: bytes) -> int | str:
        """The value that these bytes stand for.

        Raises:
            ValueError: they are no text.
        """
        if self.code[0] != "U":
            return int.from_bytes(data, self.order, signed=self.code[0] == "i")
        return data.decode("utf-32-le" if self.order == "little" else "utf-32-be").rstrip("\0")


@dataclass(kw_only=True)
class Column(StandIn):
    """An array of one dimension as the file has it; nothing is copied before its items are asked for."""

    kind: ItemType | None = None
    data: bytes | bytearray = b""
    objects: list[Any] = field(default_factory=list)

    def set_state(self, state: Any) -> None:
        """(version, shape, type, whether in Fortran order, bytes or the list of objects)."""
        if not isinstance(state, tuple) or len(state) != 5:
            raise ValueError("an array has a state of another form")
        _, shape, kind, _, data = state
        self.fill(data, kind, shape)

    def fill(self, data: Any, kind: Any, shape: Any) -> None:
        """Take type and content once they agree with the shape.

        Raises:
            ValueError: they do not, or the array has more dimensions or items than labels have.
        """
        sizes = shape if isinstance(shape, tuple) else (shape,)
        if len(sizes) != 1 or type(sizes[0]) is not int:
            raise ValueError("it holds an array that is not of one dimension")
        if not 0 <= sizes[0] <= COLUMN_LIMIT:
            raise ValueError(f"it holds an array of more than {COLUMN_LIMIT} items")
        if not isinstance(kind, ItemType):
            raise ValueError("it holds an array without a type")
        if isinstance(data, bytes | bytearray) and kind.size:
            self.data = data
        elif isinstance(data, list) and not kind.size:
            self.objects = data
        else:
            raise ValueError("it holds an array of something other than integers, texts or objects")
        if len(data) != sizes[0] * (kind.size or 1):
            raise ValueError(f"an array of {sizes[0]} items has a content of another length")
        self.kind = kind

    def items(self) -> tuple[Any, ...]:
        """The items as integers and texts, objects as they are.

        Raises:
            ValueError: an item is no text.
        """
        if self.kind is None or not self.kind.size:
            return tuple(self.objects)
        size = self.kind.size
        return tuple(self.kind.item(bytes(self.data[at : at + size])) for at in range(0, len(self.data), size))


def label_value(data: bytes, *, steps: int) -> Any:
    """The value of a pickle of lists, tuples, str, bytes, int, bool, None, NumPy's integers and texts, and `Column`.

    Raises:
        ValueError: the data are damaged, take more `steps`, or hold or name anything else; nothing of it has been run.
    """
    return execute(data, _INSTRUCTIONS, _constructors(len(data)), "lists, tuples, text, integers, arrays", steps=steps)


def _item_type(code: Any, *_: Any) -> ItemType:
    """The type that numpy.dtype("i8") names."""
    if not isinstance(code, str):
        raise ValueError(f"it names a NumPy type by a {type(code).__name__}")
    if not _CODE.fullmatch(code):
        raise ValueError(f"it holds NumPy values of type {code[:20]!r}, not integers or text")
    return ItemType(code=code)


def _scalars(budget: int) -> Any:
    """numpy's `scalar(dtype, bytes)`; all texts together are made of at most `budget` bytes."""
    left = budget

    def scalar(kind: Any, raw: Any) -> int | str:
        nonlocal left
        data = raw.encode("latin-1") if isinstance(raw, str) and len(raw) <= left else raw
        if not isinstance(kind, ItemType) or not isinstance(data, bytes) or len(data) != kind.size or len(data) > left:
            raise ValueError("it holds a NumPy value that is neither an integer nor a text")
        left -= len(data)
        return kind.item(data)

    return scalar


def _column(*_: Any) -> Column:
    return Column()


def _from_buffer(data: Any, kind: Any, shape: Any, *_: Any) -> Column:
    column = Column()
    column.fill(data, kind, shape)
    return column


def _not_called(*_: Any) -> Any:
    raise ValueError("it calls numpy.ndarray itself")


def _constructors(size: int) -> Constructors:
    scalar = _scalars(size)
    in_cores = {"multiarray": {"scalar": scalar, "_reconstruct": _column}, "numeric": {"_frombuffer": _from_buffer}}
    return {
        ("numpy", "dtype"): _item_type,
        ("numpy", "ndarray"): _not_called,
        ("_codecs", "encode"): encoder(size),
        **{
            (f"numpy.{core}.{module}", name): function
            for core in ("core", "_core")
            for module, functions in in_cores.items()
            for name, function in functions.items()
        },
    }


_INSTRUCTIONS: Final = {**INSTRUCTIONS, "BYTEARRAY8": push}
