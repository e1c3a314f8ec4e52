"""What went wrong in a training: its kind, and a root cause that is the same whenever the same goes wrong."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from tao_skill.errors import BadRequest, CannotWrite, MissingDependency

Kind = Literal["out of memory", "data", "infrastructure", "worker lost", "error"]

_OUT_OF_MEMORY: Final = ("OutOfMemoryError", "ArrayMemoryError", "MemoryError")
_NO_MEMORY_TEXT: Final = re.compile(r"can't allocate memory|cannot allocate memory|out of memory", re.IGNORECASE)
_DETAILS: Final = (
    (re.compile(r"(?:[A-Za-z]:|s3:/)?[\\/][^\s'\":,;]+"), "PATH"),
    (re.compile(r"\b(?=[0-9a-f]*\d)(?:0x)?[0-9a-f]{6,}\b", re.IGNORECASE), "#"),
    (re.compile(r"\d[\d.,]*(?:e[+-]?\d+)?", re.IGNORECASE), "#"),
)
_LONGEST: Final = 300


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a task has no result.

    Attributes:
        kind: where the trouble lies. message: what was said. root_cause: to be compared with that of others.
    """

    kind: Kind
    message: str
    root_cause: str

    def as_dict(self) -> dict[str, Any]:
        """As it is kept."""
        return dict(vars(self))

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Failure:
        """As it was kept."""
        return cls(**kept)


def failure_of(error: BaseException, redact: Callable[[str], str] = str) -> Failure:
    """The failure that an exception stands for."""
    message = redact(str(error).strip())
    kind = next(kind for kind, matches in _KINDS if matches(error))
    first = next(iter(message.splitlines()), "")
    for pattern, stands in _DETAILS:
        first = pattern.sub(stands, first)
    name = type(error).__name__
    cause = f"{kind}: {name}: {first}".rstrip(": ")[:_LONGEST]
    return Failure(kind=kind, message=f"{name}: {message}".rstrip(": "), root_cause=cause)


def _is_out_of_memory(error: BaseException) -> bool:
    """By name, as the framework that raises it need not be loaded here."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    named = any(one.__name__ in _OUT_OF_MEMORY for one in type(error).__mro__)
    return named or (isinstance(error, RuntimeError) and bool(_NO_MEMORY_TEXT.search(str(error))))


_KINDS: Final[tuple[tuple[Kind, Callable[[BaseException], bool]], ...]] = (
    ("out of memory", _is_out_of_memory),
    ("infrastructure", lambda error: isinstance(error, OSError | CannotWrite | MissingDependency)),
    ("data", lambda error: isinstance(error, BadRequest)),
    ("error", lambda error: True),
)
