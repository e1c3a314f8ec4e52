"""Builds the report of a search from its trials."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from tao_skill.automl.search.asha import DEFAULT_TRIAL, Goal, RungSchedule, Trial, projections, spent
from tao_skill.automl.search.importance import importances
from tao_skill.automl.search.search import Setup
from tao_skill.automl.search.verdict import Verdict, finalists, flags, judge
from tao_skill.spec.tree import lookup


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """Facts about a search that its trials do not hold.

    Attributes:
        ended: why the search is over; None while it runs.
        test: metrics of the winner on the test set, if there is one. not_in_tao: its spec keys that TAO lacks.
        seeds: by purpose, without the seed of the sampler. versions: by package. command: words of the command line.
    """

    elapsed_s: float | None = None
    workers: int = 1
    ended: str | None = None
    seeds: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    command: Sequence[str] = ()
    test: Mapping[str, float] = field(default_factory=dict)
    not_in_tao: Sequence[str] = ()


def build_report(setup: Setup, trials: Sequence[Trial], facts: RunFacts) -> SearchReport:
    """The report of a search at any moment, sanitized."""
    goal, schedule = setup.goal, setup.schedule
    scores = {n: score for n, score in projections(trials, goal, schedule).items() if math.isfinite(score)}
    sign = 1.0 if goal.maximize else -1.0
    projected = {number: sign * score for number, score in scores.items()}
    trials = [replace(trial, values=_effective(setup, trial)) for trial in trials]
    trial_reports = tuple(_trial(trial, goal, projected.get(trial.number)) for trial in trials)
    verdict = judge(setup, trials, is_over=bool(facts.ended))
    report = SearchReport(
        goal=GoalReport(metric=goal.metric, direction=direction(goal), tie=goal.tie),
        progress=_progress(setup, trials, facts),
        winner=_winner(verdict, setup, trials, facts),
        baseline=_baseline(setup, trial_reports, verdict),
        finalists=tuple(_finalist(trial, trials, goal) for trial in _ranked(finalists(trials), goal)),
        trials=trial_reports,
        curves=_curves(trials, goal, schedule),
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


def _effective(setup: Setup, trial: Trial) -> dict[str, Any]:
    """Values of a trial, with the searched ones of the user's spec and without those that have no effect."""
    searched = {dimension.key for dimension in setup.space.dimensions}
    others = {key: value for key, value in trial.values.items() if key not in searched}
    return {**setup.space.values_in(setup.spec, trial.values), **others}


def _baseline(setup: Setup, trials: Sequence[TrialReport], verdict: Verdict) -> TrialReport | None:
    """The user's spec, with its values of everything that the winner sets."""
    if not trials:
        return None
    own = trials[DEFAULT_TRIAL]
    changed = {key: lookup(setup.spec, key) for key in (verdict.trial.values if verdict.trial else ())}
    return replace(own, values={**own.values, **changed})


def direction(goal: Goal) -> Direction:
    """The direction of a goal, as reports name it."""
    return "maximize" if goal.maximize else "minimize"


def budget_report(setup: Setup) -> BudgetReport:
    """Limits of a search, known before it starts."""
    budget, schedule = setup.budget, setup.schedule
    return BudgetReport(
        seconds=budget.seconds,
        trials=budget.trials,
        epochs_total=budget.epochs_total,
        shares=tuple(1 / schedule.eta**level for level in reversed(range(schedule.levels))),
        eta=schedule.eta,
        recipes=tuple(recipe.origin for recipe in setup.recipes),
    )


def _progress(setup: Setup, trials: Sequence[Trial], facts: RunFacts) -> ProgressReport:
    timed = [trial for trial in trials if trial.epochs and trial.seconds > 0]
    rate = math.fsum(trial.seconds for trial in timed) / sum(trial.epochs for trial in timed) if timed else None
    started = sum(trial.state != "planned" for trial in trials)
    return ProgressReport(
        ended=facts.ended,
        trials=started,
        epochs=sum(trial.epochs for trial in trials),
        seconds=math.fsum(trial.seconds for trial in trials),
        elapsed_s=facts.elapsed_s,
        seconds_per_epoch=rate,
        eta_s=None if facts.ended else _eta_s(setup, trials, facts, rate),
    )


