"""What came of a search, or has so far, as one strict-JSON document; and what a search would be, for a dry run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tao_skill.automl.format import clean
from tao_skill.automl.report.live import check
from tao_skill.automl.search.asha import DEFAULT_TRIAL, Goal, Trial, projections
from tao_skill.automl.search.cost import expected_epochs, most_epochs, remaining_epochs
from tao_skill.automl.search.importance import importances
from tao_skill.automl.search.search import Setup
from tao_skill.automl.search.verdict import Verdict, finalists, judge
from tao_skill.errors import BadData, Command, Fix, NotFound
from tao_skill.io.strict_json import REPORT_BYTES, read_json, truncate
from tao_skill.jobs.record import Job
from tao_skill.jobs.trials import has_checkpoint
from tao_skill.spec.tree import lookup

REPORT_FILE: Final = "report.json"
PAGE_FILE: Final = "report.html"


def build_report(setup: Setup, trials: Sequence[Trial], *, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The report of a search at any moment; a number that is not finite is null. Epochs count from 1.

    Args:
        facts: what the record does not hold: `versions` by package, `command` as words, `elapsed_s`, `workers`,
            `ended` (why the search is over; absent or None while it goes on), `seeds` beside that of the suggestions.

    Returns:
        goal: metric, direction, tie (told by the lower of it where the metric is equal).
        progress: ended, trials begun, epochs trained, seconds trained, elapsed_s, seconds_per_epoch, eta_s.
        winner: number (None while none is known), is_default, sentence, caveat, gain (in the metric, larger better),
            values, metrics, best_epoch.
        baseline: trial 0 as in `trials`; None before the first.
        finalists: number, is_default, metric, tie, best_epoch, gain, values of all trained in full and the default,
            the best first.
        trials: number, state, reason, failures, epochs, target, metric, best_epoch, metrics of that epoch, last (the
            metric of the newest epoch), projected (metric expected of a full training), seconds, values.
        curves: metric, rungs, and by trial number the metric of every epoch.
        importances: method, shares by parameter, trials, caveat; None where too few configurations have a result.
        slices: by parameter, pairs of value and projected metric.
        failures: cause, times, trials; the most frequent first.
        space: search and left_out. budget: trials, max_epochs, epochs_total, rungs, eta, most_epochs, expected_epochs.
        validation: what validates, as a sentence. seeds, sampler, versions, command.
    """
    goal = setup.goal
    scores = {n: s for n, s in projections(trials, goal, setup.ladder).items() if math.isfinite(s)}
    sign = 1.0 if goal.maximize else -1.0
    shown = [_trial(one, goal, sign * scores[one.number] if one.number in scores else None) for one in trials]
    report = {
        "goal": {"metric": goal.metric, "direction": "maximize" if goal.maximize else "minimize", "tie": goal.tie},
        "progress": _progress(setup, trials, facts),
        "winner": _winner(judge(trials, goal, setup.ladder.rungs[-1]), trials, goal, over=bool(facts.get("ended"))),
        "baseline": shown[DEFAULT_TRIAL] if shown else None,
        "finalists": [_finalist(one, trials, goal) for one in finalists(trials, goal, setup.ladder.rungs[-1])],
        "trials": shown,
        "curves": {
            "metric": goal.metric,
            "rungs": setup.ladder.rungs,
            "trials": {one.number: [epoch.get(goal.metric) for epoch in one.history] for one in trials if one.history},
        },
        "importances": importances(setup.space, setup.spec, trials, scores),
        "slices": {one.key: _slice(one.key, trials, scores, sign) for one in setup.space.dimensions},
        "failures": _failures(trials),
        "space": setup.space.as_dict(),
        "budget": _budget(setup),
        "validation": setup.validation,
        "seeds": {"suggestions": setup.seed, **facts.get("seeds", {})},
        "sampler": setup.sampler,
        "versions": facts.get("versions", {}),
        "command": facts.get("command", ()),
    }
    strict: dict[str, Any] = _strict(report)
    return strict


def check_search(job: Job) -> None:
    """Make sure that a job is a search.

    Raises:
        NotFound: it is none.
    """
    if job.automl is None:
        raise NotFound(f"job {job.id} is no AutoML search", fix=Fix(Command("jobs show", job.id)))


def read_report(folder: Path, job: Job) -> dict[str, Any]:
    """The newest report of a job's search.

    Raises:
        NotFound: the job is no search, or has no report yet. BadData: the report cannot be read.
    """
    path = folder / REPORT_FILE
    check_search(job)
    if not path.is_file():
        raise NotFound(f"job {job.id} has no report yet", fix=Fix(Command("jobs wait", job.id)), path=str(path))
    fix = "resume the job, which writes it anew"
    report: dict[str, Any] = read_json(path, dict[str, Any], what="a report", fix=fix, most=REPORT_BYTES)
    try:
        check(report)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        problem = f"{path} lacks what a report has ({type(error).__name__}: {truncate(str(error))})"
        raise BadData(problem, fix=fix, path=str(path)) from error
    return report


def with_parents(report: Mapping[str, Any], folder: Path, job: Job) -> dict[str, Any]:
    """The report of a search with, for each trial that has a checkpoint, `parent`: what --parent calls it."""
    trials = [
        one | {"parent": f"{job.id}/{one['number']}"} if has_checkpoint(folder, one["number"], job) else one
        for one in report["trials"]
    ]
    return dict(report) | {"trials": trials}


