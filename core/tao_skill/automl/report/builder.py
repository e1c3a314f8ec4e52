"""Builds the report of a search from its trials."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tao_skill.automl.document import sanitize
from tao_skill.automl.report.report import (
    BudgetReport,
    Direction,
    FailureReport,
    FinalistReport,
    GoalReport,
    LearningCurves,
    ProgressReport,
    SearchReport,
    TrialReport,
    WinnerReport,
)
from tao_skill.automl.search.asha import DEFAULT_TRIAL, Goal, Trial, projections
from tao_skill.automl.search.cost import expected_epochs, most_epochs, remaining_epochs
from tao_skill.automl.search.importance import importances
from tao_skill.automl.search.search import Setup
from tao_skill.automl.search.verdict import Verdict, finalists, judge


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """Facts about a search that its trials do not hold.

    Attributes:
        ended: why the search is over; None while it runs.
        seeds: by purpose, without the seed of the sampler. versions: by package. command: words of the command line.
    """

    elapsed_s: float | None = None
    workers: int = 1
    ended: str | None = None
    seeds: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    command: Sequence[str] = ()


def build_report(setup: Setup, trials: Sequence[Trial], facts: RunFacts) -> SearchReport:
    """The report of a search at any moment, sanitized."""
    goal, schedule = setup.goal, setup.schedule
    scores = {n: score for n, score in projections(trials, goal, schedule).items() if math.isfinite(score)}
    sign = 1.0 if goal.maximize else -1.0
    projected = {number: sign * score for number, score in scores.items()}
    trial_reports = tuple(_trial(trial, goal, projected.get(trial.number)) for trial in trials)
    verdict = judge(trials, goal, schedule.rungs[-1])
    report = SearchReport(
        goal=GoalReport(metric=goal.metric, direction=direction(goal), tie=goal.tie),
        progress=_progress(setup, trials, facts),
        winner=_winner(verdict, trials, goal, is_over=bool(facts.ended)),
        baseline=trial_reports[DEFAULT_TRIAL] if trial_reports else None,
        finalists=tuple(_finalist(trial, trials, goal) for trial in finalists(trials, goal, schedule.rungs[-1])),
        trials=trial_reports,
        curves=_curves(trials, goal, schedule.rungs),
        importances=importances(setup.space, setup.spec, trials, scores),
        slices={dimension.key: _slice(dimension.key, trials, projected) for dimension in setup.space.dimensions},
        failures=_failures(trials),
        space=setup.space.summary(),
        budget=budget_report(setup),
        validation=setup.validation,
        seeds={"suggestions": setup.seed, **facts.seeds},
        sampler=setup.sampler,
        versions=facts.versions,
        command=tuple(facts.command),
    )
    sanitized: SearchReport = sanitize(report)
    return sanitized


def direction(goal: Goal) -> Direction:
    """The direction of a goal, as reports name it."""
    return "maximize" if goal.maximize else "minimize"


def budget_report(setup: Setup) -> BudgetReport:
    """Limits and cost of a search, known before it starts."""
    budget = setup.budget
    return BudgetReport(
        trials=budget.trials,
        max_epochs=budget.max_epochs,
        epochs_total=budget.epochs_total,
        rungs=setup.schedule.rungs,
        eta=setup.schedule.eta,
        most_epochs=most_epochs(budget),
        expected_epochs=expected_epochs(setup),
    )


def _progress(setup: Setup, trials: Sequence[Trial], facts: RunFacts) -> ProgressReport:
    timed = [trial for trial in trials if trial.epochs and trial.seconds > 0]
    rate = math.fsum(trial.seconds for trial in timed) / sum(trial.epochs for trial in timed) if timed else None
    eta_s = None
    if rate is not None and not facts.ended:
        eta_s = remaining_epochs(setup, trials) * rate / max(1, facts.workers)
    return ProgressReport(
        ended=facts.ended,
        trials=len(trials),
        epochs=sum(trial.epochs for trial in trials),
        seconds=math.fsum(trial.seconds for trial in trials),
        elapsed_s=facts.elapsed_s,
        seconds_per_epoch=rate,
        eta_s=eta_s,
    )


def _trial(trial: Trial, goal: Goal, projected: float | None) -> TrialReport:
    metrics, best_epoch = _best(trial, goal)
    return TrialReport(
        number=trial.number,
        state=trial.state,
        reason=trial.reason,
        failures=tuple(trial.failures),
        epochs=trial.epochs,
        target=trial.target,
        metric=metrics.get(goal.metric),
        best_epoch=best_epoch,
        metrics=metrics,
        last=trial.history[-1].get(goal.metric) if trial.history else None,
        projected=projected,
        seconds=trial.seconds,
        values=trial.values,
    )


def _best(trial: Trial, goal: Goal) -> tuple[Mapping[str, float], int | None]:
    """Metrics and number of the best epoch."""
    metrics = trial.best(goal)
    epoch = next((number for number, epoch in enumerate(trial.history, start=1) if epoch is metrics), None)
    return metrics, epoch


def _finalist(trial: Trial, trials: Sequence[Trial], goal: Goal) -> FinalistReport:
    metrics, best_epoch = _best(trial, goal)
    return FinalistReport(
        number=trial.number,
        is_default=trial.number == DEFAULT_TRIAL,
        metric=metrics.get(goal.metric),
        tie=metrics.get(goal.tie),
        best_epoch=best_epoch,
        gain=_gain(trial, trials, goal),
        values=trial.values,
    )


def _winner(verdict: Verdict, trials: Sequence[Trial], goal: Goal, *, is_over: bool) -> WinnerReport:
    winner, sentence = verdict.trial, verdict.sentence
    metrics, best_epoch = _best(winner, goal) if winner else ({}, None)
    return WinnerReport(
        number=winner.number if winner else None,
        is_default=winner is not None and winner.number == DEFAULT_TRIAL,
        sentence=sentence[0].upper() + sentence[1:] if is_over else f"So far: {sentence}",
        caveat=(
            f"Selected by this {goal.metric}, the best of several epochs and configurations, each trained once: "
            "expect a slightly worse value on data that was not used for the selection."
        ),
        gain=_gain(winner, trials, goal) if winner else None,
        values=winner.values if winner else {},
        metrics=metrics,
        best_epoch=best_epoch,
    )


def _gain(trial: Trial, trials: Sequence[Trial], goal: Goal) -> float:
    """Improvement over the default in the metric; not finite where either has no value."""
    return goal.score(trial.best(goal))[0] - goal.score(trials[DEFAULT_TRIAL].best(goal))[0]


def _curves(trials: Sequence[Trial], goal: Goal, rungs: tuple[int, ...]) -> LearningCurves:
    curves: dict[str, tuple[float | None, ...]] = {
        str(trial.number): tuple(epoch.get(goal.metric) for epoch in trial.history) for trial in trials if trial.history
    }
    return LearningCurves(metric=goal.metric, rungs=rungs, trials=curves)


def _slice(key: str, trials: Sequence[Trial], projected: Mapping[int, float]) -> tuple[tuple[Any, float], ...]:
    with_result = [trial for trial in trials if trial.number in projected and key in trial.values]
    return tuple((trial.values[key], projected[trial.number]) for trial in with_result)


def _failures(trials: Sequence[Trial]) -> tuple[FailureReport, ...]:
    """Causes of failures, divergences and repeated attempts, the most frequent first."""
    causes: dict[str, list[int]] = {}
    for trial in trials:
        reasons = [trial.reason] if trial.reason and trial.reason not in trial.failures else []
        for cause in (*trial.failures, *reasons):
            causes.setdefault(cause, []).append(trial.number)
    ranked = sorted(causes.items(), key=lambda item: -len(item[1]))
    return tuple(
        FailureReport(cause=cause, times=len(numbers), trials=tuple(sorted(set(numbers)))) for cause, numbers in ranked
    )
