"""The root command; its subcommands are imported when they are named."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Final

import click

from tao_skill import __version__
from tao_skill.cli.terminal.options import json_option, run_command
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

FIRST_STEPS: Final = {
    "tao-skill data sample --out data/sample": "Generate a data set and a spec file for it.",
    "tao-skill run train -e data/sample/spec.yaml --dry-run": "Print the plan and cost of a training.",
    "tao-skill run train -e data/sample/spec.yaml": "Search hyperparameters, train, and keep the best model.",
    "tao-skill run evaluate --parent latest:train": "Evaluate that model; inference and export work alike.",
    "tao-skill jobs list": "List the jobs with their states.",
}
"""Commands that `tao-skill` without arguments prints, with their descriptions."""

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
"""Commands in the order of the help, with the modules that define them."""


class Program(click.Group):
    """A group that imports a command when it is named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """See `click.Group.list_commands`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """See `click.Group.get_command`."""
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
            raise click.UsageError(f"--json goes after the command: tao-skill {context.invoked_subcommand} ... --json")
        return
    lines = [f"{command}\n    {description}" for command, description in FIRST_STEPS.items()]
    more = "tao-skill --help lists all commands; tao-skill doctor checks this machine."
    text = "\n".join([*lines, "", more])
    emit({"commands": FIRST_STEPS}, text, as_json=as_json, then=[["doctor"]] if as_json else [])


def run(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code."""
    code = run_command(tao_skill, "tao-skill", arguments)
    if list(arguments[:1]) != ["tao"]:
        return code
    from tao_skill.cli.tao import tao_exit_code

    return tao_exit_code(code)
