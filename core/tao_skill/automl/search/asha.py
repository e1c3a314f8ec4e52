"""Which configuration is trained next, and how far: successive halving by promotion, as a pure function of the record.

Source: asynchronous successive halving, Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020
(arXiv 1810.05934), "ASHA"; here a promoted configuration goes on from its own checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from tao_skill.errors import BadRequest

State = Literal["running", "waiting", "done", "failed"]

DEFAULT_TRIAL: Final = 0
"""Number of the trial that is the user's own spec."""


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What the search is after: a metric and its direction; equal values are told apart by `tie`, the lower better."""

    metric: str
    maximize: bool
    tie: str

    def score(self, metrics: Mapping[str, float]) -> tuple[float, float]:
        """Larger is better; a value that is no number is the worst there is."""
        value = metrics.get(self.metric, math.nan)
        tie = metrics.get(self.tie, math.nan)
        signed = value if self.maximize else -value
        return (signed if math.isfinite(value) else -math.inf, -tie if math.isfinite(tie) else -math.inf)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One configuration and how far it came.

    Attributes:
        number: 0 is the user's own spec. values: suggested value by spec key.
        history: metrics of each trained epoch, in order.
        target: epochs it is being trained to; where it stands when it is not running.
        state: running; waiting to be promoted or not; done, at the top rung or diverged; failed.
        reason: why it failed or diverged. failures: what went wrong in attempts that were repeated or given up.
        seconds: time spent on training it.
    """

    number: int
    values: Mapping[str, Any]
    history: Sequence[Mapping[str, float]] = ()
    target: int = 0
    state: State = "running"
    reason: str | None = None
    failures: Sequence[str] = ()
    seconds: float = 0.0

    @property
    def epochs(self) -> int:
        """Epochs trained."""
        return len(self.history)

    @property
    def diverged(self) -> bool:
        """Whether it was trained as far as it can be, to no good end."""
        return self.state == "done" and self.reason is not None

    def has_tried(self, rung: int) -> bool:
        """Whether it came to a rung, or diverged on the way."""
        return self.epochs >= rung or (self.diverged and self.target >= rung)

    def score_at(self, goal: Goal, rung: int) -> tuple[float, float]:
        """Score of the best epoch up to a rung; the worst there is where it diverged before."""
        return goal.score(self.best(goal, rung) if self.epochs >= rung else {})

    def best(self, goal: Goal, epochs: int | None = None) -> Mapping[str, float]:
        """Metrics of the best epoch, of the first `epochs`; empty before the first."""
        return max(self.history[:epochs], key=goal.score, default={})


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a search may spend.

    Attributes:
        trials: configurations, the user's own included. max_epochs: full training of one.
        epochs_total: epochs of all trials together.

    Raises:
        BadRequest: not even the user's own configuration can be trained in full.
    """

    trials: int
    max_epochs: int
    epochs_total: int | None = None

    def __post_init__(self) -> None:
        _at_least("trials", self.trials, 1)
        _at_least("max_epochs", self.max_epochs, 1)
        if self.epochs_total is not None:
            _at_least("epochs_total", self.epochs_total, self.max_epochs)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One piece of work: train a trial, new or old, up to `target` epochs."""

    number: int
    target: int
    is_new: bool = False


