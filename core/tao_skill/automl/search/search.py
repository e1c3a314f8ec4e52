"""The state of a search: its trials, the next task, and results; independent of where trials train and are stored."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Final, Protocol

from tao_skill.automl.search.asha import (
    DEFAULT_TRIAL,
    OWN_SPEC,
    Allowance,
    Budget,
    Goal,
    RungSchedule,
    State,
    Trial,
    candidates,
    in_order,
    projections,
    spent,
)
from tao_skill.automl.search.samplers import ATTEMPTS, Observation, draws
from tao_skill.automl.search.trainings import Trainings
from tao_skill.automl.space.space import Space, with_values
from tao_skill.spec.tree import lookup

REPEATS: Final = 2
"""Number of times a failed task is retried."""

FULL_SHARE: Final = 0.6
"""Share of a time budget that a full training takes; a longer one is shortened, but not below LEAST_LENGTH."""

LEAST_LENGTH: Final = 0.5
"""Share of its own length below which a full training is shortened only if it would not fit into MOST_SHARE."""

MOST_SHARE: Final = 0.9
"""Share of a time budget that a full training takes, at most."""

REPEATED: Final = 2
"""Finalists that are trained with a second seed."""

REPEAT_SHARE: Final = 0.3
"""Share of a time budget, at its end, in which finalists are trained with a second seed."""

EPOCH_S: Final = "epoch_s"
"""Name of the only metric of a task that measures the speed."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """Train a trial up to `target` epochs, from its last checkpoint, on the schedule of its full training.

    Attributes:
        target: 0 measures the seconds of an epoch.
        limit_s: seconds after which no epoch ends; None for no limit.
    """

    number: int
    values: Mapping[str, Any]
    target: int
    limit_s: float | None = None


class Objective(Protocol):
    """Trains a configuration."""

    def __call__(self, task: Task) -> Sequence[Mapping[str, float]]:
        """Metrics of every epoch up to the target, including those of earlier tasks of the trial.

        Fewer epochs than the target mean that the time is over or that training diverged, in which case the last
        metrics are not finite. For a target of 0, one mapping with EPOCH_S. An exception is a failure, not a bad
        result.
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
class Configuration:
    """A configuration that is known before the search, and where it comes from."""

    origin: str
    values: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Setup:
    """All inputs of a search: the same setup and results give the same suggestions.

    Attributes:
        spec: the user's own, trial 0. recipes: configurations to try besides, the best known first.
        prefer: accurate or fast. seed_key: spec key of the seed of a training; None for no repetition.
        class_average: metric with the mean accuracy of the classes, in percent, if there is one.
        validation: the data that trials are compared on, as text. validation_size: its sequences; None if unknown.
    """

    space: Space
    spec: Mapping[str, Any]
    goal: Goal
    schedule: RungSchedule
    budget: Budget
    trainings: Trainings
    recipes: Sequence[Configuration] = field(default_factory=tuple)
    sampler: str = "tpe"
    seed: int = 0
    prefer: str = "accurate"
    seed_key: str | None = None
    class_average: str | None = None
    validation: str = "after every epoch"
    validation_size: int | None = None

    def planned(self) -> list[Trial]:
        """The user's spec and the recipes, as trials."""
        own = Configuration(origin=OWN_SPEC, values=self.space.values_of(self.spec))
        known = [own, *self.recipes][: self.budget.trials]
        return [self.trial(number, one) for number, one in enumerate(known)]

    def trial(self, number: int, configuration: Configuration) -> Trial:
        """The planned trial of a configuration."""
        values = configuration.values
        return Trial(
            number=number,
            origin=configuration.origin,
            values=values,
            full=self.trainings.epochs(values),
            warm_up=self.trainings.warm_up(values),
        )


