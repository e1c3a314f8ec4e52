"""`tao-skill run`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from tao_skill.cli.completion import action_argument, complete_job
from tao_skill.cli.search import given_settings, search_options
from tao_skill.cli.terminal.options import json_option, results_option
from tao_skill.cli.terminal.output import INTERRUPTED, at_root, emit, interactive, job_text, job_with_commands, note
from tao_skill.errors import BadRequest, JobFailed
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

DOCUMENTED: Final = (2, 3, 4)
"""Exit codes of a job that failed for a reason its caller can act on; any other failure is 1."""

EPILOG: Final = """\b
Any file that the spec reads may be a local path or s3://BUCKET/KEY. Data may also be a folder of either kind
with the usual names in it: train_data.npy, train_label.pkl, val_data.npy, val_label.pkl, test_data.npy, ...

\b
Environment:
  TAO_SKILL_RESULTS          results root
  TAO_SKILL_ENCRYPTION_KEY   key that checkpoints are encrypted with
  TAO_SKILL_CACHE            copies of s3:// files (else $XDG_CACHE_HOME/tao-skill or ~/.cache/tao-skill)
  AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_PROFILE, AWS_REGION
                             access to s3:// (older names: ACCESS_KEY, SECRET_KEY)
  AWS_ENDPOINT_URL           S3 server other than AWS
