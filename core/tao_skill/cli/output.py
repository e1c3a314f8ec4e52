"""What the command line prints: one JSON document, or text for people; errors with their fix."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from tao_skill.errors import SpecError, TaoSkillError
from tao_skill.jobs.record import Job
from tao_skill.models import get_model
from tao_skill.remote import join

INTERRUPTED: Final = 130
RESULTS_VARIABLE: Final = "TAO_SKILL_RESULTS"
DEFAULT_RESULTS: Final = "results"

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def json_option(function: Decorated) -> Decorated:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print exactly one JSON document.")(function)


def results_option(function: Decorated) -> Decorated:
    """`--results-root DIR`."""
    return click.option(
        "--results-root",
        type=click.Path(file_okay=False, path_type=Path),
        default=lambda: Path(os.environ.get(RESULTS_VARIABLE) or DEFAULT_RESULTS),
        show_default=f"${RESULTS_VARIABLE} or ./{DEFAULT_RESULTS}",
        help="Folder that holds a folder per job.",
    )(function)


def emit(value: Any, text: str, *, as_json: bool) -> None:
    """Print the JSON document or the text."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) if as_json else text)


def note(text: str) -> None:
    """Say something beside the result, on stderr."""
    click.echo(text, err=True)


def print_error(error: TaoSkillError, *, as_json: bool) -> None:
    """The `error` document on stdout, or one line per problem with its fix on stderr."""
    if as_json:
        emit({"error": error.as_dict()}, "", as_json=True)
    elif isinstance(error, SpecError):
        for problem in error.problems:
            note(f"error: {problem.message}\n  fix: {problem.fix}")
    else:
        note(f"error: {error.message}\n  fix: {error.fix}")


def job_document(job: Job, results_root: Path) -> dict[str, Any]:
    """The result of a job, as the contract for agents has it."""
    document: dict[str, Any] = {
        "job": {
            "id": job.id,
            "model": job.model,
            "action": job.action,
            "state": job.state,
            "parent": job.parent,
            "results_dir": job.results_dir,
            "created": job.created,
            "started": job.started,
            "ended": job.ended,
        },
        "route": dict(job.route),
        "metrics": dict(job.metrics),
        "artifacts": [dict(artifact) for artifact in job.artifacts],
        "next": next_commands(job, results_root),
    }
    if job.upload or job.uploaded:
        document["upload"] = {"uri": join(job.upload or "", job.id)} | (job.uploaded or {})
    return document | ({"error": job.error} if job.error else {})


def next_commands(job: Job, results_root: Path) -> list[str]:
    """What usually follows: the next actions of a finished job, the log and a restart of a broken one."""
    root = [] if results_root == Path(os.environ.get(RESULTS_VARIABLE) or DEFAULT_RESULTS) else [str(results_root)]
    where = ["--results-root", *root] if root else []
    if job.state == "COMPLETE":
        actions = get_model(job.model).actions
        parent = job.id if actions[job.action].makes_model else job.parent
        # What follows on a parent's model must be something one can do with that kind of model.
        sensible = actions[parent.split("-")[0]].next if parent else ()
        names = [name for name in actions[job.action].next if name in sensible and actions[name].entry is not None]
        return [shlex.join(["tao-skill", "run", name, "--parent", str(parent), *where]) for name in names]
    if job.state in ("ERROR", "CANCELED"):
        again = [shlex.join(job.command)] if job.key and job.command else []
        return [shlex.join(["tao-skill", "jobs", "logs", job.id, *where]), *again]
    return [shlex.join(["tao-skill", "jobs", "wait", job.id, *where])]


def job_text(document: Mapping[str, Any]) -> str:
    """The same for people."""
    job = document["job"]
    lines = [f"{job['id']}  {job['state']}", f"  route    {document['route']['route']}: {document['route']['reason']}"]
    lines += [f"  {name:<16} {'-' if value is None else f'{value:.4g}'}" for name, value in document["metrics"].items()]
    lines += [f"  {artifact['kind']:<18} {artifact['path']}" for artifact in document["artifacts"]]
    if error := document.get("error"):
        lines += [f"  error    {error['message']}", f"  fix      {error['fix']}"]
    if upload := document.get("upload"):
        done = f"{upload['files']} files" if "files" in upload else "not done"
        lines += [f"  upload   {upload['uri']}: {upload['error']['message'] if 'error' in upload else done}"]
        lines += [f"  fix      {upload['error']['fix']}"] if "error" in upload else []
    lines += [f"  next     {command}" for command in document["next"]]
    return "\n".join(lines)


def interactive() -> bool:
    """Whether stderr is a terminal that can show a live progress bar."""
    return sys.stderr.isatty()
