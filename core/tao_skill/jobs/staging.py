"""Before a job's action: local copies of the remote files its spec names."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tao_skill.errors import NotFound, Problem, SpecError
from tao_skill.io import s3_cache
from tao_skill.io.s3 import S3
from tao_skill.jobs.record import Job
from tao_skill.model import Model
from tao_skill.ranks import is_first
from tao_skill.spec.paths import remote_values
from tao_skill.status import StatusLog

PROGRESS_EVERY_S = 0.5


def stage_inputs(model: Model, job: Job, environment: Mapping[str, str]) -> dict[str, Path]:
    """Spec key -> local copy, of every parameter that names a remote file; progress goes to the job's progress.json.

    Raises:
        SpecError: an object is gone.
        BadData, BadRequest, MissingDependency: as `cache.stage`.
    """
    wanted = [
        (leaf.key, value) for leaf, value in remote_values(model.config, job.action, job.spec) if leaf.param.reads_file
    ]
    if not wanted:
        return {}
    status = StatusLog(Path(job.results_dir), silent=not is_first(environment))
    root, s3 = s3_cache.cache_root(environment), S3(environment)
    with _reported(status):
        return {key: _staged(key, uri, root, s3, status) for key, uri in wanted}


def _staged(key: str, uri: str, root: Path, s3: S3, status: StatusLog) -> Path:
    transfer = Transfer(status, "staging", uri)
    try:
        found = s3_cache.stage(uri, root, s3, transfer.show)
    except NotFound as error:
        raise SpecError([Problem(key=key, message=f"{key}: {error.message}", fix=error.fix)]) from error
    said = f"{key}: {uri} ({found.origin})"
    status.write("RUNNING", f"Staged {said}.")
    print(f"staged {said} as {found.path}", flush=True)
    return found.path


@contextmanager
def _reported(status: StatusLog) -> Iterator[None]:
    """The end of a staging that fails is in status.json; its progress does not outlive it."""
    try:
        yield
    except BaseException as error:
        status.write("FAILURE", f"Staging stopped: {type(error).__name__}.", verbosity="ERROR")
        raise
    finally:
        if not status.silent:
            status.progress_path.unlink(missing_ok=True)


class Transfer:
    """Progress of moving bytes, written twice a second at most, and at the beginning.

    Attributes:
        doing: `staging` or `uploading`, the name that progress.json has for `what`.
    """

    def __init__(self, status: StatusLog, doing: str, what: str) -> None:
        self._status = status
        self._facts: dict[str, Any] = {doing: what}
        self._began = time.monotonic()
        self._told = float("-inf")

    def show(self, done: int, total: int) -> None:
        """Bytes done and bytes in all."""
        now = time.monotonic()
        if now - self._told < PROGRESS_EVERY_S:
            return
        self._told = now
        eta_s = round((now - self._began) / done * (total - done), 1) if done else None
        self._status.progress(**self._facts, bytes=done, bytes_total=total, eta_s=eta_s)
