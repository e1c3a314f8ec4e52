"""Output of the commands: a JSON document or plain text on stdout; notes and errors on stderr."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import textwrap
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
_LABEL: Final = 11
"""Characters of the indent and label of a line, e.g. `  route    `."""


def default_results_root() -> Path:
    """The folder of the jobs unless --results-root is given."""
    return Path(os.environ.get(RESULTS_VARIABLE) or DEFAULT_RESULTS)


def emit(value: Any, text: str, *, as_json: bool, then: Iterable[Sequence[str]] = ()) -> None:
    """Print the JSON document, or the text.

    Args:
        then: next commands, without `tao-skill`; `next` of the document, on stderr beside a text.
    """
    commands = [command_line(arguments) for arguments in then]
    if as_json:
        document = {**value, "next": commands} if commands else value
        click.echo(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))
        return
    click.echo(text)
    for command in commands:
        note(f"next     {command}")


def note(text: str) -> None:
    """Print a line on stderr."""
    click.echo(text, err=True)


def print_error(error: TaoSkillError, *, as_json: bool) -> None:
    """Print the `error` document on stdout, or each problem with its fix on stderr."""
    if as_json:
        emit({"error": error.as_dict()}, "", as_json=True)
    elif isinstance(error, SpecError):
        for problem in error.problems:
            note(f"error: {problem.message}\n  fix: {problem.fix}")
    else:
        note(f"error: {error.message}\n  fix: {error.fix}")


def command_line(arguments: Iterable[str]) -> str:
    """A command of this program, quoted for a shell."""
    return shlex.join(["tao-skill", *arguments])


def results_root_arguments(results_root: Path) -> list[str]:
    """`--results-root DIRECTORY`, or nothing for the default."""
    return [] if results_root == default_results_root() else ["--results-root", str(results_root)]


def job_with_commands(job: Job, results_root: Path) -> dict[str, Any]:
    """The document of a job, with its next commands."""
    return {**job_document(job), "next": next_commands(job, results_root)}


def next_commands(job: Job, results_root: Path) -> list[str]:
    """The next actions of a complete job, the log and a restart of a failed job, a wait for a running job."""
    root = results_root_arguments(results_root)
    if job.state == "COMPLETE":
        return [command_line([*_run_arguments(next_run), *root]) for next_run in next_runs(job)]
    if job.state in ("ERROR", "CANCELED"):
        restart = [shlex.join(job.command)] if job.key and job.command else []
        return [command_line(["jobs", "logs", job.id, *root]), *restart]
    return [command_line(["jobs", "wait", job.id, *root])]


def _run_arguments(next_run: NextRun) -> list[str]:
    return ["run", next_run.action, "--parent", next_run.parent, *next_run.overrides]


def job_text(document: Mapping[str, Any]) -> str:
    """The document of a job as text."""
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


def fold(lines: Iterable[str]) -> list[str]:
    """Wrap labelled lines between words to the width of the terminal; elsewhere they stay whole."""
    if not sys.stdout.isatty():
        return list(lines)
    wrapper = textwrap.TextWrapper(
        width=shutil.get_terminal_size().columns,
        subsequent_indent=" " * _LABEL,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [part for line in lines for part in wrapper.wrap(line)]


def interactive() -> bool:
    """Whether stderr is a terminal, which can show a progress bar."""
    return sys.stderr.isatty()
