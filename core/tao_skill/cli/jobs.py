"""`tao-skill jobs`."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

import click

from tao_skill.cli.completion import job_argument
from tao_skill.cli.output import at_root, emit, job_text, job_with_commands, json_option, results_option
from tao_skill.cli.run import print_job, wait_and_print
from tao_skill.errors import BadRequest, BadState
from tao_skill.jobs.document import job_row
from tao_skill.jobs.record import TERMINAL
from tao_skill.jobs.store import Store


@click.group()
def jobs() -> None:
    """List, show, follow and cancel jobs."""


@jobs.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Newest jobs to list.")
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
    found = store.note_upload(found.id, upload_job(found, store.folder(found.id), target, os.environ))
    print_job(found, results_root, as_json=as_json)


@jobs.command()
@job_argument
@results_option
@json_option
def cancel(job: str, results_root: Path, as_json: bool) -> None:
    """Stop a running job."""
    from tao_skill.jobs.launch import cancel as stop

    store = Store(results_root.absolute())
    print_job(stop(store, store.get(job).id), results_root, as_json=as_json)
