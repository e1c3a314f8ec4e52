"""`tao-skill jobs`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Final

import click

from tao_skill.cli.completion import job_argument
from tao_skill.cli.run import print_job, wait_and_print
from tao_skill.cli.search import Duration
from tao_skill.cli.terminal.options import json_option, results_option
from tao_skill.cli.terminal.output import at_root, emit, job_text, job_with_commands, print_error
from tao_skill.errors import BadRequest, BadState
from tao_skill.jobs.document import job_row
from tao_skill.jobs.record import TERMINAL
from tao_skill.jobs.store import Store

LISTED: Final = 50
"""Newest jobs that are listed."""

AGES_S: Final = 1e9
"""Some thirty years: what is asked to be older than any job."""


@click.group()
def jobs() -> None:
    """List, show, follow and cancel jobs."""


@jobs.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=LISTED, show_default=True, help="Newest jobs to list.")
@results_option
@json_option
def list_jobs(limit: int, results_root: Path, as_json: bool) -> None:
    """List jobs, newest first."""
    store = Store(results_root.absolute())
    rows = [job_row(job) for job in islice(store.newest(), limit)]
    lines = [f"{row['id']:<34} {row['action']:<12} {row['state']:<9} {row['created']}" for row in rows]
    then = [["jobs", "show", rows[0]["id"], *at_root(results_root)] if rows else ["run", "--help"]]
    emit({"jobs": rows, "total": store.count()}, "\n".join(lines) or "no jobs", as_json=as_json, then=then)


@jobs.command()
@job_argument
@results_option
@json_option
def show(job: str, results_root: Path, as_json: bool) -> None:
    """Show a job: state, route, metrics, artifacts, what comes next."""
    document = job_with_commands(Store(results_root.absolute()).get(job), results_root)
    emit(document, job_text(document), as_json=as_json)


@jobs.command()
@job_argument
@click.option("--lines", type=click.IntRange(min=1), default=50, show_default=True, help="Last lines to print.")
@results_option
@json_option
def logs(job: str, lines: int, results_root: Path, as_json: bool) -> None:
    """Print the end of a job's log."""
    from tao_skill.jobs.launch import tail

    store = Store(results_root.absolute())
    found = store.get(job)
    text = tail(store, found.id, lines)
    then = [["jobs", "show", found.id, *at_root(results_root)]]
    emit({"job": found.id, "log": text}, text.rstrip("\n"), as_json=as_json, then=then)


@jobs.command()
@job_argument
@results_option
@json_option
def wait(job: str, results_root: Path, as_json: bool) -> int:
    """Follow a job to its end; Ctrl-C stops following, not the job."""
    store = Store(results_root.absolute())
    return wait_and_print(store.get(job), store, results_root, own=False, as_json=as_json)


@jobs.command()
@job_argument
@results_option
@json_option
def verify(job: str, results_root: Path, as_json: bool) -> int:
    """Compare a job's artifacts with the checksums in its record."""
    from tao_skill.jobs import artifacts

    found = Store(results_root.absolute()).get(job)
    states = artifacts.verify(found)
    error = artifacts.damage_error(found, states)
    document = {"job": found.id, "artifacts": states} | ({"error": error.as_dict()} if error else {})
    text = "\n".join(f"{one['state']:<9} {one['kind']:<18} {one['path']}" for one in states) or "no artifacts"
    emit(document, text, as_json=as_json, then=[["jobs", "show", found.id, *at_root(results_root)]])
    if error and not as_json:
        print_error(error, as_json=False)
    return error.exit_code if error else 0


@jobs.command()
@job_argument
@click.argument("prefix", metavar="[s3://BUCKET/PREFIX]", required=False)
@results_option
@json_option
def upload(job: str, prefix: str | None, results_root: Path, as_json: bool) -> None:
    """Copy an ended job's folder to S3, or do again an upload that failed."""
    from tao_skill.jobs.upload import upload_job

    store = Store(results_root.absolute())
    found = store.get(job)
    if found.state not in TERMINAL:
        raise BadState(f"job {found.id} is {found.state}", fix=f"tao-skill jobs wait {found.id}, then upload it")
    target = prefix or found.upload
    if target is None:
        raise BadRequest(f"job {found.id} was run without --upload", fix="say where to: s3://BUCKET/PREFIX")
    found = store.record_upload(found.id, upload_job(found, store.folder(found.id), target, os.environ))
    print_job(found, results_root, as_json=as_json)


@jobs.command()
@click.option("--older-than", type=Duration(), required=True, help="Age since their end: 30d, 12h.")
@click.option("--apply", is_flag=True, help="Delete them; without, they are listed only.")
@results_option
@json_option
def prune(older_than: float, apply: bool, results_root: Path, as_json: bool) -> None:
    """Delete the folders of old jobs that no other job is built on; without --apply, only say which."""
    from tao_skill.jobs.prune import old_jobs, remove

    store, before = Store(results_root.absolute()), datetime.now(UTC) - timedelta(seconds=min(older_than, AGES_S))
    found = (remove if apply else old_jobs)(store, before)
    rows = [{**job_row(one.job), "bytes": one.bytes, "needed_by": one.needed_by} for one in found]
    freed = sum(one.bytes for one in found if one.needed_by is None)
    lines = [f"{'stays' if row['needed_by'] else 'goes':<6} {row['id']:<34} {_why(row)}" for row in rows]
    text = "\n".join([*lines, f"{freed / 2**20:.1f} MiB {'freed' if apply else 'would be freed'}"])
    then = ["jobs", "list"] if apply else ["jobs", "prune", "--older-than", f"{older_than:.0f}s", "--apply"]
    document = {"jobs": rows, "bytes": freed, "applied": apply}
    emit(document, text, as_json=as_json, then=[[*then, *at_root(results_root)]])


def _why(row: Mapping[str, Any]) -> str:
    return f"as {row['needed_by']} needs it" if row["needed_by"] else f"{row['bytes'] / 2**20:.1f} MiB"


@jobs.command()
@job_argument
@results_option
@json_option
def cancel(job: str, results_root: Path, as_json: bool) -> None:
    """Stop a running job."""
    from tao_skill.jobs.launch import cancel as stop

    store = Store(results_root.absolute())
    print_job(stop(store, store.get(job).id), results_root, as_json=as_json)
