"""Options of `tao-skill run train` that shape its AutoML search, made from `automl.settings.Settings`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, Final

import click

from tao_skill.automl.settings import Settings
from tao_skill.cli.terminal.options import Decorated, param_option
from tao_skill.io.strict_json import mask_password
from tao_skill.spec.tree import children

_UNITS_S: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>[smhd]?)")


class Duration(click.ParamType[float]):
    """`90s`, `30m`, `2h`, `1d`, or plain seconds; gives seconds."""

    name = "DURATION"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds of a duration."""
        match = _DURATION.fullmatch(str(value))
        if match is None or float(match["number"]) == 0:
            self.fail(f"{value!r} is not a duration, accepted: e.g. 90s, 30m, 2h", param, ctx)
        return float(match["number"]) * _UNITS_S[match["unit"] or "s"]


SPECIAL: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "time_budget": ("--time-budget", {"type": Duration(), "help": "AutoML: stop starting trials after e.g. 90s, 30m."}),
    "search": ("--search", {"metavar": "PARAM[=low:high[:log]|=a,b]"}),
    "no_search": ("--no-search", {"metavar": "PARAM"}),
    "storage": ("--storage", {"metavar": "URL"}),
    "seed": ("--search-seed", {}),
    "keep_all": ("--keep", {"type": click.Choice(["all"])}),
}
"""Settings whose option has another name or form than its type gives."""


def search_options(function: Decorated) -> Decorated:
    """Add the options; the command gets them as keyword arguments by the names of the settings."""
    for node in reversed(children(Settings)):
        flag, attributes = SPECIAL.get(node.name, (None, {}))
        function = param_option(node, prefix="AutoML: ", flag=flag, **attributes)(function)
    return function


def hand_over_storage(url: str) -> str:
    """Pass the address of a database to the processes started from here; returns it without its password."""
    from tao_skill.automl.execution.database import parse
    from tao_skill.jobs.secrets import STORAGE_VARIABLE

    parse(url)
    os.environ[STORAGE_VARIABLE] = url
    return mask_password(url)


def given_settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that were given, ready for the job record."""
    settings = {name: value for name, value in options.items() if value not in (None, ())}
    if "keep_all" in settings:
        settings["keep_all"] = True
    if "storage" in settings:
        settings["storage"] = hand_over_storage(settings["storage"])
    return {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}
