"""A restricted unpickler: reads plain values, and never imports or calls the names in a pickle.

`Unpickler` is a subclass of the standard library's pure Python unpickler. In the C implementation (`pickle.Unpickler`)
a subclass can override only the lookup of names: it sets the state of any object, allocates as many bytes as a length
field claims, and has no limit on instructions. The Python implementation dispatches every opcode through a table, so
the table can be an allow-list.
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
"""Maximum arguments of a call, as they are copied; torch and NumPy use at most six."""

_DAMAGED: Final = (
    *(ArithmeticError, AttributeError, EOFError, LookupError, TypeError),
    *(pickle.UnpicklingError, struct.error),
)

Names: TypeAlias = Mapping[tuple[str, str], Callable[..., Any] | None]
"""Replacement for each callable that a file may name, by module and name; None if the file may not call it."""


@dataclass(frozen=True, kw_only=True)
class Name:
    """A reference to a callable, as a value on the stack."""

    name: str
    stand_in: Callable[..., Any] | None


class StandIn:
    """Base of replacements for objects that a pickle builds in two steps: creation, then state."""

    def set_state(self, state: Any) -> None:
        """Set the state read from the file.

        Raises:
            ValueError: the state is not valid for this type.
        """
        raise ValueError(f"it sets the state of a {type(self).__name__}")


class Unpickler(pickle._Unpickler):
    """Base class of the readers; a subclass sets the opcodes and names of its file format.

    Memory is bounded by the file size plus about 100 bytes an instruction: no instruction copies an earlier value. A
    length field beyond the end of the file reads to the end, where the missing STOP is an error.
    """

    values: ClassVar[str]
    """Accepted values, for error messages."""

    keys: ClassVar[tuple[type, ...]] = ()
    """Accepted types of dictionary keys: those for which a file cannot force hash collisions."""

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
        """Read the value of the pickle.

        Raises:
            ValueError: the pickle is damaged, has more than `steps` instructions, or uses an opcode or a name that is
                not allowed. No code from the file is executed.
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
        """Look up the replacement of an allowed name; nothing is imported."""
        if (module, name) not in self.names:
            raise ValueError(f"it names {module}.{name}, which was not run")
        return Name(name=name, stand_in=self.names[module, name])

    def load_frame(self) -> None:
        """Skip the frame size, which only a buffered reader needs."""
        self.read(8)

    def load_bytearray8(self) -> None:
        """Read first: the standard method allocates the claimed length before it reads."""
        (length,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(length)))

    def load_append(self) -> None:
        """Append to a list; other objects are rejected."""
        item = self.stack.pop()
        self._list().append(item)

    def load_appends(self) -> None:
        """Extend a list; other objects are rejected."""
        items = self.pop_mark()
        self._list().extend(items)

    def _list(self) -> list[Any]:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise ValueError(f"items are appended to a {type(target).__name__}")
        return target

    def load_dict(self) -> None:
        """Build a dictionary with keys of the accepted types."""
        items = self.pop_mark()
        self.append({})
        self._put(items)

    def load_setitem(self) -> None:
        """Set an item of a dictionary; other objects are rejected."""
        value, key = self.stack.pop(), self.stack.pop()
        self._put((key, value))

    def load_setitems(self) -> None:
        """Set items of a dictionary; other objects are rejected."""
        self._put(self.pop_mark())

    def _put(self, items: Sequence[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(items) % 2 or not all(type(key) in self.keys for key in items[::2]):
            types = " or ".join(kind.__name__ for kind in self.keys)
            raise ValueError(f"it sets items of something other than a dictionary with {types} as keys")
        target.update(zip(items[::2], items[1::2], strict=True))

    def load_reduce(self) -> None:
        """Call the replacement of a name."""
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, Name) or function.stand_in is None:
            called = function.name if isinstance(function, Name) else f"a {type(function).__name__}"
            raise ValueError(f"it calls {called}")
        if type(arguments) is not tuple or len(arguments) > _ARGUMENTS:
            raise ValueError(
                f"it calls {function.name} with more than {_ARGUMENTS} arguments, or without a tuple of them"
            )
        self.append(function.stand_in(*arguments))

    def load_build(self) -> None:
        """Set the state of a `StandIn`; other objects are rejected."""
        state, target = self.stack.pop(), self.stack[-1]
        if not isinstance(target, StandIn):
            raise ValueError(f"it sets the state of a {type(target).__name__}")
        target.set_state(state)


def _bounded(load: Any) -> Any:
    """Limit the size of integers: huge ones take quadratic time to print and can be chosen to collide as keys."""

    def load_integer(unpickler: Unpickler) -> None:
        load(unpickler)
        if (bits := unpickler.stack[-1].bit_length()) > _INTEGER_BITS:
            raise ValueError(f"it has an integer of {bits} bits, accepted: {_INTEGER_BITS}")

    return load_integer


_STANDARD: Final[Mapping[int, Any]] = pickle._Unpickler.dispatch
_RESTRICTED: Final[Mapping[str, Any]] = {
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
    """Build the dispatch table of some opcodes, with a restricted method where the standard one trusts the file."""
    codes = {name: getattr(pickle, name)[0] for name in opcodes}
    return {code: _RESTRICTED.get(name) or _STANDARD[code] for name, code in codes.items()}


PLAIN: Final = (
    *("PROTO", "FRAME", "NONE", "NEWTRUE", "NEWFALSE"),
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "MARK", "POP", "POP_MARK"),
    *("EMPTY_LIST", "LIST", "APPEND", "APPENDS", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
    *("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GET", "BINGET", "LONG_BINGET"),
    *("GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"),
)
"""Opcodes of lists, tuples, text, bytes, integers and calls of replacements."""

DICTIONARIES: Final = ("EMPTY_DICT", "DICT", "SETITEM", "SETITEMS")


class Budget:
    """Limit on copied bytes or items: a small file can refer to the same value a million times."""

    def __init__(self, remaining: int) -> None:
        self.remaining = remaining

    def spend(self, amount: int, copied: str) -> None:
        """Count a copy before it is made.

        Raises:
            ValueError: the copies exceed the budget.
        """
        if amount > self.remaining:
            raise ValueError(f"its {copied} are larger than the file")
        self.remaining -= amount


def encoder(budget: Budget) -> Callable[..., bytes]:
    """Return the replacement of `_codecs.encode`, with which protocols 0 to 2 store bytes as text."""

    def encode(text: Any, encoding: Any) -> bytes:
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            raise ValueError("it has encoded data that are not bytes")
        budget.spend(len(text), "encoded data")
        return text.encode("latin-1")

    return encode


def _opcode_name(code: int) -> str:
    import pickletools

    names = (opcode.name for opcode in pickletools.opcodes if opcode.code == chr(code))
    return next(names, f"0x{code:02x}")
