"""The record of a job, as stored in job.json."""

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
_MAX_DIFFERENCES: Final = 5
"""Differences listed in an error message."""

_DERIVED: Final = ("state", "started", "ended", "error")


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """An attempt to run a job. It never changes after its state becomes terminal.

    Attributes:
        number: 1 for the first attempt.
        pid: process of the attempt: the launcher while PENDING, then the worker.
        pid_created: seconds from boot to the start of that process; distinguishes processes that reuse a pid.
        host: machine of the process.
        started: time at which the worker started; None before.
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
    """The result of an attempt.

    Attributes:
        state: a terminal state.
        metrics: numbers by name; None for a number that is not finite.
        chosen: values by spec key that the action used in place of the values in the spec.
        artifacts: `kind`, absolute `path` and `sha256` of each output file; a directory has no `sha256`.
        ended: end time, if it differs from the time of recording. uploaded: as in `Job`.
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
    """A run of an action: the request, its attempts and its results. Times are ISO 8601, UTC, with microseconds.

    Attributes:
        parent: id of the parent job; `JOB/3` is trial 3 of a search.
        key: idempotency key; the same key gives the same job.
        upload: S3 prefix to which the job's directory is uploaded when an attempt ends.
        route: `policy`, `route` and `reason`.
        command: the command line as given, without secrets.
        spec: the checked spec, without the values of secret parameters.
        results_dir: output directory of the action, with status.json and progress.json.
        automl: settings of the search, if the route is automl.
        metrics, chosen, artifacts: as in `Ending`.
        uploaded: `uri`, `files` and `bytes` of the last upload, or `uri` and `error` if it failed.
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
        """Start time of the last attempt."""
        return self.attempts[-1].started if self.attempts else None

    @property
    def ended(self) -> str | None:
        """End time of the last attempt."""
        return self.attempts[-1].ended if self.attempts else None

    @property
    def error(self) -> dict[str, Any] | None:
        """Error of the last attempt."""
        return self.attempts[-1].error if self.attempts else None

    @property
    def progress_path(self) -> Path:
        """Path of progress.json."""
        return Path(self.results_dir) / PROGRESS_FILE

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON, including properties derived from the attempts."""
        return asdict(self) | {name: getattr(self, name) for name in _DERIVED}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Job:
        """Build a job from its record; derived properties in the record are ignored.

        Raises:
            ValueError: `record` is not the record of a job.
        """
        job: Job = conform({name: value for name, value in record.items() if name not in _DERIVED}, cls)
        times = (time for attempt in job.attempts for time in (attempt.started, attempt.ended) if time)
        for time in (job.created, *times):
            datetime.fromisoformat(time)  # raises ValueError
        return job


def timestamp(now: datetime) -> str:
    """Format a time as ISO 8601 in UTC with microseconds, which sorts as text."""
    return now.astimezone(UTC).isoformat(timespec="microseconds")


def new_id(action: str, key: str | None = None, *, now: datetime, token: str) -> str:
    """Return the id of a job: derived from the key if there is one, else from the time (UTC) and a random token.

    Raises:
        BadRequest: action or token have characters that an id cannot have.
    """
    if key is not None:
        return check_id(f"{action}-{key_digest(key)}")
    return check_id(f"{action}-{now.astimezone(UTC):%Y%m%d-%H%M%S}-{token}")


def key_digest(key: str) -> str:
    """Return a digest of an idempotency key, of ten hexadecimal characters."""
    from hashlib import blake2b

    return blake2b(key.encode("utf-8"), digest_size=5).hexdigest()


def check_id(job_id: str) -> str:
    """Return a job id unchanged if it is a plain, visible directory name.

    Raises:
        BadRequest: the id has characters by which it could name a path outside the results root.
    """
    if not _ID.fullmatch(job_id):
        raise BadRequest(
            f"job id {job_id!r} is not valid",
            fix="use letters, digits, '.', '_' and '-', starting with a letter or digit",
        )
    return job_id


def check_same_request(existing: Job, requested: Job) -> None:
    """Check that a reused idempotency key has the same request.

    Raises:
        KeyConflict: model, action, parent, upload or spec differ; the message has both values.
    """
    differences = list(_differences(existing, requested))
    if not differences:
        return
    details = "; ".join(differences[:_MAX_DIFFERENCES])
    more = len(differences) - _MAX_DIFFERENCES
    raise KeyConflict(
        f"key {requested.key!r} belongs to job {existing.id}, a different request: {details}"
        + (f"; {more} more" * (more > 0)),
        fix=Fix("use ", Option("key", _next_key(str(requested.key))), ", or repeat the recorded request"),
    )


def _next_key(key: str) -> str:
    """Return a similar key: `night` -> `night-2` -> `night-3`."""
    name, dash, number = key.rpartition("-")
    return f"{name}-{int(number) + 1}" if dash and number.isdecimal() else f"{key}-2"


def resume_hint(job: Job, log: Path) -> str:
    """Return the fix for a job whose process ended early."""
    again = f"with the key {job.key} again to resume it" if job.key is not None else "again"
    return f"read the log {log}, then run the same command {again}"


def _differences(existing: Job, requested: Job) -> Iterator[str]:
    for name in ("key", "model", "action", "parent", "upload"):
        if getattr(existing, name) != getattr(requested, name):
            yield f"{name} is {getattr(existing, name)!r} in the job, {getattr(requested, name)!r} in the request"
    if existing.action != requested.action:
        return
    before, after = dict(_leaves(existing.spec)), dict(_leaves(requested.spec))
    for key in dict.fromkeys((*before, *after)):
        old, new = before.get(key, "absent"), after.get(key, "absent")
        if old != new:
            yield f"{key} is {old} in the job, {new} in the request"


def _leaves(spec: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the dotted key and the JSON text of every parameter."""
    for name, value in spec.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", json.dumps(value, ensure_ascii=False)
