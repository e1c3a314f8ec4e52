"""The report of a search: the fields of report.json. Epochs count from 1; an unknown number is null."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tao_skill.automl.search.asha import State
from tao_skill.automl.search.importance import Importances
from tao_skill.automl.space.summary import SpaceSummary

Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True, kw_only=True)
class GoalSummary:
    """The metric that a search optimises."""

    metric: str
    direction: Direction

    @property
    def sign(self) -> float:
        """1 where a larger value is better, else -1."""
        return 1.0 if self.direction == "maximize" else -1.0


@dataclass(frozen=True, kw_only=True)
class GoalReport(GoalSummary):
    """The goal, and the metric whose lower value decides between equal ones."""

    tie: str


@dataclass(frozen=True, kw_only=True)
class ProgressReport:
    """How far the search is.

    Attributes:
        ended: why the search is over; None while it runs. trials: trials started. epochs: epochs trained.
        seconds: training time of all trials. elapsed_s: time since the search began, without interruptions.
    """

    ended: str | None
    trials: int
    epochs: int
    seconds: float | None
    elapsed_s: float | None
    seconds_per_epoch: float | None
    eta_s: float | None


@dataclass(frozen=True, kw_only=True)
class WinnerReport:
    """The trial that ships.

    Attributes:
        number: None while there is no winner. is_default: whether it is trial 0.
        sentence: the verdict. caveat: how far to trust the metric.
        flags: reasons to look at it before it is used.
        gain: improvement over the user's spec in the metric; positive is better. metrics: those of the best epoch.
        test: metrics on the test set, scored once at the end. not_in_tao: keys of its spec that NVIDIA TAO lacks.
    """

    number: int | None
    is_default: bool
    sentence: str
    caveat: str
    flags: tuple[str, ...]
    gain: float | None
    values: Mapping[str, Any]
    metrics: Mapping[str, float | None]
    test: Mapping[str, float | None]
    best_epoch: int | None
    not_in_tao: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TrialReport:
    """One trial.

    Attributes:
        origin: where its configuration comes from. full: epochs of its full training.
        target: epochs it is being trained to. failures: causes of failed attempts.
        metric: value in the best epoch. metrics: all of that epoch. last: value in the newest epoch.
        projected: value expected of a full training. seconds: training time. epoch_s: seconds of an epoch.
        parent: reference of the trial for --parent, where it has a checkpoint.
    """

    number: int
    state: State
    reason: str | None
    failures: tuple[str, ...]
    origin: str
    epochs: int
    full: int
    target: int
    metric: float | None
    best_epoch: int | None
    metrics: Mapping[str, float | None]
    last: float | None
    projected: float | None
    seconds: float | None
    epoch_s: float | None
    values: Mapping[str, Any]
    parent: str | None = None


@dataclass(frozen=True, kw_only=True)
class FinalistReport:
    """A trial trained in full, or the default. Fields as in `TrialReport` and `WinnerReport`; tie: the tie-breaker."""

    number: int
    is_default: bool
    metric: float | None
    tie: float | None
    best_epoch: int | None
    gain: float | None
    values: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class LearningCurves:
    """The metric of every epoch by trial number, and the rungs in epochs."""

    metric: str
    rungs: tuple[int, ...]
    trials: Mapping[str, tuple[float | None, ...]]


@dataclass(frozen=True, kw_only=True)
class FailureReport:
    """A cause of failures and divergences: how often it occurred, and in which trials."""

    cause: str
    times: int
    trials: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class BudgetReport:
    """Limits of a search, None for no limit.

    Attributes:
        shares: rungs, as shares of a trial's own full training. eta: reduction factor.
        recipes: origins of the recipes that are tried.
    """

    seconds: float | None
    trials: int | None
    epochs_total: int | None
    shares: tuple[float, ...]
    eta: int
    recipes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SearchReport:
    """A search at any moment.

    Attributes:
        baseline: trial 0; None before it exists. finalists: the best first.
        importances: None where too few configurations have a result.
        slices: by parameter, pairs of its value and the projected metric, one pair per trial.
        failures: the most frequent first. validation: the data that trials are compared on; "-" in older reports.
        seeds: by purpose. versions: by package. command: words of the command line.
    """

    goal: GoalReport
    progress: ProgressReport
    winner: WinnerReport
    baseline: TrialReport | None
    finalists: tuple[FinalistReport, ...]
    trials: tuple[TrialReport, ...]
    curves: LearningCurves
    importances: Importances | None
    slices: Mapping[str, tuple[tuple[Any, ...], ...]]
    failures: tuple[FailureReport, ...]
    space: SpaceSummary
    budget: BudgetReport
    validation: str = "-"
    seeds: Mapping[str, int | None]
    sampler: str
    versions: Mapping[str, str]
    command: tuple[str, ...]
