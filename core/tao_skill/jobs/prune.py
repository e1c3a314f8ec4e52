"""Which old jobs nothing needs any more, and their removal."""

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
"""How the name of a folder begins that is being deleted; one that is left so is deleted the next time."""


@dataclass(frozen=True, kw_only=True)
class Old:
    """A job that ended before the limit.

    Attributes:
        bytes: what its folder takes. needed_by: the id of a job that stays and builds on it, None if it may go.
    """

    job: Job
    bytes: int
    needed_by: str | None


def old_jobs(store: Store, before: datetime) -> Sequence[Old]:
    """Every job that ended before a time, the oldest first. Results that lie outside its folder are not looked at.

    Raises:
        BadData: a record cannot be read, so that nobody knows what that job needs.
    """
    jobs = [store.get(name) for name in store.ids()]
    needed_by = _needed(store, jobs, before)
    found = [job for job in jobs if _is_old(job, before)]
    return [
        Old(job=job, bytes=_size(store.folder(job.id)), needed_by=needed_by.get(job.id))
        for job in sorted(found, key=lambda job: job.created)
    ]


def remove(store: Store, before: datetime) -> Sequence[Old]:
    """Delete the folders of the old jobs that no other needs; gives them back.

    Each disappears in one step. Jobs are opened before or after it, not meanwhile.
    """
    with store.locked():
        gone = [one for one in old_jobs(store, before) if one.needed_by is None]
        for one in gone:
            store.folder(one.job.id).rename(store.root / f"{REMOVED}{one.job.id}")
    for folder in store.root.glob(f"{REMOVED}*"):
        shutil.rmtree(folder)
    return gone


def _needed(store: Store, jobs: Sequence[Job], before: datetime) -> Mapping[str, str]:
    """The id of each job that one which stays is built on, with the id of that one."""
    by_id = {job.id: job for job in jobs}
    stay = [job for job in jobs if not _is_old(job, before)]
    needed: dict[str, str] = {}
    while stay:
        job = stay.pop()
        for name in _needs(store, job):
            if name in by_id and name not in needed and name != job.id:
                needed[name] = job.id
                stay.append(by_id[name])
    return needed


def _needs(store: Store, job: Job) -> Iterator[str]:
    """Ids of the jobs that a job names: its parent, and those whose files are in its spec."""
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
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(one)


def _is_old(job: Job, before: datetime) -> bool:
    return job.state in TERMINAL and datetime.fromisoformat(job.ended or job.created) < before


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
