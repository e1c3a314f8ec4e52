"""The setup of a search, from a checked train spec and the user's settings."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from tao_skill import bank
from tao_skill.automl.devices import cores, find_gpus
from tao_skill.automl.search.asha import Budget, Goal, RungSchedule
from tao_skill.automl.search.samplers import check_sampler
from tao_skill.automl.search.search import Configuration, Setup
from tao_skill.automl.search.trainings import ModelTrainings
from tao_skill.automl.settings import PRUNERS, Settings
from tao_skill.automl.space.space import Space, build_space
from tao_skill.errors import BadRequest, Fix, Option
from tao_skill.model import TRAIN, Model, TrainingKeys
from tao_skill.spec import load
from tao_skill.spec.schema import default_values
from tao_skill.spec.tree import iter_params, lookup

RUNGS: Final = 2
"""Rungs of a trial, the full training included: a third and all. The ranks of recipes correlate with those at the end
by 0.08 and 0.20 after a ninth of a training, 0.81 and 0.40 after a third (two tasks of portfolio.jsonl)."""

PROPOSED_TRAININGS: Final = 10
"""Full trainings that a proposed time budget is good for."""

CPU_FLOPS: Final = 5e10
GPU_FLOPS: Final = 5e12
"""Usual operations a second of a training: on a core, and on a GPU."""

LEAST_S: Final = 180.0
USUAL_S: Final = 600.0
MOST_S: Final = 7200.0
"""Least, usual and greatest proposed time budget."""


def training_keys(model: Model) -> TrainingKeys:
    """The spec keys by which a search controls trainings.

    Raises:
        BadRequest: the model cannot be searched.
    """
    if model.training is None:
        raise BadRequest(f"model {model.name} cannot be searched", fix=Fix("use ", Option("automl", "off")))
    return model.training


def make_setup(model: Model, spec: Mapping[str, Any], settings: Settings) -> Setup:
    """The setup of a search.

    Args:
        spec: complete and checked. Data on S3 limit neither the space nor the recipes yet.

    Raises:
        BadRequest: a setting is not accepted, or names a parameter that may not be searched.
        MissingDependency: the sampler needs a package that is not installed.
    """
    check_sampler(settings.sampler)
    keys = training_keys(model)
    full_spec = searched_spec(model, spec, settings)
    config = load.build(model.config, full_spec)
    trainings = ModelTrainings(
        model=model, spec=full_spec, epochs_key=keys.epochs, warms_up=settings.min_epochs is None
    )
    schema = bank.load_schema(model.name, TRAIN)
    kept = _kept(model, full_spec, settings, schema["automl_default_parameters"])
    recipes = _recipes(model, full_spec, settings, trainings, kept)
    return Setup(
        space=_space(model, full_spec, settings, schema, kept),
        spec=full_spec,
        goal=make_goal(model, settings),
        validation=f"after every epoch, on {model.validation_data(full_spec)}",
        validation_size=model.validation_size(config),
        schedule=_schedule(settings),
        budget=_budget(settings, trainings, recipes),
        trainings=trainings,
        recipes=recipes,
        sampler=settings.sampler,
        seed=settings.seed,
        prefer=settings.prefer,
        seed_key=keys.seed,
        class_average=keys.class_average,
    )


def not_in_tao(model: Model, spec: Mapping[str, Any]) -> tuple[str, ...]:
    """Keys of a spec whose values NVIDIA TAO cannot hold."""
    defaults = default_values(model.config, TRAIN)
    leaves = [leaf for leaf in iter_params(model.config, TRAIN) if leaf.param.is_own(lookup(spec, leaf.key))]
    return tuple(leaf.key for leaf in leaves if lookup(spec, leaf.key) != lookup(defaults, leaf.key))


def searched_spec(model: Model, spec: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """The spec of trial 0."""
    epochs = training_keys(model).epochs
    return load.override(model.config, spec, [(epochs, settings.max_epochs or int(lookup(spec, epochs)))])


def make_goal(model: Model, settings: Settings) -> Goal:
    """The metric that a search optimises."""
    monitoring = bank.skill_info(model.name)["monitoring"]
    metric = settings.metric or monitoring["metric"]
    is_default = metric == monitoring["metric"]
    maximize = monitoring["direction"] == "maximize" if is_default else not metric.endswith("loss")
    return Goal(metric=metric, maximize=maximize, tie=training_keys(model).tie_breaker)


def has_budget(settings: Settings) -> bool:
    """Whether the user limits the search."""
    return any(limit is not None for limit in (settings.time_budget, settings.trials, settings.epochs_total))


def _budget(settings: Settings, trainings: ModelTrainings, recipes: Sequence[Configuration]) -> Budget:
    """The budget of the user; without one, the time of PROPOSED_TRAININGS full trainings at a usual speed."""
    if has_budget(settings):
        return Budget(trials=settings.trials, epochs_total=settings.epochs_total, seconds=settings.time_budget)
    values = recipes[0].values if recipes else {}
    flop = trainings.flop(values)
    if flop is None:
        return Budget(seconds=USUAL_S)
    speed = GPU_FLOPS if find_gpus(os.environ) else CPU_FLOPS * cores()
    seconds = PROPOSED_TRAININGS * trainings.epochs(values) * flop / speed
    return Budget(seconds=min(MOST_S, max(LEAST_S, 60.0 * round(seconds / 60))))


def _space(
    model: Model, spec: Mapping[str, Any], settings: Settings, schema: Mapping[str, Any], kept: Collection[str]
) -> Space:
    marked = schema["automl_default_parameters"]
    structural = schema["automl_structural_parameters"] if is_full(settings) else ()
    return build_space(
        schema,
        spec,
        model.search_limits(load.build(model.config, spec)),
        search=settings.search,
        no_search=settings.no_search,
        shorthand=bank.skill_info(model.name)["spec_shorthand"],
        defaults=[*marked, *(key for key in structural if key not in kept)],
    )


def _recipes(
    model: Model, spec: Mapping[str, Any], settings: Settings, trainings: ModelTrainings, kept: Collection[str]
) -> tuple[Configuration, ...]:
    """The recipes of the model that differ from each other and from the spec, limited to the epochs of the search."""
    if not is_full(settings):
        return ()
    config = load.build(model.config, spec)
    found: list[Configuration] = []
    for recipe in model.recipes(config, kept):
        values = dict(recipe.values)
        if settings.max_epochs and trainings.epochs(values) > settings.max_epochs:
            values = trainings.shortened(values, settings.max_epochs)
        changed = any(lookup(spec, key) != value for key, value in values.items())
        if changed and values not in [known.values for known in found]:
            found.append(Configuration(origin=f"recipe {recipe.name}", values=values))
    return tuple(found)


def is_full(settings: Settings) -> bool:
    """Whether recipes are tried and structural parameters searched: not where the user names what to search."""
    return settings.search_scope == "full" and not settings.search


def _kept(model: Model, spec: Mapping[str, Any], settings: Settings, marked: Collection[str]) -> frozenset[str]:
    """Keys whose values stay: those of the user, the network where training starts from weights, and what TAO lacks."""
    leaves = list(iter_params(model.config, TRAIN))
    starts_from_weights = any(leaf.param.checkpoint and lookup(spec, leaf.key) for leaf in leaves)
    of_network = {leaf.key for leaf in leaves if leaf.param.inherit and starts_from_weights}
    short = bank.skill_info(model.name)["spec_shorthand"]
    excluded = {short.get(name, name) for name in settings.no_search}
    own = {leaf.key for leaf in leaves if settings.tao_compatible and (leaf.param.own or leaf.param.own_choices)}
    return frozenset((set(settings.fixed) - set(marked)) | of_network | excluded | own)


def _schedule(settings: Settings) -> RungSchedule:
    if settings.pruner not in PRUNERS:
        raise BadRequest(
            f"pruner is {settings.pruner!r}, accepted: {', '.join(PRUNERS)}",
            fix=Fix("use ", Option("pruner", "|".join(PRUNERS))),
        )
    levels = 1 if settings.pruner == "none" else RUNGS
    return RungSchedule(eta=settings.eta, levels=levels, least=settings.min_epochs or 1)
