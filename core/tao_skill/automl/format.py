"""Numbers, times, parameters and untrusted text, formatted for people."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tao_skill.automl.report.report import BudgetReport
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
    """The review of a search: space with trial 0, recipes, budget, rungs, time."""
    cost = review.cost
    full = f"about {duration(cost.full_s)} by job {cost.learnt_from}" if cost.full_s is not None else "measured first"
    recipes = ", ".join(line(origin.removeprefix("recipe ")) for origin in review.recipes)
    return [
        f"{review.goal.direction} {line(review.goal.metric)} with {review.sampler}",
        *space_lines(review.space, review.trial_0),
        f"recipes     {recipes or 'none'}",
        *([f"not in TAO  {line(', '.join(review.not_in_tao))}"] if review.not_in_tao else []),
        f"validation  {line(review.validation)}",
        f"budget      {budget_text(review.budget)}{' (proposed; set it by --time-budget)' if cost.is_proposed else ''}",
        f"rungs       {rungs_text(review.budget)}",
        f"training    in full: {full}",
    ]


def budget_text(budget: BudgetReport) -> str:
    """`10m, 20 trials`."""
    parts = [duration(budget.seconds)] if budget.seconds is not None else []
    parts += [f"{budget.trials} trials"] if budget.trials is not None else []
    parts += [f"{epochs(budget.epochs_total)} of all trials together"] if budget.epochs_total is not None else []
    return ", ".join(parts) or "none"


def rungs_text(budget: BudgetReport) -> str:
    """`11 %, 33 %, 100 % of a trial's training; the top 1/3 are promoted`."""
    shares = ", ".join(f"{100 * share:.0f} %" for share in budget.shares)
    return f"{shares} of a trial's own training; the top 1/{budget.eta} are promoted"


def _shortest(key: str, keys: list[str]) -> str:
    parts = key.split(".")
    ends = (".".join(parts[-length:]) for length in range(1, len(parts) + 1))
    return next((end for end in ends if sum(f".{other}".endswith(f".{end}") for other in keys) == 1), key)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
