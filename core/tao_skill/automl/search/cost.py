"""Expected cost of a search in epochs, by a simulation in which the rank of a new configuration is random."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from tao_skill.automl.search.asha import DEFAULT_TRIAL, Budget, Goal, RungSchedule, State, Trial, spent
from tao_skill.automl.search.search import Setup

_SCORE: Final = "score"
_GOAL: Final = Goal(metric=_SCORE, maximize=True, tie=_SCORE)
_SIMULATED: Final = 60
"""Greatest number of new configurations that are simulated; the cost of more is extrapolated."""


def most_epochs(budget: Budget) -> int:
    """Upper bound: every configuration trained in full, or the limit that is set."""
    full = budget.trials * budget.max_epochs
    return full if budget.epochs_total is None else min(full, budget.epochs_total)


def expected_epochs(setup: Setup) -> int:
    """Expected epochs of a whole search."""
    return remaining_epochs(setup, ())


def remaining_epochs(setup: Setup, trials: Sequence[Trial]) -> int:
    """Expected epochs still to train: of running steps, of promotions and of new configurations."""
    running = sum(spent(trial) - trial.epochs for trial in trials)
    new = max(0, setup.budget.trials - len(trials))
    simulated = min(new, _SIMULATED)
    rung_trials = [_as_rungs(trial, setup) for trial in trials]
    cost = _simulate(rung_trials, setup.schedule, len(trials) + simulated) * (new / simulated if simulated else 1.0)
    limit = most_epochs(setup.budget) - sum(trial.epochs for trial in trials)
    return max(0, min(running + round(cost), limit))


def _simulate(trials: list[Trial], schedule: RungSchedule, count: int) -> int:
    """Epochs that a search of `count` trials still takes; an epoch in the history of these trials is a rung."""
    rungs = RungSchedule(rungs=tuple(range(1, len(schedule.rungs) + 1)), eta=schedule.eta)
    budget = Budget(trials=count, max_epochs=len(schedule.rungs))
    rng = random.Random(0)  # noqa: S311 - not a secret
    scores = [trial.history[0][_SCORE] for trial in trials if trial.history and trial.number != DEFAULT_TRIAL]
    cost = 0
    while step := rungs.next_step(trials, _GOAL, budget):
        if step.is_new:
            trials.append(Trial(number=step.number, values={}))
        trial = trials[step.number]
        cost += schedule.rungs[step.target - 1] - (schedule.rungs[trial.epochs - 1] if trial.epochs else 0)
        score = trial.history[-1][_SCORE] if trial.history else rng.choice(scores) if scores else rng.random()
        history = (*trial.history, *({_SCORE: score},) * (step.target - trial.epochs))
        trials[step.number] = _with_history(trial, history, rungs.rungs[-1])
    return cost


def _as_rungs(trial: Trial, setup: Setup) -> Trial:
    """The trial with an epoch for each rung it has reached, its running step counted as done."""
    goal, rungs = setup.goal, setup.schedule.rungs
    history = [{_SCORE: goal.score(trial.best(goal, rung))[0]} for rung in rungs if rung <= spent(trial)]
    reached = _with_history(trial, history, len(rungs))
    if trial.state in ("running", "waiting"):
        return reached
    return replace(reached, state=trial.state, reason=trial.reason)


def _with_history(trial: Trial, history: Sequence[Mapping[str, float]], top: int) -> Trial:
    state: State = "done" if len(history) == top else "waiting" if history else "failed"
    return replace(trial, history=tuple(history), target=len(history), state=state)
