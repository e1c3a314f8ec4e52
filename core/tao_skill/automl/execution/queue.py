"""Work for many processes and machines: tasks in the search's database, claimed by one worker each.

A claim carries a fence, a number that grows each time the task is claimed. Whatever a worker writes names its fence and
has no effect when the task is no longer claimed under it, so a worker that was given up cannot disturb the next one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal

import sqlalchemy as sa

from tao_skill.automl.execution.database import connect, making_tables, patiently
from tao_skill.automl.execution.failures import Failure
from tao_skill.automl.search.search import Task

Stop = Literal["after_rung", "now"]
Clock = Callable[[], float]

LOSSES: Final = 3
"""So many workers may die on a task; then it has failed."""

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
_C: Final = _TASKS.c
_W: Final = _WAITING.c


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """A task that one worker has, until it is done or taken away."""

    id: int
    fence: int
    task: Task


@dataclass(frozen=True, kw_only=True)
class Running:
    """What a worker is at. `beats` counts its signs of life, `progress` is what it last told."""

    id: int
    fence: int
    worker: str
    number: int
    target: int
    beats: int
    progress: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of a task; one of history and failure is there.

    Attributes:
        attempt: as it was put. seconds: time the successful training took.
    """

    id: int
    number: int
    target: int
    attempt: int
    history: Sequence[Mapping[str, float]] | None = None
    seconds: float = 0.0
    failure: Failure | None = None


class Queue:
    """The tasks of one search. The coordinator puts them and takes in results; workers claim them."""

    def __init__(self, url: str, search: str, *, clock: Clock = time.monotonic) -> None:
        self._url = url
        self._search = search
        self._claims, self._waiting = _Watch(clock), _Watch(clock)
        self._engine = connect(url)
        with making_tables(self._engine):
            _METADATA.create_all(self._engine)

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    # The coordinator's side

    def put(self, task: Task, attempt: int = 0) -> bool:
        """Offer a task; False if this attempt at it has been offered before, whatever became of it."""
        row = {
            "search": self._search,
            "number": task.number,
            "target": task.target,
            "attempt": attempt,
            "configuration": json.dumps(dict(task.values)),
        }
        try:
            self._changed(sa.insert(_TASKS).values(row))
        except sa.exc.IntegrityError:
            return False
        return True

    def results(self) -> list[Result]:
        """What came of tasks, in the order they were put; each is there until it is acknowledged."""
        rows = self._rows(sa.select(_TASKS).where(self._mine("done", "failed")).order_by(_C.id))
        return [_result(row) for row in rows]

    def has_results(self) -> bool:
        """Whether something came of a task and is not acknowledged."""
        return bool(self._rows(sa.select(_C.id).where(self._mine("done", "failed")).limit(1)))

    def acknowledge(self, result: Result) -> None:
        """Say that a result is kept and need not be given again."""
        self._changed(sa.update(_TASKS).where(_C.id == result.id).values(state="acknowledged"))

    def running(self) -> list[Running]:
        """Claimed tasks and their workers."""
        columns = (_C.id, _C.fence, _C.worker, _C.number, _C.target, _C.beats, _C.progress)
        rows = self._rows(sa.select(*columns).where(self._mine("claimed")).order_by(_C.id))
        return [Running(**row | {"progress": json.loads(row["progress"] or "{}")}) for row in rows]

    def release(self, worker: str, *, blame: bool = True) -> int:
        """Make the claims of a worker that has died ready again; how many there were.

        Args:
            blame: whether the task may be why it died; after some such deaths it has failed.
        """
        claims = self._mine("claimed") & (_C.worker == worker)
        return self._changed(sa.update(_TASKS).where(claims).values(_lost(worker) if blame else {"state": "ready"}))

    def overdue(self, after_s: float) -> list[Running]:
        """Make claims without a sign of life ready again, and give them back.

        Time is taken by the caller's clock between its looks, so the clocks of machines need not agree.
        """
        running = self.running()
        quiet_s = self._claims.quiet_s({(one.id, one.fence): one.beats for one in running})
        return [one for one in running if quiet_s[one.id, one.fence] > after_s and self._give_up(one)]

    def workers(self, within_s: float) -> set[str]:
        """Names of those that have a task, and of those that wait for one and have lately said so."""
        rows = self._rows(sa.select(_W.worker, _W.beats).where(_W.search == self._search))
        quiet_s = self._waiting.quiet_s({row["worker"]: row["beats"] for row in rows})
        return {one.worker for one in self.running()} | {name for name, age in quiet_s.items() if age <= within_s}

    def stop(self, how: Stop) -> None:
        """Hand out no more; `now` also takes away what is claimed. Workers end when they have nothing left."""
        earlier = sa.delete(_STOPS).where(_STOPS.c.search == self._search)
        self._changed(earlier, sa.insert(_STOPS).values(search=self._search, stop=how))

    def reopen(self) -> None:
        """Hand out tasks again; whoever waits for one has to say so anew."""
        waiting = sa.delete(_WAITING).where(_W.search == self._search)
        self._changed(waiting, sa.delete(_STOPS).where(_STOPS.c.search == self._search))

    # The worker's side

    def claim(self, worker: str) -> Claimed | None:
        """The task that has waited longest, for this worker alone; None if there is none or none is handed out."""
        oldest = sa.select(_C.id).where(self._mine("ready")).order_by(_C.id).limit(1)
        chosen = oldest.with_for_update(skip_locked=True).scalar_subquery()  # left out where the file is locked anyway
        open_ = ~sa.exists().where(_STOPS.c.search == self._search)
        taken = {"state": "claimed", "worker": worker, "fence": _C.fence + 1, "beats": 0, "progress": None}
        update = sa.update(_TASKS).where(_C.id == chosen, _C.state == "ready", open_).values(taken)
        rows = self._rows(update.returning(_C.id, _C.fence, _C.number, _C.target, _C.configuration))
        return _claimed(rows[0]) if rows else None

    def wait(self, worker: str) -> None:
        """Say that a worker is there and has nothing to do."""
        mine = (_W.search == self._search) & (_W.worker == worker)
        if self._changed(sa.update(_WAITING).where(mine).values(beats=_W.beats + 1)) == 0:
            with suppress(sa.exc.IntegrityError):  # it was said, and the answer got lost
                self._changed(sa.insert(_WAITING).values(search=self._search, worker=worker, beats=0))

    def beat(self, claim: Claimed, progress: Mapping[str, Any] | None = None) -> bool:
        """Give a sign of life; False if the worker shall drop the task."""
        told = {} if progress is None else {"progress": json.dumps(dict(progress))}
        update = sa.update(_TASKS).where(_held(claim)).values(beats=_C.beats + 1, **told)
        return self._changed(update) == 1 and self.stopping() != "now"

    def finish(self, claim: Claimed, history: Sequence[Mapping[str, float]], seconds: float) -> bool:
        """Hand in what the training showed; False if the task was taken away, and nothing is changed."""
        return self._hand_in(claim, "done", {"history": [dict(one) for one in history], "seconds": seconds})

    def fail(self, claim: Claimed, failure: Failure) -> bool:
        """Hand in why there is no result; False if the task was taken away, and nothing is changed."""
        return self._hand_in(claim, "failed", {"failure": failure.as_dict()})

    def give_back(self, claim: Claimed) -> bool:
        """Make the task ready for another worker; False if it was taken away."""
        return self._changed(sa.update(_TASKS).where(_held(claim)).values(state="ready")) == 1

    def stopping(self) -> Stop | None:
        """Whether workers shall end, and how soon."""
        rows = self._rows(sa.select(_STOPS.c.stop).where(_STOPS.c.search == self._search))
        return rows[0]["stop"] if rows else None

    def _mine(self, *states: str) -> sa.ColumnElement[bool]:
        return (_C.search == self._search) & _C.state.in_(states)

    def _give_up(self, one: Running) -> bool:
        unchanged = (_C.id == one.id) & (_C.fence == one.fence) & (_C.beats == one.beats) & (_C.state == "claimed")
        return self._changed(sa.update(_TASKS).where(unchanged).values(_lost(one.worker))) == 1

    def _hand_in(self, claim: Claimed, state: str, result: Mapping[str, Any]) -> bool:
        return self._changed(sa.update(_TASKS).where(_held(claim)).values(state=state, result=json.dumps(result))) == 1

    def _changed(self, *statements: sa.Executable) -> int:
        """Rows the last statement changed; all of them take effect or none."""

        def change() -> int:
            with self._engine.begin() as connection:
                return [connection.execute(one).rowcount for one in statements][-1]

        return patiently(self._url, change)

    def _rows(self, statement: sa.Executable) -> list[dict[str, Any]]:
        def read() -> list[dict[str, Any]]:
            with self._engine.begin() as connection:
                return [dict(row) for row in connection.execute(statement).mappings()]

        return patiently(self._url, read)


