"""`tao-skill run`."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tao_skill.cli.output import (
    INTERRUPTED,
    emit,
    interactive,
    job_document,
    job_text,
    json_option,
    note,
    results_option,
)
from tao_skill.errors import BadRequest, BadState, JobFailed
from tao_skill.jobs.record import Job
from tao_skill.jobs.store import Store
from tao_skill.models import get_model
from tao_skill.policy import POLICIES
from tao_skill.ranks import is_first

if TYPE_CHECKING:
    from tao_skill.runner import Plan


@click.command()
@click.argument("action")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE ...]")
@click.option("-m", "--model", help="Model; the only one when not given.")
@click.option("-e", "--spec", type=click.Path(path_type=Path), help="Spec file, YAML or JSON.")
@click.option("--parent", metavar="JOB", help="Job to build on: id, start of an id, latest, latest:ACTION.")
@click.option("--base-experiment", metavar="NAME", help="Pretrained weights to start a train from, by name.")
@click.option("--automl", type=click.Choice(POLICIES), help="AutoML policy of this run.")
@click.option("--request", "words", metavar="TEXT", help="The request in plain words; may turn AutoML off.")
@click.option("--key", help="Idempotency key: the same key gives the same job, and resumes it.")
@click.option("--dry-run", is_flag=True, help="Print what would run, and stop.")
@click.option("--detach", is_flag=True, help="Return the job id at once.")
@results_option
@json_option
@click.pass_obj
def run(
    written: Sequence[str] | None,
    action: str,
    overrides: tuple[str, ...],
    model: str | None,
    spec: Path | None,
    parent: str | None,
    base_experiment: str | None,
    automl: str | None,
    words: str | None,
    key: str | None,
    dry_run: bool,
    detach: bool,
    results_root: Path,
    as_json: bool,
) -> int:
    """Run ACTION (train, evaluate, inference, ...) with a spec, inferred parameters and the AutoML policy.

    Example: tao-skill run train -e spec.yaml --automl off train.num_epochs=20
    """
    from tao_skill.runner import Request, load_runner, open_job, plan

    chosen = get_model(model)
    runner = load_runner(chosen.name, chosen.action(action).name)
    store = Store(results_root.absolute())
    request = Request(
        spec_file=spec,
        overrides=overrides,
        parent=parent,
        base_experiment=base_experiment,
        automl=automl,
        words=words,
        key=key,
        command=("tao-skill", *(written or ())),
    )
    now = datetime.now(UTC)
    planned = plan(runner, request, store, environment=os.environ, now=now, token=secrets.token_hex(2))
    for warning in planned.warnings:
        note(f"warning: {warning}")
    if dry_run:
        emit(planned.as_dict(), _plan_text(planned.as_dict()), as_json=as_json)
        return 0
    if not is_first(os.environ):
        return _help(planned, store)
    job, _ = open_job(planned, store, now=now)
    return _carry_out(job, store, planned.secrets, results_root, detach=detach, as_json=as_json)


def _carry_out(job: Job, store: Store, secret_values: Any, results_root: Path, *, detach: bool, as_json: bool) -> int:
    """Start the job unless it runs or is done already, and wait for it unless told not to."""
    from tao_skill.jobs.launch import start

    try:
        process = start(store, job, secret_values)
    except BadState:  # the key's job is complete, or another process runs it
        process = None
    if detach:
        emit({"job": {"id": job.id, "state": store.get(job.id).state}}, job.id, as_json=as_json)
        return 0
    return wait_and_print(job, store, results_root, process=process, own=process is not None, as_json=as_json)


def _help(planned: Plan, store: Store) -> int:
    """Work beside the first of the processes that a launcher started: the key tells them what they work on."""
    from tao_skill.jobs.launch import join

    if planned.key is None:
        raise BadRequest("a launcher started several processes, and they share no --key", fix="add --key NAME")
    return join(store, planned.job_id, planned.secrets)


def wait_and_print(job: Job, store: Store, results_root: Path, *, process: Any = None, own: bool, as_json: bool) -> int:
    """Follow a job to its end and print it; Ctrl-C cancels a job that this call started."""
    from tao_skill.cli.progress import follow
    from tao_skill.jobs.launch import cancel, wait

    try:
        with follow() as listener:
            job = wait(store, job.id, on_progress=listener, process=process)
    except KeyboardInterrupt:
        if own:
            job = cancel(store, job.id)
            note(f"{job.id} canceled")
        return INTERRUPTED
    return print_job(job, results_root, as_json=as_json)


def print_job(job: Job, results_root: Path, *, as_json: bool) -> int:
    """Print a finished job; the exit code says how it ended."""
    document = job_document(job, results_root)
    emit(document, job_text(document), as_json=as_json)
    if job.state == "ERROR" and interactive():
        note(f"the log is in {job.results_dir}")
    return 0 if job.state == "COMPLETE" else JobFailed.exit_code


def _plan_text(document: dict[str, Any]) -> str:
    import yaml

    planned, route = document["plan"], document["route"]
    lines = [f"{planned['job_id']}  {planned['model']} {planned['action']}, not started (dry run)"]
    lines += [f"  route    {route['route']}: {route['reason']}", f"  results  {planned['results_dir']}"]
    lines += [
        f"  inferred {key} = {one['value']}  ({one['by']}: {one['reason']})" for key, one in planned["inferred"].items()
    ]
    lines += [f"  ignored  {key} (read by other actions)" for key in planned["ignored"]]
    lines += [f"  warning  {warning}" for warning in planned["warnings"]]
    return "\n".join([*lines, "", yaml.safe_dump(planned["spec"], sort_keys=False).rstrip()])
