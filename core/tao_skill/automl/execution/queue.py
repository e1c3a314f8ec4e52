"""The task queue of a search, in its database, for workers on several machines.

A claim carries a fencing token, which grows each time the task is claimed. Every write of a worker names its token and
has no effect once the task is claimed under another, so a worker that lost its task cannot disturb the next one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal

import sqlalchemy as sa

from tao_skill.automl.execution.database import connect, table_lock, with_retries
from tao_skill.automl.execution.failures import Failure
from tao_skill.automl.search.search import Task

Stop = Literal["after_rung", "now"]
Clock = Callable[[], float]

LOSSES: Final = 3
"""Number of workers lost on a task after which it has failed."""

_METADATA: Final = sa.MetaData()
_TASKS: Final = sa.Table(
    "tao_skill_tasks",
    _METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("search", sa.String(512), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("target", sa.Integer, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("configuration", sa.Text, nullable=False),
    sa.Column("state", sa.String(16), nullable=False, default="ready"),
    sa.Column("worker", sa.String(512)),
    sa.Column("fence", sa.Integer, nullable=False, default=0),
    sa.Column("beats", sa.Integer, nullable=False, default=0),
    sa.Column("progress", sa.Text),
    sa.Column("losses", sa.Integer, nullable=False, default=0),
    sa.Column("result", sa.Text),
    sa.UniqueConstraint("search", "number", "target", "attempt"),
)
_STOPS: Final = sa.Table(
    "tao_skill_stops",
    _METADATA,
    sa.Column("search", sa.String(512), primary_key=True),
    sa.Column("stop", sa.String(16), nullable=False),
)
_WAITING: Final = sa.Table(
    "tao_skill_waiting",
    _METADATA,
    sa.Column("search", sa.String(512), primary_key=True),
    sa.Column("worker", sa.String(512), primary_key=True),
    sa.Column("beats", sa.Integer, nullable=False),
)
_TASK: Final = _TASKS.c
_WAITER: Final = _WAITING.c


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """A task claimed by one worker. fence: fencing token of the claim."""

    id: int
    fence: int
    task: Task


@dataclass(frozen=True, kw_only=True)
class Running:
    """A claimed task and its worker. beats: number of heartbeats. progress: reported with the last heartbeat."""

    id: int
    fence: int
    worker: str
    number: int
    target: int
    beats: int
    progress: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of a task: a history or a failure.

    Attributes:
        attempt: number of failed attempts before it. seconds: duration of a successful training.
    """

    id: int
    number: int
    target: int
    attempt: int
    history: Sequence[Mapping[str, float]] | None = None
    seconds: float = 0.0
    failure: Failure | None = None


