"""The command line: parse, call one function, print."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

import click

from tao_skill import __version__
from tao_skill.cli.automl import automl
from tao_skill.cli.bank import models, schema, template
from tao_skill.cli.data import data
from tao_skill.cli.jobs import jobs
from tao_skill.cli.mcp import mcp, tools
from tao_skill.cli.output import exit_code
from tao_skill.cli.run import run
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


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tao-skill")
def tao_skill() -> None:
    """Train, evaluate and run skeleton-action classifiers; for agents and people."""


for command in (run, jobs, automl, models, schema, template, data, tao, mcp, tools):
    tao_skill.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with the documented code."""
    given = sys.argv[1:] if arguments is None else arguments
    code = exit_code(tao_skill, "tao-skill", given)
    sys.exit(as_in_tao(code) if given[:1] == [tao.name] else code)
