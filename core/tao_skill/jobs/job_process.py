"""The worker process of a job attempt: `python -m tao_skill.jobs.job_process FOLDER ATTEMPT`."""

from __future__ import annotations

import copy
import io
import json
import math
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, Final

from tao_skill.errors import UNWRITABLE, BadState, CannotWrite, JobFailed, NotFound, SpecError, TaoSkillError
from tao_skill.io.s3 import join
from tao_skill.jobs.artifacts import artifact_record
from tao_skill.jobs.peers import end_with_parent, peers
from tao_skill.jobs.record import INTERRUPTED, Ending, Job, resume_hint, timestamp
from tao_skill.jobs.secrets import SECRETS_VARIABLE, receive_secrets, secret_values
from tao_skill.jobs.staging import stage_inputs
from tao_skill.jobs.store import Store
from tao_skill.jobs.upload import upload_job
from tao_skill.model import Model
from tao_skill.models import get_model
from tao_skill.outcome import Outcome
from tao_skill.ranks import is_first
from tao_skill.spec.load import build, override
from tao_skill.spec.paths import remote_values

FindModel = Callable[[str], Model]
Redact = Callable[[str], str]
Perform = Callable[[Model, Job, Mapping[str, Any], Mapping[str, str]], Outcome]
"""Does the work of a job, from its complete spec and its secrets."""

START_TIMEOUT_S: Final = 600
"""How long a process of rank 1 or above waits for rank 0 to start the attempt."""


def main(arguments: Sequence[str], find_model: FindModel = get_model, perform: Perform | None = None) -> int:
    """Run the attempt claimed for this process, or join it as a process of rank 1 or above.

    Returns:
        The exit status of this process.
    """
    folder, number = Path(arguments[0]), int(arguments[1])
    receive_secrets()
    secrets: dict[str, str] = json.loads(os.environ.pop(SECRETS_VARIABLE, "{}"))
    redact = redactor([*secrets.values(), *secret_values(os.environ)])
    sys.stdout, sys.stderr = RedactedStream(1, redact), RedactedStream(2, redact)
    signal.signal(signal.SIGTERM, _exit_on_signal)
    if not is_first():
        return join_job(Store(folder.parent), folder.name, secrets, find_model=find_model)
    try:
        job = run_job(
            Store(folder.parent), folder.name, number, secrets, redact=redact, find_model=find_model, perform=perform
        )
    except BadState as error:  # canceled before it started, or run by another process
        print(error.message, file=sys.stderr)
        return error.exit_code
    return job.attempts[number - 1].exit_code or 0


def run_job(
    store: Store,
    job_id: str,
    number: int,
    secrets: Mapping[str, str],
    *,
    redact: Redact,
    find_model: FindModel,
    perform: Perform | None = None,
) -> Job:
    """Start the attempt, run the action and close the attempt with its outcome.

    Args:
        perform: does the work; None runs the action.

    Raises:
        BadState: the attempt is not PENDING; the action is not run.
    """
    job = store.begin_attempt(job_id, number)
    ending = _attempt(job, secrets, redact, find_model, perform or _run_action, log=store.log_path(job_id))
    if job.upload:
        ending = replace(ending, ended=timestamp(datetime.now(UTC)))
        ending = replace(ending, uploaded=_upload(store, store.preview_close(job_id, number, ending), redact))
    return store.close_attempt(job_id, number, ending)


def join_job(store: Store, job_id: str, secrets: Mapping[str, str], *, find_model: FindModel) -> int:
    """Run the action in a process of rank 1 or above, which reads the job record and never changes it.

    Returns:
        0 if the action succeeds, else 1; rank 0 records the error.
    """
    end_with_parent()
    try:
        job = _wait_for_start(store, job_id)
        is_distributed = find_model(job.model).action(job.action).processes is not None
        if is_distributed and job.state == "RUNNING":  # rank 0 runs any other action alone
            _run(job, secrets, find_model, _run_action)
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        traceback.print_exception(error)
        return 1
    return 0


def redactor(secrets: Iterable[str]) -> Redact:
    """Return a function that replaces every secret, plain or escaped, by ***."""
    values = [value for value in secrets if value]
    forms = {form for value in values for form in (value, repr(value)[1:-1], json.dumps(value)[1:-1])}
    ordered = sorted(forms, key=len, reverse=True)

    def redact(text: str) -> str:
        for form in ordered:
            text = text.replace(form, "***")
        return text

    return redact


class RedactedStream(io.TextIOWrapper):
    """Text stream to a file descriptor, line-buffered, with secrets redacted."""

    def __init__(self, descriptor: int, redact: Redact) -> None:
        raw = open(descriptor, "wb", closefd=False)  # noqa: SIM115 - a descriptor, not a path
        super().__init__(raw, encoding="utf-8", errors="backslashreplace", line_buffering=True)
        self._redact = redact

    def write(self, text: str) -> int:
        """Write the redacted text; return the length of the original."""
        super().write(self._redact(text))
        return len(text)


