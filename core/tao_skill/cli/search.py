"""The options of an AutoML search, generated from `automl.settings.Settings`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, Final

import click

from tao_skill.automl.settings import FIXED, Settings
from tao_skill.cli.terminal.options import Decorated, param_option
from tao_skill.io.strict_json import mask_password
from tao_skill.spec.tree import Node, children

_UNITS_S: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>[smhd]?)")


class Duration(click.ParamType[float]):
    """A duration in seconds, written as `90s`, `30m`, `2h`, `1d` or a number."""

    name = "DURATION"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """See `click.ParamType.convert`."""
        match = _DURATION.fullmatch(str(value))
        if match is None or float(match["number"]) == 0:
            self.fail(f"{value!r} is not a duration, accepted: e.g. 90s, 30m, 2h", param, ctx)
        return float(match["number"]) * _UNITS_S[match["unit"] or "s"]


SPECIAL: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "time_budget": (
        "--time-budget",
        {"type": Duration(), "help": "Time of the search, the running trial included, e.g. 10m or 2h."},
    ),
    "search": ("--search", {"metavar": "PARAM[=RANGE]"}),
    "no_search": ("--no-search", {"metavar": "PARAM"}),
    "storage": ("--storage", {"metavar": "URL"}),
    "seed": ("--search-seed", {}),
    "tao_compatible": ("--tao-compatible", {"is_flag": True, "default": None}),
    "keep_all": ("--keep", {"type": click.Choice(["all"])}),
}
"""Settings whose option differs from the option derived from their type."""


def search_options(function: Decorated) -> Decorated:
    """Add the options; the command receives them as keyword arguments named like the settings."""
    for node in reversed(_nodes()):
        flag, attributes = SPECIAL.get(node.name, (None, {}))
        function = param_option(node, flag=flag, **attributes)(function)
    return function


def _nodes() -> list[Node]:
    """The settings that are options; the others come from the request."""
    return [node for node in children(Settings) if node.name != FIXED]


class SearchCommand(click.Command):
    """A command whose help lists the options of a search in a section of their own."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See `click.Command.format_options`."""
        settings = {node.name for node in _nodes()}
        sections: dict[str, list[tuple[str, str]]] = {"Options": [], "Options of an AutoML search": []}
        for param in self.get_params(ctx):
            if isinstance(param, click.Option) and (record := param.get_help_record(ctx)) is not None:
                sections["Options of an AutoML search" if param.name in settings else "Options"].append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def hand_over_storage(url: str) -> str:
    """Pass the URL of a database to child processes, by the environment; return it with its password masked."""
    from tao_skill.automl.execution.database import parse
    from tao_skill.jobs.secrets import STORAGE_VARIABLE

    parse(url)
    os.environ[STORAGE_VARIABLE] = url
    return mask_password(url)


def given_settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given settings in the form of the job record."""
    settings = {name: value for name, value in options.items() if value is not False and value not in (None, ())}
    if "keep_all" in settings:
        settings["keep_all"] = True
    if "storage" in settings:
        settings["storage"] = hand_over_storage(settings["storage"])
    return {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}
