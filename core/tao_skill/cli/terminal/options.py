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
from tao_skill.spec.tree import Node, shape

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


def param_option(node: Node, *, prefix: str = "", flag: str | None = None, **attributes: Any) -> Any:
    """An option for a field of a dataclass, `Annotated[type, Param(...)]`; not given, it is None or ().

    Args:
        prefix: of the help text. flag: name of the option, if it is not the field's. attributes: of the option, if they
            are not those that the type gives.
    """
    parts, default = shape(node.type), node.default
    shows_default = isinstance(default, int | float | str) and not isinstance(default, bool)
    words = node.param.description or node.name.capitalize() + "."
    made = {
        "help": f"{prefix}{words.rstrip('.')}{f' (default {default})' if shows_default else ''}.",
        "type": _click_type(node),
        "metavar": "|".join(node.param.choices) or None,
        "multiple": parts.container is list,
        **attributes,
    }
    return click.option(
        flag or f"--{node.name.replace('_', '-')}",
        node.name,
        **{name: value for name, value in made.items() if value is not None},
    )


def _click_type(node: Node) -> click.ParamType[Any] | None:
    low, high = node.param.minimum if node.param.above is None else node.param.above, node.param.maximum
    item = shape(node.type).item
    if item is int:
        return click.IntRange(min=None if low is None else int(low), max=None if high is None else int(high))
    if item is float:
        return click.FloatRange(min=low, max=high, min_open=node.param.above is not None)
    return click.Path(path_type=Path) if item is Path else None
