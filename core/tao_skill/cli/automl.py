"""`tao-skill automl`."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from tao_skill.cli.completion import job_argument
from tao_skill.cli.terminal.options import json_option, results_option
from tao_skill.cli.terminal.output import emit, next_commands, note
from tao_skill.jobs.record import Job
from tao_skill.jobs.store import Store
from tao_skill.model import Model
from tao_skill.models import get_model
from tao_skill.planning.infer import KEY_VARIABLE
from tao_skill.spec.tree import iter_params


@click.group()
def automl() -> None:
    """Look at search spaces and searches."""


@automl.command()
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE ...]")
@click.option("-m", "--model", help="Model; the only one when not given.")
@click.option("-e", "--spec", type=click.Path(path_type=Path), help="Spec file, YAML or JSON.")
@click.option("--search", multiple=True, metavar="PARAM[=RANGE]", help="Only this: PARAM, =low:high[:log], =a,b.")
@click.option("--no-search", multiple=True, metavar="PARAM", help="Leave a parameter as it is.")
@results_option
@json_option
def space(
    overrides: tuple[str, ...],
    model: str | None,
    spec: Path | None,
    search: tuple[str, ...],
    no_search: tuple[str, ...],
    results_root: Path,
    as_json: bool,
) -> None:
    """Print what a train would search, and why the rest is left out.

    With a spec or KEY=VALUE, as a train with those would; without, from the defaults of the model.
    """
    from tao_skill import bank
    from tao_skill.automl.document import to_json
    from tao_skill.automl.format import space_lines
    from tao_skill.automl.space.space import build_space
    from tao_skill.spec.tree import lookup

    chosen = get_model(model)
    values, limits = _ground(chosen, spec, overrides, results_root)
    built = build_space(
        bank.load_schema(chosen.name, "train"),
        values,
        limits,
        search=search,
        no_search=no_search,
        shorthand=bank.skill_info(chosen.name)["spec_shorthand"],
    )
    defaults = {one.key: lookup(values, one.key) for one in built.dimensions}
    summary = built.summary()
    then = ["template", "train"]
    if spec or overrides:
        then = ["run", "train", *(["-e", str(spec)] if spec else []), *overrides, "--dry-run"]
        then += [f"--search={one}" for one in search] + [f"--no-search={one}" for one in no_search]
    document = {"model": chosen.name, **to_json(summary), "defaults": defaults}
    emit(document, "\n".join(space_lines(summary, defaults)), as_json=as_json, then=[then])


@automl.command()
@job_argument
@results_option
@json_option
def show(job: str, results_root: Path, as_json: bool) -> None:
    """Show the search of JOB: every trial, the epochs spent, the winner. JOB/N as --parent takes trial N."""
    from tao_skill.automl.document import to_json
    from tao_skill.automl.report.files import PAGE_FILE, read_report, with_parents
    from tao_skill.automl.report.live import rows, table

    home, found = Store(results_root.absolute()).find(job)
    folder = home.folder(found.id)
    report = with_parents(read_report(folder, found), folder, found)
    if sys.stdout.isatty() and not as_json:
        from rich.console import Console

        Console().print(table(report))
        note(f"--parent {found.id}/N evaluates, exports or runs trial N")
    else:
        document = to_json(report) | {"next": next_commands(found, results_root)}
        emit(document, "\n".join(rows(report)), as_json=as_json)
    note(f"page  {folder / PAGE_FILE}")


@automl.command()
@job_argument
@click.option("--storage", metavar="URL", help="Its database, where the record hides a password.")
@results_option
@json_option
def resume(job: str, storage: str | None, results_root: Path, as_json: bool) -> int:
    """Go on with the search of JOB where it stopped; nothing that was trained is lost or done twice."""
    from tao_skill.automl.report.files import check_search
    from tao_skill.cli.run import follow_job
    from tao_skill.cli.search import hand_over_storage

    if storage is not None:
        hand_over_storage(storage)

    home, found = Store(results_root.absolute()).find(job)
    check_search(found)
    return follow_job(found, home, results_root, _secrets(found), as_json=as_json)


@automl.command()
@click.option("--job", required=True, help="Search to work for; its folder and storage must be seen from here.")
@click.option("--storage", metavar="URL", help="Its database, where the record hides a password.")
@results_option
@json_option
def worker(job: str, storage: str | None, results_root: Path, as_json: bool) -> None:
    """Train for a search that another process or machine runs, until it ends."""
    from tao_skill.automl.execution.database import default_url
    from tao_skill.automl.execution.objective import objective_of
    from tao_skill.automl.execution.trial_worker import serve
    from tao_skill.automl.report.files import check_search
    from tao_skill.automl.settings import read_settings
    from tao_skill.jobs.process import this_host
    from tao_skill.jobs.secrets import SECRETS_VARIABLE, STORAGE_VARIABLE

    home, found = Store(results_root.absolute()).find(job)
    check_search(found)
    folder = home.folder(found.id)
    url = storage or os.environ.get(STORAGE_VARIABLE) or read_settings(found.automl or {}).storage
    os.environ[SECRETS_VARIABLE] = json.dumps(_secrets(found))
    name = f"{this_host()}-{secrets.token_hex(3)}"
    serve(folder, url or default_url(folder), name, objective_of)
    document = {"job": found.id, "worker": name}
    emit(document, f"the search of {found.id} has ended", as_json=as_json, then=[["automl", "show", found.id]])


def _secrets(job: Job) -> dict[str, str]:
    """The secret values of a job, which its record does not hold: the encryption key, from the environment."""
    key = os.environ.get(KEY_VARIABLE)
    leaves = iter_params(get_model(job.model).config, job.action)
    return {leaf.key: key for leaf in leaves if leaf.param.secret} if key else {}


def _ground(
    model: Model, spec: Path | None, overrides: tuple[str, ...], results_root: Path
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The checked spec of a train and what its data leave of ranges; without one, the defaults and no limits."""
    from tao_skill.planning.plan import make_plan
    from tao_skill.planning.request import Request
    from tao_skill.runner import load_runner
    from tao_skill.spec import load

    if spec is None and not overrides:
        note("no spec given: what the data leave of the ranges is not known")
        return asdict(load.build(model.config, {})), {}
    request = Request(spec_file=spec, overrides=overrides)
    token, now = secrets.token_hex(2), datetime.now(UTC)
    runner, store = load_runner(model.name, "train"), Store(results_root.absolute())
    planned = make_plan(runner, request, store, environment=os.environ, now=now, token=token)
    for warning in planned.warnings:
        note(f"warning: {warning}")
    return planned.spec, model.search_limits(load.build(model.config, planned.spec))
