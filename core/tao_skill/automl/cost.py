"""What a search costs, in epochs, before it has begun."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache
from typing import Final

from tao_skill.automl.ladder import Budget, Goal, Ladder, State, Trial

_LUCK: Final = Goal(metric="luck", maximize=True)
_ENOUGH: Final = 100
"""Configurations beyond which the cost of one no longer changes."""


def most_epochs(budget: Budget) -> int:
    """Epochs that cannot be exceeded: every configuration trained in full, or the limit that was set."""
    full = budget.trials * budget.max_epochs
    return full if budget.epochs_total is None else min(full, budget.epochs_total)


def expected_epochs(ladder: Ladder, budget: Budget) -> int:
    """Epochs of a search in which a configuration's place among the others is drawn by lot."""
    few = min(budget.trials, _ENOUGH)
    return min(most_epochs(budget), round(_climbed(ladder, few) * budget.trials / max(few, 1)))


@cache
def _climbed(ladder: Ladder, count: int) -> int:
    """Epochs of `count` configurations on the ladder: its own decisions, each rung one step of the record."""
    steps = Ladder(rungs=tuple(range(1, len(ladder.rungs) + 1)), eta=ladder.eta)
    budget = Budget(trials=count, max_epochs=len(ladder.rungs))
    luck = [float(rank) for rank in range(count)]
    random.Random(0).shuffle(luck)  # noqa: S311 - an order, no secret
    trials: list[Trial] = []
    while step := steps.next_step(trials, _LUCK, budget):
        if step.is_new:
            trials.append(Trial(number=step.number, values={}))
        history = ({"luck": luck[step.number]},) * step.target
        state: State = "done" if step.target == len(ladder.rungs) else "waiting"
        trials[step.number] = replace(trials[step.number], history=history, target=step.target, state=state)
    return sum(ladder.rungs[one.epochs - 1] for one in trials)
