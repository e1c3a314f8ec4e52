"""Read a pickle of plain values without running what it names.

`Unpickler` is a subclass of the standard library's unpickler in pure Python. The one in C (`pickle.Unpickler`) lets a
subclass decide what a name stands for and nothing else: it sets the state of any object, allocates what a length
claims, and cannot be stopped after a number of instructions. In the pure Python one every instruction is a row of a
table, so the table can be an allow-list.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import IO, Any, ClassVar, Final, TypeAlias

_INTEGER_BITS: Final = 64
_ARGUMENTS: Final = 8
"""Arguments of a call, which are copied: torch and NumPy give at most six."""

_DAMAGED: Final = (
    *(ArithmeticError, AttributeError, EOFError, LookupError, TypeError),
    *(pickle.UnpicklingError, struct.error),
)

Names: TypeAlias = Mapping[tuple[str, str], Callable[..., Any] | None]
"""Our stand-in for each callable that a file may name, by module and name; None if the file may not call it."""


@dataclass(frozen=True, kw_only=True)
class Name:
    """A callable that a file names, as a value on the stack."""

    name: str
    stand_in: Callable[..., Any] | None


class StandIn:
    """A value that a pickle makes in two steps: first the value, then its state."""

    def set_state(self, state: Any) -> None:
        """Take the state from the file.

        Raises:
            ValueError: the value does not accept this state.
        """
        raise ValueError(f"it sets the state of a {type(self).__name__}")


class Unpickler(pickle._Unpickler):
    """Base of the readers, which add the opcodes and names of their files.

    Memory is bounded by the file and some 100 bytes for each instruction: none copies what another has made, and a
    length beyond the end of the file reads up to the end, where the missing STOP is an error.
    """

    values: ClassVar[str]
    """What the reader accepts, in words."""

    keys: ClassVar[tuple[type, ...]] = ()
    """Types of the keys of dictionaries: only types for which a file cannot make hashing slow."""

    stack: list[Any]
    metastack: list[list[Any]]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]
    read: Callable[[int], bytes]

    def __init__(self, source: bytes | IO[bytes], names: Names, *, steps: int) -> None:
        stream = io.BytesIO(source) if isinstance(source, bytes) else source
        super().__init__(stream, encoding="latin-1")
        self.read, self.readline = stream.read, stream.readline
        self.names, self.steps = names, steps

    def load(self) -> Any:
        """The value of the pickle.

        Raises:
            ValueError: it is damaged, takes more than `steps` instructions, or uses an instruction or a name that is
                not allowed; nothing it names has been run.
        """
        try:
            return self._load()
        except _DAMAGED as error:
            raise ValueError(f"damaged pickle ({type(error).__name__}: {error})") from error

    def _load(self) -> Any:
        self.stack, self.metastack = [], []
        self.append = self.stack.append
        for (code,) in islice(iter(partial(self.read, 1), b""), self.steps):
            if code == pickle.STOP[0]:
                return self.stack.pop()
            instruction: Any = self.dispatch.get(code)
            if instruction is None:
                raise ValueError(f"instruction {_opcode_name(code)} builds more than {self.values}")
            instruction(self)
        if self.read(1):
            raise ValueError(f"it takes more than {self.steps} instructions")
        raise EOFError("it ends before its STOP instruction")

    def find_class(self, module: str, name: str) -> Name:
        """The stand-in of an allowed name; nothing is imported."""
        if (module, name) not in self.names:
            raise ValueError(f"it names {module}.{name}, which was not run")
        return Name(name=name, stand_in=self.names[module, name])

    def load_frame(self) -> None:
        """Skip how much there is to buffer."""
        self.read(8)

    def load_bytearray8(self) -> None:
        """The standard one allocates before it reads."""
        (length,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(length)))

    def load_append(self) -> None:
        """To lists only."""
        item = self.stack.pop()
        self._list().append(item)

    def load_appends(self) -> None:
        """To lists only."""
        items = self.pop_mark()
        self._list().extend(items)

    def _list(self) -> list[Any]:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise ValueError(f"items are appended to a {type(target).__name__}")
        return target

    def load_dict(self) -> None:
        """With allowed keys."""
        items = self.pop_mark()
        self.append({})
        self._put(items)

    def load_setitem(self) -> None:
        """In dictionaries only, with an allowed key."""
        value, key = self.stack.pop(), self.stack.pop()
        self._put((key, value))

    def load_setitems(self) -> None:
        """In dictionaries only, with allowed keys."""
        self._put(self.pop_mark())

    def _put(self, items: Sequence[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(items) % 2 or not all(type(key) in self.keys for key in items[::2]):
            words = " or ".join(kind.__name__ for kind in self.keys)
            raise ValueError(f"it sets items of something other than a dictionary with {words} as keys")
        target.update(zip(items[::2], items[1::2], strict=True))

    def load_reduce(self) -> None:
        """Call a stand-in."""
        arguments, named = self.stack.pop(), self.stack.pop()
        if not isinstance(named, Name) or named.stand_in is None:
            raise ValueError(f"it calls {named.name if isinstance(named, Name) else 'a ' + type(named).__name__}")
        if type(arguments) is not tuple or len(arguments) > _ARGUMENTS:
            raise ValueError(f"it calls {named.name} with more than {_ARGUMENTS} arguments, or without a tuple of them")
        self.append(named.stand_in(*arguments))

    def load_build(self) -> None:
        """Set the state of a stand-in."""
        state, target = self.stack.pop(), self.stack[-1]
        if not isinstance(target, StandIn):
            raise ValueError(f"it sets the state of a {type(target).__name__}")
        target.set_state(state)


def _bounded(load: Any) -> Any:
    """A longer integer has no use, cannot be shown, and could be chosen so that a dictionary becomes slow."""

    def load_integer(unpickler: Unpickler) -> None:
        load(unpickler)
        if (bits := unpickler.stack[-1].bit_length()) > _INTEGER_BITS:
            raise ValueError(f"it holds an integer of {bits} bits, accepted: {_INTEGER_BITS}")

    return load_integer


_STANDARD: Final[Mapping[int, Any]] = pickle._Unpickler.dispatch
_OWN: Final[Mapping[str, Any]] = {
    **{name: _bounded(_STANDARD[getattr(pickle, name)[0]]) for name in ("INT", "LONG", "LONG1", "LONG4")},
    "FRAME": Unpickler.load_frame,
    "BYTEARRAY8": Unpickler.load_bytearray8,
    "APPEND": Unpickler.load_append,
    "APPENDS": Unpickler.load_appends,
    "DICT": Unpickler.load_dict,
    "SETITEM": Unpickler.load_setitem,
    "SETITEMS": Unpickler.load_setitems,
    "REDUCE": Unpickler.load_reduce,
    "BUILD": Unpickler.load_build,
}


def allowed(*opcodes: str) -> dict[int, Any]:
    """The table of these opcodes: ours where the standard instruction trusts the file, else the standard one."""
    codes = {name: getattr(pickle, name)[0] for name in opcodes}
    return {code: _OWN.get(name) or _STANDARD[code] for name, code in codes.items()}


PLAIN: Final = (
    *("PROTO", "FRAME", "NONE", "NEWTRUE", "NEWFALSE"),
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "MARK", "POP", "POP_MARK"),
    *("EMPTY_LIST", "LIST", "APPEND", "APPENDS", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
    *("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GET", "BINGET", "LONG_BINGET"),
    *("GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"),
)
"""Opcodes of lists, tuples, text, bytes, integers and calls of stand-ins."""

DICTIONARIES: Final = ("EMPTY_DICT", "DICT", "SETITEM", "SETITEMS")


class Budget:
    """Bytes or items that may be copied during one reading: a file can refer to one value a million times."""

    def __init__(self, left: int) -> None:
        self.left = left

    def spend(self, amount: int, copied: str) -> None:
        """Count a copy before it is made.

        Raises:
            ValueError: all copies together exceed the budget.
        """
        if amount > self.left:
            raise ValueError(f"its {copied} are larger than the file")
        self.left -= amount


def encoder(budget: Budget) -> Callable[..., bytes]:
    """Stand-in of `_codecs.encode`, by which protocols 0 to 2 write bytes as text."""

    def encode(text: Any, encoding: Any) -> bytes:
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            raise ValueError("it holds encoded data that are not bytes")
        budget.spend(len(text), "encoded data")
        return text.encode("latin-1")

    return encode


def _opcode_name(code: int) -> str:
    import pickletools

    names = (opcode.name for opcode in pickletools.opcodes if opcode.code == chr(code))
    return next(names, f"0x{code:02x}")
