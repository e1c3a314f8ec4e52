"""Options shared by several commands, and the entry point that turns errors into exit codes."""

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
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print exactly one JSON document.")(function)


def model_option(function: Decorated) -> Decorated:
    """Add `--model NAME`."""
    return click.option("-m", "--model", metavar="NAME", help="Model; default: the only model.")(function)


def results_option(function: Decorated) -> Decorated:
    """Add `--results-root DIRECTORY`."""
    return click.option(
        "--results-root",
        type=click.Path(file_okay=False, path_type=Path),
        default=default_results_root,
        show_default=f"${RESULTS_VARIABLE} or ./{DEFAULT_RESULTS}",
        help="Folder of the jobs.",
    )(function)


def run_command(command: click.Command, name: str, arguments: Sequence[str]) -> int:
    """Run `command` as the program `name`, print its error if it fails, and return the exit code."""
    as_json = "--json" in arguments
    try:
        _check_utf8(arguments)
        result = _run_click(command, name, arguments)
    except TaoSkillError as error:
        print_error(error, as_json=as_json)
        return error.exit_code
    except OSError as error:
        print_error(CannotWrite.because(error), as_json=as_json)
        return CannotWrite.exit_code
    return result if isinstance(result, int) else 0


def _check_utf8(arguments: Sequence[str]) -> None:
    for position, argument in enumerate(arguments, 1):
        if not is_utf8(argument):  # the argument is not printed, as it may be a secret
            raise BadRequest(f"argument {position} is not UTF-8 text", fix="write it in UTF-8; rename a file")


def _run_click(command: click.Command, name: str, arguments: Sequence[str]) -> object:
    try:
        return command.main(list(arguments), prog_name=name, standalone_mode=False, obj=tuple(arguments))
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 0
    except click.UsageError as error:
        command_path = error.ctx.command_path if error.ctx else name
        raise BadRequest(error.format_message(), fix=f"see {command_path} --help") from error
    except click.Abort:
        return INTERRUPTED


def param_option(node: Node, *, flag: str | None = None, **attributes: Any) -> Any:
    """Make an option of a dataclass field `Annotated[type, Param(...)]`; if absent, its value is None or ().

    Args:
        flag: name of the option, if it differs from the name of the field.
        attributes: attributes of the option that replace those derived from the type.
    """
    parts, default = shape(node.type), node.default
    shows_default = isinstance(default, int | float | str) and not isinstance(default, bool)
    description = (node.param.description or node.name.capitalize()).rstrip(".")
    options = {
        "help": f"{description} (default {default})." if shows_default else f"{description}.",
        "type": _click_type(node),
        "metavar": "|".join(node.param.choices) or None,
        "multiple": parts.container is list,
        **attributes,
    }
    return click.option(
        flag or f"--{node.name.replace('_', '-')}",
        node.name,
        **{name: value for name, value in options.items() if value is not None},
    )


def _click_type(node: Node) -> click.ParamType[Any] | None:
    low, high = node.param.minimum if node.param.above is None else node.param.above, node.param.maximum
    item, is_bounded = shape(node.type).item, low is not None or high is not None
    if item is int and is_bounded:
        return click.IntRange(min=None if low is None else int(low), max=None if high is None else int(high))
    if item is float and is_bounded:
        return click.FloatRange(min=low, max=high, min_open=node.param.above is not None)
    types: dict[type, click.ParamType[Any]] = {int: click.INT, float: click.FLOAT, Path: click.Path(path_type=Path)}
    return types.get(item)
