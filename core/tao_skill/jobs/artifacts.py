"""What a job left behind: recorded with its checksums, and compared with them later."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tao_skill.errors import BadData
from tao_skill.io import atomic
from tao_skill.jobs.record import Job


def recorded(kind: str, path: Path) -> dict[str, str]:
    """The artifact as a record has it."""
    return {"kind": kind, "path": str(path)} | ({"sha256": atomic.sha256(path)} if path.is_file() else {})


def verify(job: Job) -> Sequence[dict[str, str]]:
    """Each artifact of a job with its `state`: ok, changed, missing, or unknown where no checksum was recorded."""
    return [{"kind": one["kind"], "path": one["path"], "state": _state(one)} for one in job.artifacts]


def damage(job: Job, found: Sequence[dict[str, str]]) -> BadData | None:
    """What to say of artifacts that are not as the job left them; None if all are."""
    if not (lost := [one for one in found if one["state"] in ("changed", "missing")]):
        return None
    named = ", ".join(f"{one['path']} is {one['state']}" for one in lost)
    copy = job.uploaded["uri"] if job.uploaded and "error" not in job.uploaded else None
    fix = f"copy it back from {copy}" if copy else "restore it from a copy, or run the job again with another key"
    return BadData(f"job {job.id}: {named}", fix=fix, path=lost[0]["path"])


def _state(artifact: dict[str, Any]) -> str:
    path = Path(artifact["path"])
    if not path.exists():
        return "missing"
    if "sha256" not in artifact:
        return "unknown"
    return "ok" if path.is_file() and atomic.sha256(path) == artifact["sha256"] else "changed"