def _attempt(
    job: Job, secrets: Mapping[str, str], redact: Redact, find_model: FindModel, perform: Perform, *, log: Path
) -> Ending:
    """Run the action and convert its outcome, or any exception, to an `Ending`."""
    print(f"attempt {len(job.attempts)} of {job.id}: {job.model} {job.action}", file=sys.stderr)
    try:
        job.progress_path.unlink(missing_ok=True)  # of an earlier attempt
        return _complete(_run(job, secrets, find_model, perform))
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        traceback.print_exception(error)
        return _failed(error, job, redact, log)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the attempt is over; do not interrupt its recording


def _run(job: Job, secrets: Mapping[str, str], find_model: FindModel, perform: Perform) -> Outcome:
    model = find_model(job.model)
    spec = runtime_spec(model, job, secrets)
    if any(remote_values(model.config, job.action, job.spec)):  # the plan could not check data on S3
        _check(model, build(model.config, spec), job.action)
    return perform(model, job, spec, secrets)


def runtime_spec(model: Model, job: Job, secrets: Mapping[str, str]) -> dict[str, Any]:
    """Return the spec that the action runs with: S3 files replaced by local copies, secrets inserted."""
    copies = stage_inputs(model, job, os.environ)
    spec = override(model.config, job.spec, [(key, str(path)) for key, path in copies.items()])
    return _with_secrets(spec, secrets)


def _run_action(model: Model, job: Job, spec: Mapping[str, Any], secrets: Mapping[str, str]) -> Outcome:
    """Run the action in all its processes on this machine."""
    action, config = model.action(job.action), build(model.config, spec)
    with peers(action.count_processes(config), secrets):
        return action.run(config)


def _wait_for_start(store: Store, job_id: str) -> Job:
    """Wait until rank 0 runs the job, or it is COMPLETE: a launcher starts the ranks in any order."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        with suppress(NotFound):
            job = store.get(job_id)
            if job.state in ("RUNNING", "COMPLETE"):
                return job
        time.sleep(0.2)
    raise JobFailed(f"job {job_id} did not start within {START_TIMEOUT_S} s", fix="read the output of rank 0")


def _check(model: Model, config: Any, action: str) -> None:
    advice = model.check_run(config, action)
    for warning in advice.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if advice.problems:
        raise SpecError(advice.problems)


def _upload(store: Store, job: Job, redact: Redact) -> dict[str, Any]:
    """Upload a job and return the outcome; an error of the upload must not change the state of the job."""
    try:
        return upload_job(job, store.folder(job.id), job.upload or "", os.environ)
    except Exception as error:
        traceback.print_exception(error)
        document = _failed(error, job, redact, store.log_path(job.id)).error or {}
        fix = f"{document['fix']}; the results are in {store.folder(job.id)}; then tao-skill jobs upload {job.id}"
        return {"uri": join(job.upload or "", job.id), "error": document | {"fix": fix}}


def _with_secrets(spec: Mapping[str, Any], secrets: Mapping[str, str]) -> dict[str, Any]:
    result = copy.deepcopy(dict(spec))
    for key, value in secrets.items():
        *sections, name = key.split(".")
        target = result
        for section in sections:
            target = target.setdefault(section, {})
        target[name] = value
    return result


def _complete(outcome: Outcome) -> Ending:
    return Ending(
        state="COMPLETE",
        exit_code=0,
        metrics={name: float(value) if math.isfinite(value) else None for name, value in outcome.metrics.items()},
        artifacts=tuple(artifact_record(artifact.kind, artifact.path) for artifact in outcome.artifacts),
        chosen=dict(outcome.chosen),
    )


def _failed(error: BaseException, job: Job, redact: Redact, log: Path) -> Ending:
    if isinstance(error, OSError) and error.errno in UNWRITABLE:
        error = CannotWrite.because(error)
    if isinstance(error, TaoSkillError):
        return Ending(state="ERROR", exit_code=error.exit_code, error=_redacted(error.as_dict(), redact))
    message = f"{type(error).__name__}: {error}".rstrip(": ")
    document = JobFailed(message, fix=f"read the log {log}").as_dict()
    if not isinstance(error, Exception):
        document |= {"code": "interrupted", "fix": resume_hint(job, log)}
    exit_code = JobFailed.exit_code if isinstance(error, Exception) else INTERRUPTED
    return Ending(state="ERROR", exit_code=exit_code, error=_redacted(document, redact))


def _redacted(value: Any, redact: Redact) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [_redacted(item, redact) for item in value]
    if isinstance(value, dict):
        return {name: _redacted(item, redact) for name, item in value.items()}
    return value


def _exit_on_signal(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # a second signal must not interrupt the cleanup
    raise SystemExit(signal.Signals(number).name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
