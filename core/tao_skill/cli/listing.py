"""What `tao-skill jobs list` and `jobs show` print."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Final

from tao_skill.cli.output import at_root, emit, job_text, job_with_commands
from tao_skill.jobs.document import job_row
from tao_skill.jobs.store import Store

LISTED: Final = 50
"""Newest jobs that are listed."""


def list_jobs(results_root: Path, limit: int = LISTED, *, as_json: bool) -> None:
    """List jobs, newest first."""
    store = Store(results_root.absolute())
    rows = [job_row(job) for job in islice(store.newest(), limit)]
    lines = [f"{row['id']:<34} {row['action']:<12} {row['state']:<9} {row['created']}" for row in rows]
    then = [["jobs", "show", rows[0]["id"], *at_root(results_root)] if rows else ["run", "--help"]]
    emit({"jobs": rows, "total": store.count()}, "\n".join(lines) or "no jobs", as_json=as_json, then=then)


def show_job(job: str, results_root: Path, *, as_json: bool) -> None:
    """Show a job: state, route, metrics, artifacts, what comes next."""
    document = job_with_commands(Store(results_root.absolute()).get(job), results_root)
    emit(document, job_text(document), as_json=as_json)
