"""Search requests: parameters and ranges as written on the command line."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tao_skill.errors import BadRequest
from tao_skill.spec.problems import value_problem

FORMS: Final = "PARAM, PARAM=low:high[:log|:linear] or PARAM=a,b,c"
_REQUEST: Final = re.compile(r"(?P<key>[^=\s]+)(?:=(?P<values>.+))?")
_RANGE: Final = re.compile(r"(?P<low>[^:,]+):(?P<high>[^:,]+)(?::(?P<scale>log|linear))?")
_RANGE_FIX: Final = "write low:high with low < high, both finite, and above 0 for :log"


@dataclass(frozen=True, kw_only=True)
class ParameterRequest:
    """A range or choices requested for a parameter; `log` None stands for the scale of the schema."""

    low: float | None = None
    high: float | None = None
    log: bool | None = None
    choices: tuple[str, ...] = ()

    @property
    def is_ranged(self) -> bool:
        """Whether a range or choices are given."""
        return self.low is not None or bool(self.choices)


def parse_request(text: str, shorthand: Mapping[str, str]) -> tuple[str, ParameterRequest]:
    """The key of a search request, and its range or choices.

    Raises:
        BadRequest: the text or its range is malformed.
    """
    match = _REQUEST.fullmatch(text.strip())
    if match is None:
        raise BadRequest(f"{text!r} is not a search request", fix=f"write {FORMS}")
    key, values = shorthand.get(match["key"], match["key"]), match["values"]
    if values is None:
        return key, ParameterRequest()
    if range_match := _RANGE.fullmatch(values):
        return key, _parse_range(key, values, range_match)
    return key, ParameterRequest(choices=tuple(part.strip() for part in values.split(",")))


def _parse_range(key: str, text: str, match: re.Match[str]) -> ParameterRequest:
    try:
        low, high = float(match["low"]), float(match["high"])
    except ValueError:
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high) or (match["scale"] == "log" and low <= 0):
        swapped = f"{match['high']}:{match['low']}"
        fix = f"use {swapped} instead of {match['low']}:{match['high']}" if high < low else _RANGE_FIX
        raise BadRequest(f"{text!r} is not a range for {key}", fix=fix, path=key)
    return ParameterRequest(low=low, high=high, log=match["scale"] == "log" if match["scale"] else None)


def parse_option(key: str, leaf: Mapping[str, Any], text: str) -> Any:
    """A choice, converted to the type in its parameter's schema.

    Raises:
        BadRequest: the schema does not accept it.
    """
    from tao_skill.io.strict_yaml import parse_yaml

    value = None
    with contextlib.suppress(ValueError):
        value = parse_yaml(text)
    value = text if value is None else value
    if "number" in leaf["type"] and type(value) is int:
        value = float(value)
    if problem := value_problem(key, leaf, value):
        raise BadRequest(f"a searched option of {problem.message}", fix="correct the searched options", path=key)
    return value
