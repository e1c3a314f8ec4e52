"""Failures of trainings: their kind, and a root cause by which equal failures are recognised."""

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
_MAX_CAUSE: Final = 300


@dataclass(frozen=True, kw_only=True)
class Failure:
    """The reason why a task has no result.

    Attributes:
        message: of the exception. root_cause: the message without paths and numbers, equal for equal failures.
    """

    kind: Kind
    message: str
    root_cause: str

    def as_dict(self) -> dict[str, Any]:
        """The failure as JSON."""
        return dict(vars(self))

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Failure:
        """A failure from its JSON."""
        return cls(**record)


def failure_of(error: BaseException, redact: Callable[[str], str] = str) -> Failure:
    """The failure of a training that raised an exception."""
    message = redact(str(error).strip())
    kind = next(kind for kind, matches in _KINDS if matches(error))
    first = next(iter(message.splitlines()), "")
    for pattern, placeholder in _DETAILS:
        first = pattern.sub(placeholder, first)
    name = type(error).__name__
    cause = f"{kind}: {name}: {first}".rstrip(": ")[:_MAX_CAUSE]
    return Failure(kind=kind, message=f"{name}: {message}".rstrip(": "), root_cause=cause)


def _is_out_of_memory(error: BaseException) -> bool:
    """Compared by name, since the framework that raises it may not be imported."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    has_name = any(base.__name__ in _OUT_OF_MEMORY for base in type(error).__mro__)
    return has_name or (isinstance(error, RuntimeError) and bool(_NO_MEMORY_TEXT.search(str(error))))


_KINDS: Final[tuple[tuple[Kind, Callable[[BaseException], bool]], ...]] = (
    ("out of memory", _is_out_of_memory),
    ("infrastructure", lambda error: isinstance(error, OSError | CannotWrite | MissingDependency)),
    ("data", lambda error: isinstance(error, BadRequest)),
    ("error", lambda error: True),
)
