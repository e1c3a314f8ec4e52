"""The command line: parse, call one function, print."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

import click

from tao_skill import __version__
from tao_skill.cli.bank import models, schema, template
from tao_skill.cli.data import data
from tao_skill.cli.jobs import jobs
from tao_skill.cli.output import INTERRUPTED, print_error
from tao_skill.cli.run import run
from tao_skill.errors import BadRequest, CannotWrite, TaoSkillError

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


for command in (run, jobs, models, schema, template, data):
    tao_skill.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with the documented code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(_exit_code(given))


def _exit_code(arguments: list[str]) -> int:
    as_json = "--json" in arguments
    try:
        result = tao_skill.main(arguments, prog_name="tao-skill", standalone_mode=False, obj=tuple(arguments))
    except TaoSkillError as error:
        print_error(error, as_json=as_json)
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 0
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "tao-skill"
        print_error(BadRequest(error.format_message(), fix=f"see {where} --help"), as_json=as_json)
        return 2
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print_error(CannotWrite.because(error), as_json=as_json)
        return CannotWrite.exit_code
    return result if isinstance(result, int) else 0
