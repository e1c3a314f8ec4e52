"""Options that many commands have, and how a command of click's is run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from tao_skill.cli.terminal.output import (
    DEFAULT_RESULTS,
    INTERRUPTED,
    RESULTS_VARIABLE,
    default_results_root,
    print_error,
)
from tao_skill.errors import BadRequest, CannotWrite, TaoSkillError
from tao_skill.io.strict_json import is_utf8

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def json_option(function: Decorated) -> Decorated:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print exactly one JSON document.")(function)


def results_option(function: Decorated) -> Decorated:
    """`--results-root DIR`."""
    return click.option(
        "--results-root",
        type=click.Path(file_okay=False, path_type=Path),
        default=default_results_root,
        show_default=f"${RESULTS_VARIABLE} or ./{DEFAULT_RESULTS}",
        help="Folder that holds a folder per job.",
    )(function)


def exit_code(command: click.Command, name: str, words: Sequence[str]) -> int:
    """Run `command` as the program `name`, print the error if there is one, and say the documented code."""
    as_json = "--json" in words
    try:
        _check_text(words)
        result = _run(command, name, words)
    except TaoSkillError as error:
        print_error(error, as_json=as_json)
        return error.exit_code
    except OSError as error:
        print_error(CannotWrite.because(error), as_json=as_json)
        return CannotWrite.exit_code
    return result if isinstance(result, int) else 0


def _check_text(words: Sequence[str]) -> None:
    for place, word in enumerate(words, 1):
        if not is_utf8(word):  # the word is not printed, as it may be a secret
            raise BadRequest(f"argument {place} is not UTF-8 text", fix="write it in UTF-8; rename a file")


def _run(command: click.Command, name: str, words: Sequence[str]) -> object:
    try:
        return command.main(list(words), prog_name=name, standalone_mode=False, obj=tuple(words))
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 0
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else name
        raise BadRequest(error.format_message(), fix=f"see {where} --help") from error
    except click.Abort:
        return INTERRUPTED