class Search:
    """The trials of a setup: gives out tasks and takes in their results. Only one process may hold it."""

    def __init__(self, setup: Setup, journal: Journal) -> None:
        self.setup = setup
        self.journal = journal
        self.trials = journal.load()
        for trial in setup.planned()[len(self.trials) :]:
            self._store(trial)
        self._flop: dict[int, float | None] = {}
        # The trials at the last draw that found no configuration: until they change, no other draw would.
        self._fruitless: list[Trial] | None = None

    def next_task(self, *, left_s: float = math.inf, new: bool = True) -> Task | None:
        """The next task; None if there is none, or if running tasks must end first.

        Args:
            left_s: seconds left. new: whether new configurations may be started.
        """
        setup = self.setup
        if math.isfinite(left_s) and all(trial.epoch_s is None for trial in self.trials):
            return self._measurement()
        allowances = self._allowances(left_s)
        if repeated := self._repeat(left_s, allowances):
            return repeated
        new = new and self.trials != self._fruitless
        step = setup.schedule.next_step(self.trials, setup.goal, setup.budget, allowances, new=new)
        if step is None:
            return None
        if not step.is_new:
            return self._start(self.trials[step.number], step.target, left_s, allowances)
        trial = self._new_trial(step.number, allowances)
        if trial is None:
            self._fruitless = list(self.trials)
            return self.next_task(left_s=left_s, new=False)
        return self._start(trial, setup.schedule.rungs_of(trial)[0], left_s, allowances)

    def interrupted(self) -> list[Task]:
        """Tasks that were started and have no result, to be run again."""
        running = [trial for trial in self.trials if trial.state == "running"]
        return [Task(number=trial.number, values=trial.values, target=trial.target) for trial in running]

    def succeed(self, number: int, history: Sequence[Mapping[str, float]], seconds: float = 0.0) -> Trial:
        """Take in the result of a task.

        Args:
            history: metrics of the epochs; if they are fewer than the target and finite, the time was over.
            seconds: duration of the task.
        """
        trial = self.trials[number]
        if trial.target == 0:
            return self._take_speed(trial, history[0][EPOCH_S])
        diverged = not all(map(_is_finite, history))
        is_full = len(history) >= trial.full
        reason = "training diverged" if diverged else None if history else "the time was over before its first epoch"
        state: State = "done" if diverged or is_full else "waiting" if history else "failed"
        total_s = trial.seconds + seconds
        return self._store(
            replace(
                trial,
                history=tuple(history),
                seconds=total_s,
                epoch_s=total_s / len(history) if history and total_s else trial.epoch_s,
                target=trial.target if diverged else len(history),
                state=state,
                reason=reason,
            )
        )

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

    def _measurement(self) -> Task | None:
        """The task that measures the speed of the first trial; None while it runs."""
        if any(trial.state == "running" for trial in self.trials):
            return None
        planned = [trial for trial in in_order(self.trials) if trial.state == "planned"]
        if not planned:
            return None
        trial = self._store(replace(planned[0], state="running", target=0))
        return Task(number=trial.number, values=trial.values, target=0)

    def _take_speed(self, trial: Trial, epoch_s: float) -> Trial:
        """Take in the measured speed, and shorten the planned trainings that take too much of the budget."""
        self.trials[trial.number] = replace(trial, state="planned", epoch_s=epoch_s)
        # Each from its own length, also where it was shortened before an interruption.
        own = {one.number: (one.values, one.full) for one in self.setup.planned()}
        planned = [
            self._sized(replace(one, values=own[one.number][0], full=own[one.number][1]))
            for one in self.trials
            if one.state == "planned"
        ]
        # The measured trial is stored last, as a search that is interrupted before measures again.
        for one in sorted(planned, key=lambda one: one.number == trial.number):
            self._store(one)
        return self.trials[trial.number]

    def _sized(self, trial: Trial) -> Trial:
        """The trial with a full training that fits into the time budget."""
        seconds, epoch_s = self.setup.budget.seconds, self._epoch_s(trial)
        if seconds is None or not epoch_s:
            return trial
        usual = MOST_SHARE if self.setup.budget.trials == 1 else FULL_SHARE
        share = min(max(usual, LEAST_LENGTH * trial.full * epoch_s / seconds), MOST_SHARE)
        full = max(1, int(share * seconds / epoch_s))
        if full >= trial.full:
            return trial
        return replace(trial, full=full, values=self.setup.trainings.shortened(trial.values, full))

    def _epoch_s(self, trial: Trial) -> float:
        """Expected seconds of an epoch: its own, or by its operations and the speed of the trials so far."""
        if trial.epoch_s:
            return trial.epoch_s
        measured = [(one.epoch_s, self._flop_of(one)) for one in self.trials if one.epoch_s is not None]
        flop = self._flop_of(trial)
        if not measured:
            return 0.0
        if flop is None or any(known is None for _, known in measured):
            return math.fsum(epoch_s for epoch_s, _ in measured) / len(measured)
        return flop * math.fsum(epoch_s for epoch_s, _ in measured) / math.fsum(known or 0.0 for _, known in measured)

    def _flop_of(self, trial: Trial) -> float | None:
        """Operations of an epoch, computed once for each trial: its length may change, its network and data do not."""
        if trial.number >= len(self.trials):  # a draw that may be dropped
            return self.setup.trainings.flop(trial.values)
        if trial.number not in self._flop:
            self._flop[trial.number] = self.setup.trainings.flop(trial.values)
        return self._flop[trial.number]

    def _allowances(self, left_s: float) -> list[Allowance]:
        total = self.setup.budget.epochs_total
        allowances = []
        if total is not None:
            left = total - sum(map(spent, self.trials))
            allowances.append(Allowance(left=left, cost=lambda trial, epochs: max(0, epochs - trial.epochs)))
        if math.isfinite(left_s):
            # A function of the present trials, read once for each.
            known = {trial.number: self._epoch_s(trial) for trial in self.trials}

            def seconds(trial: Trial, epochs: int) -> float:
                epoch_s = known[trial.number] if trial.number in known else self._epoch_s(trial)
                return max(0, epochs - trial.epochs) * epoch_s

            allowances.append(Allowance(left=left_s, cost=seconds))
        return allowances

    def _start(self, before: Trial, target: int, left_s: float, allowances: Sequence[Allowance]) -> Task:
        schedule = self.setup.schedule
        kept = schedule.reserves(before, schedule.leader(self.trials, self.setup.goal), allowances[-1:])
        trial = self._store(replace(before, state="running", target=target))
        limit_s = max(0.0, left_s - sum(kept)) if math.isfinite(left_s) else None
        return Task(number=trial.number, values=trial.values, target=target, limit_s=limit_s)

    def _repeat(self, left_s: float, allowances: Sequence[Allowance]) -> Task | None:
        """The training of a finalist with a second seed, at the end of a time budget, if there is time for all."""
        seconds, key = self.setup.budget.seconds, self.setup.seed_key
        if seconds is None or key is None or left_s > REPEAT_SHARE * seconds:
            return None
        if self.setup.budget.trials is not None and len(self.trials) >= self.setup.budget.trials:
            return None
        models = [trial for trial in candidates(self.trials, self.setup.goal) if trial.is_model]
        finalists = [trial for trial in models if trial.repeats is None][:REPEATED]
        missing = [one for one in finalists if one.number not in [trial.repeats for trial in self.trials]]
        again = [replace(one, history=(), state="planned", failures=(), seconds=0.0) for one in missing]
        if not again or any(math.fsum(map(one.to_full, again)) > one.left for one in allowances):
            return None
        first, number = again[0], len(self.trials)
        values = {**first.values, key: int(lookup(self.setup.spec, key)) + 1}
        origin = f"second seed of trial {first.number}"
        trial = replace(first, number=number, origin=origin, repeats=first.number, values=values)
        return self._start(trial, trial.full, left_s, allowances)

    def _new_trial(self, number: int, allowances: Sequence[Allowance]) -> Trial | None:
        """A configuration drawn around the best so far, different from all others, that the budget allows."""
        setup, schedule = self.setup, self.setup.schedule
        leader = schedule.leader(self.trials, setup.goal)
        observations = self._observations()
        known = [observation.values for observation in observations]
        best = next(iter(candidates(self.trials, setup.goal)), self.trials[DEFAULT_TRIAL])
        best = best if best.repeats is None else self.trials[best.repeats]
        drawn = draws(
            setup.space,
            with_values(setup.spec, best.values),
            number,
            observations,
            sampler=setup.sampler,
            seed=setup.seed,
            around=known[best.number] if setup.recipes else None,
        )
        for values in islice(drawn, ATTEMPTS):
            adapted = setup.trainings.adapted({**best.values, **values}, best.values)
            trial = self._sized(setup.trial(number, Configuration(origin=setup.sampler, values=adapted)))
            is_known = setup.space.values_in(setup.spec, adapted) in known
            if not is_known and schedule.fits(trial, schedule.rungs_of(trial)[0], leader, allowances):
                return trial
        return None

    def _observations(self) -> list[Observation]:
        """The searched parameters of every trial, and its projected score."""
        setup = self.setup
        # A trial that failed before its first epoch has an unknown score, a trial that is still in it has none yet.
        unknown = {trial.number: math.nan for trial in self.trials if trial.state == "failed"}
        scores = unknown | projections(self.trials, setup.goal, setup.schedule)
        values = (setup.space.values_in(setup.spec, trial.values) for trial in self.trials)
        return [Observation(values=one, score=scores.get(number)) for number, one in enumerate(values)]

    def _store(self, trial: Trial) -> Trial:
        self.journal.save(trial)
        self.trials[trial.number : trial.number + 1] = [trial]
        return trial


def _is_finite(metrics: Mapping[str, float]) -> bool:
    return all(math.isfinite(value) for value in metrics.values())
