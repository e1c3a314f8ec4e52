"""The process of one attempt: `python -m tao_skill.jobs.job_process FOLDER ATTEMPT`."""

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
from tao_skill.jobs.artifacts import recorded
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
"""What does the work of a job, given its whole spec and its secrets."""

START_S: Final = 600
"""How long a helping process waits for the first one to begin."""


def main(arguments: Sequence[str], find_model: FindModel = get_model, perform: Perform | None = None) -> int:
    """Run an attempt that was claimed for this process, or help the first process with it.

    Returns:
        The exit status of the attempt, or of the help.
    """
    folder, number = Path(arguments[0]), int(arguments[1])
    receive_secrets()
    secrets: dict[str, str] = json.loads(os.environ.pop(SECRETS_VARIABLE, "{}"))
    redact = redactor([*secrets.values(), *secret_values(os.environ)])
    sys.stdout, sys.stderr = RedactedStream(1, redact), RedactedStream(2, redact)
    signal.signal(signal.SIGTERM, _stop)
    if not is_first():
        return join_job(Store(folder.parent), folder.name, secrets, find_model=find_model)
    try:
        job = run_job(
            Store(folder.parent), folder.name, number, secrets, redact=redact, find_model=find_model, perform=perform
        )
    except BadState as error:  # canceled before it began, or taken over
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
    """Begin the attempt, run the action and close the attempt with what came of it.

    Args:
        perform: what does the work; None for the action itself.

    Raises:
        BadState: the attempt is not waiting to begin; nothing was run.
    """
    job = store.begin_attempt(job_id, number)
    ending = _attempt(job, secrets, redact, find_model, perform or _act, log=store.log_path(job_id))
    if job.upload:
        ending = replace(ending, ended=timestamp(datetime.now(UTC)))
        ending = replace(ending, uploaded=_uploaded(store, store.foresee(job_id, number, ending), redact))
    return store.close_attempt(job_id, number, ending)


def join_job(store: Store, job_id: str, secrets: Mapping[str, str], *, find_model: FindModel) -> int:
    """Run the action beside the process that answers for the attempt; the record is read and never changed.

    Returns:
        0 if it went well here, 1 otherwise; the first process is the one that records why.
    """
    end_with_parent()
    try:
        job = _begun(store, job_id)
        shared = find_model(job.model).action(job.action).processes is not None
        if shared and job.state == "RUNNING":  # another action is the first one's alone
            _run(job, secrets, find_model, _act)
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        traceback.print_exception(error)
        return 1
    return 0


def redactor(secrets: Iterable[str]) -> Redact:
    """Function that puts *** in the place of every secret, as written or escaped."""
    values = [value for value in secrets if value]
    forms = {form for value in values for form in (value, repr(value)[1:-1], json.dumps(value)[1:-1])}
    ordered = sorted(forms, key=len, reverse=True)

    def redact(text: str) -> str:
        for form in ordered:
            text = text.replace(form, "***")
        return text

    return redact


class RedactedStream(io.TextIOWrapper):
    """Text to a file descriptor, line by line, without secrets."""

    def __init__(self, descriptor: int, redact: Redact) -> None:
        raw = open(descriptor, "wb", closefd=False)  # noqa: SIM115 - a descriptor, not a path
        super().__init__(raw, encoding="utf-8", errors="backslashreplace", line_buffering=True)
        self._redact = redact

    def write(self, text: str) -> int:
        """Write the text redacted; the length is that of the text given."""
        super().write(self._redact(text))
        return len(text)


def _attempt(
    job: Job, secrets: Mapping[str, str], redact: Redact, find_model: FindModel, perform: Perform, *, log: Path
) -> Ending:
    """The job boundary: whatever happens inside becomes an ending."""
    print(f"attempt {len(job.attempts)} of {job.id}: {job.model} {job.action}", file=sys.stderr)
    try:
        job.progress_path.unlink(missing_ok=True)  # an earlier attempt's
        return _complete(_run(job, secrets, find_model, perform))
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        traceback.print_exception(error)
        return _failed(error, job, redact, log)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it has ended; let that be recorded


