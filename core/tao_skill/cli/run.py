"""`tao-skill run`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from tao_skill.cli.completion import action_argument, complete_job
from tao_skill.cli.search import SearchCommand, given_settings, search_options
from tao_skill.cli.terminal.options import json_option, model_option, results_option
from tao_skill.cli.terminal.output import (
    INTERRUPTED,
    emit,
    fold,
    interactive,
    job_text,
    job_with_commands,
    note,
    results_root_arguments,
)
from tao_skill.errors import BadData, BadRequest, JobFailed, NotFound
from tao_skill.io.strict_json import mask_password
from tao_skill.jobs.record import Job
from tao_skill.jobs.store import Store
from tao_skill.model import Model
from tao_skill.models import get_model
from tao_skill.planning.routing import POLICIES
from tao_skill.ranks import is_first

if TYPE_CHECKING:
    import subprocess

    from tao_skill.automl.report.review import SearchReview
    from tao_skill.planning.plan import Plan
    from tao_skill.planning.request import Request

USER_ERROR_CODES: Final = (2, 3, 4)
"""Exit codes of a failed job that the caller can correct; the exit code of any other failure is 1."""

RESULTS: Final = {"best_checkpoint": "model", "report": "report"}
"""Name of an artifact of a search in the last lines, by its kind."""

EPILOG: Final = """
An input file may be a local path or s3://BUCKET/KEY. Data may also be a folder, local or on S3, with files named
train_data.npy, train_label.pkl, val_data.npy, val_label.pkl, test_data.npy, test_label.pkl.

\b
Environment:
  TAO_SKILL_RESULTS         results root
  TAO_SKILL_ENCRYPTION_KEY  key that encrypts checkpoints
  TAO_SKILL_CACHE           copies of s3:// files; default:
                            $XDG_CACHE_HOME/tao-skill or ~/.cache/tao-skill
  AWS_ENDPOINT_URL          S3 server other than AWS
  AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN,
  AWS_PROFILE, AWS_REGION   access to s3:// (older: ACCESS_KEY, SECRET_KEY)
