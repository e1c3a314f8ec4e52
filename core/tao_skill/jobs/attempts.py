"""Transitions of a job's attempts, as functions from record to record; the store writes their results under a lock."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tao_skill.errors import BadState, Command, Fix
from tao_skill.jobs.process import is_alive, is_mine, signal_name, this_host, this_process
from tao_skill.jobs.record import INTERRUPTED, TERMINAL, Attempt, Ending, Job, resume_hint


def with_new_attempt(job: Job) -> Job:
    """Add a PENDING attempt of this process."""
    attempt = Attempt(number=len(job.attempts) + 1, state="PENDING", **this_process())
    return replace(job, attempts=(*job.attempts, attempt))


def with_last_attempt(job: Job, **changes: Any) -> Job:
    """Change fields of the last attempt."""
    return replace(job, attempts=(*job.attempts[:-1], replace(job.attempts[-1], **changes)))


def is_pending(job: Job, number: int) -> bool:
    """Whether an attempt is the last and has not begun."""
    return number == len(job.attempts) and job.state == "PENDING"


def claim(job: Job) -> Job:
    """Claim the next attempt of a reconciled job for this process, as PENDING; repeating a claim has no effect.

    Raises:
        BadState: the job is COMPLETE, or another process has claimed or runs it.
    """
    if job.state == "COMPLETE":
        raise BadState(f"job {job.id} is COMPLETE", fix="use its result, or start a new job with another key")
    if not job.attempts or job.state in TERMINAL:
        return replace(with_new_attempt(job), cancel_requested=False)
    last = job.attempts[-1]
    if last.state == "PENDING" and is_mine(last):
        return job
    raise BadState(
        f"job {job.id} is {job.state} in process {last.pid} on {last.host}",
        fix=Fix(Command("jobs wait", job.id), ", or ", Command("jobs cancel", job.id)),
    )


def begin(job: Job, number: int, now: str) -> Job:
    """Set a claimed attempt to RUNNING in this process.

    Raises:
        BadState: the attempt is closed, or another process runs it.
    """
    if not is_pending(job, number):
        raise BadState(
            f"attempt {number} of job {job.id} cannot start: the job is {job.state}",
            fix=Fix(Command("jobs show", job.id)),
        )
    return with_last_attempt(job, state="RUNNING", started=now, **this_process())


def request_cancel(job: Job, now: str) -> Job:
    """Record a cancel request in a reconciled job; a job that has not started becomes CANCELED at once.

    Raises:
        BadState: the job has ended, or runs on another machine.
    """
    if job.state in TERMINAL:
        raise BadState(
            f"job {job.id} is {job.state} and cannot be canceled", fix="cancel a job that is PENDING or RUNNING"
        )
    job = job if job.attempts else with_new_attempt(job)
    last = job.attempts[-1]
    if last.host != this_host():
        raise BadState(
            f"job {job.id} runs on {last.host}, not on this machine",
            fix=f"cancel it on {last.host}; if that machine is gone, start a new job with another key",
        )
    job = replace(job, cancel_requested=True)
    if last.state == "PENDING":
        return close(job, last.number, Ending(state="CANCELED", exit_code=INTERRUPTED), now)
    return job


def reconcile(job: Job, log: Path, now: str, exit_code: int | None = None) -> Job:
    """Close the last attempt as ERROR if its process is gone; `exit_code` is its exit code, if known."""
    if is_current(job):
        return job
    error = _death_error(job, log, exit_code)
    return close(job, len(job.attempts), Ending(state="ERROR", exit_code=exit_code, error=error), now)


def is_current(job: Job) -> bool:
    """Whether the recorded state is true: the job has ended, has no attempt, or its process is alive."""
    return job.state in TERMINAL or not job.attempts or is_alive(job.attempts[-1])


def close(job: Job, number: int, ending: Ending, now: str) -> Job:
    """End an attempt; an ended attempt does not change. An ERROR after a cancel request is recorded as CANCELED."""
    if number != len(job.attempts) or job.state in TERMINAL:
        return job
    if job.cancel_requested and ending.state == "ERROR":
        ending = replace(ending, state="CANCELED", exit_code=INTERRUPTED, error=None)
    ended = with_last_attempt(
        job, state=ending.state, exit_code=ending.exit_code, error=ending.error, ended=ending.ended or now
    )
    return replace(
        ended,
        metrics=dict(ending.metrics),
        chosen=dict(ending.chosen),
        artifacts=ending.artifacts,
        uploaded=ending.uploaded,
    )


def _death_error(job: Job, log: Path, exit_code: int | None) -> dict[str, Any]:
    last = job.attempts[-1]
    cause = f" ({signal_name(-exit_code)})" if exit_code is not None and exit_code < 0 else ""
    time = "while the job was running" if last.state == "RUNNING" else "before the job started"
    return {
        "code": "process_died",
        "message": f"process {last.pid} ended{cause} {time} without a result",
        "fix": resume_hint(job, log),
    }
