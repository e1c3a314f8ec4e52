"""Read a pickle of plain values with the standard library's machine, but without anything it could call.

Every name a file holds is looked up in a table of harmless stand-ins for what a NumPy integer needs; a name that is not
there ends the reading. Nothing of the file's choosing is imported or run. Formats: CPython `pickletools`, protocols 0 to 5.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any, Final, Literal

_ENCODED_LIMIT: Final = 16
"""Characters of an encoded string: enough for any NumPy integer."""

_ORDERS: Final[dict[Any, Literal["little", "big"]]] = {"<": "little", ">": "big", "|": "little"}


def plain_value(data: bytes) -> Any:
    """The value of a pickle of lists, tuples, str, int and NumPy integers (as int).

    Raises:
        ValueError: the data are damaged, or hold or name anything else; nothing of it has been run.
    """
    try:
        return _PlainUnpickler(io.BytesIO(data)).load()
    except pickle.UnpicklingError as error:
        raise ValueError(str(error)) from error
    except (ArithmeticError, AttributeError, EOFError, ImportError, LookupError, MemoryError, TypeError) as error:
        raise ValueError(f"damaged pickle ({type(error).__name__}: {error})") from error


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which was not run")
        return _STAND_INS[module, name]

    def persistent_load(self, identity: Any) -> Any:
        raise pickle.UnpicklingError("it refers to an object outside the file")


class _IntegerType:
    """What stands for numpy.dtype("i8"): size in bytes, sign and byte order."""

    def __init__(self, code: Any, *_: Any) -> None:
        if not isinstance(code, str) or code[:1] not in ("i", "u") or code[1:] not in ("1", "2", "4", "8"):
            raise pickle.UnpicklingError(f"it holds NumPy values of type {code!r}, not integers")
        self.size, self.signed = int(code[1:]), code[0] == "i"
        self.order: Literal["little", "big"] = "little"

    def __setstate__(self, state: Any) -> None:
        """The state of numpy.dtype: (version, byte order, ...)."""
        self.order = _ORDERS[state[1]]


def _scalar(kind: Any, raw: Any) -> int:
    """The number that numpy's `scalar(dtype, bytes)` makes."""
    data = raw.encode("latin-1") if isinstance(raw, str) else raw
    if not isinstance(kind, _IntegerType) or not isinstance(data, bytes) or len(data) != kind.size:
        raise pickle.UnpicklingError("it holds a NumPy value that is not an integer")
    return int.from_bytes(data, kind.order, signed=kind.signed)


def _encoded(text: Any, encoding: Any) -> bytes:
    """The bytes that protocols 0 to 2 write as text."""
    if not isinstance(text, str) or len(text) > _ENCODED_LIMIT or encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError("it holds encoded data that is not a NumPy integer")
    return text.encode("latin-1")


_STAND_INS: Final[dict[tuple[str, str], Callable[..., Any]]] = {
    ("numpy", "dtype"): _IntegerType,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("_codecs", "encode"): _encoded,
}