"""


@click.command(cls=SearchCommand, epilog=EPILOG)
@action_argument
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE ...]")
@model_option
@click.option("-e", "--spec", type=click.Path(path_type=Path), help="Spec file, YAML or JSON.")
@click.option(
    "--parent",
    metavar="JOB",
    shell_complete=complete_job,
    help="Job to build on: an id or its prefix, latest, latest:ACTION, or JOB/3 for trial 3 of a search.",
)
@click.option("--base-experiment", metavar="NAME", help="Name of pretrained weights to start a train from.")
@click.option("--automl", type=click.Choice(POLICIES), help="AutoML policy; auto: the --request decides.")
@click.option(
    "--request", "user_request", metavar="TEXT", help="The user's request in plain words; may turn AutoML off."
)
@click.option("--key", help="Idempotency key: the same key gives the same job, and resumes it.")
@click.option("--upload", metavar="s3://BUCKET/PREFIX", help="Upload the job's folder when it ends, failed or not.")
@search_options
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@click.option("--detach", is_flag=True, help="Print the job id and return at once.")
@results_option
@json_option
@click.pass_obj
def run(
    arguments: Sequence[str] | None,
    /,
    action: str,
    overrides: tuple[str, ...],
    model: str | None,
    spec: Path | None,
    parent: str | None,
    base_experiment: str | None,
    automl: str | None,
    user_request: str | None,
    key: str | None,
    upload: str | None,
    dry_run: bool,
    detach: bool,
    results_root: Path,
    as_json: bool,
    **search: Any,
) -> int:
    """Run ACTION, e.g. train, evaluate, inference or export.

    Parameters that are not given are inferred or have defaults. A train is an AutoML search unless that is turned off.

    Example: tao-skill run train -e spec.yaml --automl off train.num_epochs=20
    """
    from tao_skill.planning.request import Request

    request = Request(
        spec_file=spec,
        overrides=overrides,
        parent=parent,
        base_experiment=base_experiment,
        automl=automl,
        user_request=user_request,
        key=key,
        upload=upload,
        search=given_settings(search),
        command=("tao-skill", *map(mask_password, arguments or ())),
    )
    return execute(get_model(model), action, request, results_root, dry_run=dry_run, detach=detach, as_json=as_json)


def execute(
    model: Model,
    action: str,
    request: Request,
    results_root: Path,
    *,
    dry_run: bool = False,
    detach: bool = False,
    as_json: bool = False,
    show_log: bool = False,
) -> int:
    """Plan a run, print its warnings, open its job, follow it to its end, and return the exit code."""
    from tao_skill.automl.document import to_json
    from tao_skill.automl.submit import review_search, warnings
    from tao_skill.planning.job import open_job
    from tao_skill.planning.plan import plan_action

    store = Store(results_root.absolute())
    planned = plan_action(model, action, request, store, os.environ)
    review = review_search(planned, store if dry_run else None)
    for warning in warnings(planned):
        note(f"warning: {warning}")
    if dry_run:
        document = planned.as_dict() | ({"automl": to_json(review)} if review else {})
        left_out = ("--dry-run", "--json")
        command = [planned.mask_secrets(argument) for argument in request.command[1:] if argument not in left_out]
        emit(document, "" if as_json else _plan_text(document, review), as_json=as_json, then=[command])
        return 0
    if not is_first(os.environ):
        return _join_run(planned, store)
    job, _ = open_job(planned, store, now=datetime.now(UTC))
    return follow_job(job, store, results_root, planned.secrets, detach=detach, as_json=as_json, show_log=show_log)


def follow_job(
    job: Job,
    store: Store,
    results_root: Path,
    secret_values: Mapping[str, str],
    *,
    detach: bool = False,
    as_json: bool = False,
    show_log: bool = False,
) -> int:
    """Start a job unless it is running or complete, and follow it to its end unless `detach`."""
    from tao_skill.automl.submit import start

    process = start(job, store, secret_values)
    if detach:
        then = [["jobs", "wait", job.id, *results_root_arguments(results_root)]]
        emit({"job": {"id": job.id, "state": store.get(job.id).state}}, job.id, as_json=as_json, then=then)
        return 0
    log = store.log_path(job.id) if show_log else None
    return wait_and_print(job, store, results_root, process=process, own=process is not None, as_json=as_json, log=log)


def _join_run(planned: Plan, store: Store) -> int:
    """Join the run of the first process of a launcher such as torchrun; the key identifies the job."""
    from tao_skill.jobs.launch import join

    if planned.key is None:
        raise BadRequest("a launcher started several processes without a common --key", fix="add --key NAME")
    return join(store, planned.job_id, planned.secrets)


def wait_and_print(
    job: Job,
    store: Store,
    results_root: Path,
    *,
    process: subprocess.Popen[bytes] | None = None,
    own: bool,
    as_json: bool,
    log: Path | None = None,
) -> int:
    """Follow a job to its end, with its log if `log` is given, and print it.

    Args:
        own: whether this call started the job. If so, Ctrl-C cancels it; a search first finishes its rung, and a second
            Ctrl-C cancels it.
    """
    from tao_skill.cli.terminal.progress import follow, follow_search
    from tao_skill.jobs.launch import cancel, interrupt, wait

    following = follow(log) if job.automl is None else follow_search(store.folder(job.id))
    is_interrupted = False
    with following as listener:
        while True:
            try:
                job = wait(store, job.id, on_progress=listener, process=process)
                break
            except KeyboardInterrupt:
                if not own:
                    return INTERRUPTED
                if job.automl is not None and not is_interrupted:
                    is_interrupted = True
                    interrupt(store, job.id)
                    continue
                job = cancel(store, job.id)
                note(f"{job.id} canceled")
                return INTERRUPTED
    code = print_job(job, results_root, as_json=as_json)
    return INTERRUPTED if is_interrupted and job.state != "COMPLETE" else code


def print_job(job: Job, results_root: Path, *, as_json: bool) -> int:
    """Print an ended job and return its exit code, which also reports a failed upload."""
    document = job_with_commands(job, results_root)
    emit(document, job_text(document), as_json=as_json)
    if job.state == "COMPLETE" and job.automl is not None and not as_json:
        click.echo("\n".join(fold(_search_result(job, Store(results_root.absolute())))))
    if job.state == "ERROR" and interactive():
        note(f"the log is in {job.results_dir}")
    if job.state == "COMPLETE":
        return JobFailed.exit_code if "error" in (job.uploaded or {}) else 0
    code = job.attempts[-1].exit_code if job.state == "ERROR" else None
    return code if code is not None and code in USER_ERROR_CODES else JobFailed.exit_code


def _search_result(job: Job, store: Store) -> Iterator[str]:
    """The outcome of a search: verdict, gain over the user's spec, model and report."""
    from tao_skill.automl.report.files import read_report
    from tao_skill.automl.report.live import gain

    with suppress(BadData, NotFound):
        report = read_report(store.folder(job.id), job)
        yield f"  winner   {report.winner.sentence}"
        yield f"  gain     {gain(report)}"
    paths = {artifact["kind"]: artifact["path"] for artifact in job.artifacts}
    yield from (f"  {name:<8} {paths[kind]}" for kind, name in RESULTS.items() if kind in paths)


def _plan_text(document: dict[str, Any], review: SearchReview | None) -> str:
    """The plan as text: the spec first, so that the decisions are next to the prompt."""
    from tao_skill.io.strict_yaml import dump_yaml

    return "\n".join([dump_yaml(document["plan"]["spec"]), *fold(_decisions(document, review))])


def _decisions(document: dict[str, Any], review: SearchReview | None) -> Iterator[str]:
    planned, route = document["plan"], document["route"]
    yield f"{planned['job_id']}  {planned['model']} {planned['action']}, not started (dry run)"
    yield f"  route    {route['route']}: {route['reason']}"
    yield f"  results  {planned['results_dir']}"
    if gpus := planned["devices"]["gpu_ids"]:
        yield f"  devices  GPU {', '.join(map(str, gpus))}; without a GPU, the CPU"
    if planned["upload"]:
        yield f"  upload   {planned['upload']}"
    for key, entry in planned["inferred"].items():
        yield f"  inferred {key} = {entry['value']}  ({entry['by']}: {entry['reason']})"
    if planned["ignored"]:
        yield f"  ignored  keys of other actions: {', '.join(planned['ignored'])}"
    yield from (f"  warning  {warning}" for warning in planned["warnings"])
    if review is not None:
        from tao_skill.automl.format import review_lines

        yield from (f"  search   {line}" for line in review_lines(review))
