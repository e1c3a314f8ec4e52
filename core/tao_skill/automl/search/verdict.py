"""The verdict of a search: the model that ships, how certain its accuracy is, and what became of the user's spec."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tao_skill.automl.format import duration, epochs, line, number
from tao_skill.automl.search.asha import DEFAULT_TRIAL, OWN_SPEC, Budget, Trial, candidates, spent
from tao_skill.automl.search.search import Setup

FAST: Final = "fast"
WORSE_AVERAGE: Final = 2.0
"""Points by which a lower average of the classes is flagged."""

WORSE_LOSS: Final = 2.0
"""Factor by which a higher loss is flagged."""

NORMAL_95: Final = 1.959964
"""Two-sided 95 % quantile of the normal distribution."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The trial that ships, None if there is none yet, and the reason."""

    trial: Trial | None
    sentence: str


def finalists(trials: Sequence[Trial]) -> list[Trial]:
    """The user's spec, once it has an epoch, and every trial trained in full."""
    own = [trial for trial in trials[:1] if trial.history and not trial.is_model]
    return [*own, *(trial for trial in trials if trial.is_model)]


def judge(setup: Setup, trials: Sequence[Trial], *, is_over: bool = False) -> Verdict:
    """The verdict on the trials so far."""
    goal = setup.goal
    ranked = candidates(trials, goal)
    if not ranked:
        return Verdict(trial=None, sentence=_no_model(trials))
    chosen = _cheapest_of_the_best(setup, ranked) if setup.prefer == FAST else ranked[0]
    own = trials[DEFAULT_TRIAL]
    parts = [f"{described(chosen)} wins with {goal.metric} {_value(chosen, setup)}"]
    if chosen is not ranked[0]:
        parts.append(f"the cheapest within a standard error of {described(ranked[0])} with {_value(ranked[0], setup)}")
    if not chosen.is_model:
        parts.append(f"trained for {chosen.epochs} of its {epochs(chosen.full)}")
    parts += [
        f"a second seed has {_value(other, setup)}"
        for other in ranked
        if other is not chosen and _configuration(other) == _configuration(chosen)
    ]
    rival = (
        own
        if chosen.number != DEFAULT_TRIAL
        else next((one for one in ranked if _configuration(one) != _configuration(chosen)), None)
    )
    parts += [] if rival is None else [_rival(rival, chosen, setup, is_over=is_over)]
    return Verdict(trial=chosen, sentence="; ".join(parts) + ".")


def described(trial: Trial) -> str:
    """`trial 3 (recipe ST-GCN++)`."""
    return f"{OWN_SPEC}, trial 0," if trial.number == DEFAULT_TRIAL else f"trial {trial.number} ({line(trial.origin)})"


def interval(share: float, sequences: int) -> tuple[float, float]:
    """The 95 % interval of an accuracy from 0 to 1 that was measured on so many sequences.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927.
    """
    z2 = NORMAL_95**2 / sequences
    middle = share + z2 / 2
    half = NORMAL_95 * math.sqrt(share * (1 - share) / sequences + z2 / 4 / sequences)
    return max(0.0, (middle - half) / (1 + z2)), min(1.0, (middle + half) / (1 + z2))


def standard_error(share: float, sequences: int) -> float:
    """Of an accuracy from 0 to 1; at least that of a single error."""
    return math.sqrt(max(share * (1 - share), (1 - 1 / sequences) / sequences) / sequences)


def is_share(metric: str) -> bool:
    """Whether a metric is an accuracy from 0 to 1."""
    return metric.endswith("acc")


def why_ended(trials: Sequence[Trial], budget: Budget) -> str:
    """Why a search ended."""
    started = sum(trial.state != "planned" for trial in trials)
    if budget.trials is not None and started >= budget.trials:
        return f"all {budget.trials} configurations were tried"
    if budget.seconds is not None:
        return f"the time budget of {duration(budget.seconds)} is spent"
    if budget.epochs_total is not None:
        return f"the budget of {epochs(budget.epochs_total)} is spent after {sum(map(spent, trials))}"
    return f"no trial was started after {started}: the space is exhausted or the search was stopped"


