"""A running search on a terminal: a line for each event, and a table of its trials."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from tao_skill.automl.format import duration, epochs, line, number, parameters
from tao_skill.automl.report.report import SearchReport, TrialReport
from tao_skill.automl.search.verdict import is_share, metric_text
from tao_skill.automl.settings import SAMPLERS

if TYPE_CHECKING:
    from rich.table import Table

ROWS: Final = 24
"""Trials that fit a terminal."""


def lines(before: SearchReport | None, after: SearchReport) -> list[str]:
    """A line for each trial that has changed since the report `before`; None stands for no report.

    `trial 7  waiting at 9 epochs  val_acc 0.913 (best 0.941, trial 4)  lr 0.0123 dropout 0.21  1m12s  ETA 14m`
    """
    previous = {trial.number: trial for trial in before.trials} if before else {}
    changed = [trial for trial in after.trials if _has_changed(trial, previous.get(trial.number))]
    events = [_line(trial, previous.get(trial.number), after) for trial in changed]
    has_just_ended = after.progress.ended and not (before and before.progress.ended)
    return [*events, *summary(after)] if has_just_ended else events


def rows(report: SearchReport) -> list[str]:
    """A line for every trial, then the summary."""
    return [*(_line(trial, trial, report) for trial in report.trials), *summary(report)]


def summary(report: SearchReport) -> list[str]:
    """Progress of the search and its verdict."""
    progress = report.progress
    of = f" of {report.budget.trials}" if report.budget.trials is not None else ""
    spent = f"{progress.trials}{of} trials, {epochs(progress.epochs)}"
    state = f"ended: {line(progress.ended)}" if progress.ended else f"ETA {duration(progress.eta_s)}"
    flagged = [f"look at it before you use it: {line(flag)}" for flag in report.winner.flags]
    return [f"{spent}  elapsed {duration(progress.elapsed_s)}  {state}", report.winner.sentence, *flagged]


def gain(report: SearchReport) -> str:
    """`val_acc 93.8 %, your spec 31.2 % after 4 of 10 epochs: +62.5 points`."""
    winner, own, metric = report.winner, report.baseline, report.goal.metric
    best = metric_text(metric, winner.metrics.get(metric))
    if winner.number is None:
        return "none, no trial has a result"
    if winner.is_default:
        return f"none, your spec has the best {line(metric)}: {best}"
    if own is None or own.metric is None or winner.gain is None:
        return f"{line(metric)} {best}; your spec has no result"
    part = "" if own.epochs >= own.full else f" after {own.epochs} of {epochs(own.full)}"
    more = f"{100 * winner.gain:+.1f} points" if is_share(metric) else f"better by {number(winner.gain)}"
    return f"{line(metric)} {best}, your spec {metric_text(metric, own.metric)}{part}: {more}"


def table(report: SearchReport) -> Table:
    """The trials as a table: running ones first, then the best."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    caption = Text("\n".join(summary(report)))
    grid = Table(box=SIMPLE_HEAD, caption=caption, caption_justify="left", caption_style="", pad_edge=False)
    for name in ("trial", "state", "epochs", report.goal.metric, "best", "parameters", "trained"):
        grid.add_column(Text(name), justify="left" if name in ("state", "parameters") else "right")
    ranked = _ranked(report)
    for trial in ranked[:ROWS]:
        style = "bold" if trial.number == report.winner.number else ""
        grid.add_row(*map(Text, _cells(trial)), style=style)
    if len(ranked) > ROWS:
        grid.add_row("", Text(f"{len(ranked) - ROWS} more"))
    return grid


def _ranked(report: SearchReport) -> list[TrialReport]:
    """Trials in the order of the table."""

    def rank(trial: TrialReport) -> tuple[bool, bool, float, int]:
        score = report.goal.sign * (trial.metric or 0.0)
        return trial.state != "running", trial.metric is None, -score, trial.number

    return sorted(report.trials, key=rank)


def _cells(trial: TrialReport) -> tuple[str, ...]:
    name = f"{trial.number} {line(trial.origin, 32)}"
    best = number(trial.metric) + (f" @{trial.best_epoch}" if trial.best_epoch else "")
    trained = duration(trial.seconds or None)
    progress = f"{trial.epochs}/{trial.full}"
    return name, _state(trial), progress, number(trial.last), best, parameters(trial.values), trained


def _has_changed(now: TrialReport, before: TrialReport | None) -> bool:
    if before is None:
        return now.state != "planned"
    facts = ((trial.state, trial.epochs, trial.target, trial.failures) for trial in (now, before))
    return len(set(facts)) > 1 and (now.state != "planned" or now.epoch_s is not None)


def _line(trial: TrialReport, before: TrialReport | None, report: SearchReport) -> str:
    name = f"trial {trial.number}" + ("" if trial.origin in SAMPLERS else f" ({line(trial.origin)})")
    parts = [trial.parent or name, _event(trial, before)]
    if trial.metric is not None:
        parts.append(f"{line(report.goal.metric)} {number(trial.metric)} {_compared(trial, report)}")
    parts += [parameters(trial.values)] if trial.values and trial.origin in SAMPLERS else []
    parts += [duration(trial.seconds)] if trial.seconds else []
    parts += [f"ETA {duration(report.progress.eta_s)}"] if report.progress.eta_s is not None else []
    return "  ".join(parts)


def _compared(trial: TrialReport, report: SearchReport) -> str:
    """`(best)`, or the best trial and its metric."""
    metrics = {other.number: other.metric for other in report.trials if other.metric is not None}
    best = max(metrics, key=lambda trial_number: report.goal.sign * metrics[trial_number], default=trial.number)
    return "(best)" if best == trial.number else f"(best {number(metrics[best])}, trial {best})"


def _event(trial: TrialReport, before: TrialReport | None) -> str:
    if before is not None and len(trial.failures) > len(before.failures) and trial.state == "running":
        return f"retried after: {line(trial.failures[-1])}"
    if trial.state == "running" and before is not None and before.state == "waiting":
        return f"promoted to {epochs(trial.target)}"
    return _DETAILS[_state(trial)](trial)


def _state(trial: TrialReport) -> str:
    return "diverged" if trial.state == "done" and trial.reason else trial.state


_DETAILS: Final[Mapping[str, Callable[[TrialReport], str]]] = {
    "planned": lambda trial: f"an epoch takes {duration(trial.epoch_s)}, full training: {epochs(trial.full)}",
    "running": lambda trial: f"running to {epochs(trial.target)}" if trial.target else "speed is measured",
    "waiting": lambda trial: f"waiting at {epochs(trial.epochs)}",
    "done": lambda trial: f"done at {epochs(trial.epochs)}",
    "diverged": lambda trial: f"diverged after {trial.epochs} of {epochs(trial.target)}",
    "failed": lambda trial: f"failed: {line(trial.reason or 'unknown reason')}",
}
"""State with its epochs or reason."""
