"""Start, follow and stop jobs as local processes."""

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
from tao_skill.jobs.record import INTERRUPTED, TERMINAL, Ending, Job
from tao_skill.jobs.secrets import SECRETS_VARIABLE, spawn
from tao_skill.jobs.store import Store
from tao_skill.progress import Progress

PYTHON: Final = (sys.executable, "-P", "-m")
"""Command of this interpreter; with -P it imports nothing from the working directory, which may be untrusted."""

WORKER: Final = (*PYTHON, "tao_skill.jobs.job_process")
PASSIVE_WAIT: Final = {"OMP_WAIT_POLICY": "PASSIVE"}
"""OpenMP threads sleep while they wait: as fast on an idle machine, nearly twice as fast on a busy machine."""

TAIL_BYTES: Final = 256 * 1024

_KILL_WAIT_S: Final = 5.0

OnProgress = Callable[[Job, Progress | None], None]


def start(
    store: Store, job: Job, secrets: Mapping[str, str], *, worker: Sequence[str] = WORKER
) -> subprocess.Popen[bytes]:
    """Start the worker of a job in its own session; its output is appended to the job's log.

    Args:
        secrets: values by dotted spec key; they reach the worker through its standard input only.
        worker: the command of the worker; it gets the job's directory and the number of the attempt as arguments.

    Raises:
        BadState: the job is COMPLETE, or another process has claimed or runs it.
        JobFailed: the worker could not be started.
    """
    number = len(store.claim(job.id).attempts)
    try:
        with atomic.open_to_append(store.log_path(job.id)) as log:
            command = [*worker, str(store.folder(job.id)), str(number)]
            process = spawn(command, worker_environment(secrets), output=log, own_session=True)
    except OSError as error:
        failed = JobFailed(f"the worker could not be started: {error}", fix="free memory or disk space and run again")
        store.close_attempt(job.id, number, Ending(state="ERROR", exit_code=1, error=failed.as_dict()))
        raise failed from error
    store.hand_over(job.id, number, process.pid)
    return process


def join(store: Store, job_id: str, secrets: Mapping[str, str], *, worker: Sequence[str] = WORKER) -> int:
    """Join a job as a process of rank 1 or above that a launcher started; return the exit status."""
    command = [*worker, str(store.folder(job_id)), "0"]
    return spawn(command, worker_environment(secrets), output=sys.stderr.fileno()).wait()


def wait(
    store: Store,
    ref: str,
    timeout: float | None = None,
    *,
    poll: float = 0.5,
    on_progress: OnProgress | None = None,
    process: subprocess.Popen[bytes] | None = None,
) -> Job:
    """Wait until a job ends, or for `timeout` seconds, and return its record.

    Args:
        poll: polling interval in seconds.
        on_progress: called at every poll with the record and the latest progress.
        process: the worker, if this process started it.

    Raises:
        NotFound, BadData: the job does not exist, or its record cannot be read.
    """
    store, job_id = store.locate(ref)
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        exit_code = process.poll() if process is not None else None
        if exit_code is not None:
            job = store.reconcile(job_id, exit_code)
        else:  # a child that died is only recorded once its exit code is known
            job = store.get(job_id) if process is None else store.recorded(job_id)
        if on_progress is not None:
            on_progress(job, read_progress(job))
        if job.state in TERMINAL or (deadline is not None and time.monotonic() >= deadline):
            return job
        _pause(poll, process)


def cancel(store: Store, ref: str, grace_s: float = 10.0) -> Job:
    """Cancel a job: SIGTERM to its processes, then SIGKILL after `grace_s` seconds.

    The state becomes CANCELED, unless the job completes first.

    Raises:
        BadState: the job has ended, or runs on another machine.
        NotFound, BadData: the job does not exist, or its record cannot be read.
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
    """Send SIGINT to the first process of a job, which finishes early if its action supports that.

    Raises:
        NotFound, BadData: the job does not exist, or its record cannot be read.
    """
    store, job = store.find(ref)
    if job.state == "RUNNING" and is_alive(job.attempts[-1]):
        os.kill(job.attempts[-1].pid, signal.SIGINT)


def tail(store: Store, ref: str, lines: int) -> str:
    """Return the last lines of a job's log, at most TAIL_BYTES; empty if there is no output.

    Raises:
        NotFound, BadData: the job does not exist, or its record cannot be read.
    """
    store, job = store.find(ref)
    path = store.log_path(job.id)
    if not path.exists():
        return ""
    with path.open("rb") as log:
        log.seek(max(0, path.stat().st_size - TAIL_BYTES))
        return b"".join(deque(log, maxlen=max(lines, 0))).decode("utf-8", errors="replace")


def read_progress(job: Job) -> Progress | None:
    """Return the latest progress of the current attempt; None if there is none yet, or it is not valid."""
    if job.state == "PENDING":
        return None
    with suppress(BadData, ValueError):
        return Progress.from_dict(
            read_json(job.progress_path, dict[str, Any], what="a progress file", fix="run the job again")
        )
    return None


def worker_environment(secrets: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a worker: the environment of this process plus the secrets."""
    return {**PASSIVE_WAIT, **os.environ, SECRETS_VARIABLE: json.dumps(dict(secrets))}


def _pause(seconds: float, process: subprocess.Popen[bytes] | None) -> None:
    if process is None or process.returncode is not None:
        time.sleep(seconds)
        return
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
