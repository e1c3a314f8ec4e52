"""The verdict of a search: the configuration that ships, and why; a winner must beat the default at full training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tao_skill.automl.format import epochs, line, number
from tao_skill.automl.search.asha import DEFAULT_TRIAL, Budget, Goal, Trial, spent, winner


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The trial that ships, None if there is none yet, and the reason."""

    trial: Trial | None
    sentence: str


def finalists(trials: Sequence[Trial], goal: Goal, max_epochs: int) -> list[Trial]:
    """The default, once it has an epoch, and every trial trained in full, the best first."""
    full = [trial for trial in trials if trial.state == "done" and trial.epochs >= max_epochs and not trial.diverged]
    default = [trial for trial in trials[:1] if trial.history and trial not in full]
    return sorted([*default, *full], key=lambda trial: goal.score(trial.best(goal)), reverse=True)


def judge(trials: Sequence[Trial], goal: Goal, max_epochs: int) -> Verdict:
    """The verdict on the trials so far."""
    if not trials or trials[DEFAULT_TRIAL].state == "running":
        return Verdict(trial=None, sentence="the default, trial 0, is not trained in full yet.")
    default, best = trials[DEFAULT_TRIAL], winner(trials, goal, max_epochs)
    rivals = [trial for trial in finalists(trials, goal, max_epochs) if trial.number != DEFAULT_TRIAL]
    if not _has_metric(best, goal):
        reasons = f"{_no_metric(default, goal)}, {_best_rival(rivals, goal)}"
        return Verdict(trial=None, sentence=f"nothing ships: {reasons}.")
    if best.number != DEFAULT_TRIAL:
        return Verdict(trial=best, sentence=f"trial {best.number} wins: {_comparison(best, default, goal)}.")
    reason = _unbeaten(default, rivals, goal) if rivals else _without_rivals(trials[1:], goal)
    return Verdict(trial=default, sentence=f"the default, trial 0, ships: {reason}.")


def why_ended(trials: Sequence[Trial], budget: Budget) -> str:
    """Why a search ended."""
    if len(trials) >= budget.trials:
        return f"all {budget.trials} configurations were tried"
    if budget.epochs_total is not None and budget.epochs_total - sum(map(spent, trials)) < budget.max_epochs:
        return f"the budget of {epochs(budget.epochs_total)} is spent"
    reason = "the time budget is spent or the space is exhausted"
    return f"no trial was started after {len(trials)} of {budget.trials}: {reason}"


def _unbeaten(default: Trial, rivals: Sequence[Trial], goal: Goal) -> str:
    if not _has_metric(rivals[0], goal):
        return _best_rival(rivals, goal)
    return f"{_best_rival(rivals, goal)} ({_comparison(rivals[0], default, goal)})"


def _without_rivals(others: Sequence[Trial], goal: Goal) -> str:
    """The reason where no other configuration was trained in full."""
    measured = [trial for trial in others if _has_metric(trial, goal) and not trial.diverged]
    if not measured:
        return "no other configuration was trained in full"
    best = max(measured, key=lambda trial: goal.score(trial.best(goal)))
    result = f"{goal.metric} {number(best.best(goal).get(goal.metric))} after {epochs(best.epochs)}"
    return f"no other configuration was trained in full; the best of them, trial {best.number}, had {result}"


def _has_metric(trial: Trial, goal: Goal) -> bool:
    return math.isfinite(goal.score(trial.best(goal))[0])


def _best_rival(rivals: Sequence[Trial], goal: Goal) -> str:
    if not rivals:
        return "no other configuration was trained in full"
    if not _has_metric(rivals[0], goal):
        return f"no other configuration trained in full has a {goal.metric}"
    rival = "the only other trial" if len(rivals) == 1 else f"the best of {len(rivals)} other trials"
    return f"{rival} trained in full, trial {rivals[0].number}, does not beat it"


def _no_metric(default: Trial, goal: Goal) -> str:
    reason = f" ({line(default.reason)})" if default.reason else ""
    return f"the default has no {goal.metric}{reason}"


def _comparison(trial: Trial, default: Trial, goal: Goal) -> str:
    """`val_acc 0.941 against 0.913 of the default`, with the tie-breaker where the metric is equal."""
    metrics, other = trial.best(goal), default.best(goal)
    if not _has_metric(default, goal):
        return f"{goal.metric} {number(metrics.get(goal.metric))}; {_no_metric(default, goal)}"
    if metrics.get(goal.metric) == other.get(goal.metric):
        tied = f"{number(metrics.get(goal.tie))} against {number(other.get(goal.tie))}"
        return f"{goal.metric} {number(metrics.get(goal.metric))} like the default, {goal.tie} {tied}"
    return f"{goal.metric} {number(metrics.get(goal.metric))} against {number(other.get(goal.metric))} of the default"
