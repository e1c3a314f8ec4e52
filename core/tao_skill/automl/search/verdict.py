"""Which configuration ships, and why, in one sentence: the winner must beat the default at full training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tao_skill.automl.format import epochs, line, number
from tao_skill.automl.search.asha import DEFAULT_TRIAL, Budget, Goal, Trial, spent, winner


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The trial that ships, None where none can, and why."""

    trial: Trial | None
    sentence: str


def finalists(trials: Sequence[Trial], goal: Goal, max_epochs: int) -> list[Trial]:
    """The default, once it has trained, and every trial trained in full, the best first."""
    full = [one for one in trials if one.state == "done" and one.epochs >= max_epochs and not one.diverged]
    default = [one for one in trials[:1] if one.history and one not in full]
    return sorted([*default, *full], key=lambda one: goal.score(one.best(goal)), reverse=True)


def judge(trials: Sequence[Trial], goal: Goal, max_epochs: int) -> Verdict:
    """The verdict on the trials as they stand."""
    if not trials or trials[DEFAULT_TRIAL].state == "running":
        return Verdict(trial=None, sentence="the default, trial 0, is still to be trained in full.")
    default, best = trials[DEFAULT_TRIAL], winner(trials, goal, max_epochs)
    rivals = [one for one in finalists(trials, goal, max_epochs) if one.number != DEFAULT_TRIAL]
    if not _is_known(best, goal):
        reasons = f"{_without_result(default, goal)}, {_others(rivals, goal)}"
        return Verdict(trial=None, sentence=f"nothing ships: {reasons}.")
    if best.number != DEFAULT_TRIAL:
        return Verdict(trial=best, sentence=f"trial {best.number} wins: {_against(best, default, goal)}.")
    reason = _unbeaten(default, rivals, goal) if rivals else _partly(trials[1:], goal)
    return Verdict(trial=default, sentence=f"the default, trial 0, ships: {reason}.")


def why_ended(trials: Sequence[Trial], budget: Budget) -> str:
    """Why a search that is over began nothing more."""
    if len(trials) >= budget.trials:
        return f"all of {budget.trials} configurations were tried"
    if budget.epochs_total is not None and budget.epochs_total - sum(map(spent, trials)) < budget.max_epochs:
        return f"the budget of {epochs(budget.epochs_total)} is spent"
    return f"nothing new was begun after {len(trials)} of {budget.trials}: the time was up, or there is nothing new"


def _unbeaten(default: Trial, rivals: Sequence[Trial], goal: Goal) -> str:
    if not _is_known(rivals[0], goal):
        return _others(rivals, goal)
    return f"{_others(rivals, goal)} ({_against(rivals[0], default, goal)})"


def _partly(others: Sequence[Trial], goal: Goal) -> str:
    """What there is to say where no other configuration was trained in full."""
    known = [one for one in others if _is_known(one, goal) and not one.diverged]
    if not known:
        return "no other configuration was trained in full"
    best = max(known, key=lambda one: goal.score(one.best(goal)))
    had = f"{goal.metric} {number(best.best(goal).get(goal.metric))} after {epochs(best.epochs)}"
    return f"no other configuration was trained in full; the best of them, trial {best.number}, had {had}"


def _is_known(trial: Trial, goal: Goal) -> bool:
    return math.isfinite(goal.score(trial.best(goal))[0])


def _others(rivals: Sequence[Trial], goal: Goal) -> str:
    if not rivals:
        return "no other configuration was trained in full"
    if not _is_known(rivals[0], goal):
        return f"no other configuration trained in full has a {goal.metric}"
    which = "the only other one" if len(rivals) == 1 else f"the best of {len(rivals)} others"
    return f"{which} trained in full, trial {rivals[0].number}, does not beat it"


def _without_result(default: Trial, goal: Goal) -> str:
    reason = f" ({line(default.reason)})" if default.reason else ""
    return f"the default has no {goal.metric}{reason}"


def _against(trial: Trial, default: Trial, goal: Goal) -> str:
    """`val_acc 0.941 against 0.913 of the default`, with the tie-breaker where the metric is the same."""
    own, other = trial.best(goal), default.best(goal)
    if not _is_known(default, goal):
        return f"{goal.metric} {number(own.get(goal.metric))}; {_without_result(default, goal)}"
    if own.get(goal.metric) == other.get(goal.metric):
        tied = f"{number(own.get(goal.tie))} against {number(other.get(goal.tie))}"
        return f"{goal.metric} {number(own.get(goal.metric))} like the default, {goal.tie} {tied}"
    return f"{goal.metric} {number(own.get(goal.metric))} against {number(other.get(goal.metric))} of the default"
