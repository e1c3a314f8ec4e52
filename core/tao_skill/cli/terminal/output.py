"""What the command line prints: one JSON document, or text for people; errors with their fix."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from tao_skill.errors import SpecError, TaoSkillError
from tao_skill.jobs.document import NextRun, job_document, next_runs
from tao_skill.jobs.record import Job

INTERRUPTED: Final = 130
RESULTS_VARIABLE: Final = "TAO_SKILL_RESULTS"
DEFAULT_RESULTS: Final = "results"


def default_results_root() -> Path:
    """Where jobs are kept unless a call says otherwise."""
    return Path(os.environ.get(RESULTS_VARIABLE) or DEFAULT_RESULTS)


def emit(value: Any, text: str, *, as_json: bool, then: Iterable[Sequence[str]] = ()) -> None:
    """Print the JSON document, or the text.

    Args:
        then: words of commands of this program that usually follow: `next` of the document, beside a text on stderr.
    """
    commands = [shlex.join(["tao-skill", *words]) for words in then]
    if as_json:
        document = {**value, "next": commands} if commands else value
        click.echo(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))
        return
    click.echo(text)
    for command in commands:
        note(f"next     {command}")


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


def job_with_commands(job: Job, results_root: Path) -> dict[str, Any]:
    """The document of a job, with the commands that usually follow."""
    return {**job_document(job), "next": next_commands(job, results_root)}


def at_root(results_root: Path) -> list[str]:
    """The option that names a results root, where it is not the usual one."""
    return [] if results_root == default_results_root() else ["--results-root", str(results_root)]


def next_commands(job: Job, results_root: Path) -> list[str]:
    """What usually follows: the next actions of a finished job, the log and a restart of a broken one."""
    where = at_root(results_root)
    if job.state == "COMPLETE":
        return [shlex.join(["tao-skill", *words, *where]) for words in map(_words, next_runs(job))]
    if job.state in ("ERROR", "CANCELED"):
        again = [shlex.join(job.command)] if job.key and job.command else []
        return [shlex.join(["tao-skill", "jobs", "logs", job.id, *where]), *again]
    return [shlex.join(["tao-skill", "jobs", "wait", job.id, *where])]


def _words(next_: NextRun) -> list[str]:
    return ["run", next_.action, "--parent", next_.parent, *next_.overrides]


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
