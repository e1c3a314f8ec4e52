"""Settings of a search, for the command line, the tools and the job record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from tao_skill.spec.param import Param

SAMPLERS: Final = ("tpe", "gp", "cmaes", "random", "grid")
PRUNERS: Final = ("promotion", "none")
SCOPES: Final = ("full", "schema")
FIXED: Final = "fixed"
"""The setting that comes from the request: keys of the spec that the user wrote."""

PREFERENCES: Final = ("accurate", "fast")


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """Settings that the tools expose to agents."""

    time_budget: Annotated[float | None, Param("Seconds of the search, the running trial included.", above=0)] = None
    trials: Annotated[int | None, Param("Configurations, the user's spec and recipes included.", minimum=1)] = None
    epochs_total: Annotated[int | None, Param("Epochs of all trials together.", minimum=1)] = None
    max_epochs: Annotated[int | None, Param("Epochs of a full training, at most.", minimum=1)] = None
    search_scope: Annotated[
        str,
        Param(
            "full: try recipes and also vary network, frames and augmentation, except keys of the spec; schema: vary "
            "only the parameters that the schema marks for AutoML.",
            choices=SCOPES,
        ),
    ] = "full"
    prefer: Annotated[
        str,
        Param("fast: the cheapest model within a standard error of the best.", choices=PREFERENCES),
    ] = "accurate"
    tao_compatible: Annotated[bool, Param("Keep to networks, keys and values that NVIDIA TAO has.")] = False
    search: Annotated[list[str], Param("Search KEY, KEY=low:high[:log] or KEY=a,b only.")] = field(default_factory=list)
    no_search: Annotated[list[str], Param("Do not search KEY.")] = field(default_factory=list)
    sampler: Annotated[str, Param("", choices=SAMPLERS)] = "tpe"
    pruner: Annotated[str, Param("none: train every trial in full.", choices=PRUNERS)] = "promotion"
    min_epochs: Annotated[
        int | None,
        Param("Epochs of the lowest rung, at least; default: those of the first 64 optimizer steps.", minimum=1),
    ] = None
    metric: Annotated[str | None, Param("Metric to optimise; default: the model's.")] = None
    workers: Annotated[int, Param("Processes on this machine.", minimum=1)] = 1


@dataclass(frozen=True, kw_only=True)
class Settings(SearchOptions):
    """All settings of a search, as the job record holds them; a metric whose name ends in `loss` is minimised."""

    eta: Annotated[int, Param("Reduction factor: the top 1/eta of a rung are promoted.", minimum=2)] = 3
    storage: Annotated[str | None, Param("Database, e.g. postgresql://...; default: a file of the job.")] = None
    seed: Annotated[int, Param("Seed of the sampler.", minimum=0)] = 0
    keep_all: Annotated[bool, Param("Keep every checkpoint.")] = False
    fixed: Annotated[list[str], Param("Keys of the spec that the user wrote.")] = field(default_factory=list)


def read_settings(recorded: Mapping[str, Any]) -> Settings:
    """Settings from a job record."""
    return Settings(**recorded)
