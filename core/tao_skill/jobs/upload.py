"""Upload the directory of a job to S3. The record is uploaded last: if it exists, the upload is complete."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tao_skill.io.s3 import S3, join
from tao_skill.jobs.record import Job
from tao_skill.jobs.staging import Transfer
from tao_skill.jobs.store import LOG_FILE, RECORD_FILE
from tao_skill.status import PROGRESS_FILE, StatusLog

_NOT_SENT: Final = (RECORD_FILE, LOG_FILE, PROGRESS_FILE)
"""Files that the directory walk skips: record and log are uploaded last, progress is not uploaded."""


def upload_job(job: Job, folder: Path, prefix: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """Upload a job to `<prefix>/<job id>/`: its directory, results and artifacts outside it, log and record.

    Links inside the job become server-side copies. Hidden files, which are temporary, are skipped.

    Args:
        job: the record to upload.

    Returns:
        The value of `Job.uploaded`: uri, files and bytes.

    Raises:
        MissingDependency, BadRequest, NotFound: as `S3`.
        OSError: a local file cannot be read.
    """
    s3, target = S3(environment), join(prefix, job.id)
    s3.require_bucket(prefix)
    paths = {name: path for name, path in _files(job, folder) if path.is_file()}
    names = {path.resolve(): name for name, path in paths.items() if not path.is_symlink()}
    paths = dict(sorted(paths.items(), key=lambda item: item[1].is_symlink()))
    transfer = Transfer(StatusLog(Path(job.results_dir)), "uploading", target)
    done, total = 0, sum(path.stat().st_size for path in names)
    try:
        for name, path in paths.items():
            transfer.report(done, total)
            original = names.get(path.resolve()) if path.is_symlink() else None
            if original is not None:
                s3.copy(join(target, original), join(target, name))
            else:
                s3.put(path, join(target, name))
                done += path.stat().st_size
        uploaded = {"uri": target, "files": len(paths) + 1, "bytes": done}
        s3.put_text(_record_text(replace(job, uploaded=uploaded)), join(target, RECORD_FILE))
    finally:
        job.progress_path.unlink(missing_ok=True)
    return uploaded


def _record_text(job: Job) -> str:
    return json.dumps(job.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _files(job: Job, folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the name under the prefix and the path of each file; the log comes last."""
    yield from _walk(folder, "")
    results = Path(job.results_dir)
    if not results.is_relative_to(folder):
        yield from _walk(results, f"{results.name}/")
    for artifact in job.artifacts:
        path = Path(artifact["path"])
        if path.is_file() and not (path.is_relative_to(folder) or path.is_relative_to(results)):
            yield f"artifacts/{path.name}", path
    yield LOG_FILE, folder / LOG_FILE


def _walk(folder: Path, prefix: str) -> Iterator[tuple[str, Path]]:
    for directory, subdirectories, names in os.walk(folder):
        subdirectories[:] = sorted(name for name in subdirectories if not name.startswith("."))
        for name in sorted(names):
            path = Path(directory) / name
            if not name.startswith(".") and name not in _NOT_SENT:
                yield prefix + path.relative_to(folder).as_posix(), path
