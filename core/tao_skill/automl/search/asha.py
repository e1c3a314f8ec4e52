"""The next step of a search, as a pure function of its trials: asynchronous successive halving.

Source: Li et al., "A System for Massively Parallel Hyperparameter Tuning" (ASHA), MLSys 2020, arXiv 1810.05934.
Unlike there, a promoted trial continues from its own checkpoint, rungs are shares of each trial's own schedule, and the
budget always suffices to train the best trial in full.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from tao_skill.errors import BadRequest

State = Literal["planned", "running", "waiting", "done", "failed"]

DEFAULT_TRIAL: Final = 0
"""Number of the trial that is the user's own spec."""

OWN_SPEC: Final = "your spec"
"""Origin of that trial."""

OWN_SHARE: Final = 1 / 4
"""Share of what is left of a budget that the first step of that trial takes, at most."""


@dataclass(frozen=True, kw_only=True)
class Goal:
    """The metric that a search optimises; between equal values the lower `tie` metric decides."""

    metric: str
    maximize: bool
    tie: str

    def score(self, metrics: Mapping[str, float]) -> tuple[float, float]:
        """Larger is better; -inf stands for a missing or non-finite value."""
        value = metrics.get(self.metric, math.nan)
        tie = metrics.get(self.tie, math.nan)
        signed = value if self.maximize else -value
        return (signed if math.isfinite(value) else -math.inf, -tie if math.isfinite(tie) else -math.inf)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One configuration and its training so far.

    Attributes:
        number: 0 is the user's own spec. origin: where the configuration comes from.
        repeats: number of the trial that it repeats with another seed.
        values: value by spec key that differs from the spec, or is searched.
        full: epochs of its full training. warm_up: first epochs, after which its metrics say little.
        history: metrics of each trained epoch, in order.
        target: epochs it is being trained to; its last rung while it is not running; 0 while its speed is measured.
        state: planned, before its first step; running; waiting, between two steps; done, in full or diverged; failed.
        reason: why it failed or diverged. failures: root causes of failed attempts.
        seconds: training time. epoch_s: seconds of an epoch, measured; None before.
    """

    number: int
    values: Mapping[str, Any]
    full: int
    warm_up: int = 0
    origin: str = OWN_SPEC
    repeats: int | None = None
    history: Sequence[Mapping[str, float]] = ()
    target: int = 0
    state: State = "planned"
    reason: str | None = None
    failures: Sequence[str] = ()
    seconds: float = 0.0
    epoch_s: float | None = None

    @property
    def epochs(self) -> int:
        """Epochs trained."""
        return len(self.history)

    @property
    def diverged(self) -> bool:
        """Whether training ended early because it diverged."""
        return self.state == "done" and self.reason is not None

    @property
    def is_model(self) -> bool:
        """Whether it is trained in full and did not diverge."""
        return self.state == "done" and self.reason is None

    def has_tried(self, rung: int) -> bool:
        """Whether it reached a rung, or diverged on the way there."""
        return self.epochs >= rung or (self.diverged and self.target >= rung)

    def score_at(self, goal: Goal, rung: int) -> tuple[float, float]:
        """Score of the best epoch up to a rung; -inf if it diverged before."""
        return goal.score(self.best(goal, rung) if self.epochs >= rung else {})

    def best(self, goal: Goal, epochs: int | None = None) -> Mapping[str, float]:
        """Metrics of the best of the first `epochs`, or of all; empty before the first."""
        return max(self.history[:epochs], key=goal.score, default={})


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Limits of a search; None for no limit.

    Attributes:
        trials: configurations, the user's own included. epochs_total: epochs of all trials together.
        seconds: time of the search.
    """

    trials: int | None = None
    epochs_total: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("trials", "epochs_total"):
            if (value := getattr(self, name)) is not None:
                _at_least(name, value, 1)


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What is left of a budget, and what it costs to train a trial further, up to so many epochs, in the same unit."""

    left: float
    cost: Callable[[Trial, int], float]

    def to_full(self, trial: Trial) -> float:
        """Cost of the rest of a trial's full training."""
        return self.cost(trial, trial.full)


@dataclass(frozen=True, kw_only=True)
class Step:
    """Train a trial up to `target` epochs; `is_new`: it does not exist yet."""

    number: int
    target: int
    is_new: bool = False


