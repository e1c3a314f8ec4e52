"""The search itself: which work there is, and what comes of it; independent of where the work is done and kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from tao_skill.automl.search.asha import DEFAULT_TRIAL, Budget, Goal, RungSchedule, State, Trial, projections
from tao_skill.automl.search.samplers import Seen, draw
from tao_skill.automl.space.space import Space

REPEATS: Final = 2
"""How often a task that failed is tried again."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """Train a trial up to `target` epochs; its schedule spans the whole training, and it goes on where it stopped."""

    number: int
    values: Mapping[str, Any]
    target: int


class Objective(Protocol):
    """What trains a configuration."""

    def __call__(self, task: Task) -> Sequence[Mapping[str, float]]:
        """Metrics of every epoch up to the task's target, those of earlier tasks included.

        Fewer epochs than the target mean that training diverged; whatever it raises is a failure, not a bad result.
        """
        ...


class Journal(Protocol):
    """What keeps trials, so that a search can go on after any interruption."""

    def load(self) -> list[Trial]:
        """Every trial so far, by number."""
        ...

    def save(self, trial: Trial) -> None:
        """Keep a new or changed trial, at once or not at all."""
        ...


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a search is fixed by: the same setup makes the same suggestions from the same results.

    Attributes:
        spec: the user's own, trial 0. validation: the data that trials are compared on, in words.
    """

    space: Space
    spec: Mapping[str, Any]
    goal: Goal
    ladder: RungSchedule
    budget: Budget
    sampler: str = "tpe"
    seed: int = 0
    validation: str = "after every epoch"


class Search:
    """Trials of a setup: hands out tasks and takes in what came of them. One process holds it."""

    def __init__(self, setup: Setup, journal: Journal) -> None:
        self.setup = setup
        self.journal = journal
        self.trials = journal.load()
        self.exhausted = False

    def next_task(self, *, new: bool = True) -> Task | None:
        """Work that may begin now; None if there is none, or what runs has to end first.

        Args:
            new: whether new configurations may still be begun.
        """
        setup = self.setup
        step = setup.ladder.next_step(self.trials, setup.goal, setup.budget, new=new and not self.exhausted)
        if step is None:
            return None
        values = self._values(step.number) if step.is_new else self.trials[step.number].values
        if values is None:
            self.exhausted = True
            return self.next_task(new=False)
        trial = Trial(number=step.number, values=values) if step.is_new else self.trials[step.number]
        self._keep(replace(trial, state="running", target=step.target))
        return Task(number=step.number, values=values, target=step.target)

    def interrupted(self) -> list[Task]:
        """Tasks that were begun and have no result, to be taken up again."""
        running = [one for one in self.trials if one.state == "running"]
        return [Task(number=one.number, values=one.values, target=one.target) for one in running]

    def succeed(self, number: int, history: Sequence[Mapping[str, float]], seconds: float = 0.0) -> Trial:
        """Take in a training that came to its end, or diverged; `seconds` is what it took since the last one."""
        trial = self.trials[number]
        diverged = len(history) < trial.target or not all(map(_is_sound, history))
        top = len(history) >= self.setup.ladder.rungs[-1]
        reason = "training diverged" if diverged else None
        state: State = "done" if diverged or top else "waiting"
        spent_s = trial.seconds + seconds
        return self._keep(replace(trial, history=tuple(history), seconds=spent_s, state=state, reason=reason))

    def fail(self, number: int, cause: str) -> Task | None:
        """Take in a failure: the task again, or None once it was repeated often enough; earlier results stay."""
        trial = self.trials[number]
        if len(trial.failures) < REPEATS:
            self._keep(replace(trial, failures=(*trial.failures, cause)))
            return Task(number=number, values=trial.values, target=trial.target)
        self.give_up(number, cause)
        return None

    def give_up(self, number: int, cause: str) -> None:
        """Take in a failure that no repetition would mend."""
        trial = self.trials[number]
        failures = (*trial.failures, cause)
        self._keep(replace(trial, failures=failures, state="failed", target=trial.epochs, reason=cause))

    def _values(self, number: int) -> dict[str, Any] | None:
        setup = self.setup
        if number == DEFAULT_TRIAL:
            return setup.space.of_spec(setup.spec)
        known = projections(self.trials, setup.goal, setup.ladder)
        # What failed before its first epoch told nothing, unlike what is still in it.
        untold = {one.number: math.nan for one in self.trials if one.state == "failed"}
        seen = [Seen(values=one.values, score=(untold | known).get(one.number)) for one in self.trials]
        return draw(setup.space, setup.spec, number, seen, sampler=setup.sampler, seed=setup.seed)

    def _keep(self, trial: Trial) -> Trial:
        self.journal.save(trial)
        self.trials[trial.number : trial.number + 1] = [trial]
        return trial


def _is_sound(metrics: Mapping[str, float]) -> bool:
    return all(math.isfinite(value) for value in metrics.values())
