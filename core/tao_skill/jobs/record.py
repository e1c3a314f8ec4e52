"""The record of a job: plain data, as it lies in job.json."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, get_args

from tao_skill.errors import BadRequest, Fix, KeyConflict, Option
from tao_skill.io.strict_json import conform
from tao_skill.status import PROGRESS_FILE

State = Literal["PENDING", "RUNNING", "COMPLETE", "ERROR", "CANCELED"]
TERMINAL: Final[frozenset[State]] = frozenset({"COMPLETE", "ERROR", "CANCELED"})
INTERRUPTED: Final = 130

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_DIFFERENCES_SHOWN: Final = 5
_DERIVED: Final = ("state", "started", "ended", "error")


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One process that runs, or ran, a job. Once its state is terminal it never changes.

    Attributes:
        number: 1 for the first attempt.
        pid: process that answers for it: the launcher while PENDING, then the worker.
        pid_created: seconds from boot to the start of that process; tells it from a later one with the same pid.
        host: machine the pid belongs to.
        started: when the worker began; None before.
        error: `code`, `message` and `fix`, when the state is ERROR.
    """

    number: int
    state: State
    pid: int
    pid_created: float
    host: str
    started: str | None = None
    ended: str | None = None
    exit_code: int | None = None
    error: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.state not in get_args(State):
            raise ValueError(f"state is {self.state!r}, not one of {', '.join(get_args(State))}")


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How an attempt ended.

    Attributes:
        state: one of the terminal states.
        metrics: finite numbers or None by name, kept in the record when given.
        chosen: values by spec key that the result was made with instead of the spec's own.
        artifacts: `kind` and absolute `path` of each file left behind, and its `sha256`; of a folder none.
        ended: when, if that is not the moment it is recorded. uploaded: as in a job.
    """

    state: State
    exit_code: int | None
    error: dict[str, Any] | None = None
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    chosen: Mapping[str, Any] = field(default_factory=dict)
    artifacts: tuple[dict[str, str], ...] = ()
    ended: str | None = None
    uploaded: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Job:
    """A request and everything that became of it. Times are ISO 8601, UTC, with microseconds.

    Attributes:
        parent: id of the job this one builds on; `JOB/3` is trial 3 of a search.
        key: idempotency key; the same key gives the same job.
        upload: S3 prefix under which the job's folder is uploaded when an attempt ends.
        route: `policy`, `route` and `reason`.
        command: the call as it was written, without secrets.
        spec: the checked spec, without the values of secret parameters.
        results_dir: where the action writes; status.json and progress.json lie there.
        automl: settings of the search, where the route is automl.
        artifacts: as in an ending.
        chosen: values by spec key that the result was made with instead of the spec's own.
        uploaded: `uri`, `files` and `bytes` of the last upload, or `uri` and the `error` that stopped it.
    """

    id: str
    model: str
    action: str
    parent: str | None = None
    key: str | None = None
    upload: str | None = None
    route: dict[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    spec: dict[str, Any] = field(default_factory=dict)
    results_dir: str
    created: str
    attempts: tuple[Attempt, ...] = ()
    cancel_requested: bool = False
    automl: dict[str, Any] | None = None
    metrics: dict[str, float | None] = field(default_factory=dict)
    chosen: dict[str, Any] = field(default_factory=dict)
    artifacts: tuple[dict[str, str], ...] = ()
    uploaded: dict[str, Any] | None = None

    @property
    def state(self) -> State:
        """State of the last attempt; PENDING before the first."""
        return self.attempts[-1].state if self.attempts else "PENDING"

    @property
    def started(self) -> str | None:
        """When the last attempt began to run."""
        return self.attempts[-1].started if self.attempts else None

    @property
    def ended(self) -> str | None:
        """When the last attempt ended."""
        return self.attempts[-1].ended if self.attempts else None

    @property
    def error(self) -> dict[str, Any] | None:
        """Error of the last attempt."""
        return self.attempts[-1].error if self.attempts else None

    @property
    def progress_path(self) -> Path:
        """Where the running action leaves its newest progress."""
        return Path(self.results_dir) / PROGRESS_FILE

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON, the derived facts included for its readers."""
        return asdict(self) | {name: getattr(self, name) for name in _DERIVED}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Job:
        """Rebuild a job; the derived facts are read from the attempts.

        Raises:
            ValueError: `record` is not a job's.
        """
        job: Job = conform({name: value for name, value in record.items() if name not in _DERIVED}, cls)
        for moment in (job.created, *(one for attempt in job.attempts for one in (attempt.started, attempt.ended))):
            datetime.fromisoformat(moment or job.created)
        return job


