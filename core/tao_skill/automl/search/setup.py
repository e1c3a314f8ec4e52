"""The setup of a search, from a checked train spec and the user's settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tao_skill import bank
from tao_skill.automl.search.asha import Budget, Goal, RungSchedule, make_rung_schedule
from tao_skill.automl.search.samplers import check_sampler
from tao_skill.automl.search.search import Setup
from tao_skill.automl.settings import PRUNERS, Settings
from tao_skill.automl.space.space import build_space
from tao_skill.errors import BadRequest, Fix, Option
from tao_skill.model import TRAIN, Model, TrainingKeys
from tao_skill.spec import load
from tao_skill.spec.tree import lookup


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
        spec: complete and checked. Data on S3 do not limit the space yet.

    Raises:
        BadRequest: a setting is not accepted, or names a parameter that may not be searched.
        MissingDependency: the sampler needs a package that is not installed.
    """
    check_sampler(settings.sampler)
    info = bank.skill_info(model.name)
    keys = training_keys(model)
    epochs = settings.max_epochs or int(lookup(spec, keys.epochs))
    full_spec = load.override(model.config, spec, [(keys.epochs, epochs)])
    space = build_space(
        bank.load_schema(model.name, TRAIN),
        full_spec,
        model.search_limits(load.build(model.config, full_spec)),
        search=settings.search,
        no_search=settings.no_search,
        shorthand=info["spec_shorthand"],
    )
    return Setup(
        space=space,
        spec=full_spec,
        goal=_goal(settings, info["monitoring"], keys.tie_breaker),
        validation=f"after every epoch, on {model.validation_data(full_spec)}",
        schedule=_schedule(settings, epochs),
        budget=Budget(trials=settings.trials, max_epochs=epochs, epochs_total=settings.epochs_total),
        sampler=settings.sampler,
        seed=settings.seed,
    )


def _goal(settings: Settings, monitoring: Mapping[str, str], tie_breaker: str) -> Goal:
    metric = settings.metric or monitoring["metric"]
    is_default = metric == monitoring["metric"]
    maximize = monitoring["direction"] == "maximize" if is_default else not metric.endswith("loss")
    return Goal(metric=metric, maximize=maximize, tie=tie_breaker)


def _schedule(settings: Settings, epochs: int) -> RungSchedule:
    if settings.pruner not in PRUNERS:
        raise BadRequest(
            f"pruner is {settings.pruner!r}, accepted: {', '.join(PRUNERS)}",
            fix=Fix("use ", Option("pruner", "|".join(PRUNERS))),
        )
    if settings.pruner == "none":
        return RungSchedule(rungs=(epochs,), eta=settings.eta)
    return make_rung_schedule(epochs, eta=settings.eta, min_epochs=settings.min_epochs)
