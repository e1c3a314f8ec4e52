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
from tao_skill.cli.terminal.output import emit, job_text, job_with_commands, print_error, results_root_arguments
from tao_skill.errors import BadRequest, BadState
from tao_skill.jobs.document import job_row
from tao_skill.jobs.record import TERMINAL
from tao_skill.jobs.store import Store

DEFAULT_LIMIT: Final = 50
"""Jobs that `jobs list` prints by default."""

MAX_AGE_S: Final = 1e9
"""About 30 years; larger ages are cut to it, so that subtracting them gives a valid date."""


@click.group()
def jobs() -> None:
    """List, follow, cancel, verify, upload and delete jobs."""


@jobs.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=DEFAULT_LIMIT, show_default=True, help="Jobs to list.")
@results_option
@json_option
def list_jobs(limit: int, results_root: Path, as_json: bool) -> None:
    """List jobs, newest first."""
    store = Store(results_root.absolute())
    rows = [job_row(job) for job in islice(store.newest(), limit)]
    lines = [f"{row['id']:<34} {row['action']:<12} {row['state']:<9} {row['created']}" for row in rows]
    then = [["jobs", "show", rows[0]["id"], *results_root_arguments(results_root)] if rows else ["run", "--help"]]
    emit({"jobs": rows, "total": store.count()}, "\n".join(lines) or "no jobs", as_json=as_json, then=then)


@jobs.command()
@job_argument
@results_option
@json_option
def show(job: str, results_root: Path, as_json: bool) -> None:
    """Show the state, metrics, artifacts and next commands of a job."""
    document = job_with_commands(Store(results_root.absolute()).get(job), results_root)
    emit(document, job_text(document), as_json=as_json)


@jobs.command()
@job_argument
@click.option("--lines", type=click.IntRange(min=1), default=50, show_default=True, help="Number of lines.")
@results_option
@json_option
def logs(job: str, lines: int, results_root: Path, as_json: bool) -> None:
    """Print the end of a job's log."""
    from tao_skill.jobs.launch import tail

    store = Store(results_root.absolute())
    record = store.get(job)
    text = tail(store, record.id, lines)
    then = [["jobs", "show", record.id, *results_root_arguments(results_root)]]
    emit({"job": record.id, "log": text}, text.rstrip("\n"), as_json=as_json, then=then)


@jobs.command()
@job_argument
@results_option
@json_option
def wait(job: str, results_root: Path, as_json: bool) -> int:
    """Follow a job to its end; Ctrl-C leaves it running."""
    store = Store(results_root.absolute())
    return wait_and_print(store.get(job), store, results_root, own=False, as_json=as_json)


@jobs.command()
@job_argument
@results_option
@json_option
def verify(job: str, results_root: Path, as_json: bool) -> int:
    """Compare a job's artifacts with the checksums in its record."""
    from tao_skill.jobs import artifacts

    record = Store(results_root.absolute()).get(job)
    states = artifacts.verify(record)
    error = artifacts.damage_error(record, states)
    document = {"job": record.id, "artifacts": states} | ({"error": error.as_dict()} if error else {})
    lines = [f"{artifact['state']:<9} {artifact['kind']:<18} {artifact['path']}" for artifact in states]
    text = "\n".join(lines) or "no artifacts"
    emit(document, text, as_json=as_json, then=[["jobs", "show", record.id, *results_root_arguments(results_root)]])
    if error and not as_json:
        print_error(error, as_json=False)
    return error.exit_code if error else 0


@jobs.command()
@job_argument
@click.argument("prefix", metavar="[s3://BUCKET/PREFIX]", required=False)
@results_option
@json_option
def upload(job: str, prefix: str | None, results_root: Path, as_json: bool) -> None:
    """Upload the folder of an ended job to S3, e.g. after a failure.

    The default prefix is that of the run's --upload.
    """
    from tao_skill.jobs.upload import upload_job

    store = Store(results_root.absolute())
    record = store.get(job)
    if record.state not in TERMINAL:
        raise BadState(f"job {record.id} is {record.state}", fix=f"tao-skill jobs wait {record.id}, then upload it")
    target = prefix or record.upload
    if target is None:
        raise BadRequest(f"job {record.id} was run without --upload", fix="give a prefix s3://BUCKET/PREFIX")
    record = store.record_upload(record.id, upload_job(record, store.folder(record.id), target, os.environ))
    print_job(record, results_root, as_json=as_json)


@jobs.command()
@click.option("--older-than", type=Duration(), required=True, help="Time since they ended, e.g. 30d or 12h.")
@click.option("--apply", is_flag=True, help="Delete the jobs instead of listing them.")
@results_option
@json_option
def prune(older_than: float, apply: bool, results_root: Path, as_json: bool) -> None:
    """List, or delete with --apply, old jobs without dependents.

    A job that a newer job is built on is kept.
    """
    from tao_skill.jobs.prune import old_jobs, remove

    store, before = Store(results_root.absolute()), datetime.now(UTC) - timedelta(seconds=min(older_than, MAX_AGE_S))
    old = (remove if apply else old_jobs)(store, before)
    rows = [{**job_row(entry.job), "bytes": entry.bytes, "needed_by": entry.needed_by} for entry in old]
    freed = sum(entry.bytes for entry in old if entry.needed_by is None)
    lines = [f"{'keep' if row['needed_by'] else 'delete':<6} {row['id']:<34} {_size_or_dependent(row)}" for row in rows]
    text = "\n".join([*lines, f"{freed / 2**20:.1f} MiB {'freed' if apply else 'would be freed'}"])
    then = ["jobs", "list"] if apply else ["jobs", "prune", "--older-than", f"{older_than:.0f}s", "--apply"]
    document = {"jobs": rows, "bytes": freed, "applied": apply}
    emit(document, text, as_json=as_json, then=[[*then, *results_root_arguments(results_root)]])


def _size_or_dependent(row: Mapping[str, Any]) -> str:
    return f"needed by {row['needed_by']}" if row["needed_by"] else f"{row['bytes'] / 2**20:.1f} MiB"


@jobs.command()
@job_argument
@results_option
@json_option
def cancel(job: str, results_root: Path, as_json: bool) -> None:
    """Cancel a running job."""
    from tao_skill.jobs import launch

    store = Store(results_root.absolute())
    print_job(launch.cancel(store, store.get(job).id), results_root, as_json=as_json)
