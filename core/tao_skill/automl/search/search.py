"""The state of a search: its trials, the next task, and results; independent of where trials train and are stored."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from tao_skill.automl.search.asha import DEFAULT_TRIAL, Budget, Goal, RungSchedule, State, Trial, projections
from tao_skill.automl.search.samplers import Observation, draw
from tao_skill.automl.space.space import Space

REPEATS: Final = 2
"""Number of times a failed task is retried."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """Train a trial up to `target` epochs, from its last checkpoint, on the schedule of a full training."""

    number: int
    values: Mapping[str, Any]
    target: int


class Objective(Protocol):
    """Trains a configuration."""

    def __call__(self, task: Task) -> Sequence[Mapping[str, float]]:
        """Metrics of every epoch up to the target, including those of earlier tasks of the trial.

        Fewer epochs than the target mean that training diverged. An exception is a failure, not a bad result.
        """
        ...


class Journal(Protocol):
    """Stores trials, so that a search can resume after any interruption."""

    def load(self) -> list[Trial]:
        """All trials, by number."""
        ...

    def save(self, trial: Trial) -> None:
        """Store a new or changed trial atomically."""
        ...


@dataclass(frozen=True, kw_only=True)
class Setup:
    """All inputs of a search: the same setup and results give the same suggestions.

    Attributes:
        spec: the user's own, trial 0. validation: the data that trials are compared on, as text.
    """

    space: Space
    spec: Mapping[str, Any]
    goal: Goal
    schedule: RungSchedule
    budget: Budget
    sampler: str = "tpe"
    seed: int = 0
    validation: str = "after every epoch"


class Search:
    """The trials of a setup: gives out tasks and takes in their results. Only one process may hold it."""

    def __init__(self, setup: Setup, journal: Journal) -> None:
        self.setup = setup
        self.journal = journal
        self.trials = journal.load()
        self.exhausted = False

    def next_task(self, *, new: bool = True) -> Task | None:
        """The next task; None if there is none, or if running tasks must end first.

        Args:
            new: whether new configurations may be started.
        """
        setup = self.setup
        step = setup.schedule.next_step(self.trials, setup.goal, setup.budget, new=new and not self.exhausted)
        if step is None:
            return None
        values = self._values(step.number) if step.is_new else self.trials[step.number].values
        if values is None:
            self.exhausted = True
            return self.next_task(new=False)
        trial = Trial(number=step.number, values=values) if step.is_new else self.trials[step.number]
        self._store(replace(trial, state="running", target=step.target))
        return Task(number=step.number, values=values, target=step.target)

    def interrupted(self) -> list[Task]:
        """Tasks that were started and have no result, to be run again."""
        running = [trial for trial in self.trials if trial.state == "running"]
        return [Task(number=trial.number, values=trial.values, target=trial.target) for trial in running]

    def succeed(self, number: int, history: Sequence[Mapping[str, float]], seconds: float = 0.0) -> Trial:
        """Take in the result of a task; fewer epochs than its target mean divergence. seconds: duration of the task."""
        trial = self.trials[number]
        diverged = len(history) < trial.target or not all(map(_is_finite, history))
        top = len(history) >= self.setup.schedule.rungs[-1]
        reason = "training diverged" if diverged else None
        state: State = "done" if diverged or top else "waiting"
        total_s = trial.seconds + seconds
        return self._store(replace(trial, history=tuple(history), seconds=total_s, state=state, reason=reason))

    def fail(self, number: int, cause: str) -> Task | None:
        """Take in a failure: the task to retry, or None after REPEATS retries; earlier results stay."""
        trial = self.trials[number]
        if len(trial.failures) < REPEATS:
            self._store(replace(trial, failures=(*trial.failures, cause)))
            return Task(number=number, values=trial.values, target=trial.target)
        self.give_up(number, cause)
        return None

    def give_up(self, number: int, cause: str) -> None:
        """Take in a failure that is not retried."""
        trial = self.trials[number]
        failures = (*trial.failures, cause)
        self._store(replace(trial, failures=failures, state="failed", target=trial.epochs, reason=cause))

    def _values(self, number: int) -> dict[str, Any] | None:
        setup = self.setup
        if number == DEFAULT_TRIAL:
            return setup.space.values_of(setup.spec)
        # A trial that failed before its first epoch has an unknown score, a trial that is still in it has none yet.
        unknown = {trial.number: math.nan for trial in self.trials if trial.state == "failed"}
        scores = unknown | projections(self.trials, setup.goal, setup.schedule)
        observations = [Observation(values=trial.values, score=scores.get(trial.number)) for trial in self.trials]
        return draw(setup.space, setup.spec, number, observations, sampler=setup.sampler, seed=setup.seed)

    def _store(self, trial: Trial) -> Trial:
        self.journal.save(trial)
        self.trials[trial.number : trial.number + 1] = [trial]
        return trial


def _is_finite(metrics: Mapping[str, float]) -> bool:
    return all(math.isfinite(value) for value in metrics.values())
