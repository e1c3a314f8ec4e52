"""How numbers, times, parameters and text from elsewhere are written for people."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


def clean(text: str) -> str:
    """Text without what could steer a terminal or break a file: control and other invisible characters are spelled."""
    return "".join(one if one.isprintable() or one in "\n\t" else _spelled(one) for one in text)


def line(text: str, width: int = 160) -> str:
    """The first line of a text that has words in it, clean and cut to a width."""
    first = next((one for one in text.splitlines() if one.strip()), "")
    whole = clean(" ".join(first.split()))
    return whole if len(whole) <= width else whole[: width - 1] + "\N{HORIZONTAL ELLIPSIS}"


def number(value: Any) -> str:
    """A number in four significant digits; anything else as it is, nothing as a dash."""
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return line(str(value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def epochs(count: int) -> str:
    """`1 epoch`, `9 epochs`."""
    return f"{count} epoch" + ("s" if count != 1 else "")


def duration(seconds: float | None) -> str:
    """Seconds in the two largest units that matter: 0.4s, 45s, 1m12s, 14m, 2h05m."""
    if seconds is None or not math.isfinite(seconds):
        return "-"
    if 0 < seconds < 10:
        return f"{seconds:.1f}s"
    left = max(0, round(seconds))
    at = next((i for i, (_, size) in enumerate(_UNITS) if left >= size), len(_UNITS) - 1)
    unit, size = _UNITS[at]
    if at == len(_UNITS) - 1:
        return f"{left}{unit}"
    below, small = _UNITS[at + 1]
    rest = left % size // small
    return f"{left // size}{unit}" + (f"{rest:02d}{below}" if rest else "")


def short_names(keys: Iterable[str]) -> dict[str, str]:
    """The last part of each dotted key, or as much of its end as tells it from the others."""
    every = list(dict.fromkeys(keys))
    return {key: _shortest(key, every) for key in every}


def parameters(values: Mapping[str, Any]) -> str:
    """`lr 0.0123 dropout 0.21`."""
    names = short_names(values)
    return " ".join(f"{line(names[key])} {number(value)}" for key, value in values.items())


def extent(shown: Mapping[str, Any]) -> str:
    """Range or options of a parameter, from what `Space.as_dict` says of it."""
    if "choices" in shown:
        text = ", ".join(map(number, shown["choices"]))
    else:
        text = f"{number(shown['low'])} to {number(shown['high'])}" + (", in the logarithm" if shown["log"] else "")
    text += f", or off ({number(shown['off'])})" if "off" in shown else ""
    pairs = shown.get("only_when", {}).items()
    return "; only while ".join([text, *(f"{line(key)} is {number(value)}" for key, value in pairs)])


def space_lines(shown: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    """A line for each parameter of `Space.as_dict`: what is searched and the default, or why it is not."""
    width = max(map(len, [*shown["search"], *shown["left_out"]]), default=0)
    said = {key: f"{extent(one)}  (default {number(defaults[key])})" for key, one in shown["search"].items()}
    said |= {key: f"not searched: {reason}" for key, reason in shown["left_out"].items()}
    return [f"{key:<{width}}  {text}" for key, text in said.items()]


def review_lines(reviewed: Mapping[str, Any]) -> list[str]:
    """The review of a search (`report.review`) for people: space with trial 0, budget, rungs, cost."""
    budget, cost = reviewed["budget"], reviewed["cost"]
    rungs = ", ".join(map(str, budget["rungs"]))
    limit = "" if budget["epochs_total"] is None else f", {budget['epochs_total']} in all"
    time = ""
    if cost["expected_s"] is not None:
        time = f", {duration(cost['expected_s'])} (at most {duration(cost['most_s'])})"
        time += f", going by {cost['learnt_from']}" if cost["learnt_from"] else ""
    return [
        f"{reviewed['goal']['direction']} {line(reviewed['goal']['metric'])} with {reviewed['sampler']}",
        *space_lines(reviewed["space"], reviewed["trial_0"]),
        f"validation  {line(reviewed['validation'])}",
        f"budget  {budget['trials']} trials, at most {epochs(budget['max_epochs'])} each{limit}",
        f"rungs   {rungs} epochs; of {budget['eta']} trials one goes on",
        f"cost    about {epochs(budget['expected_epochs'])}, at most {budget['most_epochs']}{time}",
    ]


def _shortest(key: str, every: list[str]) -> str:
    parts = key.split(".")
    ends = (".".join(parts[-length:]) for length in range(1, len(parts) + 1))
    return next((end for end in ends if sum(f".{other}".endswith(f".{end}") for other in every) == 1), key)


def _spelled(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
