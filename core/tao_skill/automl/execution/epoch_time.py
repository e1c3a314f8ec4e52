"""Expected time of an epoch, from earlier trainings on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tao_skill.automl.search.setup import training_keys
from tao_skill.errors import TaoSkillError
from tao_skill.jobs.process import this_host
from tao_skill.jobs.record import Job
from tao_skill.jobs.store import Store
from tao_skill.model import TRAIN, Model
from tao_skill.spec import load
from tao_skill.spec.paths import Confine, confine_paths
from tao_skill.spec.tree import lookup


@dataclass(frozen=True, kw_only=True)
class EpochTime:
    """Seconds of an epoch, and the job they were measured in."""

    seconds: float
    job: str


def epoch_time(model: Model, spec: Mapping[str, Any], store: Store, confine: Confine | None = None) -> EpochTime | None:
    """The time of the newest training on this machine, scaled by the operations of an epoch; None without a training.

    Args:
        confine: raises for each path that may not be read; trainings on such data are skipped.
    """
    flop = model.epoch_flop(load.build(model.config, spec))
    if flop is None:
        return None
    return next((EpochTime(seconds=flop * rate, job=job.id) for job, rate in _rates(model, store, confine)), None)


def _rates(model: Model, store: Store, confine: Confine | None) -> Iterator[tuple[Job, float]]:
    """Seconds per operation, start-up included, newest job first."""
    for job in store.newest(f"{TRAIN}-"):
        epochs = _epochs(job, training_keys(model).epochs)
        if job.model == model.name and epochs and job.attempts[-1].host == this_host():
            try:
                if confine is not None:
                    confine_paths(model.config, job.spec, confine)
                flop = model.epoch_flop(load.build(model.config, job.spec))
            except (TaoSkillError, TypeError):  # data deleted or not readable, or a record of another version
                continue
            if flop:
                yield job, _seconds(job) / epochs / flop


def _epochs(job: Job, key: str) -> float:
    """Epochs trained by a job that completed in its first attempt; 0 for any other job."""
    if job.action != TRAIN or job.state != "COMPLETE" or len(job.attempts) > 1:
        return 0.0
    epochs = lookup(job.spec, key) if job.automl is None else job.metrics.get("epochs")
    return float(epochs) if isinstance(epochs, int | float) else 0.0


def _seconds(job: Job) -> float:
    started, ended = map(datetime.fromisoformat, (job.started or job.created, job.ended or job.created))
    return (ended - started).total_seconds()
