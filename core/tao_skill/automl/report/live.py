"""A search as it goes on: what there is to say after an event, and the table of a moment; functions of its report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from tao_skill.automl.format import duration, epochs, line, number, parameters

if TYPE_CHECKING:
    from rich.table import Table

ROWS: Final = 24
"""Trials that fit a terminal: those being trained, then the best."""

Shown = Mapping[str, Any]


def lines(before: Shown | None, after: Shown) -> list[str]:
    """A line for each trial that is not as it was in the report `before`; None for none yet.

    `trial 7  waiting at 9 epochs  val_acc 0.913 (best 0.941, trial 4)  lr 0.0123 dropout 0.21  1m12s  ETA 14m`
    """
    known = {one["number"]: one for one in before["trials"]} if before else {}
    told = [
        _line(one, known.get(one["number"]), after)
        for one in after["trials"]
        if _differs(one, known.get(one["number"]))
    ]
    ended = after["progress"]["ended"]
    return [*told, *summary(after)] if ended and not (before and before["progress"]["ended"]) else told


def rows(report: Shown) -> list[str]:
    """Every trial in a line, by what --parent calls it where it is a parent, then how the search stands."""
    return [*(_line(one, one, report) for one in report["trials"]), *summary(report)]


def summary(report: Shown) -> list[str]:
    """How the search stands: what was spent, and who wins."""
    progress, budget = report["progress"], report["budget"]
    spent = f"{progress['trials']} of {budget['trials']} trials, {epochs(progress['epochs'])}"
    state = f"ended: {line(progress['ended'])}" if progress["ended"] else f"ETA {duration(progress['eta_s'])}"
    return [f"{spent}  elapsed {duration(progress['elapsed_s'])}  {state}", report["winner"]["sentence"]]


def table(report: Shown) -> Table:
    """The trials that matter now, for a terminal: those being trained first, then the best."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    metric = report["goal"]["metric"]
    caption = Text("\n".join(summary(report)))
    made = Table(box=SIMPLE_HEAD, caption=caption, caption_justify="left", caption_style="", pad_edge=False)
    for name in ("trial", "state", "epochs", metric, "best", "parameters", "trained"):
        made.add_column(Text(name), justify="left" if name in ("state", "parameters") else "right")
    ranked = _by_interest(report)
    for one in ranked[:ROWS]:
        style = "bold" if one["number"] == report["winner"]["number"] else ""
        made.add_row(*(Text(text) for text in _cells(one, report["budget"]["max_epochs"])), style=style)
    if len(ranked) > ROWS:
        made.add_row("", Text(f"{len(ranked) - ROWS} more"))
    return made


def check(report: Shown) -> None:
    """Tell all that can be told of a report.

    Raises:
        ArithmeticError, AttributeError, LookupError, TypeError, ValueError: it lacks something.
    """
    rows(report)
    for one in _by_interest(report):
        _cells(one, report["budget"]["max_epochs"])


def _by_interest(report: Shown) -> list[Shown]:
    sign = 1.0 if report["goal"]["direction"] == "maximize" else -1.0

    def place(one: Shown) -> tuple[bool, bool, float, int]:
        return (
            one["state"] != "running",
            one["metric"] is None,
            -sign * (one["metric"] or 0.0),
            one["number"],
        )

    return sorted(report["trials"], key=place)


def _cells(one: Shown, full: int) -> tuple[str, ...]:
    name = f"{one['number']}" + (" default" if one["number"] == 0 else "")
    best = number(one["metric"]) + (f" @{one['best_epoch']}" if one["best_epoch"] else "")
    seconds = duration(one["seconds"] or None)
    return name, _state(one), f"{one['epochs']}/{full}", number(one["last"]), best, parameters(one["values"]), seconds


def _differs(now: Shown, before: Shown | None) -> bool:
    return before is None or any(now[key] != before[key] for key in ("state", "epochs", "target", "failures"))


def _line(one: Shown, before: Shown | None, report: Shown) -> str:
    goal, leader = report["goal"], _leader(report)
    parts = [one.get("parent", f"trial {one['number']}"), _event(one, before)]
    if one["metric"] is not None:
        parts.append(f"{line(goal['metric'])} {number(one['metric'])} {_beside(leader, one)}")
    parts += [parameters(one["values"])] if one["values"] else []
    parts += [duration(one["seconds"])] if one["seconds"] else []
    eta = report["progress"]["eta_s"]
    return "  ".join([*parts, *([f"ETA {duration(eta)}"] if eta is not None else [])])


def _beside(leader: Shown | None, one: Shown) -> str:
    if leader is None or leader["number"] == one["number"]:
        return "(best)"
    return f"(best {number(leader['metric'])}, trial {leader['number']})"


def _leader(report: Shown) -> Shown | None:
    sign = 1.0 if report["goal"]["direction"] == "maximize" else -1.0
    known = [one for one in report["trials"] if one["metric"] is not None]
    return max(known, key=lambda one: sign * float(one["metric"]), default=None)


def _event(one: Shown, before: Shown | None) -> str:
    if before is not None and len(one["failures"]) > len(before["failures"]) and one["state"] == "running":
        return f"tried again after: {line(one['failures'][-1])}"
    if one["state"] == "running" and before is not None and before["state"] != "running":
        return f"promoted to {epochs(one['target'])}"
    return _state(one, full=True)


def _state(one: Shown, *, full: bool = False) -> str:
    """`waiting`, and if `full` with epochs or reason."""
    diverged = one["state"] == "done" and one["reason"]
    state = "diverged" if diverged else one["state"]
    return _DETAILS[state](one) if full else state


_DETAILS: Final[Mapping[str, Callable[[Shown], str]]] = {
    "running": lambda one: f"running to {epochs(one['target'])}",
    "waiting": lambda one: f"waiting at {epochs(one['epochs'])}",
    "done": lambda one: f"done at {epochs(one['epochs'])}",
    "diverged": lambda one: f"diverged after {one['epochs']} of {epochs(one['target'])}",
    "failed": lambda one: f"failed: {line(one['reason'] or 'no reason is known')}",
}
"""How a trial stands, in words."""
