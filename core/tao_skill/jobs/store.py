"""Job store: `<root>/<id>/job.json` for each job, written atomically and changed only under a lock.

Every attempt names its process: while it is PENDING, the process that opened the job or claimed the attempt. That
process hands the attempt over to the worker it starts, which makes it RUNNING and closes it. If either process dies,
the next reader finds that the process of an open attempt is gone, and closes the attempt as ERROR.
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
from tao_skill.jobs import attempts
from tao_skill.jobs.process import process_created
from tao_skill.jobs.record import (
    Ending,
    Job,
    check_id,
    check_same_request,
    key_digest,
    timestamp,
)

RECORD_FILE: Final = "job.json"
LOG_FILE: Final = "log.txt"
_LOCK: Final = ".lock"
_STAGING: Final = ".new-"
_CLOCK_SKEW_S: Final = 2.0
"""How far the clock of a file server may lag behind the local clock."""


class Store:
    """The jobs under one results root."""

    def __init__(
        self,
        root: Path,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        allows: Callable[[Path], bool] = lambda record: True,
    ) -> None:
        """Open the store under `root`; jobs whose record path `allows` rejects are invisible."""
        self.root = root.absolute()
        self._clock = clock
        self._allows = allows

    def folder(self, job_id: str) -> Path:
        """Return the directory of a job, directly under the root.

        Raises:
            BadRequest: the id is not valid.
        """
        return self.root / check_id(job_id)

    def log_path(self, job_id: str) -> Path:
        """Return the path of the log, with the output of the job's processes."""
        return self.folder(job_id) / LOG_FILE

    def open(self, job: Job) -> tuple[Job, bool]:
        """Create a job atomically, with a PENDING attempt of this process.

        Returns:
            The job, and whether this call created it. Simultaneous calls with the same key get the same job; only the
            first creates it.

        Raises:
            BadRequest: the id is not valid.
            BadState: the job has no key, and its id is taken.
            KeyConflict: the key belongs to a different request.
            BadData: the record of the job with this key cannot be read.
        """
        folder = self.folder(job.id)
        self.root.mkdir(parents=True, exist_ok=True)
        with self.locked():
            existing_folder = self._with_key(job.key)
            if existing_folder is None and not folder.exists():
                opened = attempts.with_new_attempt(job)
                self._create(folder, opened)
                return opened, True
        if existing_folder is None:
            raise BadState(f"{folder} exists already", fix="move it away, or choose another id", path=str(folder))
        existing = self._read(existing_folder)
        check_same_request(existing, job)
        return self._refreshed(existing), False

    def find(self, ref: str) -> tuple[Store, Job]:
        """Find a job, and its store, by id, unique prefix, `latest`, `latest:ACTION` or the path of its directory.

        Raises:
            NotFound: the job does not exist.
            BadRequest: several jobs have the prefix.
            BadData: the record cannot be read.
        """
        store, job_id = self.locate(ref)
        return store, store._refreshed(store._read(store.root / job_id))

    def locate(self, ref: str) -> tuple[Store, str]:
        """Return the store and the id of a job, without checking its process.

        Raises:
            As `find`.
        """
        if os.sep in ref or ref in {".", ".."}:
            folder = Path(ref).resolve()
            store = Store(folder.parent, clock=self._clock, allows=self._allows)
        else:
            folder, store = self._resolve(ref), self
        return store, folder.name

    def get(self, ref: str) -> Job:
        """Return the job that `find` finds."""
        return self.find(ref)[1]

    def recorded(self, job_id: str) -> Job:
        """Return the job as recorded, without checking its process."""
        return self._read(self.folder(job_id))

    def newest(self, prefix: str = "") -> Iterator[Job]:
        """Yield the jobs whose id has a prefix, newest first; records are read lazily, unreadable ones are skipped."""
        for job in self._recorded(prefix):
            with suppress(BadData, NotFound):  # removed or damaged after it was read
                yield self._refreshed(job)

    def _recorded(self, prefix: str) -> Iterator[Job]:
        """Yield the jobs whose id has a prefix, newest first, as recorded."""
        pending: list[tuple[float, str, Job]] = []
        for written, name in sorted(self._written(prefix), reverse=True):
            while pending and pending[-1][0] >= written + _CLOCK_SKEW_S:  # no job is newer than its record
                yield pending.pop()[-1]
            try:
                job = self._read(self.root / name)
            except (BadData, NotFound):  # `get` reports the error; a list skips the job
                continue
            insort(pending, (datetime.fromisoformat(job.created).timestamp(), job.id, job))
        yield from (job for *_, job in reversed(pending))

    def ids(self) -> Sequence[str]:
        """Return the ids of all jobs, including those with an unreadable record."""
        return [name for name in self._names() if self._has_record(self.root / name)]

    def locked(self) -> AbstractContextManager[Any]:
        """Return the lock of the store, which keeps other processes from opening and removing jobs."""
        from filelock import FileLock

        return FileLock(self.root / _LOCK)

    def count(self) -> int:
        """Return the number of jobs, including those with an unreadable record."""
        return sum(1 for _ in self._written())

    def claim(self, job_id: str) -> Job:
        """Claim the next attempt for this process, as PENDING; repeating a claim has no effect.

        Raises:
            BadState: the job is COMPLETE, or another process has claimed or runs it.
            NotFound, BadData: the job does not exist, or its record cannot be read.
        """
        return self._update(job_id, lambda job: attempts.claim(self._reconciled(job)))

    def hand_over(self, job_id: str, number: int, pid: int) -> Job:
        """Make `pid` the process of an attempt that is still PENDING."""
        created = process_created(pid)
        return self._update(
            job_id,
            lambda job: (
                attempts.with_last_attempt(job, pid=pid, pid_created=created)
                if attempts.is_pending(job, number)
                else job
            ),
        )

    def begin_attempt(self, job_id: str, number: int) -> Job:
        """Set the claimed attempt to RUNNING in this process.

        Raises:
            BadState: the attempt is closed, or another process runs it.
        """
        return self._update(job_id, lambda job: attempts.begin(job, number, self._now()))

    def close_attempt(self, job_id: str, number: int, ending: Ending) -> Job:
        """End an attempt; an ended attempt does not change. An ERROR after a cancel request is recorded as CANCELED."""
        return self._update(job_id, lambda job: attempts.close(job, number, ending, self._now()))

    def preview_close(self, job_id: str, number: int, ending: Ending) -> Job:
        """Return the record that `close_attempt` would write."""
        return attempts.close(self._read(self.folder(job_id)), number, ending, self._now())

    def record_upload(self, job_id: str, uploaded: dict[str, Any]) -> Job:
        """Record the outcome of an upload after the end of the job."""
        return self._update(job_id, lambda job: replace(job, uploaded=uploaded))

    def request_cancel(self, job_id: str) -> Job:
        """Record a cancel request; a job that has not started becomes CANCELED at once.

        Raises:
            BadState: the job has ended, or runs on another machine.
        """
        return self._update(job_id, lambda job: attempts.request_cancel(self._reconciled(job), self._now()))

    def reconcile(self, job_id: str, exit_code: int | None = None) -> Job:
        """Close the last attempt as ERROR if its process is gone; `exit_code` is its exit code, if known."""
        return self._update(job_id, lambda job: self._reconciled(job, exit_code))

    def _now(self) -> str:
        return timestamp(self._clock())

    def _reconciled(self, job: Job, exit_code: int | None = None) -> Job:
        return attempts.reconcile(job, self.log_path(job.id), self._now(), exit_code)

    def _refreshed(self, job: Job) -> Job:
        if attempts.is_current(job):
            return job
        try:
            return self.reconcile(job.id)
        except OSError as error:  # a full or read-only disk: the state is returned and not recorded
            if error.errno not in UNWRITABLE:
                raise
        except CannotWrite:
            pass
        return self._reconciled(job)

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

        for leftover in self.root.glob(f"{_STAGING}*"):  # of killed processes: the lock excludes live ones
            shutil.rmtree(leftover)
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

    def _resolve(self, ref: str) -> Path:
        if ref.split(":", 1)[0] == "latest":
            return self._latest(ref)
        if self._has_record(self.root / ref):
            return self.root / ref
        names = [name for name in self._names() if name.startswith(ref) and self._has_record(self.root / name)]
        if len(names) > 1:
            raise BadRequest(f"{ref!r} matches several jobs: {', '.join(names)}", fix="use a longer prefix of the id")
        return self.root / (names[0] if len(names) == 1 else ref)

    def _latest(self, ref: str) -> Path:
        _, _, action = ref.partition(":")
        if job := next(self._recorded(f"{action}-" if action else ""), None):
            return self.root / job.id
        kind = f"{action} job" if action else "job"
        raise NotFound(f"no {kind} in {self.root} yet", fix=f"run {action or 'an action'} first")

    def _with_key(self, key: str | None) -> Path | None:
        if key is None:
            return None
        suffix = f"-{key_digest(key)}"
        folders = (self.root / name for name in self._names() if name.endswith(suffix))
        return next(filter(self._has_record, folders), None)

    def _names(self) -> Sequence[str]:
        """Return the names of directories that may be jobs, sorted."""
        try:
            with os.scandir(self.root) as entries:
                return sorted(entry.name for entry in entries if entry.name[0] != "." and not entry.is_symlink())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _written(self, prefix: str = "") -> Iterator[tuple[float, str]]:
        """Yield the modification time of each record and the name of its directory."""
        for name in self._names():
            if not name.startswith(prefix):
                continue
            try:  # os.stat is faster than Path.stat, which matters with thousands of jobs
                written = os.stat(f"{self.root}/{name}/{RECORD_FILE}").st_mtime  # noqa: PTH116
            except OSError:
                continue
            if self._allows(self.root / name / RECORD_FILE):
                yield written, name

    def _has_record(self, folder: Path) -> bool:
        path = folder / RECORD_FILE
        return not folder.is_symlink() and path.is_file() and self._allows(path)
