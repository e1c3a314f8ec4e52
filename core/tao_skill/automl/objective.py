"""Training one configuration, part by part, for a search."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tao_skill.action import Model
from tao_skill.automl.search import Task
from tao_skill.automl.settings import read_settings
from tao_skill.automl.setup import make_setup
from tao_skill.errors import BadRequest
from tao_skill.jobs.private import SECRETS_VARIABLE
from tao_skill.jobs.store import Store
from tao_skill.jobs.worker import whole_spec
from tao_skill.models import get_model
from tao_skill.records import dataclass
from tao_skill.spec import load

TRIALS: Final = "automl/trials"
"""Where trials train, in the job's folder."""

SPARING: Final = (("train.checkpoint_interval", 10**6), ("train.checkpoint_interval_unit", "epoch"))
"""A trial keeps the checkpoint of each rung and the best one; what lies between is trained anew after a crash."""


@dataclass(frozen=True, kw_only=True)
class TrainObjective:
    """Trains tasks with a model's own trainer; every trial has a folder, and goes on from the checkpoint in it.

    Attributes:
        spec: of the search, with secrets. folder: the job's.
    """

    model: Model
    spec: Mapping[str, Any]
    metric: str
    folder: Path

    def __call__(self, task: Task) -> Sequence[Mapping[str, float]]:
        """Metrics of every epoch up to the target.

        Raises:
            BadRequest: training does not measure the metric.
        """
        own = [("results_dir", str(trial_folder(self.folder, task.number))), ("train.results_dir", None), *SPARING]
        spec = load.override(self.model.config, self.spec, [*task.values.items(), *own])
        epochs = self.model.train_until(load.build(self.model.config, spec), task.target, self.metric)
        if epochs and self.metric not in epochs[-1]:
            raise BadRequest(
                f"training measures no {self.metric}, but {', '.join(sorted(epochs[-1]))}",
                fix="give --metric one of those",
                path="metric",
            )
        return epochs

    def progress(self) -> Mapping[str, Any]:
        """Nothing beside the trainer's own status file."""
        return {}


def trial_folder(job_folder: Path, number: int) -> Path:
    """The folder of one trial."""
    return job_folder / TRIALS / f"{number:04d}"


def objective_of(job_folder: Path) -> TrainObjective:
    """What trains the trials of a job, in any process that sees its folder and has its secrets in the environment."""
    secrets: dict[str, str] = json.loads(os.environ.pop(SECRETS_VARIABLE, "{}"))
    job = Store(job_folder.parent).get(job_folder.name)
    model = get_model(job.model)
    spec = whole_spec(model, job, secrets)
    setup = make_setup(model, spec, read_settings(job.automl or {}))
    return TrainObjective(model=model, spec=setup.spec, metric=setup.goal.metric, folder=job_folder)
