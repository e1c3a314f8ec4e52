"""What a user may ask of a search, as it stands in the job record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

SAMPLERS: Final = ("tpe", "gp", "cmaes", "random", "grid")
PRUNERS: Final = ("promotion", "none")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Options of `tao-skill run train` that shape its search.

    Attributes:
        search, no_search: parameters to vary or to leave, as written on the command line.
        sampler: tpe, gp, cmaes, random or grid. pruner: promotion, or none for full trainings only.
        metric: what is optimised, a loss downwards and anything else upwards; None for the model's own.
        trials: configurations, the user's own included. max_epochs: full training of one; None for train.num_epochs.
        epochs_total: epochs of all trials. time_budget_s: after this nothing new is begun.
        eta, min_epochs: of so many configurations of a rung one goes on; epochs of the lowest rung at least.
        workers: processes on this machine. storage: database URL; None for a file in the job's folder.
        seed: of the suggestions. keep_all: no checkpoint is deleted.
    """

    search: tuple[str, ...] = field(default_factory=tuple)
    no_search: tuple[str, ...] = field(default_factory=tuple)
    sampler: str = "tpe"
    pruner: str = "promotion"
    metric: str | None = None
    trials: int = 20
    max_epochs: int | None = None
    epochs_total: int | None = None
    time_budget_s: float | None = None
    eta: int = 3
    min_epochs: int = 3
    workers: int = 1
    storage: str | None = None
    seed: int = 0
    keep_all: bool = False


def read_settings(recorded: Mapping[str, Any]) -> Settings:
    """Settings as they stand in a job record, where tuples are lists."""
    values: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in recorded.items()}
    return Settings(**values)