@dataclass(frozen=True, kw_only=True)
class RungSchedule:
    """Rungs as shares of a trial's own full training.

    Attributes:
        eta: reduction factor: the top 1/eta of a rung are promoted to the next, which is eta times as long.
        levels: number of rungs, the full training included. least: epochs of the lowest rung, at least.
    """

    eta: int = 3
    levels: int = 3
    least: int = 1

    def __post_init__(self) -> None:
        _at_least("eta", self.eta, 2)
        _at_least("min_epochs", self.least, 1)

    def rungs(self, full: int, warm_up: int = 0) -> tuple[int, ...]:
        """Epochs of each rung of a trial with `full` epochs, the last being its full training; see `Trial.warm_up`."""
        parts = (full / self.eta**level for level in reversed(range(self.levels)))
        return tuple(min(full, max(self.least, warm_up, round(part))) for part in parts)

    def rungs_of(self, trial: Trial) -> tuple[int, ...]:
        """Epochs of each rung of a trial."""
        return self.rungs(trial.full, trial.warm_up)

    def level(self, trial: Trial) -> int:
        """The highest rung that a trial has reached; -1 for none."""
        return sum(trial.epochs >= rung for rung in self.rungs_of(trial)) - 1 if trial.epochs else -1

    def next_step(
        self,
        trials: Sequence[Trial],
        goal: Goal,
        budget: Budget,
        allowances: Sequence[Allowance] = (),
        *,
        new: bool = True,
    ) -> Step | None:
        """The next step; None if all is done or the budget is spent, or if running trials must end first.

        Planned trials come first: the first recipe before all, then the user's spec or some epochs of it, then the
        cheapest. Then follow promotions, from the highest rung down; new configurations; and waiting trials that are
        projected to beat every full training. A step is taken only if its trial can still be trained in full, and if
        enough is left to train the best trial in full, as long as it is not. When no step fits, the best trial is
        trained in full, or for as long as the budget lasts.

        Args:
            new: whether new configurations may be started.
        """
        leader = self.leader(trials, goal)
        new = new and (budget.trials is None or len(trials) < budget.trials)
        for trial, step in self._wanted(trials, goal, allowances, new=new):
            if self.fits(trial, step.target, leader, allowances):
                return step
        return self._last_resort(leader, allowances)

    def fits(self, trial: Trial, target: int, leader: Trial | None, allowances: Sequence[Allowance]) -> bool:
        """Whether a step leaves enough for the full training of the leader, and the trial can be trained in full."""
        rest = zip(allowances, self.reserves(trial, leader, allowances), strict=True)
        return all(max(one.to_full(trial), one.cost(trial, target) + kept) <= one.left for one, kept in rest)

    def reserves(self, trial: Trial, leader: Trial | None, allowances: Sequence[Allowance]) -> list[float]:
        """What a step of `trial` must leave of each allowance."""
        keeps = leader is not None and leader.number != trial.number
        return [one.to_full(leader) if keeps and leader else 0.0 for one in allowances]

    def leader(self, trials: Sequence[Trial], goal: Goal) -> Trial | None:
        """The trial to train in full whatever happens; None if a better one is trained in full, or on the way there."""
        ending = [
            trial for trial in trials if trial.is_model or (trial.state == "running" and trial.target >= trial.full)
        ]
        open_ = [trial for trial in trials if trial.state in ("waiting", "running") and trial.epochs]
        best = max(
            (one for one in open_ if one not in ending), key=lambda one: goal.score(one.best(goal)), default=None
        )
        if best is None:
            return None if ending else next((one for one in in_order(trials) if one.state == "planned"), None)
        beaten = any(goal.score(one.best(goal)) >= goal.score(best.best(goal)) for one in ending)
        return None if beaten else best

    def _wanted(
        self, trials: Sequence[Trial], goal: Goal, allowances: Sequence[Allowance], *, new: bool
    ) -> Iterator[tuple[Trial, Step]]:
        """Steps in order of preference, each with its trial; of a new one, a trial like the best known."""
        planned = [trial for trial in in_order(trials) if trial.state == "planned"]
        first = planned[:1] if not any(trial.epochs for trial in trials) else []
        others = [trial for trial in planned if trial not in first]
        others.sort(key=lambda trial: [one.cost(trial, self.rungs_of(trial)[0]) for one in allowances])
        for trial in first:
            yield trial, Step(number=trial.number, target=self.rungs_of(trial)[0])
        for own in (trial for trial in others if trial.number == DEFAULT_TRIAL):
            yield from ((own, step) for step in self._first_of_own(own, allowances))
        for trial in others:
            yield trial, Step(number=trial.number, target=self.rungs_of(trial)[0])
        for trial in self._promotable(trials, goal):
            yield trial, self._to_next_rung(trial)
        if new and trials:
            like = next(iter(candidates(trials, goal)), trials[DEFAULT_TRIAL])
            like = replace(like, number=len(trials), history=())
            yield like, Step(number=like.number, target=self.rungs_of(like)[0], is_new=True)
        for trial in self._promising(trials, goal):
            yield trial, self._to_next_rung(trial)

    def _first_of_own(self, own: Trial, allowances: Sequence[Allowance]) -> Iterator[Step]:
        """The first step of the user's spec: its lowest rung, or as many epochs as OWN_SHARE of what is left allows."""
        for target in range(self.rungs_of(own)[0], 0, -1):
            if all(one.cost(own, target) <= OWN_SHARE * one.left for one in allowances):
                yield Step(number=own.number, target=target)
                return

    def _last_resort(self, leader: Trial | None, allowances: Sequence[Allowance]) -> Step | None:
        """The full training of the leader, or as many of its epochs as the budget allows; None if it allows none."""
        if leader is None or leader.state not in ("planned", "waiting"):
            return None
        for target in range(leader.full, leader.epochs, -1):
            if all(one.cost(leader, target) <= one.left for one in allowances):
                return Step(number=leader.number, target=target)
        return None

    def _to_next_rung(self, trial: Trial) -> Step:
        return Step(number=trial.number, target=next(rung for rung in self.rungs_of(trial) if rung > trial.epochs))

    def _promotable(self, trials: Sequence[Trial], goal: Goal) -> Iterator[Trial]:
        """Waiting trials among the top 1/eta of their rung, from the highest rung down."""
        for level in reversed(range(self.levels - 1)):
            at_rung = [(trial, self.rungs_of(trial)[level]) for trial in trials]
            at_rung = [(trial, rung) for trial, rung in at_rung if trial.has_tried(rung)]
            ranked = sorted(at_rung, key=lambda pair: pair[0].score_at(goal, pair[1]), reverse=True)
            for trial, _ in ranked[: len(at_rung) // self.eta]:
                if trial.state == "waiting" and self.level(trial) == level:
                    yield trial

    def _promising(self, trials: Sequence[Trial], goal: Goal) -> list[Trial]:
        """Waiting trials projected to beat every full training, the best first; all while there is none."""
        projected = projections(trials, goal, self)
        bar = max((projected[trial.number] for trial in trials if trial.is_model), default=-math.inf)
        waiting = [trial for trial in trials if trial.state == "waiting" and trial.number in projected]
        chosen = [trial for trial in waiting if projected[trial.number] > bar]
        return sorted(chosen, key=lambda trial: projected[trial.number], reverse=True)


def in_order(trials: Sequence[Trial]) -> list[Trial]:
    """Trials in the order in which they are started: the first recipe, if there is one, before the user's own spec."""
    return [*trials[1:2], *trials[:1], *trials[2:]] if len(trials) > 1 and trials[1].origin != OWN_SPEC else [*trials]


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise BadRequest(f"{name} is {value}, accepted: {least} or more", fix=f"set {name} to {least} or more")


def spent(trial: Trial) -> int:
    """Epochs that a trial has used, its running step counted in full."""
    return max(trial.epochs, trial.target if trial.state == "running" else 0)


def candidates(trials: Sequence[Trial], goal: Goal) -> list[Trial]:
    """Trials with a usable model, trained in full or in part, the best first; ties go to the lowest number.

    A configuration that was trained with several seeds counts with the mean of their scores.
    """
    usable = [trial for trial in trials if trial.state in ("done", "waiting") and not trial.reason]
    scores = {trial.number: goal.score(trial.best(goal)) for trial in usable}
    usable = [trial for trial in usable if math.isfinite(scores[trial.number][0])]

    def mean(trial: Trial) -> float:
        first = trial.number if trial.repeats is None else trial.repeats
        same = [scores[one.number][0] for one in usable if first in (one.number, one.repeats)]
        return math.fsum(score / len(same) for score in same)  # as a sum of large losses may overflow

    return sorted(usable, key=lambda trial: (mean(trial), *scores[trial.number]), reverse=True)


def projections(trials: Sequence[Trial], goal: Goal, schedule: RungSchedule) -> dict[int, float]:
    """Score expected of a full training by trial number, larger is better; only trials with a trained epoch.

    The score of a trial that stopped at a rung is raised by the median gain of fully trained trials beyond that rung,
    so that short and long trainings compare. Diverged trials have -inf.
    """
    full = [trial for trial in trials if trial.is_model]
    gains = [_median_gain(full, goal, schedule, level) for level in range(schedule.levels)]
    projected: dict[int, float] = {}
    for trial in trials:
        if trial.history:
            gain = gains[max(0, schedule.level(trial))]
            projected[trial.number] = -math.inf if trial.diverged else goal.score(trial.best(goal))[0] + gain
    return projected


def _median_gain(trials: Sequence[Trial], goal: Goal, schedule: RungSchedule, level: int) -> float:
    """Median improvement of the score beyond a rung."""
    rungs = ((trial, schedule.rungs_of(trial)[level]) for trial in trials)
    gains = (goal.score(trial.best(goal))[0] - goal.score(trial.best(goal, rung))[0] for trial, rung in rungs)
    finite = sorted(gain for gain in gains if math.isfinite(gain)) or [0.0]
    return finite[len(finite) // 2]
