"""Read a pickle of plain values without being able to run what it names.

The pickle machine of the standard library calls whatever a file tells it to. This one has a table of the few
instructions that build lists, tuples, strings and integers, and a table of the names that a NumPy integer needs; those
names are read as data and what they stand for is never called. Opcodes: CPython `pickletools`, protocols 0 to 5.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

_ENCODED_LIMIT: Final = 16
"""Characters of an encoded string: enough for any NumPy integer, too few to blow up memory by repetition."""


@dataclass(kw_only=True)
class _Machine:
    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def since_mark(self) -> list[Any]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def last(self, count: int) -> tuple[Any, ...]:
        if len(self.stack) < count:
            raise ValueError("the stack is empty")
        items = tuple(self.stack[len(self.stack) - count :])
        del self.stack[len(self.stack) - count :]
        return items


@dataclass(frozen=True, kw_only=True)
class _Name:
    """A callable that the file names; it stands for itself and cannot be called."""

    module: str
    name: str


@dataclass(kw_only=True)
class _IntegerType:
    size: int
    signed: bool
    order: Literal["little", "big"] = "little"


def plain_value(data: bytes) -> Any:
    """The value of a pickle that holds only lists, tuples, str, bytes, int, bool, None and NumPy integers (as int).

    Raises:
        ValueError: the data are damaged, or hold or name anything else; nothing of it has been run.
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name not in _INSTRUCTIONS:
                raise ValueError(f"instruction {opcode.name} builds more than lists, tuples, text and integers")
            _INSTRUCTIONS[opcode.name](machine, argument)
    except (IndexError, KeyError, AttributeError, TypeError, OverflowError) as error:
        raise ValueError(f"damaged pickle ({type(error).__name__}: {error})") from error
    (value,) = machine.last(1)
    return value


def _nothing(machine: _Machine, argument: Any) -> None:
    """Instructions that only announce a protocol, a frame or the end."""


def _push(machine: _Machine, argument: Any) -> None:
    machine.stack.append(argument)


def _constant(make: Callable[[], Any]) -> Callable[[_Machine, Any], None]:
    return lambda machine, _: machine.stack.append(make())


def _mark(machine: _Machine, argument: Any) -> None:
    machine.marks.append(len(machine.stack))


def _pop(machine: _Machine, argument: Any) -> None:
    if machine.marks and machine.marks[-1] == len(machine.stack):
        machine.marks.pop()
    else:
        machine.stack.pop()


def _pop_mark(machine: _Machine, argument: Any) -> None:
    machine.since_mark()


def _list_from_mark(machine: _Machine, argument: Any) -> None:
    machine.stack.append(machine.since_mark())


def _tuple_from_mark(machine: _Machine, argument: Any) -> None:
    machine.stack.append(tuple(machine.since_mark()))


def _tuple_of(count: int) -> Callable[[_Machine, Any], None]:
    return lambda machine, _: machine.stack.append(machine.last(count))


def _append(machine: _Machine, argument: Any) -> None:
    (item,) = machine.last(1)
    _as_list(machine.stack[-1]).append(item)


def _appends(machine: _Machine, argument: Any) -> None:
    items = machine.since_mark()
    _as_list(machine.stack[-1]).extend(items)


def _as_list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"items are appended to a {type(value).__name__}")
    return value


def _memoize(machine: _Machine, argument: Any) -> None:
    index = len(machine.memo) if argument is None else int(argument)
    machine.memo[index] = machine.stack[-1]


def _recall(machine: _Machine, argument: Any) -> None:
    machine.stack.append(machine.memo[int(argument)])


def _global(machine: _Machine, argument: Any) -> None:
    module, _, name = str(argument).partition(" ")
    machine.stack.append(_named(module, name))


def _stack_global(machine: _Machine, argument: Any) -> None:
    machine.stack.append(_named(*machine.last(2)))


def _named(module: Any, name: Any) -> _Name:
    if (module, name) not in _CONSTRUCTORS:
        raise ValueError(f"it names {module}.{name}, which was not run")
    return _Name(module=module, name=name)


def _reduce(machine: _Machine, argument: Any) -> None:
    named, values = machine.last(2)
    if not isinstance(named, _Name):
        raise ValueError(f"a {type(named).__name__} is called")
    machine.stack.append(_CONSTRUCTORS[named.module, named.name](*values))


def _build(machine: _Machine, argument: Any) -> None:
    """The state of numpy.dtype: (version, byte order, ...)."""
    (state,) = machine.last(1)
    target = machine.stack[-1]
    if not isinstance(target, _IntegerType) or not isinstance(state, tuple) or state[1] not in _ORDERS:
        raise ValueError("it sets the state of something other than an integer type")
    target.order = _ORDERS[state[1]]


def _integer_type(code: Any, *_: Any) -> _IntegerType:
    """The type that numpy.dtype("i8") names."""
    if not isinstance(code, str) or code[:1] not in ("i", "u") or code[1:] not in ("1", "2", "4", "8"):
        raise ValueError(f"it holds NumPy values of type {code!r}, not integers")
    return _IntegerType(size=int(code[1:]), signed=code[0] == "i")


def _scalar(kind: Any, raw: Any) -> int:
    """The number that numpy's `scalar(dtype, bytes)` makes."""
    data = raw.encode("latin-1") if isinstance(raw, str) else raw
    if not isinstance(kind, _IntegerType) or not isinstance(data, bytes) or len(data) != kind.size:
        raise ValueError("it holds a NumPy value that is not an integer")
    return int.from_bytes(data, kind.order, signed=kind.signed)


def _encoded(text: Any, encoding: Any) -> bytes:
    """The bytes that protocols 0 to 2 write as text."""
    if not isinstance(text, str) or len(text) > _ENCODED_LIMIT or encoding not in ("latin1", "latin-1"):
        raise ValueError("it holds encoded data that is not a NumPy integer")
    return text.encode("latin-1")


_ORDERS: Final[dict[Any, Literal["little", "big"]]] = {"<": "little", ">": "big", "|": "little"}

_CONSTRUCTORS: Final[dict[tuple[Any, Any], Callable[..., Any]]] = {
    ("numpy", "dtype"): _integer_type,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("_codecs", "encode"): _encoded,
}

_INSTRUCTIONS: Final[dict[str, Callable[[_Machine, Any], None]]] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), _nothing),
    **dict.fromkeys(("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"), _push),
    **dict.fromkeys(("STRING", "BINSTRING", "SHORT_BINSTRING"), _push),
    **dict.fromkeys(("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"), _push),
    **dict.fromkeys(("SHORT_BINBYTES", "BINBYTES", "BINBYTES8"), _push),
    "NONE": _constant(lambda: None),
    "NEWTRUE": _constant(lambda: True),
    "NEWFALSE": _constant(lambda: False),
    "MARK": _mark,
    "POP": _pop,
    "POP_MARK": _pop_mark,
    "EMPTY_LIST": _constant(list),
    "LIST": _list_from_mark,
    "APPEND": _append,
    "APPENDS": _appends,
    "EMPTY_TUPLE": _constant(tuple),
    "TUPLE": _tuple_from_mark,
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _memoize),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _recall),
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "REDUCE": _reduce,
    "BUILD": _build,
}
