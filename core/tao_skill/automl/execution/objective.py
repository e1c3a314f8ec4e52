"""The objective of a search: trains one configuration, from rung to rung."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tao_skill.automl.search.search import EPOCH_S, Task
from tao_skill.automl.search.setup import make_goal, searched_spec, training_keys
from tao_skill.automl.settings import Settings, read_settings
from tao_skill.errors import BadRequest
from tao_skill.io import atomic
from tao_skill.io.strict_yaml import dump_yaml
from tao_skill.jobs.job_process import runtime_spec
from tao_skill.jobs.secrets import SECRETS_VARIABLE
from tao_skill.jobs.store import Store
from tao_skill.jobs.trials import SPEC_FILE, trial_folder
from tao_skill.model import RESULTS_DIR, TRAIN, Model
from tao_skill.models import get_model
from tao_skill.spec import load
from tao_skill.spec.references import escaped


@dataclass(frozen=True, kw_only=True)
class TrainObjective:
    """Trains tasks with the trainer of a model; each trial has a folder and resumes from its checkpoint there.

    Attributes:
        spec: of the search, with secrets. recorded: the same without secrets. folder: the job's.
    """

    model: Model
    spec: Mapping[str, Any]
    recorded: Mapping[str, Any]
    settings: Settings
    folder: Path

    def __call__(self, task: Task) -> Sequence[Mapping[str, float]]:
        """See `Objective`.

        Raises:
            BadRequest: training does not report the metric.
        """
        folder = trial_folder(self.folder, task.number)
        self._write_spec(folder, task)
        keys = training_keys(self.model)
        folders = [(RESULTS_DIR, str(folder)), (f"{TRAIN}.{RESULTS_DIR}", None)]
        # After a crash, the epochs since the last rung are trained again.
        pairs = [*task.values.items(), *folders, *keys.trial.items(), *keys.checkpoints.items()]
        config = load.build(self.model.config, load.override(self.model.config, self.spec, pairs))
        if task.target == 0:
            return [{EPOCH_S: self.model.epoch_seconds(config)}]
        metric = make_goal(self.model, self.settings).metric
        epochs = self.model.train_until(config, task.target, metric, task.limit_s)
        if epochs and metric not in epochs[-1]:
            raise BadRequest(
                f"metric is {metric!r}, accepted: {', '.join(sorted(epochs[-1]))}",
                fix="set metric to one of these",
                path="metric",
            )
        return epochs

    def _write_spec(self, folder: Path, task: Task) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        spec = trial_spec(self.model, self.recorded, task.values, self.settings)
        atomic.write_text(folder / SPEC_FILE, dump_yaml(escaped(spec)))

    def progress(self) -> Mapping[str, Any]:
        """Empty: the trainer writes its own status file."""
        return {}


def trial_spec(
    model: Model, recorded: Mapping[str, Any], values: Mapping[str, Any], settings: Settings
) -> dict[str, Any]:
    """The spec that reproduces a trial with `--automl off`.

    Args:
        recorded: the spec of the search without secrets. values: of the trial.
    """
    pairs = [*training_keys(model).trial.items(), *values.items(), (RESULTS_DIR, None)]
    return load.override(model.config, searched_spec(model, recorded, settings), pairs)


def objective_of(job_folder: Path) -> TrainObjective:
    """The objective of a job, in any process that can read its folder and has its secrets in the environment."""
    secrets: dict[str, str] = json.loads(os.environ.pop(SECRETS_VARIABLE, "{}"))
    job = Store(job_folder.parent).get(job_folder.name)
    model = get_model(job.model)
    spec = runtime_spec(model, job, secrets)
    settings = read_settings(job.automl or {})
    searched = searched_spec(model, spec, settings)
    return TrainObjective(model=model, spec=searched, recorded=job.spec, settings=settings, folder=job_folder)
