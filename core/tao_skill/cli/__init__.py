"""The command line: parse, call one function, print."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

import click

from tao_skill import __version__
from tao_skill.cli.automl import automl
from tao_skill.cli.bank import models, schema, template
from tao_skill.cli.completion import completion
from tao_skill.cli.data import data
from tao_skill.cli.doctor import doctor
from tao_skill.cli.jobs import jobs
from tao_skill.cli.mcp import mcp, tools
from tao_skill.cli.output import emit, exit_code, json_option
from tao_skill.cli.run import run
from tao_skill.cli.skills import skills
from tao_skill.cli.tao import as_in_tao, tao

EPILOG: Final = """\b
Exit codes:
  0    done
  1    the job failed, or its upload
  2    bad request or spec
  3    not found
  4    a dependency or device is missing
  130  interrupted
"""


FIRST: Final = {
    "tao-skill data sample --out data/sample": "a generated data set and a spec for it",
    "tao-skill run train -e data/sample/spec.yaml --dry-run": "what a train would do and cost",
    "tao-skill run train -e data/sample/spec.yaml": "search hyperparameters, train, keep the best model",
    "tao-skill run evaluate --parent latest:train": "score it; so do inference and export",
    "tao-skill jobs list": "what was run, and what came of it",
}
"""What is printed when nothing is asked for."""


@click.group(epilog=EPILOG, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tao-skill")
@json_option
@click.pass_context
def tao_skill(context: click.Context, as_json: bool) -> None:
    """Train, evaluate and run skeleton-action classifiers; for agents and people."""
    if context.invoked_subcommand is not None:
        if as_json:
            raise click.UsageError(
                f"--json stands after the command: tao-skill {context.invoked_subcommand} ... --json"
            )
        return
    width = max(map(len, FIRST))
    lines = [f"  {command:<{width}}  {what}" for command, what in FIRST.items()]
    more = "tao-skill --help: all commands; tao-skill doctor: is everything here that a run needs?"
    emit({"commands": FIRST}, "\n".join([*lines, "", more]), as_json=as_json, then=[["doctor"]] if as_json else [])


for command in (run, jobs, automl, models, schema, template, data, skills, mcp, tools, doctor, completion, tao):
    tao_skill.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with the documented code."""
    given = sys.argv[1:] if arguments is None else arguments
    code = exit_code(tao_skill, "tao-skill", given)
    sys.exit(as_in_tao(code) if given[:1] == [tao.name] else code)
