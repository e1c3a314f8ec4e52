"""Options of `tao-skill run train` that shape its AutoML search."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, Final

import click

from tao_skill.cli.terminal.options import Decorated
from tao_skill.io.strict_json import mask_password

_UNITS_S: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>[smhd]?)")


class Duration(click.ParamType[float]):
    """`90s`, `30m`, `2h`, `1d`, or plain seconds; gives seconds."""

    name = "DURATION"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds of a duration."""
        match = _DURATION.fullmatch(str(value))
        if match is None or float(match["number"]) == 0:
            self.fail(f"{value!r} is no duration, accepted: e.g. 90s, 30m, 2h", param, ctx)
        return float(match["number"]) * _UNITS_S[match["unit"] or "s"]


_AT_LEAST_1: Final = click.IntRange(min=1)

OPTIONS: Final[tuple[tuple[tuple[str, ...], dict[str, Any]], ...]] = (
    (("--trials",), {"type": _AT_LEAST_1, "help": "AutoML: configurations, yours included (default 20)."}),
    (("--epochs-total",), {"type": _AT_LEAST_1, "help": "AutoML: epochs of all trials together."}),
    (("--time-budget", "time_budget_s"), {"type": Duration(), "help": "AutoML: after this, e.g. 30m, nothing new."}),
    (("--max-epochs",), {"type": _AT_LEAST_1, "help": "AutoML: full training of a trial (default train.num_epochs)."}),
    (
        ("--search",),
        {
            "multiple": True,
            "metavar": "PARAM[=low:high[:log]|=a,b]",
            "help": "AutoML: search this instead of the default parameters.",
        },
    ),
    (("--no-search",), {"multiple": True, "metavar": "PARAM", "help": "AutoML: leave this as it is."}),
    (("--sampler",), {"metavar": "tpe|gp|cmaes|random|grid", "help": "AutoML: who suggests (default tpe)."}),
    (("--pruner",), {"metavar": "promotion|none", "help": "AutoML: none trains every trial in full."}),
    (
        ("--eta",),
        {"type": click.IntRange(min=2), "help": "AutoML: one of so many goes on to the next rung (default 3)."},
    ),
    (("--min-epochs",), {"type": _AT_LEAST_1, "help": "AutoML: epochs of the lowest rung at least (default 3)."}),
    (("--metric",), {"help": "AutoML: what is optimised (default val_acc)."}),
    (("--workers",), {"type": _AT_LEAST_1, "help": "AutoML: processes on this machine (default 1)."}),
    (
        ("--storage",),
        {"metavar": "URL", "help": "AutoML: database, e.g. postgresql://... (default a file of the job)."},
    ),
    (("--search-seed", "seed"), {"type": click.IntRange(min=0), "help": "AutoML: seed of the suggestions."}),
    (("--keep", "keep_all"), {"type": click.Choice(["all"]), "help": "AutoML: keep every checkpoint."}),
)


def hand_over_storage(url: str) -> str:
    """Give a database's address to the processes started from here; what comes back has no password in it."""
    from tao_skill.automl.execution.database import parse
    from tao_skill.jobs.secrets import STORAGE_VARIABLE

    parse(url)
    os.environ[STORAGE_VARIABLE] = url
    return mask_password(url)


def search_options(function: Decorated) -> Decorated:
    """Add the options; the command gets them as keyword arguments by the names of automl.settings.Settings."""
    for names, attributes in reversed(OPTIONS):
        function = click.option(*names, **attributes)(function)
    return function


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that were given, ready for the job record."""
    found = {name: value for name, value in options.items() if value not in (None, ())}
    if "keep_all" in found:
        found["keep_all"] = True
    if "storage" in found:
        found["storage"] = hand_over_storage(found["storage"])
    return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}
