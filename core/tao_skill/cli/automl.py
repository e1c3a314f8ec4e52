"""`tao-skill automl`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from secrets import token_hex
from typing import Any

import click

from tao_skill.cli.completion import job_argument
from tao_skill.cli.terminal.options import json_option, model_option, results_option
from tao_skill.cli.terminal.output import emit, next_commands, note
from tao_skill.jobs.record import Job
from tao_skill.jobs.store import Store
from tao_skill.model import TRAIN, Model
from tao_skill.models import get_model
from tao_skill.planning.infer import KEY_VARIABLE
from tao_skill.spec.tree import iter_params


@click.group()
def automl() -> None:
    """Print search spaces; show, resume and join searches."""


@automl.command()
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE ...]")
@model_option
@click.option("-e", "--spec", type=click.Path(path_type=Path), help="Spec file, YAML or JSON.")
@click.option(
    "--search", multiple=True, metavar="PARAM[=RANGE]", help="Search only this parameter; RANGE: low:high[:log] or a,b."
)
@click.option("--no-search", multiple=True, metavar="PARAM", help="Do not search this parameter.")
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
    """Print the search space of a train.

    Parameters that are not searched are listed with the reason. Without a spec or KEY=VALUE, the defaults of the model
    are used.
    """
    from tao_skill import bank
    from tao_skill.automl.document import to_json
    from tao_skill.automl.format import space_lines
    from tao_skill.automl.space.space import build_space
    from tao_skill.spec.tree import lookup

    chosen = get_model(model)
    values, limits = _spec_and_limits(chosen, spec, overrides, results_root)
    search_space = build_space(
        bank.load_schema(chosen.name, TRAIN),
        values,
        limits,
        search=search,
        no_search=no_search,
        shorthand=bank.skill_info(chosen.name)["spec_shorthand"],
    )
    defaults = {dimension.key: lookup(values, dimension.key) for dimension in search_space.dimensions}
    summary = search_space.summary()
    then = ["template", "train"]
    if spec or overrides:
        then = ["run", "train", *(["-e", str(spec)] if spec else []), *overrides, "--dry-run"]
        then += [f"--search={request}" for request in search] + [f"--no-search={parameter}" for parameter in no_search]
    document = {"model": chosen.name, **to_json(summary), "defaults": defaults}
    emit(document, "\n".join(space_lines(summary, defaults)), as_json=as_json, then=[then])


@automl.command()
@job_argument
@results_option
@json_option
def show(job: str, results_root: Path, as_json: bool) -> None:
    """Show the trials, epochs and winner of a search.

    `--parent JOB/N` builds on trial N.
    """
    from tao_skill.automl.document import to_json
    from tao_skill.automl.report.files import PAGE_FILE, read_report, with_parents
    from tao_skill.automl.report.live import rows, table

    store, record = Store(results_root.absolute()).find(job)
    folder = store.folder(record.id)
    report = with_parents(read_report(folder, record), folder, record)
    if sys.stdout.isatty() and not as_json:
        from rich.console import Console

        Console().print(table(report))
        note(f"--parent {record.id}/N builds on trial N")
    else:
        document = to_json(report) | {"next": next_commands(record, results_root)}
        emit(document, "\n".join(rows(report)), as_json=as_json)
    note(f"page  {folder / PAGE_FILE}")


@automl.command()
@job_argument
@click.option("--storage", metavar="URL", help="URL of its database, if the job record masks the password.")
@results_option
@json_option
def resume(job: str, storage: str | None, results_root: Path, as_json: bool) -> int:
    """Resume an interrupted search.

    No trained epoch is lost or repeated.
    """
    from tao_skill.automl.report.files import check_search
    from tao_skill.cli.run import follow_job
    from tao_skill.cli.search import hand_over_storage

    if storage is not None:
        hand_over_storage(storage)

    store, record = Store(results_root.absolute()).find(job)
    check_search(record)
    return follow_job(record, store, results_root, _secrets(record), as_json=as_json)


@automl.command()
@click.option(
    "--job", required=True, help="Search to join; its folder and storage must be accessible from this machine."
)
@click.option("--storage", metavar="URL", help="URL of its database, if the job record masks the password.")
@results_option
@json_option
def worker(job: str, storage: str | None, results_root: Path, as_json: bool) -> None:
    """Join a search of another process or machine, and train trials.

    Returns when the search ends.
    """
    from tao_skill.automl.execution.database import default_url
    from tao_skill.automl.execution.objective import objective_of
    from tao_skill.automl.execution.trial_worker import serve
    from tao_skill.automl.report.files import check_search
    from tao_skill.automl.settings import read_settings
    from tao_skill.jobs.process import this_host
    from tao_skill.jobs.secrets import SECRETS_VARIABLE, STORAGE_VARIABLE

    store, record = Store(results_root.absolute()).find(job)
    check_search(record)
    folder = store.folder(record.id)
    url = storage or os.environ.get(STORAGE_VARIABLE) or read_settings(record.automl or {}).storage
    os.environ[SECRETS_VARIABLE] = json.dumps(_secrets(record))
    name = f"{this_host()}-{token_hex(3)}"
    serve(folder, url or default_url(folder), name, objective_of)
    document = {"job": record.id, "worker": name}
    emit(document, f"the search of {record.id} has ended", as_json=as_json, then=[["automl", "show", record.id]])


def _secrets(job: Job) -> dict[str, str]:
    """Secret values of a job, which are not in its record: the encryption key, from the environment."""
    key = os.environ.get(KEY_VARIABLE)
    leaves = iter_params(get_model(job.model).config, job.action)
    return {leaf.key: key for leaf in leaves if leaf.param.secret} if key else {}


def _spec_and_limits(
    model: Model, spec: Path | None, overrides: tuple[str, ...], results_root: Path
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The checked spec of a train, and the limits of its data; without a spec, the defaults and no limits."""
    from tao_skill.planning.plan import plan_action
    from tao_skill.planning.request import Request
    from tao_skill.spec import load

    if spec is None and not overrides:
        note("no spec given: limits that the data set to the ranges are not known")
        return asdict(load.build(model.config, {})), {}
    request = Request(spec_file=spec, overrides=overrides)
    planned = plan_action(model, TRAIN, request, Store(results_root.absolute()), os.environ)
    for warning in planned.warnings:
        note(f"warning: {warning}")
    return planned.spec, model.search_limits(load.build(model.config, planned.spec))
