"""What a search is fixed by, from a checked train spec and the user's settings."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from tao_skill import bank
from tao_skill.automl.search.asha import Budget, Goal, RungSchedule, make_rung_schedule
from tao_skill.automl.search.samplers import check_sampler
from tao_skill.automl.search.search import Setup
from tao_skill.automl.settings import PRUNERS, Settings
from tao_skill.automl.space.space import build_space
from tao_skill.errors import BadRequest, Fix, Option
from tao_skill.model import Model
from tao_skill.spec import load
from tao_skill.spec.tree import lookup

ACTION: Final = "train"
EPOCHS: Final = "train.num_epochs"
"""TAO's key for the length of a training; a rung is a part of it."""

TRIAL_SETTINGS: Final[Mapping[str, Any]] = MappingProxyType(
    {"train.validation_interval": 1, "train.num_gpus": 1, "train.gpu_ids": [0], "train.num_nodes": 1}
)
"""Settings of every trial, whatever the spec says: each rung needs a result, and a worker trains on one device."""


def make_setup(model: Model, spec: Mapping[str, Any], settings: Settings) -> Setup:
    """The setup of a search.

    Args:
        spec: complete and checked. While its data are on S3, what they can serve does not narrow the space yet.

    Raises:
        BadRequest: a setting is unknown, or names a parameter that may not be searched.
        MissingDependency: the sampler needs a package that is not installed.
    """
    check_sampler(settings.sampler)
    info = bank.skill_info(model.name)
    epochs = settings.max_epochs or int(lookup(spec, EPOCHS))
    whole = load.override(model.config, spec, [(EPOCHS, epochs)])
    space = build_space(
        bank.load_schema(model.name, ACTION),
        whole,
        model.search_limits(load.build(model.config, whole)),
        search=settings.search,
        no_search=settings.no_search,
        shorthand=info["spec_shorthand"],
    )
    return Setup(
        space=space,
        spec=whole,
        goal=_goal(settings, info["monitoring"]),
        ladder=_ladder(settings, epochs),
        budget=Budget(trials=settings.trials, max_epochs=epochs, epochs_total=settings.epochs_total),
        sampler=settings.sampler,
        seed=settings.seed,
    )


def _goal(settings: Settings, monitoring: Mapping[str, str]) -> Goal:
    metric = settings.metric or monitoring["metric"]
    if metric == monitoring["metric"]:
        return Goal(metric=metric, maximize=monitoring["direction"] == "maximize")
    return Goal(metric=metric, maximize=not metric.endswith("loss"))


def _ladder(settings: Settings, epochs: int) -> RungSchedule:
    if settings.pruner not in PRUNERS:
        raise BadRequest(
            f"there is no pruner {settings.pruner!r}", fix=Fix("use ", Option("pruner", "|".join(PRUNERS)))
        )
    if settings.pruner == "none":
        return RungSchedule(rungs=(epochs,), eta=settings.eta)
    return make_rung_schedule(epochs, eta=settings.eta, min_epochs=settings.min_epochs)