def _run(job: Job, secrets: Mapping[str, str], find_model: FindModel, perform: Perform) -> Outcome:
    model = find_model(job.model)
    spec = whole_spec(model, job, secrets)
    if any(remote_values(model.config, job.action, job.spec)):  # only now can data be looked at
        _check(model, build(model.config, spec), job.action)
    return perform(model, job, spec, secrets)


def whole_spec(model: Model, job: Job, secrets: Mapping[str, str]) -> dict[str, Any]:
    """The spec a job works with: files on S3 fetched, secrets in their places."""
    staged = stage_inputs(model, job, os.environ)
    spec = override(model.config, job.spec, [(key, str(path)) for key, path in staged.items()])
    return _with_secrets(spec, secrets)


def _act(model: Model, job: Job, spec: Mapping[str, Any], secrets: Mapping[str, str]) -> Outcome:
    """The action itself, in all its processes of this machine."""
    action, config = model.action(job.action), build(model.config, spec)
    with peers(action.count_processes(config), secrets):
        return action.run(config)


def _begun(store: Store, job_id: str) -> Job:
    """The job once the first process runs it, or COMPLETE: those that a launcher starts together begin in any order."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with suppress(NotFound):
            job = store.get(job_id)
            if job.state in ("RUNNING", "COMPLETE"):
                return job
        time.sleep(0.2)
    raise JobFailed(f"job {job_id} was not begun within {START_S} s", fix="look at the first process's output")


def _check(model: Model, config: Any, action: str) -> None:
    advice = model.check_run(config, action)
    for warning in advice.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if advice.problems:
        raise SpecError(advice.problems)


def _uploaded(store: Store, job: Job, redact: Redact) -> dict[str, Any]:
    """What came of the upload; whatever goes wrong in it must not cost the job its end."""
    try:
        return upload_job(job, store.folder(job.id), job.upload or "", os.environ)
    except Exception as error:
        traceback.print_exception(error)
        error_facts = _failed(error, job, redact, store.log_path(job.id)).error or {}
        fix = f"{error_facts['fix']}; all of it is in {store.folder(job.id)}; then tao-skill jobs upload {job.id}"
        return {"uri": join(job.upload or "", job.id), "error": error_facts | {"fix": fix}}


def _with_secrets(spec: Mapping[str, Any], secrets: Mapping[str, str]) -> dict[str, Any]:
    whole = copy.deepcopy(dict(spec))
    for key, value in secrets.items():
        *folders, name = key.split(".")
        place = whole
        for folder in folders:
            place = place.setdefault(folder, {})
        place[name] = value
    return whole


def _complete(outcome: Outcome) -> Ending:
    return Ending(
        state="COMPLETE",
        exit_code=0,
        metrics={name: float(value) if math.isfinite(value) else None for name, value in outcome.metrics.items()},
        artifacts=tuple(recorded(artifact.kind, artifact.path) for artifact in outcome.artifacts),
        chosen=dict(outcome.chosen),
    )


def _failed(error: BaseException, job: Job, redact: Redact, log: Path) -> Ending:
    if isinstance(error, OSError) and error.errno in UNWRITABLE:
        error = CannotWrite.because(error)
    if isinstance(error, TaoSkillError):
        return Ending(state="ERROR", exit_code=error.exit_code, error=_redacted(error.as_dict(), redact))
    message = f"{type(error).__name__}: {error}".rstrip(": ")
    facts = JobFailed(message, fix=f"read the log {log}").as_dict()
    if not isinstance(error, Exception):
        facts |= {"code": "interrupted", "fix": resume_hint(job, log)}
    exit_code = JobFailed.exit_code if isinstance(error, Exception) else INTERRUPTED
    return Ending(state="ERROR", exit_code=exit_code, error=_redacted(facts, redact))


def _redacted(value: Any, redact: Redact) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [_redacted(item, redact) for item in value]
    if isinstance(value, dict):
        return {name: _redacted(item, redact) for name, item in value.items()}
    return value


def _stop(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # once is enough; what follows must not be interrupted
    raise SystemExit(signal.Signals(number).name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
