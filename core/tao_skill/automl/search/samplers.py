"""The next configuration: an Optuna sampler shown one number for each configuration tried so far."""

from __future__ import annotations

import importlib.util
import math
import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from tao_skill.automl.space.dimension import Dimension
from tao_skill.automl.space.space import Space
from tao_skill.errors import BadRequest, Fix, MissingDependency, Option

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

CMA_SIGMA: Final = 0.3
"""First step size of CMA-ES, in shares of a range."""

GRID: Final = "grid"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the sampler is told of a configuration.

    Attributes:
        values: by spec key. score: larger is better; -inf if it cannot be trained, None while it is being trained,
            NaN if nothing is known of it.
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
    offers = _offers(space, spec, number, seen, sampler, seed)
    return next((values for values in offers if values is not None and _identity(values) not in known), None)


def check_sampler(name: str) -> None:
    """Refuse a sampler that is unknown or cannot work here.

    Raises:
        BadRequest: there is no such sampler. MissingDependency: what it needs is not installed.
    """
    if name != GRID and name not in SAMPLERS:
        raise BadRequest(
            f"there is no sampler {name!r}", fix=Fix("use ", Option("sampler", "|".join((*SAMPLERS, GRID))))
        )
    if (package := _NEEDS.get(name)) and importlib.util.find_spec(package) is None:
        fix = Fix("use ", Option("sampler", "tpe"), f", or pip install {package}")
        raise MissingDependency(f"sampler {name} needs the package {package}", fix=fix)


def _identity(values: Mapping[str, Any]) -> frozenset[tuple[str, Any]]:
    return frozenset(values.items())


Offers = Iterator[dict[str, Any] | None]
"""Configurations in the order they are tried; None where a draw kept no condition."""


def _offers(
    space: Space, spec: Mapping[str, Any], number: int, seen: Sequence[Seen], sampler: str, seed: int
) -> Offers:
    """The sampler's; where it finds nothing new, random ones; at last every one of a grid."""
    for name in () if sampler == GRID else dict.fromkeys((sampler, "random")):
        yield from _of_sampler(space, spec, number, seen, name, seed)
    yield from _of_grid(space, spec, seed)


def _of_grid(space: Space, spec: Mapping[str, Any], seed: int) -> Offers:
    """Every combination of a few values of each range, in an order that the seed fixes."""
    from optuna.trial import FixedTrial

    points = {one.key: one.grid(GRID_STEPS) for one in space.dimensions}
    count = math.prod(map(len, points.values()))
    chance = random.Random(seed)  # noqa: S311 - an order, no secret
    start, stride = chance.randrange(count), _coprime(count, chance)
    for i in range(count):
        yield space.suggest(FixedTrial(_combination(points, (start + i * stride) % count)), spec)


def _coprime(count: int, chance: random.Random) -> int:
    """A step that comes by every one of `count` places before the first again."""
    return next(one for one in iter(lambda: chance.randrange(1, count + 1), None) if math.gcd(one, count) == 1)


def _combination(points: Mapping[str, Sequence[Any]], at: int) -> dict[str, Any]:
    chosen = {}
    for key, draws in points.items():
        at, place = divmod(at, len(draws))
        chosen[key] = draws[place]
    return chosen


def _of_sampler(
    space: Space, spec: Mapping[str, Any], number: int, seen: Sequence[Seen], sampler: str, seed: int
) -> Offers:
    """What Optuna offers, in a study of its own that holds what was seen."""
    from optuna.trial import TrialState

    trials = frozen_trials(space, spec, seen)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna marks what it may still change
        study = make_study(trials, SAMPLERS[sampler]((seed * 1_000_003 + number) % 2**32, trials))
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


def frozen_trials(space: Space, spec: Mapping[str, Any], seen: Sequence[Seen]) -> list[FrozenTrial]:
    """Configurations as Optuna keeps them, without those outside the space and those that told nothing.

    Its models hold no infinities: what cannot be trained is as much below the worst value as that is below the best.
    """
    from optuna.trial import TrialState, create_trial

    finite = [one.score for one in seen if one.score is not None and math.isfinite(one.score)]
    worst = min(finite, default=0.0) - (max(finite, default=0.0) - min(finite, default=0.0) or 1.0)
    found = []
    for one in seen:
        draws = space.drawn(one.values, spec)
        if draws is None or (one.score is not None and math.isnan(one.score)):
            continue
        trial = create_trial(
            params=draws,
            distributions={dim.key: _distribution(dim) for dim in space.dimensions if dim.key in draws},
            value=None if one.score is None else max(one.score, worst),
            state=TrialState.RUNNING if one.score is None else TrialState.COMPLETE,
        )
        found.append(trial)
    return found


def _distribution(one: Dimension) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    return CategoricalDistribution(one.choices) if one.is_categorical else FloatDistribution(0.0, 1.0)


def _tpe(seed: int, trials: Sequence[FrozenTrial]) -> BaseSampler:
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed, n_startup_trials=STARTUP, multivariate=True, group=True)


def _gp(seed: int, trials: Sequence[FrozenTrial]) -> BaseSampler:
    from optuna.samplers import GPSampler

    return GPSampler(seed=seed, n_startup_trials=STARTUP)


def _cmaes(seed: int, trials: Sequence[FrozenTrial]) -> BaseSampler:
    """CMA-ES told anew, at every draw, all that was seen, generation by generation; options are drawn at random."""
    from cmaes import CMA
    from optuna.samplers import PartialFixedSampler

    done = [trial for trial in trials if trial.value is not None]
    numbers = _common_numbers(done)
    if len(done) < STARTUP or len(numbers) < 2:  # it needs two dimensions
        return _random(seed, trials)
    import numpy as np

    bounds = np.array([[0.0, 1.0]] * len(numbers))
    optimizer = CMA(mean=bounds.mean(axis=1), sigma=CMA_SIGMA, bounds=bounds, seed=seed)
    told = [(np.array([one.params[key] for key in numbers]), -(one.value or 0.0)) for one in done]
    size = optimizer.population_size
    for start in range(0, len(told) - size + 1, size):
        optimizer.tell(told[start : start + size])
    return PartialFixedSampler(dict(zip(numbers, map(float, optimizer.ask()), strict=True)), _random(seed, trials))


def _common_numbers(trials: Sequence[FrozenTrial]) -> list[str]:
    """Keys of the numbers that every trial has."""
    from optuna.distributions import FloatDistribution

    keys = [key for key in trials[0].params if all(key in trial.params for trial in trials)] if trials else []
    return [key for key in keys if isinstance(trials[0].distributions[key], FloatDistribution)]


def _random(seed: int, trials: Sequence[FrozenTrial]) -> BaseSampler:
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


SAMPLERS: Final[Mapping[str, Callable[[int, Sequence[FrozenTrial]], BaseSampler]]] = MappingProxyType(
    {"tpe": _tpe, "gp": _gp, "cmaes": _cmaes, "random": _random}
)
_NEEDS: Final[Mapping[str, str]] = {"gp": "scipy", "cmaes": "cmaes"}