def timestamp(now: datetime) -> str:
    """ISO 8601 in UTC with microseconds: sorts as text."""
    return now.astimezone(UTC).isoformat(timespec="microseconds")


def new_id(action: str, key: str | None = None, *, now: datetime, token: str) -> str:
    """Choose the id of a job: fixed by the key if there is one, else by the time (UTC) and a few random characters.

    Raises:
        BadRequest: action or token hold characters that an id must not.
    """
    if key is not None:
        return check_id(f"{action}-{key_digest(key)}")
    return check_id(f"{action}-{now.astimezone(UTC):%Y%m%d-%H%M%S}-{token}")


def key_digest(key: str) -> str:
    """Ten hexadecimal characters that stand for an idempotency key."""
    from hashlib import blake2b

    return blake2b(key.encode("utf-8"), digest_size=5).hexdigest()


def check_id(job_id: str) -> str:
    """Give back an id that names a folder directly under the root and nothing else.

    Raises:
        BadRequest: it could leave the root or hide in it.
    """
    if not _ID.fullmatch(job_id):
        raise BadRequest(
            f"job id {job_id!r} is not accepted",
            fix="use letters, digits, '.', '_' and '-', starting with a letter or digit",
        )
    return job_id


def refuse_conflict(existing: Job, wanted: Job) -> None:
    """Make sure that a key is used again for the same request.

    Raises:
        KeyConflict: model, action, parent or spec differ; names what differs, with both values.
    """
    differences = list(_differences(existing, wanted))
    if not differences:
        return
    shown = "; ".join(differences[:_DIFFERENCES_SHOWN])
    more = len(differences) - _DIFFERENCES_SHOWN
    raise KeyConflict(
        f"key {wanted.key!r} belongs to job {existing.id}, another request: {shown}" + (f"; {more} more" * (more > 0)),
        fix=Fix("use ", Option("key", _another(str(wanted.key))), ", or repeat the request as it was recorded"),
    )


def _another(key: str) -> str:
    """A key like this one: `night` -> `night-2` -> `night-3`."""
    name, dash, number = key.rpartition("-")
    return f"{name}-{int(number) + 1}" if dash and number.isdecimal() else f"{key}-2"


def resume_hint(job: Job, log: Path) -> str:
    """What to do about a job whose process ended early."""
    again = f"with the key {job.key} again to resume it" if job.key is not None else "again"
    return f"read the log {log}, then run the same command {again}"


def _differences(existing: Job, wanted: Job) -> Iterator[str]:
    for name in ("key", "model", "action", "parent", "upload"):
        if getattr(existing, name) != getattr(wanted, name):
            yield f"{name} is {getattr(existing, name)!r} there, {getattr(wanted, name)!r} here"
    if existing.action != wanted.action:
        return
    before, after = dict(_leaves(existing.spec)), dict(_leaves(wanted.spec))
    for key in dict.fromkeys((*before, *after)):
        old, new = before.get(key, "absent"), after.get(key, "absent")
        if old != new:
            yield f"{key} is {old} there, {new} here"


def _leaves(spec: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted key and JSON text of every leaf: what a record keeps of it."""
    for name, value in spec.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", json.dumps(value, ensure_ascii=False)
