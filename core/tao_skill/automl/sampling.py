"""The next configuration: an Optuna sampler shown one number for each configuration tried so far."""

from __future__ import annotations

import importlib.util
import itertools
import json
import math
import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from tao_skill.automl.dimension import Dimension
from tao_skill.automl.space import Space
from tao_skill.errors import BadRequest, MissingDependency

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.study import Study
    from optuna.trial import FrozenTrial

STARTUP: Final = 8
"""Configurations drawn without a model, to have something to learn from."""

GRID_STEPS: Final = 4
"""Values a grid takes of a range."""

ATTEMPTS: Final = 64
"""Repeated draws before a space counts as used up."""

GRID: Final = "grid"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the sampler is told of a configuration.

    Attributes:
        values: by spec key. score: larger is better; None while it is still being trained.
    """

    values: Mapping[str, Any]
    score: float | None


def draw(
    space: Space, spec: Mapping[str, Any], number: int, seen: Sequence[Seen], *, sampler: str = "tpe", seed: int = 0
) -> dict[str, Any] | None:
    """Values for configuration `number` that none of those seen has; None when the space has no more.

    The same arguments give the same values, in any process.

    Raises:
        BadRequest: there is no such sampler. MissingDependency: what it needs is not installed.
    """
    check_sampler(sampler)
    known = {_identity(one.values) for one in seen}
    offers = _of_grid(space, spec, seed) if sampler == GRID else _of_sampler(space, spec, number, seen, sampler, seed)
    return next((values for values in offers if _identity(values) not in known), None)


def check_sampler(name: str) -> None:
    """Refuse a sampler that is unknown or cannot work here.

    Raises:
        BadRequest: there is no such sampler. MissingDependency: what it needs is not installed.
    """
    if name != GRID and name not in SAMPLERS:
        raise BadRequest(f"there is no sampler {name!r}", fix=f"use --sampler {'|'.join((*SAMPLERS, GRID))}")
    if (package := _NEEDS.get(name)) and importlib.util.find_spec(package) is None:
        raise MissingDependency(f"sampler {name} needs the package {package}", fix=f"pip install {package}")


def _identity(values: Mapping[str, Any]) -> str:
    return json.dumps(dict(values), sort_keys=True)


def _of_grid(space: Space, spec: Mapping[str, Any], seed: int) -> Iterator[dict[str, Any]]:
    """Every combination of a few values of each range, in an order that the seed fixes."""
    from optuna.trial import FixedTrial

    points = list(itertools.product(*(one.grid(GRID_STEPS) for one in space.dimensions)))
    random.Random(seed).shuffle(points)  # noqa: S311 - an order, no secret
    for point in points:
        params = dict(zip((one.key for one in space.dimensions), point, strict=True))
        yield space.suggest(FixedTrial(params), spec)


def _of_sampler(
    space: Space, spec: Mapping[str, Any], number: int, seen: Sequence[Seen], sampler: str, seed: int
) -> Iterator[dict[str, Any]]:
    """What Optuna offers, in a study of its own that holds what was seen."""
    from optuna.trial import TrialState

    trials = [found for one in seen if (found := frozen_trial(space, one)) is not None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna marks what it may still change
        study = make_study(trials, SAMPLERS[sampler](seed * 1_000_003 + number, trials))
        for _ in range(ATTEMPTS):
            trial = study.ask()
            yield space.suggest(trial, spec)
            study.tell(trial, state=TrialState.FAIL)


def make_study(trials: Sequence[FrozenTrial], sampler: BaseSampler | None = None) -> Study:
    """A study in memory that holds `trials`, the larger value the better."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)  # else it announces every study
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trials(trials)
    return study


def frozen_trial(space: Space, seen: Seen) -> FrozenTrial | None:
    """A configuration as Optuna keeps it; None if it lies outside the space or told nothing."""
    from optuna.trial import TrialState, create_trial

    dimensions = [one for one in space.dimensions if one.key in seen.values]
    params = {one.key: _raw(one, seen.values[one.key]) for one in dimensions}
    if None in params.values() or (seen.score is not None and math.isnan(seen.score)):
        return None
    return create_trial(
        params=params,
        distributions={one.key: _distribution(one) for one in dimensions},
        value=None if seen.score is None else max(seen.score, -_WORST),
        state=TrialState.RUNNING if seen.score is None else TrialState.COMPLETE,
    )


_WORST: Final = 1e9
"""Stands for an infinitely bad score, which Optuna's models cannot hold."""


def _distribution(one: Dimension) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if one.weights:
        return FloatDistribution(0.0, sum(one.weights))
    if one.choices:
        return IntDistribution(0, len(one.choices) - 1) if one.kind == "int" else CategoricalDistribution(one.choices)
    if one.kind == "int":
        return IntDistribution(int(one.low), int(one.high), log=one.log)
    return FloatDistribution(one.low, one.high, log=one.log)


def _raw(one: Dimension, value: Any) -> Any:
    """The number or option a sampler would have drawn for a value; None where it could not have."""
    if one.choices:
        if value not in one.choices:
            return None
        at = one.choices.index(value)
        if one.weights:
            return list(accumulate(one.weights))[at] - one.weights[at] / 2
        return at if one.kind == "int" else value
    if one.off is not None and value == one.off:
        return one.low
    return value if one.low <= value <= one.high else None


def _tpe(seed: int, trials: Sequence[FrozenTrial]) -> BaseSampler:
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed, n_startup_trials=STARTUP, multivariate=True, group=True)


def _gp(seed: int, trials: Sequence[FrozenTrial]) -> BaseSampler:
    from optuna.samplers import GPSampler

    return GPSampler(seed=seed, n_startup_trials=STARTUP)


def _cmaes(seed: int, trials: Sequence[FrozenTrial]) -> BaseSampler:
    """Started anew at every draw, from the best of what was seen."""
    from optuna.samplers import CmaEsSampler

    done = [trial for trial in trials if trial.value is not None]
    return CmaEsSampler(
        seed=seed, n_startup_trials=STARTUP, source_trials=done or None, warn_independent_sampling=False
    )


def _random(seed: int, trials: Sequence[FrozenTrial]) -> BaseSampler:
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


SAMPLERS: Final[Mapping[str, Callable[[int, Sequence[FrozenTrial]], BaseSampler]]] = MappingProxyType(
    {"tpe": _tpe, "gp": _gp, "cmaes": _cmaes, "random": _random}
)
_NEEDS: Final[Mapping[str, str]] = {"gp": "scipy", "cmaes": "cmaes"}
