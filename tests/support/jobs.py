"""Jobs of a model whose actions take no time, in real processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from tao_skill.jobs import launch
from tao_skill.jobs.record import Job
from tao_skill.jobs.store import Store
from tests.support.folders import PROCESSES

TINY_WORKER = (sys.executable, str(PROCESSES / "job_worker.py"))
MakeJob = Callable[..., Job]
LIMIT_S = 30


def begin(store: Store, job: Job, **secrets: str) -> tuple[Job, subprocess.Popen[bytes]]:
    opened, _ = store.open(job)
    return opened, launch.start(store, opened, secrets, worker=TINY_WORKER)


def finish(store: Store, job: Job, **secrets: str) -> Job:
    opened, process = begin(store, job, **secrets)
    ended = launch.wait(store, opened.id, LIMIT_S, process=process)
    process.wait(LIMIT_S)
    return ended