class _Watch:
    """How long counts have stood still, by the clock of whoever looks."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: dict[Any, tuple[int, float]] = {}

    def quiet_s(self, counts: Mapping[Any, int]) -> dict[Any, float]:
        """Seconds since each count was first seen as it is."""
        now = self._clock()
        before = {key: self._seen.get(key, (count, now)) for key, count in counts.items()}
        self._seen = {key: before[key] if before[key][0] == count else (count, now) for key, count in counts.items()}
        return {key: now - since for key, (_, since) in self._seen.items()}


def _held(claim: Claimed) -> sa.ColumnElement[bool]:
    return (_C.id == claim.id) & (_C.fence == claim.fence) & (_C.state == "claimed")


def _lost(worker: str) -> dict[str, Any]:
    """A task whose worker died: ready again, or failed if it was not the first."""
    message = f"{LOSSES} workers were lost on it, the last one was {worker}"
    failure = Failure(kind="worker lost", message=message, root_cause="worker lost")
    last = _C.losses + 1 >= LOSSES
    return {
        "state": sa.case((last, "failed"), else_="ready"),
        "losses": _C.losses + 1,
        "result": json.dumps({"failure": failure.as_dict()}),
    }


def _claimed(row: Mapping[str, Any]) -> Claimed:
    task = Task(number=row["number"], target=row["target"], values=json.loads(row["configuration"]))
    return Claimed(id=row["id"], fence=row["fence"], task=task)


def _result(row: Mapping[str, Any]) -> Result:
    kept = json.loads(row["result"])
    facts = {name: row[name] for name in ("id", "number", "target", "attempt")}
    if row["state"] == "failed":
        return Result(**facts, failure=Failure.from_dict(kept["failure"]))
    return Result(**facts, history=tuple(kept["history"]), seconds=kept["seconds"])
