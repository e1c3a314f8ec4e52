"""Find and delete old jobs that no other job depends on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from tao_skill.jobs.record import TERMINAL, Job
from tao_skill.jobs.store import Store
from tao_skill.jobs.trials import split_reference

REMOVED: Final = ".pruned-"
"""Prefix of a directory that is being deleted; a leftover is deleted by the next run."""


@dataclass(frozen=True, kw_only=True)
class OldJob:
    """A job that ended before the limit.

    Attributes:
        bytes: size of its directory. needed_by: id of a kept job that depends on it, None if it can be deleted.
    """

    job: Job
    bytes: int
    needed_by: str | None


def old_jobs(store: Store, before: datetime) -> Sequence[OldJob]:
    """Return the jobs that ended before a time, oldest first. Results outside the job's directory are not counted.

    Raises:
        BadData: a record cannot be read, so its dependencies are unknown.
    """
    jobs = [store.get(name) for name in store.ids()]
    needed_by = _needed_by(store, jobs, before)
    old = [job for job in jobs if _is_old(job, before)]
    return [
        OldJob(job=job, bytes=_size(store.folder(job.id)), needed_by=needed_by.get(job.id))
        for job in sorted(old, key=lambda job: job.created)
    ]


def remove(store: Store, before: datetime) -> Sequence[OldJob]:
    """Delete the directories of old jobs that no kept job depends on, and return those jobs.

    Each directory disappears atomically. The lock keeps new jobs from being opened meanwhile.
    """
    with store.locked():
        removed = [old for old in old_jobs(store, before) if old.needed_by is None]
        for old in removed:
            store.folder(old.job.id).rename(store.root / f"{REMOVED}{old.job.id}")
    for folder in store.root.glob(f"{REMOVED}*"):
        shutil.rmtree(folder)
    return removed


def _needed_by(store: Store, jobs: Sequence[Job], before: datetime) -> Mapping[str, str]:
    """Map the id of each job that a kept job depends on, directly or not, to the id of the dependent job."""
    by_id = {job.id: job for job in jobs}
    kept = [job for job in jobs if not _is_old(job, before)]
    needed_by: dict[str, str] = {}
    while kept:
        job = kept.pop()
        for name in _dependencies(store, job):
            if name in by_id and name not in needed_by and name != job.id:
                needed_by[name] = job.id
                kept.append(by_id[name])
    return needed_by


def _dependencies(store: Store, job: Job) -> Iterator[str]:
    """Yield the ids of the jobs that a job depends on: its parent, and jobs whose files its spec names."""
    if job.parent is not None:
        yield split_reference(job.parent)[0]
    for text in _texts(job.spec):
        path = Path(text)
        if path.is_relative_to(store.root) and path != store.root:
            yield path.relative_to(store.root).parts[0]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(item)


def _is_old(job: Job, before: datetime) -> bool:
    return job.state in TERMINAL and datetime.fromisoformat(job.ended or job.created) < before


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
