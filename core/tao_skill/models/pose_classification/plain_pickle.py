"""Read a pickle of plain values without being able to run what it names.

The pickle machine of the standard library calls whatever a file tells it to. This one has a table of the few
instructions that build lists, tuples, strings and integers. A reader (label_pickle.py, array_pickle.py) adds a table of
the names that may be in its files; they are read as data, and what they stand for is never called.
Opcodes: CPython `pickletools`, protocols 0 to 5.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import IO, Any, Final, TypeAlias

from tao_skill.records import dataclass

_INTEGER_BITS: Final = 64


Constructors: TypeAlias = Mapping[tuple[Any, Any], Callable[..., Any]]
"""What stands in for the callables that a file may name, by module and name."""


class StandIn:
    """A value that a pickle makes in two steps: named first, its state set after."""

    def set_state(self, state: Any) -> None:
        """Take the state that the file gives.

        Raises:
            ValueError: it is not of the form that the value needs.
        """
        raise ValueError(f"it sets the state of a {type(self).__name__}")


@dataclass(kw_only=True)
class Machine:
    """Stack and memo of one reading."""

    constructors: Constructors
    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def since_mark(self) -> list[Any]:
        """Take all above the last mark."""
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def last(self, count: int) -> tuple[Any, ...]:
        """Take the `count` values on top."""
        if len(self.stack) < count:
            raise ValueError("the stack is empty")
        items = tuple(self.stack[len(self.stack) - count :])
        del self.stack[len(self.stack) - count :]
        return items


Instruction: TypeAlias = Callable[[Machine, Any], None]


@dataclass(frozen=True, kw_only=True)
class _Name:
    """A callable that the file names; it stands for itself and cannot be called."""

    module: str
    name: str


def execute(
    source: bytes | IO[bytes],
    instructions: Mapping[str, Instruction],
    constructors: Constructors,
    builds: str,
    *,
    steps: int,
) -> Any:
    """Run a pickle on tables of what it may do; `builds` says in words what that makes.

    Memory is bounded by the file and some 100 bytes a step: no instruction copies what another has made.

    Raises:
        ValueError: it is damaged, takes more than so many steps, or uses an instruction or a name that the tables lack.
    """
    machine = Machine(constructors=constructors)
    try:
        for step, (opcode, argument, _) in enumerate(pickletools.genops(source)):
            if step >= steps:
                raise ValueError(f"it takes more than {steps} instructions")
            if opcode.name not in instructions:
                raise ValueError(f"instruction {opcode.name} builds more than {builds}")
            instructions[opcode.name](machine, argument)
    except (IndexError, KeyError, AttributeError, TypeError, OverflowError) as error:
        raise ValueError(f"damaged pickle ({type(error).__name__}: {error})") from error
    (value,) = machine.last(1)
    return value


def _nothing(machine: Machine, argument: Any) -> None:
    """Instructions that only announce a protocol, a frame or the end."""


def push(machine: Machine, argument: Any) -> None:
    """Instructions that hold their value."""
    machine.stack.append(argument)


def _push_integer(machine: Machine, argument: Any) -> None:
    """A longer integer has no use, cannot be shown, and could be chosen so that a dictionary becomes slow."""
    if argument.bit_length() > _INTEGER_BITS:
        raise ValueError(f"it holds an integer of {argument.bit_length()} bits, accepted: {_INTEGER_BITS}")
    machine.stack.append(argument)


def constant(make: Callable[[], Any]) -> Instruction:
    """Instructions that make a value out of nothing."""
    return lambda machine, _: machine.stack.append(make())


def _mark(machine: Machine, argument: Any) -> None:
    machine.marks.append(len(machine.stack))


def _pop(machine: Machine, argument: Any) -> None:
    if machine.marks and machine.marks[-1] == len(machine.stack):
        machine.marks.pop()
    else:
        machine.stack.pop()


def _pop_mark(machine: Machine, argument: Any) -> None:
    machine.since_mark()


def _list_from_mark(machine: Machine, argument: Any) -> None:
    machine.stack.append(machine.since_mark())


def _tuple_from_mark(machine: Machine, argument: Any) -> None:
    machine.stack.append(tuple(machine.since_mark()))


def _tuple_of(count: int) -> Instruction:
    return lambda machine, _: machine.stack.append(machine.last(count))


def _append(machine: Machine, argument: Any) -> None:
    (item,) = machine.last(1)
    _as_list(machine.stack[-1]).append(item)


def _appends(machine: Machine, argument: Any) -> None:
    items = machine.since_mark()
    _as_list(machine.stack[-1]).extend(items)


def _as_list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"items are appended to a {type(value).__name__}")
    return value


def _memoize(machine: Machine, argument: Any) -> None:
    index = len(machine.memo) if argument is None else int(argument)
    machine.memo[index] = machine.stack[-1]


def _recall(machine: Machine, argument: Any) -> None:
    machine.stack.append(machine.memo[int(argument)])


def _global(machine: Machine, argument: Any) -> None:
    module, _, name = str(argument).partition(" ")
    machine.stack.append(_named(machine, module, name))


def _stack_global(machine: Machine, argument: Any) -> None:
    machine.stack.append(_named(machine, *machine.last(2)))


def _named(machine: Machine, module: Any, name: Any) -> _Name:
    if not isinstance(module, str) or not isinstance(name, str):
        raise ValueError("it names something by a value that is no text")  # whose hash may take for ever
    if (module, name) not in machine.constructors:
        raise ValueError(f"it names {module}.{name}, which was not run")
    return _Name(module=module, name=name)


def _reduce(machine: Machine, argument: Any) -> None:
    named, values = machine.last(2)
    if not isinstance(named, _Name):
        raise ValueError(f"a {type(named).__name__} is called")
    machine.stack.append(machine.constructors[named.module, named.name](*values))


def _build(machine: Machine, argument: Any) -> None:
    (state,) = machine.last(1)
    target = machine.stack[-1]
    if not isinstance(target, StandIn):
        raise ValueError(f"it sets the state of a {type(target).__name__}")
    target.set_state(state)


def encoder(budget: int) -> Callable[..., bytes]:
    """`_codecs.encode`, by which protocols 0 to 2 write bytes as text; all calls together make at most `budget`."""
    left = budget

    def encode(text: Any, encoding: Any) -> bytes:
        nonlocal left
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1") or len(text) > left:
            raise ValueError("it holds encoded data that are no numbers")
        left -= len(text)
        return text.encode("latin-1")

    return encode


def mapping_instructions(*kinds: type) -> Mapping[str, Instruction]:
    """What builds dictionaries whose keys are of these types: only such as no file can choose to be slow."""

    def put(machine: Machine, items: Sequence[Any]) -> None:
        target = machine.stack[-1]
        if not isinstance(target, dict) or len(items) % 2 or not all(type(key) in kinds for key in items[::2]):
            words = " or ".join(kind.__name__ for kind in kinds)
            raise ValueError(f"it sets items of something other than a dictionary with {words} as keys")
        target.update(zip(items[::2], items[1::2], strict=True))

    def from_mark(machine: Machine, argument: Any) -> None:
        items = machine.since_mark()
        machine.stack.append({})
        put(machine, items)

    return {
        "EMPTY_DICT": constant(dict),
        "DICT": from_mark,
        "SETITEM": lambda machine, _: put(machine, machine.last(2)),
        "SETITEMS": lambda machine, _: put(machine, machine.since_mark()),
    }


INSTRUCTIONS: Final[Mapping[str, Instruction]] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), _nothing),
    **dict.fromkeys(("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"), _push_integer),
    **dict.fromkeys(("STRING", "BINSTRING", "SHORT_BINSTRING"), push),
    **dict.fromkeys(("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"), push),
    **dict.fromkeys(("SHORT_BINBYTES", "BINBYTES", "BINBYTES8"), push),
    "NONE": constant(lambda: None),
    "NEWTRUE": constant(lambda: True),
    "NEWFALSE": constant(lambda: False),
    "MARK": _mark,
    "POP": _pop,
    "POP_MARK": _pop_mark,
    "EMPTY_LIST": constant(list),
    "LIST": _list_from_mark,
    "APPEND": _append,
    "APPENDS": _appends,
    "EMPTY_TUPLE": constant(tuple),
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
