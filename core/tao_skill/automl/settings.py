"""Settings of a search, for the command line, the tools and the job record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from tao_skill.spec.param import Param

SAMPLERS: Final = ("tpe", "gp", "cmaes", "random", "grid")
PRUNERS: Final = ("promotion", "none")


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """Settings that the tools expose to agents."""

    trials: Annotated[int, Param("Configurations, the user's own included.", minimum=1)] = 20
    epochs_total: Annotated[int | None, Param("Epochs of all trials together.", minimum=1)] = None
    time_budget: Annotated[float | None, Param("Stop starting trials after these seconds.", above=0)] = None
    max_epochs: Annotated[int | None, Param("Epochs of a full training; default: the spec's.", minimum=1)] = None
    search: Annotated[list[str], Param("Search KEY, KEY=low:high[:log] or KEY=a,b only.")] = field(default_factory=list)
    no_search: Annotated[list[str], Param("Do not search KEY.")] = field(default_factory=list)
    sampler: Annotated[str, Param("", choices=SAMPLERS)] = "tpe"
    pruner: Annotated[str, Param("none: train every trial in full.", choices=PRUNERS)] = "promotion"
    min_epochs: Annotated[int, Param("Epochs of the lowest rung, at least.", minimum=1)] = 3
    metric: Annotated[str | None, Param("Metric to optimise; default: the model's.")] = None
    workers: Annotated[int, Param("Processes on this machine.", minimum=1)] = 1


@dataclass(frozen=True, kw_only=True)
class Settings(SearchOptions):
    """All settings of a search, as the job record holds them; a metric whose name ends in `loss` is minimised."""

    eta: Annotated[int, Param("Reduction factor: the top 1/eta of a rung are promoted.", minimum=2)] = 3
    storage: Annotated[str | None, Param("Database, e.g. postgresql://...; default: a file of the job.")] = None
    seed: Annotated[int, Param("Seed of the sampler.", minimum=0)] = 0
    keep_all: Annotated[bool, Param("Keep every checkpoint.")] = False


def read_settings(recorded: Mapping[str, Any]) -> Settings:
    """Settings from a job record."""
    return Settings(**recorded)
