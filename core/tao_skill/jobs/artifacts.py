"""Artifacts of a job: record their checksums and verify them later."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tao_skill.errors import BadData
from tao_skill.io import atomic
from tao_skill.jobs.record import Job


def artifact_record(kind: str, path: Path) -> dict[str, str]:
    """Return the record of an artifact; a directory has no checksum."""
    return {"kind": kind, "path": str(path)} | ({"sha256": atomic.sha256(path)} if path.is_file() else {})


def verify(job: Job) -> Sequence[dict[str, str]]:
    """Return each artifact of a job with its `state`: ok, changed, missing, or unknown without a checksum."""
    return [
        {"kind": artifact["kind"], "path": artifact["path"], "state": _state(artifact)} for artifact in job.artifacts
    ]


def damage_error(job: Job, artifacts: Sequence[dict[str, str]]) -> BadData | None:
    """Return the error for changed and missing artifacts; None if there are none."""
    if not (damaged := [artifact for artifact in artifacts if artifact["state"] in ("changed", "missing")]):
        return None
    details = ", ".join(f"{artifact['path']} is {artifact['state']}" for artifact in damaged)
    copy = job.uploaded["uri"] if job.uploaded and "error" not in job.uploaded else None
    fix = f"copy it back from {copy}" if copy else "restore it from a copy, or run the job again with another key"
    return BadData(f"job {job.id}: {details}", fix=fix, path=damaged[0]["path"])


def _state(artifact: dict[str, Any]) -> str:
    path = Path(artifact["path"])
    if not path.exists():
        return "missing"
    if "sha256" not in artifact:
        return "unknown"
    return "ok" if path.is_file() and atomic.sha256(path) == artifact["sha256"] else "changed"
