"""Every error a user or an agent can meet: a code, one clear message, the fix and an exit code."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NamedTuple

_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

UNWRITABLE: Final = (*_FULL, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)
"""Errors of the operating system that say a place cannot be written."""


class Option(NamedTuple):
    """An option of a command, which is an argument of a tool, with a value to give."""

    name: str
    value: str = ""


class Command(NamedTuple):
    """A command to run, or the tool that does the same, with what to give it."""

    verb: str
    words: str = ""


class Fix(str):
    """What to change, as text for the command line; its parts can be worded for others, e.g. clients that call tools.

    Attributes:
        parts: the text in order, options and commands as data.
    """

    parts: tuple[str | Option | Command, ...]

    def __new__(cls, *parts: str | Option | Command) -> Fix:
        """Join parts; those of a fix among them become its own."""
        flat = tuple(one for part in parts for one in (part.parts if isinstance(part, Fix) else (part,)))
        made = super().__new__(cls, _joined(flat, _on_command_line))
        made.parts = flat
        return made

    @classmethod
    def all_of(cls, fixes: Iterable[str]) -> Fix:
        """Several fixes, all to be done."""
        parts = [part for fix in dict.fromkeys(fixes) for part in ("; ", fix)]
        return cls(*parts[1:])

    def worded(self, wording: Callable[[Option | Command], str]) -> str:
        """The text with options and commands in other words."""
        return _joined(self.parts, wording)


def _joined(parts: Iterable[str | Option | Command], wording: Callable[[Option | Command], str]) -> str:
    return _printable("".join(part if isinstance(part, str) else wording(part) for part in parts))


def _on_command_line(part: Option | Command) -> str:
    if isinstance(part, Command):
        return f"tao-skill {part.verb} {part.words}".rstrip()
    return f"--{part.name.replace('_', '-')} {part.value}".rstrip()


class TaoSkillError(Exception):
    """Base of all expected errors.

    Attributes:
        code: stable machine-readable name, part of the JSON contract.
        exit_code: process exit status: 1 job failed, 2 bad request, 3 not found, 4 dependency or device missing.
        fix: what to change so that the same call succeeds.
        path: the file or the spec key concerned, where there is one.
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, fix: str, path: str | None = None) -> None:
        self.message, self.fix = _printable(message), fix if isinstance(fix, Fix) else Fix(fix)
        self.path = None if path is None else _printable(path)
        super().__init__(self.message)

    def as_dict(self) -> dict[str, Any]:
        """The `error` object of the JSON contract."""
        shown: dict[str, Any] = {"code": self.code, "message": self.message, "fix": self.fix}
        if self.path is not None:
            shown["path"] = self.path
        return shown


def _printable(text: str) -> str:
    """The text, half surrogate pairs escaped: it may quote a file or its name, which may hold anything."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class BadRequest(TaoSkillError):
    """The call itself cannot be served as written."""

    code = "bad_request"
    exit_code = 2


class BadData(BadRequest):
    """An array, label file, checkpoint or other input file cannot be used."""

    code = "bad_data"


class CannotWrite(BadRequest):
    """A file or folder cannot be written; what was there before is unchanged."""

    code = "cannot_write"

    @classmethod
    def because(cls, error: OSError, path: str | None = None) -> CannotWrite:
        """The error with the place and what to do about it."""
        place = path or str(error.filename or "the results")
        if error.errno == errno.ENAMETOOLONG:
            return cls(f"{place[:80]}... is longer than a path can be", fix="use a shorter name", path=place[:80])
        fix = "name a place that can be written"
        if error.errno in _FULL:
            fix = "free disk space and run again with the same key, or set results_dir to a place on another disk"
        return cls(f"{place} cannot be written: {error.strerror or error}", fix=fix, path=place)


class OutsideRoots(BadRequest):
    """A path leaves the folders that a server may touch."""

    code = "outside_roots"


class KeyConflict(BadRequest):
    """An idempotency key was used before for another request."""

    code = "key_conflict"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing wrong with a spec.

    Attributes:
        key: dotted path of the spec key, e.g. `train.optim.lr`.
        message: names the key, the value received and what is accepted.
        fix: what to set instead.
    """

    key: str
    message: str
    fix: str


class SpecError(BadRequest):
    """A spec has one or more problems; all of them are reported at once."""

    code = "bad_spec"

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(
            "\n".join(problem.message for problem in problems),
            fix=Fix.all_of(problem.fix for problem in problems),
            path=problems[0].key,
        )
        self.problems = tuple(problems)

    def as_dict(self) -> dict[str, Any]:
        """The `error` object, with every problem."""
        problems = [{"path": p.key, "message": p.message, "fix": p.fix} for p in self.problems]
        return super().as_dict() | {"problems": problems}


class NotFound(TaoSkillError):
    """A model, action, job or file does not exist."""

    code = "not_found"
    exit_code = 3


class MissingDependency(TaoSkillError):
    """A package, extra or device that this call needs is absent."""

    code = "missing_dependency"
    exit_code = 4


class JobFailed(TaoSkillError):
    """A job ended in ERROR; the cause is in its record and log."""

    code = "job_failed"


class BadState(TaoSkillError):
    """A job is not in a state that allows the call."""

    code = "bad_state"
    exit_code = 2
