"""Every command, as click has it; a command is imported when it is named."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Final

import click

from tao_skill import __version__
from tao_skill.cli.terminal.options import exit_code, json_option
from tao_skill.cli.terminal.output import emit

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

COMMANDS: Final = {
    "automl": "automl",
    "completion": "completion",
    "data": "data",
    "doctor": "doctor",
    "jobs": "jobs",
    "mcp": "mcp",
    "models": "bank",
    "run": "run",
    "schema": "bank",
    "skills": "skills",
    "tao": "tao",
    "template": "bank",
    "tools": "mcp",
}
"""Every command, in the order of the help, and the module that has it under that name."""


class Program(click.Group):
    """The commands, imported when they are named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"tao_skill.cli.{COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name)
        return command


@click.group(
    cls=Program,
    epilog=EPILOG,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
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


def run(words: Sequence[str]) -> int:
    """Run a call of the command line and say the documented code."""
    code = exit_code(tao_skill, "tao-skill", words)
    if list(words[:1]) != ["tao"]:
        return code
    from tao_skill.cli.tao import as_in_tao

    return as_in_tao(code)
