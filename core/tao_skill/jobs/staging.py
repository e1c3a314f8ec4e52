"""Staging: download the remote files of a spec before the action runs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tao_skill.errors import NotFound, Problem, SpecError
from tao_skill.io import s3_cache
from tao_skill.io.s3 import S3
from tao_skill.jobs.record import Job
from tao_skill.model import Model
from tao_skill.progress import Progress
from tao_skill.ranks import is_first
from tao_skill.spec.paths import remote_values
from tao_skill.status import StatusLog

PROGRESS_INTERVAL_S: Final = 0.5


def stage_inputs(model: Model, job: Job, environment: Mapping[str, str]) -> dict[str, Path]:
    """Download the remote files of a spec; progress is written to the job's progress.json.

    Returns:
        Path of the local copy by spec key.

    Raises:
        SpecError: an object does not exist any more.
        BadData, BadRequest, MissingDependency: as `s3_cache.stage`.
    """
    remote = [
        (leaf.key, value) for leaf, value in remote_values(model.config, job.action, job.spec) if leaf.param.reads_file
    ]
    if not remote:
        return {}
    status = StatusLog(Path(job.results_dir), silent=not is_first(environment))
    root, s3 = s3_cache.cache_root(environment), S3(environment)
    with _failure_reported(status):
        return {key: _stage(key, uri, root, s3, status) for key, uri in remote}


def _stage(key: str, uri: str, root: Path, s3: S3, status: StatusLog) -> Path:
    transfer = Transfer(status, "staging", uri)
    try:
        staged = s3_cache.stage(uri, root, s3, transfer.report)
    except NotFound as error:
        raise SpecError([Problem(key=key, message=f"{key}: {error.message}", fix=error.fix)]) from error
    description = f"{key}: {uri} ({staged.origin})"
    status.write("RUNNING", f"Staged {description}.")
    print(f"staged {description} as {staged.path}", flush=True)
    return staged.path


@contextmanager
def _failure_reported(status: StatusLog) -> Iterator[None]:
    """Write a FAILURE line if staging fails; delete its progress in any case."""
    try:
        yield
    except BaseException as error:
        status.write("FAILURE", f"Staging stopped: {type(error).__name__}.", verbosity="ERROR")
        raise
    finally:
        if not status.silent:
            status.progress_path.unlink(missing_ok=True)


class Transfer:
    """Progress of a transfer, written at its start and then at most twice a second.

    Args:
        operation: `staging` or `uploading`.
    """

    def __init__(self, status: StatusLog, operation: str, uri: str) -> None:
        self._status = status
        self._transfer = f"{operation} {uri}"
        self._started = time.monotonic()
        self._reported = float("-inf")

    def report(self, done: int, total: int) -> None:
        """Write the number of bytes transferred and the total."""
        now = time.monotonic()
        if now - self._reported < PROGRESS_INTERVAL_S:
            return
        self._reported = now
        eta_s = round((now - self._started) / done * (total - done), 1) if done else None
        self._status.progress(Progress(transfer=self._transfer, bytes=done, bytes_total=total, eta_s=eta_s))
