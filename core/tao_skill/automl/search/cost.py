"""What a search costs, or still will, in epochs: its own ladder climbed by configurations whose luck is drawn."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from tao_skill.automl.search.asha import DEFAULT_TRIAL, Budget, Goal, RungSchedule, State, Trial, spent
from tao_skill.automl.search.search import Setup

_LUCK: Final = Goal(metric="luck", maximize=True, tie="luck")
_ENOUGH: Final = 60
"""New configurations whose cost is found out; further ones cost as much."""


def most_epochs(budget: Budget) -> int:
    """Epochs that cannot be exceeded: every configuration trained in full, or the limit that was set."""
    full = budget.trials * budget.max_epochs
    return full if budget.epochs_total is None else min(full, budget.epochs_total)


def expected_epochs(setup: Setup) -> int:
    """Epochs of a search in which a configuration's place among the others is a matter of luck."""
    return remaining_epochs(setup, ())


def remaining_epochs(setup: Setup, trials: Sequence[Trial]) -> int:
    """Epochs that are probably still to come: those begun, and those of new ones as good as the ones so far."""
    begun = sum(spent(one) - one.epochs for one in trials)
    new = max(0, setup.budget.trials - len(trials))
    few = min(new, _ENOUGH)
    climbed = [_on_steps(one, setup) for one in trials]
    left = _climb(climbed, setup.ladder, len(trials) + few) * (new / few if few else 1.0)
    limit = most_epochs(setup.budget) - sum(one.epochs for one in trials)
    return max(0, min(begun + round(left), limit))


def _climb(trials: list[Trial], ladder: RungSchedule, count: int) -> int:
    """Epochs until nothing is left to do for `count` trials; a rung is one epoch of these trials' records."""
    steps = RungSchedule(rungs=tuple(range(1, len(ladder.rungs) + 1)), eta=ladder.eta)
    budget = Budget(trials=count, max_epochs=len(ladder.rungs))
    lots = random.Random(0)  # noqa: S311 - an order, no secret
    known = [one.history[0]["luck"] for one in trials if one.history and one.number != DEFAULT_TRIAL]
    cost = 0
    while step := steps.next_step(trials, _LUCK, budget):
        if step.is_new:
            trials.append(Trial(number=step.number, values={}))
        trial = trials[step.number]
        cost += ladder.rungs[step.target - 1] - (ladder.rungs[trial.epochs - 1] if trial.epochs else 0)
        luck = trial.history[-1]["luck"] if trial.history else lots.choice(known) if known else lots.random()
        history = (*trial.history, *({"luck": luck},) * (step.target - trial.epochs))
        trials[step.number] = _with(trial, history, steps.rungs[-1])
    return cost


def _on_steps(trial: Trial, setup: Setup) -> Trial:
    """The trial with one epoch for each rung it has reached, or will have when its present step is done."""
    goal, rungs = setup.goal, setup.ladder.rungs
    history = [{"luck": goal.score(trial.best(goal, rung))[0]} for rung in rungs if rung <= spent(trial)]
    reached = _with(trial, history, len(rungs))
    return (
        reached if trial.state in ("running", "waiting") else replace(reached, state=trial.state, reason=trial.reason)
    )


def _with(trial: Trial, history: Sequence[Mapping[str, float]], top: int) -> Trial:
    state: State = "done" if len(history) == top else "waiting" if history else "failed"
    return replace(trial, history=tuple(history), target=len(history), state=state)