def _cheapest_of_the_best(setup: Setup, ranked: Sequence[Trial]) -> Trial:
    """The trial with the fewest operations within a standard error of the best; the best if these are unknown."""
    near = _as_good(setup, ranked[0], ranked)
    flop = {trial.number: setup.trainings.flop(trial.values) for trial in near}
    return ranked[0] if not near or None in flop.values() else min(near, key=lambda trial: flop[trial.number] or 0.0)


def _as_good(setup: Setup, trial: Trial, ranked: Sequence[Trial]) -> list[Trial]:
    """Trials at most a standard error worse than one of them; none if the metric has no known error."""
    goal, size = setup.goal, setup.validation_size
    if not size or not is_share(goal.metric):
        return []
    top = goal.score(trial.best(goal))[0]
    return [one for one in ranked if top - goal.score(one.best(goal))[0] <= standard_error(abs(top), size)]


def flags(setup: Setup, trials: Sequence[Trial], chosen: Trial) -> list[str]:
    """Reasons to look at the winner before it is used, against trials within a standard error of it."""
    goal, average = setup.goal, setup.class_average
    found = []
    own = chosen.best(goal)
    for other in _as_good(setup, chosen, candidates(trials, goal)):
        if other is chosen:
            continue
        metrics = other.best(goal)
        if average and metrics.get(average, 0.0) - own.get(average, math.inf) > WORSE_AVERAGE:
            text = (
                f"{own[average]:.1f} % on the average of the classes, {described(other)} has {metrics[average]:.1f} %"
            )
            found.append(f"{text} at about the same {goal.metric}")
        if own.get(goal.tie, 0.0) > WORSE_LOSS * metrics.get(goal.tie, math.inf):
            text = f"{goal.tie} {number(own[goal.tie])}, {described(other)} has {number(metrics[goal.tie])}"
            found.append(f"{text} at about the same {goal.metric}: its probabilities may be overconfident")
    return found[:2]


def percent(share: float) -> str:
    """`97.1 %`."""
    return f"{100 * share:.1f} %"


def metric_text(metric: str, value: float | None) -> str:
    """An accuracy in percent, any other metric as a number."""
    return percent(value) if value is not None and is_share(metric) else number(value)


def _configuration(trial: Trial) -> int:
    """Number of the first trial of its configuration."""
    return trial.number if trial.repeats is None else trial.repeats


def _value(trial: Trial, setup: Setup) -> str:
    """`97.1 % [95.6, 98.2]` of an accuracy, else the number."""
    value = trial.best(setup.goal).get(setup.goal.metric)
    if value is None or not is_share(setup.goal.metric) or not 0 <= value <= 1:
        return number(value)
    if not setup.validation_size:
        return percent(value)
    low, high = interval(value, setup.validation_size)
    return f"{percent(value)} [{100 * low:.1f}, {100 * high:.1f}]"


def _rival(rival: Trial, chosen: Trial, setup: Setup, *, is_over: bool) -> str:
    """The result of the user's spec, or of the next best trial, beside that of the winner at equal training."""
    goal, name = setup.goal, described(rival)
    if not rival.history:
        reason = f" ({line(rival.reason)})" if rival.reason else ""
        return (
            f"{name} was not trained: {'it failed' if rival.state == 'failed' else 'no time was left for it'}{reason}"
        )
    if rival.diverged:
        return f"{name} diverged after {epochs(rival.epochs)}"
    value = _value(rival, setup)
    if rival.is_model:
        return f"{name} has {value}"
    rung = chosen.best(goal, _equal_epochs(rival, chosen)).get(goal.metric)
    behind = f" against {metric_text(goal.metric, rung)} of the winner at the same share of its training"
    ending = " and was stopped there" if is_over else ""
    return f"{name} had {value} after {rival.epochs} of {epochs(rival.full)}{behind}{ending}"


def _equal_epochs(rival: Trial, chosen: Trial) -> int:
    """Epochs of the winner at the share of its training that a rival reached."""
    return max(1, round(chosen.full * rival.epochs / rival.full))


def _no_model(trials: Sequence[Trial]) -> str:
    ended = [trial for trial in trials if trial.reason]
    if not ended:
        return "no trial has reached its first rung yet."
    reasons: Mapping[str, None] = dict.fromkeys(line(trial.reason or "") for trial in ended)
    return f"nothing ships: no trial has a usable result ({'; '.join(list(reasons)[:3])})."
