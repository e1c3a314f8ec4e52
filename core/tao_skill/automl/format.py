"""Numbers, times, parameters and untrusted text, formatted for people."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tao_skill.automl.report.review import SearchReview
    from tao_skill.automl.space.summary import DimensionSummary, SpaceSummary

_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


def clean(text: str) -> str:
    """Text whose control and other invisible characters are escaped, safe for terminals and files."""
    return "".join(char if char.isprintable() or char in "\n\t" else _escaped(char) for char in text)


def line(text: str, width: int = 160) -> str:
    """The first line that is not blank, cleaned and cut to a width."""
    first = next((candidate for candidate in text.splitlines() if candidate.strip()), "")
    cleaned = clean(" ".join(first.split()))
    return cleaned if len(cleaned) <= width else cleaned[: width - 1] + "\N{HORIZONTAL ELLIPSIS}"


def number(value: Any) -> str:
    """A number in four significant digits, None as a dash, any other value as text."""
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return line(str(value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def epochs(count: int) -> str:
    """`1 epoch`, `9 epochs`."""
    return f"{count} epoch" + ("s" if count != 1 else "")


def duration(seconds: float | None) -> str:
    """Seconds in the two largest units: 0.4s, 45s, 1m12s, 14m, 2h05m."""
    if seconds is None or not math.isfinite(seconds):
        return "-"
    if 0 < seconds < 10:
        return f"{seconds:.1f}s"
    left = max(0, round(seconds))
    at = next((i for i, (_, size) in enumerate(_UNITS) if left >= size), len(_UNITS) - 1)
    unit, size = _UNITS[at]
    if at == len(_UNITS) - 1:
        return f"{left}{unit}"
    smaller_unit, smaller_size = _UNITS[at + 1]
    rest = left % size // smaller_size
    return f"{left // size}{unit}" + (f"{rest:02d}{smaller_unit}" if rest else "")


def short_names(keys: Iterable[str]) -> dict[str, str]:
    """The shortest end of each dotted key that no other key has."""
    unique = list(dict.fromkeys(keys))
    return {key: _shortest(key, unique) for key in unique}


def parameters(values: Mapping[str, Any]) -> str:
    """`lr 0.0123 dropout 0.21`."""
    names = short_names(values)
    return " ".join(f"{line(names[key])} {number(value)}" for key, value in values.items())


def extent(dimension: DimensionSummary) -> str:
    """Range or choices of a searched parameter."""
    if dimension.choices:
        text = ", ".join(map(number, dimension.choices))
    else:
        text = f"{number(dimension.low)} to {number(dimension.high)}" + (", log scale" if dimension.log else "")
    text += f", or off ({number(dimension.off)})" if dimension.off is not None else ""
    conditions = (f"{line(key)} is {number(value)}" for key, value in dimension.only_when.items())
    return "; only while ".join([text, *conditions])


def space_lines(space: SpaceSummary, defaults: Mapping[str, Any]) -> list[str]:
    """A line for each parameter: its range and default, or the reason why it is not searched."""
    width = max(map(len, [*space.search, *space.left_out]), default=0)
    texts = {key: f"{extent(item)}  (default {number(defaults[key])})" for key, item in space.search.items()}
    texts |= {key: f"not searched: {reason}" for key, reason in space.left_out.items()}
    return [f"{key:<{width}}  {text}" for key, text in texts.items()]


def review_lines(review: SearchReview) -> list[str]:
    """The review of a search: space with trial 0, budget, rungs, cost."""
    budget, cost = review.budget, review.cost
    limit = "" if budget.epochs_total is None else f", {budget.epochs_total} in total"
    time = ""
    if cost.expected_s is not None:
        time = f", {duration(cost.expected_s)} (at most {duration(cost.most_s)})"
        time += f", estimated from {cost.learnt_from}" if cost.learnt_from else ""
    return [
        f"{review.goal.direction} {line(review.goal.metric)} with {review.sampler}",
        *space_lines(review.space, review.trial_0),
        f"validation  {line(review.validation)}",
        f"budget  {budget.trials} trials, at most {epochs(budget.max_epochs)} each{limit}",
        f"rungs   {', '.join(map(str, budget.rungs))} epochs; the top 1/{budget.eta} are promoted",
        f"cost    about {epochs(budget.expected_epochs)}, at most {budget.most_epochs}{time}",
    ]


def _shortest(key: str, keys: list[str]) -> str:
    parts = key.split(".")
    ends = (".".join(parts[-length:]) for length in range(1, len(parts) + 1))
    return next((end for end in ends if sum(f".{other}".endswith(f".{end}") for other in keys) == 1), key)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
