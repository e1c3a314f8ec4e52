"""The next step of a search, as a pure function of its trials: asynchronous successive halving.

Source: Li et al., "A System for Massively Parallel Hyperparameter Tuning" (ASHA), MLSys 2020, arXiv 1810.05934.
Unlike there, a promoted trial continues from its own checkpoint.
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
        number: 0 is the user's own spec. values: suggested value by spec key.
        history: metrics of each trained epoch, in order.
        target: epochs it is being trained to; its last rung while it is not running.
        state: running; waiting, at a rung below the top; done, at the top rung or diverged; failed.
        reason: why it failed or diverged. failures: root causes of failed attempts.
        seconds: training time.
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
        """Whether training ended early because it diverged."""
        return self.state == "done" and self.reason is not None

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
    """Limits of a search.

    Attributes:
        trials: configurations, the user's own included. max_epochs: epochs of a full training.
        epochs_total: epochs of all trials together.

    Raises:
        BadRequest: it does not allow the full training of the user's own configuration.
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
    """Train a trial, new or known, up to `target` epochs."""

    number: int
    target: int
    is_new: bool = False


@dataclass(frozen=True, kw_only=True)
class RungSchedule:
    """Rungs in epochs, the last of which is a full training, and the reduction factor: the top 1/eta are promoted."""

    rungs: tuple[int, ...]
    eta: int = 3

    def next_step(self, trials: Sequence[Trial], goal: Goal, budget: Budget, *, new: bool = True) -> Step | None:
        """The next step; None if all is done or the budget is spent, or if running trials must end first.

        The user's spec is trained first and in full. Then come promotions, from the highest rung down, then new
        configurations; a step is taken only if the budget suffices to train its trial in full. Last, waiting trials
        are promoted that are projected to beat every full training, or the best of them if none but the user's spec
        was trained in full.

        Args:
            new: whether new configurations may be started.
        """
        top = self.rungs[-1]
        if not trials:
            return Step(number=DEFAULT_TRIAL, target=top, is_new=True)
        left = math.inf if budget.epochs_total is None else budget.epochs_total - sum(map(spent, trials))
        for trial in self._promotable(trials, goal):
            if top - trial.epochs <= left:
                return Step(number=trial.number, target=self._next_rung(trial))
        if new and len(trials) < budget.trials and top <= left:
            return Step(number=len(trials), target=self.rungs[0], is_new=True)
        promising = (trial for trial in self._promising(trials, goal) if top - trial.epochs <= left)
        return next((Step(number=trial.number, target=self._next_rung(trial)) for trial in promising), None)

    def _next_rung(self, trial: Trial) -> int:
        return next(rung for rung in self.rungs if rung > trial.epochs)

    def _promotable(self, trials: Sequence[Trial], goal: Goal) -> Iterator[Trial]:
        """Waiting trials among the top 1/eta of their rung, from the highest rung down."""
        for rung in reversed(self.rungs[:-1]):
            at_rung = [trial for trial in trials if trial.number != DEFAULT_TRIAL and trial.has_tried(rung)]
            ranked = sorted(at_rung, key=lambda trial: trial.score_at(goal, rung), reverse=True)
            for trial in ranked[: len(at_rung) // self.eta]:
                if trial.state == "waiting" and trial.epochs == rung:
                    yield trial

    def _promising(self, trials: Sequence[Trial], goal: Goal) -> list[Trial]:
        """Waiting trials projected to beat every full training, the best first.

        All of them, while no trial beside the user's spec is trained in full or on its way there.
        """
        projected, top = projections(trials, goal, self), self.rungs[-1]
        others = [trial for trial in trials if trial.number != DEFAULT_TRIAL and not trial.diverged]
        has_rival = any(trial.epochs >= top or (trial.state == "running" and trial.epochs) for trial in others)
        full = [projected[trial.number] for trial in trials if trial.epochs >= top]
        bar = max(full, default=-math.inf) if has_rival else None
        waiting = [trial for trial in trials if trial.state == "waiting"]
        chosen = [trial for trial in waiting if bar is None or projected[trial.number] > bar]
        return sorted(chosen, key=lambda trial: projected[trial.number], reverse=True)


def make_rung_schedule(max_epochs: int, *, eta: int = 3, min_epochs: int = 3) -> RungSchedule:
    """Rungs R, R/eta, R/eta^2, as long as they are at least `min_epochs`; at most three.

    Raises:
        BadRequest: eta is below 2, or min_epochs below 1.
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
    """Epochs that a trial has used, its running step counted in full."""
    return max(trial.epochs, trial.target if trial.state == "running" else 0)


def winner(trials: Sequence[Trial], goal: Goal, max_epochs: int) -> Trial:
    """The best fully trained trial if it beats the user's own spec, else the user's own spec."""
    default = trials[DEFAULT_TRIAL]
    full = [
        trial for trial in trials[1:] if trial.epochs >= max_epochs and trial.state == "done" and not trial.diverged
    ]
    best = max(full, key=lambda trial: goal.score(trial.best(goal)), default=default)
    return best if goal.score(best.best(goal)) > goal.score(default.best(goal)) else default


def projections(trials: Sequence[Trial], goal: Goal, schedule: RungSchedule) -> dict[int, float]:
    """Score expected of a full training by trial number, larger is better; only trials with a trained epoch.

    The score of a trial that stopped at a rung is raised by the median gain of fully trained trials beyond that rung,
    so that short and long trainings compare. Diverged trials have -inf.
    """
    top = schedule.rungs[-1]
    full = [trial for trial in trials if trial.epochs >= top and not trial.diverged]
    others = [trial for trial in full if trial.number != DEFAULT_TRIAL] or full
    gains = {rung: _median_gain(others, goal, rung) for rung in schedule.rungs}
    projected: dict[int, float] = {}
    for trial in trials:
        if trial.history:
            reached = max((rung for rung in schedule.rungs if rung <= trial.epochs), default=top)
            score = goal.score(trial.best(goal))[0] + gains[reached]
            projected[trial.number] = -math.inf if trial.diverged else score
    return projected


def _median_gain(trials: Sequence[Trial], goal: Goal, rung: int) -> float:
    """Median improvement of the score beyond a rung."""
    gains = (goal.score(trial.best(goal))[0] - goal.score(trial.best(goal, rung))[0] for trial in trials)
    finite = sorted(gain for gain in gains if math.isfinite(gain)) or [0.0]
    return finite[len(finite) // 2]
