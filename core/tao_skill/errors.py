"""Expected errors: each has a code, a one-line message, a fix and an exit code."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NamedTuple

_NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

UNWRITABLE: Final = (
    *_NO_SPACE,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
)
"""`errno` values of a path that cannot be written."""


class Option(NamedTuple):
    """A command-line option, or the tool argument of the same name, with a suggested value."""

    name: str
    value: str = ""


class Command(NamedTuple):
    """A command to run, or the tool that does the same, with its arguments."""

    verb: str
    arguments: str = ""


class Fix(str):
    """The correction of an error, as text for the command line. `render` formats its parts for other clients.

    Attributes:
        parts: text, options and commands in order.
    """

    parts: tuple[str | Option | Command, ...]

    def __new__(cls, *parts: str | Option | Command) -> Fix:
        """Join parts; a `Fix` among them is flattened."""
        flat = tuple(item for part in parts for item in (part.parts if isinstance(part, Fix) else (part,)))
        fix = super().__new__(cls, _render(flat, _for_command_line))
        fix.parts = flat
        return fix

    @classmethod
    def all_of(cls, fixes: Iterable[str]) -> Fix:
        """Join several fixes, all of which are needed."""
        parts = [part for fix in dict.fromkeys(fixes) for part in ("; ", fix)]
        return cls(*parts[1:])

    def render(self, format_part: Callable[[Option | Command], str]) -> str:
        """Return the text with options and commands formatted by `format_part`."""
        return _render(self.parts, format_part)


def _render(parts: Iterable[str | Option | Command], format_part: Callable[[Option | Command], str]) -> str:
    return _printable("".join(part if isinstance(part, str) else format_part(part) for part in parts))


def _for_command_line(part: Option | Command) -> str:
    if isinstance(part, Command):
        return f"tao-skill {part.verb} {part.arguments}".rstrip()
    return f"--{part.name.replace('_', '-')} {part.value}".rstrip()


class TaoSkillError(Exception):
    """Base class of all expected errors.

    Attributes:
        code: stable machine-readable name, part of the JSON contract.
        exit_code: process exit status: 1 job failed, 2 bad request, 3 not found, 4 dependency or device missing.
        fix: the change after which the same call succeeds.
        path: the file or spec key concerned, if any.
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, fix: str, path: str | None = None) -> None:
        self.message, self.fix = _printable(message), fix if isinstance(fix, Fix) else Fix(fix)
        self.path = None if path is None else _printable(path)
        super().__init__(self.message)

    def as_dict(self) -> dict[str, Any]:
        """Return the `error` object of the JSON contract."""
        document: dict[str, Any] = {"code": self.code, "message": self.message, "fix": self.fix}
        if self.path is not None:
            document["path"] = self.path
        return document


def _printable(text: str) -> str:
    """Escape lone surrogates: a message may quote file names and file contents that are not valid Unicode."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class BadRequest(TaoSkillError):
    """The request is not valid."""

    code = "bad_request"
    exit_code = 2


class BadData(BadRequest):
    """An array, label file, checkpoint or other input file cannot be used."""

    code = "bad_data"


class CannotWrite(BadRequest):
    """A file or directory cannot be written; its previous content is unchanged."""

    code = "cannot_write"

    @classmethod
    def because(cls, error: OSError, path: str | None = None) -> CannotWrite:
        """Convert an operating system error; `path` replaces the file name it carries."""
        place = path or str(error.filename or "the results")
        if error.errno == errno.ENAMETOOLONG:
            return cls(f"{place[:80]}... is longer than a path can be", fix="use a shorter name", path=place[:80])
        fix = "use a path that can be written"
        if error.errno in _NO_SPACE:
            fix = "free disk space and run again with the same key, or set results_dir to a path on another disk"
        return cls(f"{place} cannot be written: {error.strerror or error}", fix=fix, path=place)


class OutsideRoots(BadRequest):
    """A path is outside the root directories of a server."""

    code = "outside_roots"


class KeyConflict(BadRequest):
    """An idempotency key already belongs to a different request."""

    code = "key_conflict"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """An error in a spec.

    Attributes:
        key: dotted path of the spec key, e.g. `train.optim.lr`.
        message: the key, the value received and the accepted values.
        fix: the value to set.
    """

    key: str
    message: str
    fix: str


class SpecError(BadRequest):
    """A spec has errors; all of them are reported at once."""

    code = "bad_spec"

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(
            "\n".join(problem.message for problem in problems),
            fix=Fix.all_of(problem.fix for problem in problems),
            path=problems[0].key,
        )
        self.problems = tuple(problems)

    def as_dict(self) -> dict[str, Any]:
        """Return the `error` object with every problem."""
        problems = [{"path": p.key, "message": p.message, "fix": p.fix} for p in self.problems]
        return super().as_dict() | {"problems": problems}


class NotFound(TaoSkillError):
    """A model, action, job or file does not exist."""

    code = "not_found"
    exit_code = 3


class MissingDependency(TaoSkillError):
    """A required package, extra or device is not available."""

    code = "missing_dependency"
    exit_code = 4


class JobFailed(TaoSkillError):
    """A job ended in state ERROR; its record and log have the cause."""

    code = "job_failed"


class BadState(TaoSkillError):
    """The state of a job does not allow the operation."""

    code = "bad_state"
    exit_code = 2
