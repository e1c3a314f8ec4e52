"""The next configuration, from an Optuna sampler that sees one score for each configuration tried so far."""

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
from tao_skill.automl.space.space import Space, with_values
from tao_skill.errors import BadRequest, Fix, MissingDependency, Option

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.study import Study
    from optuna.trial import FrozenTrial

STARTUP: Final = 8
"""Configurations drawn at random before a model is fitted."""

GRID_STEPS: Final = 4
"""Grid points per range."""

ATTEMPTS: Final = 64
"""Repeated draws before a space counts as exhausted."""

CMA_SIGMA: Final = 0.3
"""Initial step size of CMA-ES, as a fraction of a range."""

KEPT: Final = 0.5
"""Probability with which a draw around a good configuration keeps one of its values."""

FAR: Final = 5
"""One configuration in FAR keeps none of them."""

GRID: Final = "grid"


@dataclass(frozen=True, kw_only=True)
class Observation:
    """A configuration and its result, as a sampler sees it.

    Attributes:
        values: by spec key. score: larger is better; -inf if it cannot be trained, None while it is being trained,
            NaN if it is unknown.
    """

    values: Mapping[str, Any]
    score: float | None


def draw(
    space: Space,
    spec: Mapping[str, Any],
    number: int,
    observations: Sequence[Observation],
    *,
    sampler: str = "tpe",
    seed: int = 0,
    around: Mapping[str, Any] | None = None,
) -> dict[str, Any] | None:
    """The first of `draws`; None when the space is exhausted."""
    return next(draws(space, spec, number, observations, sampler=sampler, seed=seed, around=around), None)


def draws(
    space: Space,
    spec: Mapping[str, Any],
    number: int,
    observations: Sequence[Observation],
    *,
    sampler: str = "tpe",
    seed: int = 0,
    around: Mapping[str, Any] | None = None,
) -> Iterator[dict[str, Any]]:
    """Values for configuration `number` in the order they are tried, different from all observations.

    The same arguments give the same values, in any process.

    Args:
        around: values of a good configuration, of which most draws keep about half.

    Raises:
        BadRequest: the sampler is unknown. MissingDependency: its package is not installed.
    """
    check_sampler(sampler)
    known = {_identity(observation.values) for observation in observations}
    candidates = _candidates(space, spec, number, observations, sampler, seed)
    if around is not None and sampler != GRID:
        candidates = _near(candidates, around, space, spec, random.Random(f"{seed} {number}"))  # noqa: S311
    return (values for values in candidates if values is not None and _identity(values) not in known)


def check_sampler(name: str) -> None:
    """Make sure that a sampler can be used.

    Raises:
        BadRequest: it is unknown. MissingDependency: its package is not installed.
    """
    accepted = (*SAMPLERS, GRID)
    if name not in accepted:
        raise BadRequest(
            f"sampler is {name!r}, accepted: {', '.join(accepted)}",
            fix=Fix("use ", Option("sampler", "|".join(accepted))),
        )
    if (package := _NEEDS.get(name)) and importlib.util.find_spec(package) is None:
        fix = Fix("use ", Option("sampler", "tpe"), f", or pip install {package}")
        raise MissingDependency(f"sampler {name} needs the package {package}", fix=fix)


def _identity(values: Mapping[str, Any]) -> frozenset[tuple[str, Any]]:
    return frozenset(values.items())


Candidates = Iterator[dict[str, Any] | None]
"""Configurations in the order they are tried; None for a draw that violates a condition."""


def _candidates(
    space: Space, spec: Mapping[str, Any], number: int, observations: Sequence[Observation], sampler: str, seed: int
) -> Candidates:
    """Draws of the sampler; where these repeat known ones, random draws; last, all of a grid."""
    for name in () if sampler == GRID else dict.fromkeys((sampler, "random")):
        yield from _sampler_candidates(space, spec, number, observations, name, seed)
    yield from _grid_candidates(space, spec, seed)


def _near(
    drawn: Candidates, around: Mapping[str, Any], space: Space, spec: Mapping[str, Any], rng: random.Random
) -> Candidates:
    """Draws that keep each value of a good configuration with a probability of KEPT, except one draw in FAR."""
    base = with_values(spec, around)
    is_far = rng.randrange(FAR) == 0
    for values in drawn:
        if values is None or is_far:
            yield values
            continue
        kept = {key: around[key] for key in values if key in around and rng.random() < KEPT}
        # A kept value may switch others off, or on: these are then those of the good configuration.
        mixed = space.values_in(base, values | kept)
        yield mixed if space.draws_of(mixed, spec) is not None else None


