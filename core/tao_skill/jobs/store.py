"""Job folders: `<root>/<id>/job.json`, written atomically, changed only under a lock.

An attempt always names the process that answers for it. The process that opens a job, or claims a further attempt,
holds it as PENDING; it hands it over to the worker it spawned; the worker makes it RUNNING and closes it. Whichever of
them dies, the next reader finds a live state without its process and closes the attempt.
"""

from __future__ import annotations

import os
from bisect import insort
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tao_skill.errors import UNWRITABLE, BadData, BadRequest, BadState, CannotWrite, Command, Fix, NotFound
from tao_skill.io import atomic
from tao_skill.io.strict_json import read_json, truncate
from tao_skill.jobs.process import is_alive, is_mine, process_created, signal_name, this_host, this_process
from tao_skill.jobs.record import (
    INTERRUPTED,
    TERMINAL,
    Attempt,
    Ending,
    Job,
    check_id,
    key_digest,
    refuse_conflict,
    resume_hint,
    timestamp,
)

RECORD_FILE: Final = "job.json"
LOG_FILE: Final = "log.txt"
_LOCK: Final = ".lock"
_STAGING: Final = ".new-"
_CLOCKS_S: Final = 2.0
"""How far the clock of a file system may lie behind ours."""


class Store:
    """The jobs under one results root."""

    def __init__(
        self,
        root: Path,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        allows: Callable[[Path], bool] = lambda record: True,
    ) -> None:
        """The jobs under `root`, of which those are seen whose record `allows` accepts."""
        self.root = root.absolute()
        self._clock = clock
        self._allows = allows

    def folder(self, job_id: str) -> Path:
        """Folder of a job, directly under the root.

        Raises:
            BadRequest: the id could leave the root.
        """
        return self.root / check_id(job_id)

    def log_path(self, job_id: str) -> Path:
        """Everything the job's processes print."""
        return self.folder(job_id) / LOG_FILE

    def open(self, job: Job) -> tuple[Job, bool]:
        """Create folder and record in one step, the first attempt held by this process; True if this call created them.

        Simultaneous calls with one key give one job: the first creates it, the others get it and False.

        Raises:
            BadRequest: the id could leave the root.
            BadState: without a key, the id is taken.
            KeyConflict: the key stands for another request.
            BadData: the record that the key stands for cannot be read.
        """
        folder = self.folder(job.id)
        self.root.mkdir(parents=True, exist_ok=True)
        with self.locked():
            known = self._with_key(job.key)
            if known is None and not folder.exists():
                opened = _with_attempt(job)
                self._create(folder, opened)
                return opened, True
        if known is None:
            raise BadState(f"{folder} exists already", fix="move it away, or choose another id", path=str(folder))
        existing = self._read(known)
        refuse_conflict(existing, job)
        return self._fresh(existing), False

    def find(self, ref: str) -> tuple[Store, Job]:
        """The job of an id, a unique prefix, `latest`, `latest:ACTION` or the path of a job folder, and its store.

        Raises:
            NotFound: there is none.
            BadRequest: a prefix fits several jobs.
            BadData: its record cannot be read.
        """
        home, job_id = self.locate(ref)
        return home, home._fresh(home._read(home.root / job_id))

    def locate(self, ref: str) -> tuple[Store, str]:
        """The store and the id of the job that `find` finds, without a look whether its process lives.

        Raises:
            As `find`.
        """
        if os.sep in ref or ref in {".", ".."}:
            folder = Path(ref).resolve()
            home = Store(folder.parent, clock=self._clock, allows=self._allows)
        else:
            folder, home = self._named(ref), self
        return home, folder.name

    def get(self, ref: str) -> Job:
        """The job that `find` finds."""
        return self.find(ref)[1]

    def recorded(self, job_id: str) -> Job:
        """The job as its record stands, without a look whether its process lives."""
        return self._read(self.folder(job_id))

    def newest(self, begun: str = "") -> Iterator[Job]:
        """Every job with a readable record whose id begins so, newest first; records are read as they are asked for."""
        for job in self._recorded(begun):
            with suppress(BadData, NotFound):  # just now removed, or damaged
                yield self._fresh(job)

    def _recorded(self, begun: str) -> Iterator[Job]:
        """The same, as their records stand."""
        waiting: list[tuple[float, str, Job]] = []
        for written, name in sorted(self._written(begun), reverse=True):
            while waiting and waiting[-1][0] >= written + _CLOCKS_S:  # no job is younger than its record
                yield waiting.pop()[-1]
            try:
                job = self._read(self.root / name)
            except (BadData, NotFound):  # `get` says what is wrong with it; the others are still shown
                continue
            insort(waiting, (datetime.fromisoformat(job.created).timestamp(), job.id, job))
        yield from (job for *_, job in reversed(waiting))

    def ids(self) -> Sequence[str]:
        """The id of every job, those with an unreadable record included."""
        return [name for name in self._names() if self._has_record(self.root / name)]

    def locked(self) -> AbstractContextManager[Any]:
        """Keep other processes from opening and removing jobs in the block."""
        from filelock import FileLock

        return FileLock(self.root / _LOCK)

    def count(self) -> int:
        """How many jobs there are, those with an unreadable record included."""
        return sum(1 for _ in self._written())

    def claim(self, job_id: str) -> Job:
        """Hold the next attempt for this process, as PENDING; a claim it holds already is given back.

        Raises:
            BadState: the job is COMPLETE, or another process holds or runs it.
            NotFound, BadData: there is no such job, or its record cannot be read.
        """
        return self._update(job_id, self._claimed)

    def hand_over(self, job_id: str, number: int, pid: int) -> Job:
        """Let the process `pid` answer for an attempt that is still PENDING."""
        created = process_created(pid)
        return self._update(
            job_id,
            lambda job: _with_last(job, pid=pid, pid_created=created) if _is_pending(job, number) else job,
        )

    def begin_attempt(self, job_id: str, number: int) -> Job:
        """Make the claimed attempt RUNNING in this process.

        Raises:
            BadState: the attempt was closed, or another process runs it.
        """

        def begin(job: Job) -> Job:
            if not _is_pending(job, number):
                raise BadState(
                    f"attempt {number} of job {job.id} cannot begin: the job is {job.state}",
                    fix=Fix(Command("jobs show", job.id)),
                )
            return _with_last(job, state="RUNNING", started=timestamp(self._clock()), **this_process())

        return self._update(job_id, begin)

    def close_attempt(self, job_id: str, number: int, ending: Ending) -> Job:
        """End an attempt; one that has ended stays as it is. An ERROR after a cancel request counts as CANCELED."""
        return self._update(job_id, lambda job: self._closed(job, number, ending))

    def foresee(self, job_id: str, number: int, ending: Ending) -> Job:
        """The record as `close_attempt` would leave it; nothing is written."""
        return self._closed(self._read(self.folder(job_id)), number, ending)

    def note_upload(self, job_id: str, uploaded: dict[str, Any]) -> Job:
        """Record what came of an upload after the job's end."""
        return self._update(job_id, lambda job: replace(job, uploaded=uploaded))

    def request_cancel(self, job_id: str) -> Job:
        """Note that the job shall stop; one that has not begun is CANCELED at once.

        Raises:
            BadState: the job has ended, or runs on another machine.
        """
        return self._update(job_id, self._cancel_requested)

    def reconcile(self, job_id: str, exit_code: int | None = None) -> Job:
        """Close the last attempt if its process is gone from this machine; `exit_code` is what is known of its end."""
        return self._update(job_id, lambda job: self._settled(job, exit_code))

    def _claimed(self, job: Job) -> Job:
        job = self._settled(job, None)
        if job.state == "COMPLETE":
            raise BadState(f"job {job.id} is COMPLETE", fix="use its result, or start a new job with another key")
        if not job.attempts or job.state in TERMINAL:
            return replace(_with_attempt(job), cancel_requested=False)
        last = job.attempts[-1]
        if last.state == "PENDING" and is_mine(last):
            return job
        raise BadState(
            f"job {job.id} is {job.state} in process {last.pid} on {last.host}",
            fix=Fix(Command("jobs wait", job.id), ", or ", Command("jobs cancel", job.id)),
        )

    def _cancel_requested(self, job: Job) -> Job:
        job = self._settled(job, None)
        if job.state in TERMINAL:
            raise BadState(f"job {job.id} is {job.state} and cannot be canceled", fix="nothing is left to cancel")
        job = job if job.attempts else _with_attempt(job)
        last = job.attempts[-1]
        if last.host != this_host():
            raise BadState(
                f"job {job.id} runs on {last.host}, not on this machine",
                fix=f"cancel it on {last.host}; if that machine is gone, start a new job with another key",
            )
        job = replace(job, cancel_requested=True)
        if last.state == "PENDING":
            return self._closed(job, last.number, Ending(state="CANCELED", exit_code=INTERRUPTED))
        return job

    def _settled(self, job: Job, exit_code: int | None) -> Job:
        if job.state in TERMINAL or not job.attempts or is_alive(job.attempts[-1]):
            return job
        error = self._death(job, exit_code)
        return self._closed(job, len(job.attempts), Ending(state="ERROR", exit_code=exit_code, error=error))

    def _closed(self, job: Job, number: int, ending: Ending) -> Job:
        if number != len(job.attempts) or job.state in TERMINAL:
            return job
        if job.cancel_requested and ending.state == "ERROR":
            ending = replace(ending, state="CANCELED", exit_code=INTERRUPTED, error=None)
        ended = _with_last(
            job,
            state=ending.state,
            exit_code=ending.exit_code,
            error=ending.error,
            ended=ending.ended or timestamp(self._clock()),
        )
        return replace(
            ended,
            metrics=dict(ending.metrics),
            chosen=dict(ending.chosen),
            artifacts=ending.artifacts,
            uploaded=ending.uploaded,
        )

    def _death(self, job: Job, exit_code: int | None) -> dict[str, Any]:
        last = job.attempts[-1]
        how = f" ({signal_name(-exit_code)})" if exit_code is not None and exit_code < 0 else ""
        what = "while the job was running" if last.state == "RUNNING" else "before the job began"
        return {
            "code": "process_died",
            "message": f"process {last.pid} ended{how} {what} and left no result",
            "fix": resume_hint(job, self.log_path(job.id)),
        }

    def _fresh(self, job: Job) -> Job:
        if job.state in TERMINAL or not job.attempts or is_alive(job.attempts[-1]):
            return job
        try:
            return self.reconcile(job.id)
        except OSError as error:  # what happened can be told on a full or read-only disk, too
            if error.errno not in UNWRITABLE:
                raise
        except CannotWrite:
            pass
        return self._settled(job, None)

    def _update(self, job_id: str, change: Callable[[Job], Job]) -> Job:
        from filelock import FileLock

        folder = self.folder(job_id)
        self._require(folder)
        with FileLock(folder / _LOCK):
            job = self._read(folder)
            changed = change(job)
            if changed != job:
                atomic.write_json(folder / RECORD_FILE, changed.to_dict())
            return changed

    def _create(self, folder: Path, job: Job) -> None:
        import shutil
        import tempfile

        for left in self.root.glob(f"{_STAGING}*"):  # by processes that were killed; we have the lock
            shutil.rmtree(left)
        staging = Path(tempfile.mkdtemp(dir=self.root, prefix=_STAGING))
        try:
            staging.chmod(0o755)
            atomic.write_json(staging / RECORD_FILE, job.to_dict())
            staging.rename(folder)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        atomic.sync_folder(self.root)

    def _read(self, folder: Path) -> Job:
        path = self._require(folder)
        what, fix = "a readable job record", f"restore {RECORD_FILE}, or move the folder {folder} away"
        record = read_json(path, dict[str, Any], what=what, fix=fix)
        try:
            job = Job.from_dict(record)
            if job.id != folder.name:
                raise ValueError(f"it is the record of job {truncate(job.id)}, in a folder called {folder.name!r}")
        except ValueError as error:
            raise BadData(f"{path} is not {what}: {error}", fix=fix, path=str(path)) from error
        return job

    def _require(self, folder: Path) -> Path:
        path = folder / RECORD_FILE
        if not self._has_record(folder):
            raise NotFound(
                f"no job {folder.name!r} in {folder.parent}", fix=Fix("see ", Command("jobs list")), path=str(path)
            )
        return path

    def _named(self, ref: str) -> Path:
        if ref.split(":", 1)[0] == "latest":
            return self._latest(ref)
        if self._has_record(self.root / ref):
            return self.root / ref
        names = [name for name in self._names() if name.startswith(ref) and self._has_record(self.root / name)]
        if len(names) > 1:
            raise BadRequest(f"{ref!r} fits several jobs: {', '.join(names)}", fix="give more of the id")
        return self.root / (names[0] if len(names) == 1 else ref)

    def _latest(self, ref: str) -> Path:
        _, _, action = ref.partition(":")
        if job := next(self._recorded(f"{action}-" if action else ""), None):
            return self.root / job.id
        what = f"{action} job" if action else "job"
        raise NotFound(f"no {what} in {self.root} yet", fix=f"run {action or 'an action'} first")

    def _with_key(self, key: str | None) -> Path | None:
        if key is None:
            return None
        ending = f"-{key_digest(key)}"
        folders = (self.root / name for name in self._names() if name.endswith(ending))
        return next(filter(self._has_record, folders), None)

    def _names(self) -> Sequence[str]:
        """Folders that may be jobs', sorted."""
        try:
            with os.scandir(self.root) as entries:
                return sorted(entry.name for entry in entries if entry.name[0] != "." and not entry.is_symlink())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _written(self, begun: str = "") -> Iterator[tuple[float, str]]:
        """When each record was last written, in seconds since the epoch, and the name of its folder."""
        for name in self._names():
            if not name.startswith(begun):
                continue
            try:  # in a folder of thousands, Path's own stat takes too long
                written = os.stat(f"{self.root}/{name}/{RECORD_FILE}").st_mtime  # noqa: PTH116
            except OSError:
                continue
            if self._allows(self.root / name / RECORD_FILE):
                yield written, name

    def _has_record(self, folder: Path) -> bool:
        path = folder / RECORD_FILE
        return not folder.is_symlink() and path.is_file() and self._allows(path)


def _with_attempt(job: Job) -> Job:
    attempt = Attempt(number=len(job.attempts) + 1, state="PENDING", **this_process())
    return replace(job, attempts=(*job.attempts, attempt))


def _with_last(job: Job, **changes: Any) -> Job:
    return replace(job, attempts=(*job.attempts[:-1], replace(job.attempts[-1], **changes)))


def _is_pending(job: Job, number: int) -> bool:
    return number == len(job.attempts) and job.state == "PENDING"