def _eta_s(setup: Setup, trials: Sequence[Trial], facts: RunFacts, rate: float | None) -> float | None:
    """Seconds left: of the budget, or by the epochs and the time of the trials so far."""
    budget = setup.budget
    if budget.seconds is not None:
        return None if facts.elapsed_s is None else max(0.0, budget.seconds - facts.elapsed_s)
    if rate is None:
        return None
    if budget.epochs_total is not None:
        epochs = max(0, budget.epochs_total - sum(trial.epochs for trial in trials))
    else:
        started = [trial for trial in trials if trial.state != "planned"]
        mean = sum(map(spent, started)) / max(1, len(started))
        waiting = max(0, (budget.trials or len(trials)) - len(started))
        epochs = round(sum(spent(trial) - trial.epochs for trial in trials) + waiting * mean)
    return epochs * rate / max(1, facts.workers)


def _trial(trial: Trial, goal: Goal, projected: float | None) -> TrialReport:
    metrics, best_epoch = _best(trial, goal)
    return TrialReport(
        number=trial.number,
        state=trial.state,
        reason=trial.reason,
        failures=tuple(trial.failures),
        epochs=trial.epochs,
        full=trial.full,
        origin=trial.origin,
        target=trial.target,
        metric=metrics.get(goal.metric),
        best_epoch=best_epoch,
        metrics=metrics,
        last=trial.history[-1].get(goal.metric) if trial.history else None,
        projected=projected,
        seconds=trial.seconds,
        epoch_s=trial.epoch_s,
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


def _winner(verdict: Verdict, setup: Setup, trials: Sequence[Trial], facts: RunFacts) -> WinnerReport:
    goal, winner, sentence = setup.goal, verdict.trial, verdict.sentence
    metrics, best_epoch = _best(winner, goal) if winner else ({}, None)
    if "accuracy" in facts.test:
        sentence += f" On the test set, which chose nothing: {facts.test['accuracy']:.1f} %."
    return WinnerReport(
        number=winner.number if winner else None,
        is_default=winner is not None and winner.number == DEFAULT_TRIAL,
        sentence=sentence[0].upper() + sentence[1:] if facts.ended else f"So far: {sentence}",
        caveat=(
            f"Selected by this {goal.metric}, the best of several epochs and configurations: "
            "expect a slightly worse value on data that was not used for the selection."
        ),
        flags=tuple(flags(setup, trials, winner)) if winner else (),
        gain=_gain(winner, trials, goal) if winner else None,
        values=winner.values if winner else {},
        metrics=metrics,
        test=facts.test,
        best_epoch=best_epoch,
        not_in_tao=tuple(facts.not_in_tao),
    )


def _gain(trial: Trial, trials: Sequence[Trial], goal: Goal) -> float:
    """Improvement over the user's spec in the metric; not finite where either has no value."""
    return goal.score(trial.best(goal))[0] - goal.score(trials[DEFAULT_TRIAL].best(goal))[0]


def _ranked(trials: Sequence[Trial], goal: Goal) -> list[Trial]:
    return sorted(trials, key=lambda trial: goal.score(trial.best(goal)), reverse=True)


def _curves(trials: Sequence[Trial], goal: Goal, schedule: RungSchedule) -> LearningCurves:
    """Curves, and the rungs of the longest trial."""
    curves: dict[str, tuple[float | None, ...]] = {
        str(trial.number): tuple(epoch.get(goal.metric) for epoch in trial.history) for trial in trials if trial.history
    }
    longest = max((trial for trial in trials if trial.history), key=lambda trial: trial.full, default=None)
    rungs = tuple(dict.fromkeys(schedule.rungs_of(longest))) if longest else ()
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