@dataclass(frozen=True, kw_only=True)
class RungSchedule:
    """Rungs in epochs, the last one full training; of `eta` configurations of a rung one goes on."""

    rungs: tuple[int, ...]
    eta: int = 3

    def next_step(self, trials: Sequence[Trial], goal: Goal, budget: Budget, *, new: bool = True) -> Step | None:
        """The user's spec first and at once in full; then promotions, the highest first; then new configurations.

        Nothing is begun that the budget could not carry to the top. At the end those go on that promise more than any
        trained in full, and the best in any case if none beside the user's spec was. None when nothing can be begun:
        all is done or spent, or what runs must end first.

        Args:
            new: whether new configurations may still be begun.
        """
        top = self.rungs[-1]
        if not trials:
            return Step(number=DEFAULT_TRIAL, target=top, is_new=True)
        left = math.inf if budget.epochs_total is None else budget.epochs_total - sum(spent(one) for one in trials)
        for one in self._promotable(trials, goal):
            if top - one.epochs <= left:
                return Step(number=one.number, target=self._above(one))
        if new and len(trials) < budget.trials and top <= left:
            return Step(number=len(trials), target=self.rungs[0], is_new=True)
        last = (one for one in self._promising(trials, goal) if top - one.epochs <= left)
        return next((Step(number=one.number, target=self._above(one)) for one in last), None)

    def _above(self, trial: Trial) -> int:
        return next(rung for rung in self.rungs if rung > trial.epochs)

    def _promotable(self, trials: Sequence[Trial], goal: Goal) -> Iterator[Trial]:
        """Trials waiting among the best of their rung, the highest rung first."""
        for rung in reversed(self.rungs[:-1]):
            here = [one for one in trials if one.number != DEFAULT_TRIAL and one.has_tried(rung)]
            ranked = sorted(here, key=lambda one: one.score_at(goal, rung), reverse=True)
            for one in ranked[: len(here) // self.eta]:
                if one.state == "waiting" and one.epochs == rung:
                    yield one

    def _promising(self, trials: Sequence[Trial], goal: Goal) -> list[Trial]:
        """Waiting trials that would probably win if trained in full, the best first; all until one is or goes there."""
        hopes, top = projections(trials, goal, self), self.rungs[-1]
        others = [one for one in trials if one.number != DEFAULT_TRIAL and not one.diverged]
        has_other = any(one.epochs >= top or (one.state == "running" and one.epochs) for one in others)
        bar = max((hopes[one.number] for one in trials if has_other and one.epochs >= top), default=-math.inf)
        waiting = [one for one in trials if one.state == "waiting" and (hopes[one.number] > bar or not has_other)]
        return sorted(waiting, key=lambda one: hopes[one.number], reverse=True)


def make_rung_schedule(max_epochs: int, *, eta: int = 3, min_epochs: int = 3) -> RungSchedule:
    """Rungs R, R/eta, R/eta^2, as long as they are at least `min_epochs`; at most three.

    Raises:
        BadRequest: of fewer than two configurations one goes on, or a rung has no epoch.
    """
    _at_least("eta", eta, 2)
    _at_least("min_epochs", min_epochs, 1)
    rungs = [max_epochs]
    while len(rungs) < 3 and rungs[-1] / eta >= min_epochs:
        rungs.append(max(1, round(rungs[-1] / eta)))
    return RungSchedule(rungs=tuple(reversed(rungs)), eta=eta)


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise BadRequest(f"{name} is {value}, accepted: {least} or more", fix=f"set {name} to {least} or more")


def spent(trial: Trial) -> int:
    """Epochs a trial has cost or will have when its present step is done."""
    return max(trial.epochs, trial.target if trial.state == "running" else 0)


def winner(trials: Sequence[Trial], goal: Goal, max_epochs: int) -> Trial:
    """The best of the fully trained, which must beat the user's own spec, else that one."""
    default = trials[DEFAULT_TRIAL]
    full = [one for one in trials[1:] if one.epochs >= max_epochs and one.state == "done" and not one.diverged]
    best = max(full, key=lambda one: goal.score(one.best(goal)), default=default)
    return best if goal.score(best.best(goal)) > goal.score(default.best(goal)) else default


def projections(trials: Sequence[Trial], goal: Goal, ladder: RungSchedule) -> dict[int, float]:
    """One number for each trial that has trained, larger better: what it would probably reach in full.

    To the best value of a trial that stopped at a rung is added what those trained in full have gained since, in the
    median; so a short training is compared with long ones for what it is. Divergence is the worst there is.
    """
    top = ladder.rungs[-1]
    full = [one for one in trials if one.epochs >= top and not one.diverged]
    others = [one for one in full if one.number != DEFAULT_TRIAL] or full
    gains = {rung: _median_gain(others, goal, rung) for rung in ladder.rungs}
    found: dict[int, float] = {}
    for one in trials:
        reached = max((rung for rung in ladder.rungs if rung <= one.epochs), default=top)
        score = goal.score(one.best(goal))[0] + gains[reached]
        found |= {one.number: -math.inf if one.diverged else score} if one.history else {}
    return found


def _median_gain(trials: Sequence[Trial], goal: Goal, rung: int) -> float:
    """What trials gained after a rung."""
    gains = (goal.score(one.best(goal))[0] - goal.score(one.best(goal, rung))[0] for one in trials)
    known = sorted(gain for gain in gains if math.isfinite(gain)) or [0.0]
    return known[len(known) // 2]