"""


@click.command(epilog=EPILOG)
@action_argument
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE ...]")
@click.option("-m", "--model", help="Model; the only one when not given.")
@click.option("-e", "--spec", type=click.Path(path_type=Path), help="Spec file, YAML or JSON.")
@click.option(
    "--parent",
    metavar="JOB",
    shell_complete=complete_job,
    help="Job to build on: id, start of an id, latest, latest:ACTION; JOB/3 is trial 3 of a search.",
)
@click.option("--base-experiment", metavar="NAME", help="Pretrained weights to start a train from, by name.")
@click.option("--automl", type=click.Choice(POLICIES), help="AutoML policy of this run; auto leaves it to --request.")
@click.option("--request", "words", metavar="TEXT", help="The user's request in plain words; may turn AutoML off.")
@click.option("--key", help="Idempotency key: the same key gives the same job, and resumes it.")
@click.option("--upload", metavar="s3://BUCKET/PREFIX", help="Copy the job's folder there when it ends, failed or not.")
@search_options
@click.option("--dry-run", is_flag=True, help="Print what would run, and stop.")
@click.option("--detach", is_flag=True, help="Return the job id at once.")
@results_option
@json_option
@click.pass_obj
def run(
    written: Sequence[str] | None,
    /,
    action: str,
    overrides: tuple[str, ...],
    model: str | None,
    spec: Path | None,
    parent: str | None,
    base_experiment: str | None,
    automl: str | None,
    words: str | None,
    key: str | None,
    upload: str | None,
    dry_run: bool,
    detach: bool,
    results_root: Path,
    as_json: bool,
    **search: Any,
) -> int:
    """Run ACTION (train, evaluate, inference, ...) with a spec, inferred parameters and the AutoML policy.

    Example: tao-skill run train -e spec.yaml --automl off train.num_epochs=20
    """
    from tao_skill.planning.request import Request

    chosen = get_model(model)
    request = Request(
        spec_file=spec,
        overrides=overrides,
        parent=parent,
        base_experiment=base_experiment,
        automl=automl,
        words=words,
        key=key,
        upload=upload,
        search=given_settings(search),
        command=("tao-skill", *map(mask_password, written or ())),
    )
    return execute(chosen, action, request, results_root, dry_run=dry_run, detach=detach, as_json=as_json)


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
    """Plan a run, say its warnings, open its job and follow it to its end; the exit code says how it ended."""
    from tao_skill.automl.document import to_json
    from tao_skill.automl.submit import review_search, warnings
    from tao_skill.planning.job import open_job
    from tao_skill.planning.plan import make_plan
    from tao_skill.runner import load_runner

    runner = load_runner(model.name, model.action(action).name)
    store = Store(results_root.absolute())
    now = datetime.now(UTC)
    planned = make_plan(runner, request, store, environment=os.environ, now=now, token=os.urandom(2).hex())
    review = review_search(planned, store if dry_run else None)
    for warning in warnings(planned):
        note(f"warning: {warning}")
    if dry_run:
        document = planned.as_dict() | ({"automl": to_json(review)} if review else {})
        words = [planned.hide(word) for word in request.command[1:] if word not in ("--dry-run", "--json")]
        emit(document, "" if as_json else _plan_text(document, review), as_json=as_json, then=[words])
        return 0
    if not is_first(os.environ):
        return _help(planned, store)
    job, _ = open_job(planned, store, now=now)
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
    """Start a job unless it runs or is complete, and follow it to its end unless told not to."""
    from tao_skill.automl.submit import start

    process = start(job, store, secret_values)
    if detach:
        then = [["jobs", "wait", job.id, *at_root(results_root)]]
        emit({"job": {"id": job.id, "state": store.get(job.id).state}}, job.id, as_json=as_json, then=then)
        return 0
    log = store.log_path(job.id) if show_log else None
    return wait_and_print(job, store, results_root, process=process, own=process is not None, as_json=as_json, log=log)


def _help(planned: Plan, store: Store) -> int:
    """Work beside the first of the processes that a launcher started: the key tells them what they work on."""
    from tao_skill.jobs.launch import join

    if planned.key is None:
        raise BadRequest("a launcher started several processes, and they share no --key", fix="add --key NAME")
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
    """Follow a job to its end, with its log if that is given, and print it.

    Ctrl-C cancels a job that this call started; a search first comes to the end of its rung, and a second one cancels.
    """
    from tao_skill.cli.terminal.progress import follow, follow_search
    from tao_skill.jobs.launch import cancel, interrupt, wait

    following = follow(log) if job.automl is None else follow_search(store.folder(job.id))
    asked = False
    with following as listener:
        while True:
            try:
                job = wait(store, job.id, on_progress=listener, process=process)
                break
            except KeyboardInterrupt:
                if not own:
                    return INTERRUPTED
                if job.automl is not None and not asked:
                    asked = True
                    interrupt(store, job.id)
                    continue
                job = cancel(store, job.id)
                note(f"{job.id} canceled")
                return INTERRUPTED
    code = print_job(job, results_root, as_json=as_json)
    return INTERRUPTED if asked and job.state != "COMPLETE" else code


def print_job(job: Job, results_root: Path, *, as_json: bool) -> int:
    """Print a finished job; the exit code says how it ended, and whether its upload did."""
    document = job_with_commands(job, results_root)
    emit(document, job_text(document), as_json=as_json)
    if job.state == "ERROR" and interactive():
        note(f"the log is in {job.results_dir}")
    if job.state == "COMPLETE":
        return JobFailed.exit_code if "error" in (job.uploaded or {}) else 0
    code = job.attempts[-1].exit_code if job.state == "ERROR" else None
    return code if code is not None and code in DOCUMENTED else JobFailed.exit_code


def _plan_text(document: dict[str, Any], review: SearchReview | None) -> str:
    from tao_skill.io.strict_yaml import dump_yaml

    planned, route = document["plan"], document["route"]
    lines = [f"{planned['job_id']}  {planned['model']} {planned['action']}, not started (dry run)"]
    lines += [f"  route    {route['route']}: {route['reason']}", f"  results  {planned['results_dir']}"]
    if gpus := planned["devices"]["gpu_ids"]:
        lines += [f"  devices  GPU {', '.join(map(str, gpus))}; the CPU where there is no GPU"]
    lines += [f"  upload   {planned['upload']}"] if planned["upload"] else []
    lines += [
        f"  inferred {key} = {one['value']}  ({one['by']}: {one['reason']})" for key, one in planned["inferred"].items()
    ]
    lines += [f"  ignored  {key} (read by other actions)" for key in planned["ignored"]]
    lines += [f"  warning  {warning}" for warning in planned["warnings"]]
    if review is not None:
        from tao_skill.automl.format import review_lines

        lines += [f"  search   {line}" for line in review_lines(review)]
    return "\n".join([*lines, "", dump_yaml(planned["spec"]).rstrip()])
