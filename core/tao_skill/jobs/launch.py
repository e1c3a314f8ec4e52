"""Jobs as local processes: start one, follow it, stop it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from tao_skill.errors import BadData, JobFailed
from tao_skill.io import atomic
from tao_skill.io.strict_json import read_json
from tao_skill.jobs.process import is_alive, signal_group
from tao_skill.jobs.progress import can_be_told
from tao_skill.jobs.record import INTERRUPTED, TERMINAL, Ending, Job
from tao_skill.jobs.secrets import SECRETS_VARIABLE, spawn
from tao_skill.jobs.store import Store

PYTHON: Final = (sys.executable, "-P", "-m")
"""Our interpreter, which takes no module from the folder it is started in: that may be a folder of somebody's data."""

WORKER: Final = (*PYTHON, "tao_skill.jobs.job_process")
PATIENT: Final = {"OMP_WAIT_POLICY": "PASSIVE"}
"""Threads that wait for each other sleep: as fast on a quiet machine, nearly twice as fast on a busy one."""

TAIL_BYTES: Final = 256 * 1024

_KILL_WAIT_S: Final = 5.0

OnProgress = Callable[[Job, dict[str, Any] | None], None]


def start(
    store: Store, job: Job, secrets: Mapping[str, str], *, worker: Sequence[str] = WORKER
) -> subprocess.Popen[bytes]:
    """Spawn the worker of a job in a session of its own, its output appended to the job's log.

    Args:
        secrets: values by dotted spec key; no file, command line or other process's view of this one ever holds them.
        worker: the command that runs a job; it is called with the job's folder and the number of the attempt.

    Raises:
        BadState: the job is COMPLETE, or another process holds or runs it.
        JobFailed: the worker could not be spawned.
    """
    number = len(store.claim(job.id).attempts)
    try:
        with atomic.open_to_append(store.log_path(job.id)) as log:
            command = [*worker, str(store.folder(job.id)), str(number)]
            process = spawn(command, environment(secrets), output=log, own_session=True)
    except OSError as error:
        failed = JobFailed(f"the worker could not be started: {error}", fix="free memory or disk space and run again")
        store.close_attempt(job.id, number, Ending(state="ERROR", exit_code=1, error=failed.as_dict()))
        raise failed from error
    store.hand_over(job.id, number, process.pid)
    return process


def join(store: Store, job_id: str, secrets: Mapping[str, str], *, worker: Sequence[str] = WORKER) -> int:
    """Help the process that runs a job, as one of several that a launcher started; gives back the exit status."""
    command = [*worker, str(store.folder(job_id)), "0"]
    return spawn(command, environment(secrets), output=sys.stderr.fileno()).wait()


def wait(
    store: Store,
    ref: str,
    timeout: float | None = None,
    *,
    poll: float = 0.5,
    on_progress: OnProgress | None = None,
    process: subprocess.Popen[bytes] | None = None,
) -> Job:
    """Follow a job until it ends, or for `timeout` seconds; gives back the record as it is then.

    Args:
        poll: seconds between two looks.
        on_progress: called at every look with the record and the action's newest progress.
        process: the worker, if this process spawned it.

    Raises:
        NotFound, BadData: there is no such job, or its record cannot be read.
    """
    store, job_id = store.locate(ref)
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        exit_code = process.poll() if process is not None else None
        if exit_code is not None:
            job = store.reconcile(job_id, exit_code)
        else:  # a death of our own process is recorded with its exit code, so not before that is known
            job = store.get(job_id) if process is None else store.recorded(job_id)
        if on_progress is not None:
            on_progress(job, read_progress(job))
        if job.state in TERMINAL or (deadline is not None and time.monotonic() >= deadline):
            return job
        _pause(poll, process)


def cancel(store: Store, ref: str, grace_s: float = 10.0) -> Job:
    """Stop a job: SIGTERM to its processes, SIGKILL after `grace_s` seconds; CANCELED unless COMPLETE by then.

    Raises:
        BadState: the job has ended, or runs on another machine.
        NotFound, BadData: there is no such job, or its record cannot be read.
        PermissionError: its processes belong to another user.
    """
    store, job = store.find(ref)
    job = store.request_cancel(job.id)
    if job.state in TERMINAL:
        return job
    attempt = job.attempts[-1]
    signal_group(attempt, signal.SIGTERM)
    wait(store, job.id, grace_s, poll=0.1)
    signal_group(attempt, signal.SIGKILL)
    wait(store, job.id, _KILL_WAIT_S, poll=0.1)
    return store.close_attempt(job.id, attempt.number, Ending(state="CANCELED", exit_code=INTERRUPTED))


def interrupt(store: Store, ref: str) -> None:
    """Ask a job's first process to come to a good end soon (SIGINT), as those that can do.

    Raises:
        NotFound, BadData: there is no such job, or its record cannot be read.
    """
    store, job = store.find(ref)
    if job.state == "RUNNING" and is_alive(job.attempts[-1]):
        os.kill(job.attempts[-1].pid, signal.SIGINT)


def tail(store: Store, ref: str, lines: int) -> str:
    """The last lines of a job's log, TAIL_BYTES at most; empty if nothing was printed.

    Raises:
        NotFound, BadData: there is no such job, or its record cannot be read.
    """
    store, job = store.find(ref)
    path = store.log_path(job.id)
    if not path.exists():
        return ""
    with path.open("rb") as log:
        log.seek(max(0, path.stat().st_size - TAIL_BYTES))
        return b"".join(deque(log, maxlen=max(lines, 0))).decode("utf-8", errors="replace")


def read_progress(job: Job) -> dict[str, Any] | None:
    """The newest progress of the running attempt, None before there is any that can be told."""
    if job.state == "PENDING":
        return None
    with suppress(BadData):
        read: dict[str, Any] = read_json(job.progress_path, dict[str, Any], what="a progress", fix="run the job again")
        return read if can_be_told(read) else None
    return None


def environment(secrets: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process that works on a job: that of this one, and the secrets."""
    return {**PATIENT, **os.environ, SECRETS_VARIABLE: json.dumps(dict(secrets))}


def _pause(seconds: float, process: subprocess.Popen[bytes] | None) -> None:
    if process is None or process.returncode is not None:
        time.sleep(seconds)
        return
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