class Queue:
    """The tasks of one search. The coordinator puts tasks and reads results; workers claim tasks."""

    def __init__(self, url: str, search: str, *, clock: Clock = time.monotonic) -> None:
        self._url = url
        self._search = search
        self._claims, self._waiting = _StallClock(clock), _StallClock(clock)
        self._engine = connect(url)
        with table_lock(self._engine):
            _METADATA.create_all(self._engine)

    def close(self) -> None:
        """Close the database."""
        self._engine.dispose()

    # Coordinator

    def put(self, task: Task, attempt: int = 0) -> bool:
        """Add a task; False if this attempt at it was added before.

        A result of it that is acknowledged is returned again: the journal has lost it.
        """
        row = {
            "search": self._search,
            "number": task.number,
            "target": task.target,
            "attempt": attempt,
            "configuration": json.dumps({"values": dict(task.values), "limit_s": task.limit_s}),
        }
        try:
            self._changed(sa.insert(_TASKS).values(row))
        except sa.exc.IntegrityError:
            same = sa.and_(*(_TASK[name] == row[name] for name in ("number", "target", "attempt")))
            self._changed(sa.update(_TASKS).where(self._in_state("acknowledged") & same).values(state="done"))
            return False
        return True

    def results(self) -> list[Result]:
        """Results that are not acknowledged, in the order of their tasks."""
        rows = self._rows(sa.select(_TASKS).where(self._in_state("done", "failed")).order_by(_TASK.id))
        return [_result(row) for row in rows]

    def has_results(self) -> bool:
        """Whether there are results that are not acknowledged."""
        return bool(self._rows(sa.select(_TASK.id).where(self._in_state("done", "failed")).limit(1)))

    def acknowledge(self, result: Result) -> None:
        """Mark a result as stored, so that it is not returned again."""
        self._changed(sa.update(_TASKS).where(_TASK.id == result.id).values(state="acknowledged"))

    def running(self) -> list[Running]:
        """Claimed tasks and their workers."""
        columns = (_TASK.id, _TASK.fence, _TASK.worker, _TASK.number, _TASK.target, _TASK.beats, _TASK.progress)
        rows = self._rows(sa.select(*columns).where(self._in_state("claimed")).order_by(_TASK.id))
        return [Running(**row | {"progress": json.loads(row["progress"] or "{}")}) for row in rows]

    def release(self, worker: str, *, blame: bool = True) -> int:
        """Release the claims of a worker that has died; the number of claims.

        Args:
            blame: whether the task may be the cause; after LOSSES such deaths it has failed.
        """
        claims = self._in_state("claimed") & (_TASK.worker == worker)
        return self._changed(sa.update(_TASKS).where(claims).values(_lost(worker) if blame else {"state": "ready"}))

    def overdue(self, after_s: float) -> list[Running]:
        """Release claims without a heartbeat for `after_s`, and return them.

        The time is measured on the caller's clock between its calls, so the clocks of machines need not agree.
        """
        running = self.running()
        stalled_s = self._claims.stalled_s({(claim.id, claim.fence): claim.beats for claim in running})
        return [claim for claim in running if stalled_s[claim.id, claim.fence] > after_s and self._take_away(claim)]

    def workers(self, within_s: float) -> set[str]:
        """Names of workers that have a task, or wait for one and sent a heartbeat within `within_s`."""
        rows = self._rows(sa.select(_WAITER.worker, _WAITER.beats).where(_WAITER.search == self._search))
        stalled_s = self._waiting.stalled_s({row["worker"]: row["beats"] for row in rows})
        waiting = {name for name, seconds in stalled_s.items() if seconds <= within_s}
        return waiting | {claim.worker for claim in self.running()}

    def stop(self, how: Stop) -> None:
        """Give out no more tasks; `now` also takes claimed tasks away. Workers without a task then end."""
        earlier = sa.delete(_STOPS).where(_STOPS.c.search == self._search)
        self._changed(earlier, sa.insert(_STOPS).values(search=self._search, stop=how))

    def reopen(self) -> None:
        """Give out tasks again, and forget the waiting workers."""
        waiting = sa.delete(_WAITING).where(_WAITER.search == self._search)
        self._changed(waiting, sa.delete(_STOPS).where(_STOPS.c.search == self._search))

    # Worker

    def claim(self, worker: str) -> Claimed | None:
        """Claim the oldest task; None if there is none, or if the queue is stopped."""
        oldest = sa.select(_TASK.id).where(self._in_state("ready")).order_by(_TASK.id).limit(1)
        chosen = oldest.with_for_update(
            skip_locked=True
        ).scalar_subquery()  # SQLite ignores this, as it locks the whole file
        is_open = ~sa.exists().where(_STOPS.c.search == self._search)
        claimed = {"state": "claimed", "worker": worker, "fence": _TASK.fence + 1, "beats": 0, "progress": None}
        update = sa.update(_TASKS).where(_TASK.id == chosen, _TASK.state == "ready", is_open).values(claimed)
        rows = self._rows(update.returning(_TASK.id, _TASK.fence, _TASK.number, _TASK.target, _TASK.configuration))
        return _claimed(rows[0]) if rows else None

    def wait(self, worker: str) -> None:
        """Send the heartbeat of a worker that waits for a task."""
        row = (_WAITER.search == self._search) & (_WAITER.worker == worker)
        if self._changed(sa.update(_WAITING).where(row).values(beats=_WAITER.beats + 1)) == 0:
            with suppress(sa.exc.IntegrityError):  # a repeated insert whose first answer was lost
                self._changed(sa.insert(_WAITING).values(search=self._search, worker=worker, beats=0))

    def beat(self, claim: Claimed, progress: Mapping[str, Any] | None = None) -> bool:
        """Send a heartbeat; False if the worker must drop the task."""
        values = {} if progress is None else {"progress": json.dumps(dict(progress))}
        update = sa.update(_TASKS).where(_is_claimed(claim)).values(beats=_TASK.beats + 1, **values)
        return self._changed(update) == 1 and self.stopping() != "now"

    def finish(self, claim: Claimed, history: Sequence[Mapping[str, float]], seconds: float) -> bool:
        """Submit the result of a training; False, without effect, if the task was taken away."""
        return self._submit(claim, "done", {"history": [dict(metrics) for metrics in history], "seconds": seconds})

    def fail(self, claim: Claimed, failure: Failure) -> bool:
        """Submit a failure; False, without effect, if the task was taken away."""
        return self._submit(claim, "failed", {"failure": failure.as_dict()})

    def give_back(self, claim: Claimed) -> bool:
        """Release the task for another worker; False if it was taken away."""
        return self._changed(sa.update(_TASKS).where(_is_claimed(claim)).values(state="ready")) == 1

    def stopping(self) -> Stop | None:
        """How workers must stop; None while they continue."""
        rows = self._rows(sa.select(_STOPS.c.stop).where(_STOPS.c.search == self._search))
        return rows[0]["stop"] if rows else None

    def _in_state(self, *states: str) -> sa.ColumnElement[bool]:
        return (_TASK.search == self._search) & _TASK.state.in_(states)

    def _take_away(self, claim: Running) -> bool:
        unchanged = _is_claimed(claim) & (_TASK.beats == claim.beats)
        return self._changed(sa.update(_TASKS).where(unchanged).values(_lost(claim.worker))) == 1

    def _submit(self, claim: Claimed, state: str, result: Mapping[str, Any]) -> bool:
        return (
            self._changed(sa.update(_TASKS).where(_is_claimed(claim)).values(state=state, result=json.dumps(result)))
            == 1
        )

    def _changed(self, *statements: sa.Executable) -> int:
        """Execute statements in one transaction; the number of rows that the last one changed."""

        def change() -> int:
            with self._engine.begin() as connection:
                return [connection.execute(statement).rowcount for statement in statements][-1]

        return with_retries(self._url, change)

    def _rows(self, statement: sa.Executable) -> list[dict[str, Any]]:
        def read() -> list[dict[str, Any]]:
            with self._engine.begin() as connection:
                return [dict(row) for row in connection.execute(statement).mappings()]

        return with_retries(self._url, read)