def review(
    setup: Setup, *, seconds_per_epoch: float | None = None, learnt_from: str | None = None, workers: int = 1
) -> dict[str, Any]:
    """What a search would do and cost, before anything runs; seconds only where the time of an epoch is known.

    Args:
        learnt_from: job that the time of an epoch comes from. workers: as many epochs are trained at once.
    """
    budget = _budget(setup)
    rate = math.nan if seconds_per_epoch is None else seconds_per_epoch / max(1, workers)
    reviewed: dict[str, Any] = _strict(
        {
            "goal": {"metric": setup.goal.metric, "direction": "maximize" if setup.goal.maximize else "minimize"},
            "space": setup.space.as_dict(),
            "trial_0": {one.key: lookup(setup.spec, one.key) for one in setup.space.dimensions},
            "validation": setup.validation,
            "budget": budget,
            "sampler": setup.sampler,
            "seed": setup.seed,
            "cost": {
                "seconds_per_epoch": seconds_per_epoch,
                "learnt_from": learnt_from,
                "workers": workers,
                "expected_s": budget["expected_epochs"] * rate,
                "most_s": budget["most_epochs"] * rate,
            },
        }
    )
    return reviewed


def _budget(setup: Setup) -> dict[str, Any]:
    budget, ladder = setup.budget, setup.ladder
    return {
        "trials": budget.trials,
        "max_epochs": budget.max_epochs,
        "epochs_total": budget.epochs_total,
        "rungs": ladder.rungs,
        "eta": ladder.eta,
        "most_epochs": most_epochs(budget),
        "expected_epochs": expected_epochs(setup),
    }


def _progress(setup: Setup, trials: Sequence[Trial], facts: Mapping[str, Any]) -> dict[str, Any]:
    done = sum(one.epochs for one in trials)
    timed = [one for one in trials if one.epochs and one.seconds > 0]
    rate = math.fsum(one.seconds for one in timed) / sum(one.epochs for one in timed) if timed else None
    ended = facts.get("ended")
    return {
        "ended": ended,
        "trials": len(trials),
        "epochs": done,
        "seconds": math.fsum(one.seconds for one in trials),
        "elapsed_s": facts.get("elapsed_s"),
        "seconds_per_epoch": rate,
        "eta_s": None
        if ended or rate is None
        else remaining_epochs(setup, trials) * rate / max(1, facts.get("workers", 1)),
    }


def _trial(trial: Trial, goal: Goal, projected: float | None) -> dict[str, Any]:
    return {
        "number": trial.number,
        "state": trial.state,
        "reason": trial.reason,
        "failures": trial.failures,
        "epochs": trial.epochs,
        "target": trial.target,
        **_best(trial, goal),
        "last": trial.history[-1].get(goal.metric) if trial.history else None,
        "projected": projected,
        "seconds": trial.seconds,
        "values": trial.values,
    }


def _best(trial: Trial, goal: Goal) -> dict[str, Any]:
    """The metric where it was best, the epoch, and all metrics of that epoch."""
    metrics = trial.best(goal)
    at = next((i for i, epoch in enumerate(trial.history, start=1) if epoch is metrics), None)
    return {"metric": metrics.get(goal.metric), "best_epoch": at, "metrics": metrics}


def _finalist(trial: Trial, trials: Sequence[Trial], goal: Goal) -> dict[str, Any]:
    best = _best(trial, goal)
    return {
        "number": trial.number,
        "is_default": trial.number == DEFAULT_TRIAL,
        "metric": best["metric"],
        "tie": best["metrics"].get(goal.tie),
        "best_epoch": best["best_epoch"],
        "gain": _gain(trial, trials, goal),
        "values": trial.values,
    }


def _winner(verdict: Verdict, trials: Sequence[Trial], goal: Goal, *, over: bool) -> dict[str, Any]:
    won = verdict.trial
    best = _best(won, goal) if won else {"best_epoch": None, "metrics": {}}
    return {
        "number": won.number if won else None,
        "is_default": won is not None and won.number == DEFAULT_TRIAL,
        "sentence": verdict.sentence[0].upper() + verdict.sentence[1:] if over else f"So far: {verdict.sentence}",
        "caveat": (
            f"Chosen by this {goal.metric}, the best of several epochs and configurations, each trained once: "
            "expect a little less on data that took no part in the choice."
        ),
        "gain": _gain(won, trials, goal) if won else None,
        "values": won.values if won else {},
        "metrics": best["metrics"],
        "best_epoch": best["best_epoch"],
    }


def _gain(trial: Trial, trials: Sequence[Trial], goal: Goal) -> float:
    """How much better than the default, in the metric; not finite where one of the two has none."""
    return goal.score(trial.best(goal))[0] - goal.score(trials[DEFAULT_TRIAL].best(goal))[0]


def _slice(key: str, trials: Sequence[Trial], scores: Mapping[int, float], sign: float) -> list[list[Any]]:
    known = [one for one in trials if one.number in scores and key in one.values]
    return [[one.values[key], sign * scores[one.number]] for one in known]


def _failures(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """What went wrong, by cause: reasons of trials that failed or diverged, and of attempts that were repeated."""
    causes: dict[str, list[int]] = {}
    for trial in trials:
        reasons = [trial.reason] if trial.reason and trial.reason not in trial.failures else []
        for cause in (*trial.failures, *reasons):
            causes.setdefault(cause, []).append(trial.number)
    ranked = sorted(causes.items(), key=lambda pair: -len(pair[1]))
    return [{"cause": cause, "times": len(at), "trials": sorted(set(at))} for cause, at in ranked]


def _strict(value: Any) -> Any:
    """Plain JSON: null for what is not finite, lists, text as keys, and no text that a file or terminal cannot take."""
    if isinstance(value, Mapping):
        return {clean(str(key)): _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int) else clean(str(value))