def _grid_candidates(space: Space, spec: Mapping[str, Any], seed: int) -> Candidates:
    """All combinations of a few values of each range, in an order fixed by the seed."""
    from optuna.trial import FixedTrial

    points = {dimension.key: dimension.grid(GRID_STEPS) for dimension in space.dimensions}
    count = math.prod(map(len, points.values()))
    rng = random.Random(seed)  # noqa: S311 - not a secret
    start, stride = rng.randrange(count), _coprime(count, rng)
    for i in range(count):
        yield space.suggest(FixedTrial(_combination(points, (start + i * stride) % count)), spec)


def _coprime(count: int, rng: random.Random) -> int:
    """A stride that visits all of `count` positions before it repeats."""
    return next(stride for stride in iter(lambda: rng.randrange(1, count + 1), None) if math.gcd(stride, count) == 1)


def _combination(points: Mapping[str, Sequence[Any]], index: int) -> dict[str, Any]:
    chosen = {}
    for key, draws in points.items():
        index, position = divmod(index, len(draws))
        chosen[key] = draws[position]
    return chosen


def _sampler_candidates(
    space: Space, spec: Mapping[str, Any], number: int, observations: Sequence[Observation], sampler: str, seed: int
) -> Candidates:
    """Draws of an Optuna sampler, from an in-memory study of all observations."""
    from optuna.trial import TrialState

    trials = frozen_trials(space, spec, observations)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna's ExperimentalWarning
        study = make_study(trials, SAMPLERS[sampler]((seed * 1_000_003 + number) % 2**32, trials))
        for _ in range(ATTEMPTS):
            trial = study.ask()
            yield space.suggest(trial, spec)
            study.tell(trial, state=TrialState.FAIL)


def make_study(trials: Sequence[FrozenTrial], sampler: BaseSampler | None = None) -> Study:
    """An in-memory study of `trials`; larger values are better."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)  # otherwise Optuna logs every new study
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trials(trials)
    return study


def frozen_trials(space: Space, spec: Mapping[str, Any], observations: Sequence[Observation]) -> list[FrozenTrial]:
    """Observations as Optuna trials, without those outside the space and those with an unknown score.

    Optuna's models accept no infinities: -inf becomes a value as far below the worst as that is below the best.
    """
    from optuna.trial import TrialState, create_trial

    scores = [observation.score for observation in observations if observation.score is not None]
    finite = [score for score in scores if math.isfinite(score)]
    worst = min(finite, default=0.0) - (max(finite, default=0.0) - min(finite, default=0.0) or 1.0)
    trials = []
    for observation in observations:
        draws, score = space.draws_of(observation.values, spec), observation.score
        if draws is None or (score is not None and math.isnan(score)):
            continue
        trial = create_trial(
            params=draws,
            distributions={dim.key: _distribution(dim) for dim in space.dimensions if dim.key in draws},
            value=None if score is None else max(score, worst),
            state=TrialState.RUNNING if score is None else TrialState.COMPLETE,
        )
        trials.append(trial)
    return trials


def _distribution(dimension: Dimension) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    return CategoricalDistribution(dimension.choices) if dimension.is_categorical else FloatDistribution(0.0, 1.0)


def _tpe(seed: int, trials: Sequence[FrozenTrial]) -> BaseSampler:
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed, n_startup_trials=STARTUP, multivariate=True, group=True)


def _gp(seed: int, trials: Sequence[FrozenTrial]) -> BaseSampler:
    from optuna.samplers import GPSampler

    return GPSampler(seed=seed, n_startup_trials=STARTUP)


def _cmaes(seed: int, trials: Sequence[FrozenTrial]) -> BaseSampler:
    """CMA-ES, which replays all trials by generation at every draw; categorical parameters are drawn at random."""
    from cmaes import CMA
    from optuna.samplers import PartialFixedSampler

    done = [trial for trial in trials if trial.value is not None]
    keys = _common_numbers(done)
    if len(done) < STARTUP or len(keys) < 2:  # CMA-ES needs two dimensions
        return _random(seed, trials)
    import numpy as np

    bounds = np.array([[0.0, 1.0]] * len(keys))
    optimizer = CMA(mean=bounds.mean(axis=1), sigma=CMA_SIGMA, bounds=bounds, seed=seed)
    solutions = [(np.array([trial.params[key] for key in keys]), -(trial.value or 0.0)) for trial in done]
    size = optimizer.population_size
    for start in range(0, len(solutions) - size + 1, size):
        optimizer.tell(solutions[start : start + size])
    return PartialFixedSampler(dict(zip(keys, map(float, optimizer.ask()), strict=True)), _random(seed, trials))


def _common_numbers(trials: Sequence[FrozenTrial]) -> list[str]:
    """Keys of numeric parameters that every trial has."""
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