class _StallClock:
    """Measures how long counters have not changed, on the clock of the caller."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: dict[Any, tuple[int, float]] = {}

    def stalled_s(self, counts: Mapping[Any, int]) -> dict[Any, float]:
        """Seconds since each counter was first seen with its present value."""
        now = self._clock()
        before = {key: self._seen.get(key, (count, now)) for key, count in counts.items()}
        self._seen = {key: before[key] if before[key][0] == count else (count, now) for key, count in counts.items()}
        return {key: now - since for key, (_, since) in self._seen.items()}


def _is_claimed(claim: Claimed | Running) -> sa.ColumnElement[bool]:
    return (_TASK.id == claim.id) & (_TASK.fence == claim.fence) & (_TASK.state == "claimed")


def _lost(worker: str) -> dict[str, Any]:
    """Column values of a task whose worker was lost: ready again, or failed after LOSSES workers."""
    message = f"{LOSSES} workers were lost on this task, the last was {worker}"
    failure = Failure(kind="worker lost", message=message, root_cause="worker lost")
    is_last = _TASK.losses + 1 >= LOSSES
    return {
        "state": sa.case((is_last, "failed"), else_="ready"),
        "losses": _TASK.losses + 1,
        "result": json.dumps({"failure": failure.as_dict()}),
    }


def _claimed(row: Mapping[str, Any]) -> Claimed:
    task = Task(number=row["number"], target=row["target"], **json.loads(row["configuration"]))
    return Claimed(id=row["id"], fence=row["fence"], task=task)


def _result(row: Mapping[str, Any]) -> Result:
    result = json.loads(row["result"])
    facts = {name: row[name] for name in ("id", "number", "target", "attempt")}
    if "failure" in result:
        return Result(**facts, failure=Failure.from_dict(result["failure"]))
    return Result(**facts, history=tuple(result["history"]), seconds=result["seconds"])
