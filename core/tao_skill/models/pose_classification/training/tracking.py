"""Optional logging to Weights & Biases."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from tao_skill.errors import MissingDependency
from tao_skill.model import task_results_dir
from tao_skill.models.pose_classification.config import ExperimentConfig


def wandb_arguments(config: ExperimentConfig, folder: Path) -> dict[str, Any]:
    """Arguments of `wandb.init` from the `wandb` settings; those that are not set are left out."""
    wandb = config.wandb
    arguments = {
        "project": wandb.project,
        "entity": wandb.entity,
        "group": wandb.group,
        "tags": list(wandb.tags) or None,
        "name": wandb.name or config.model_name,
        "id": wandb.run_id,
        "reinit": wandb.reinit or None,
        "sync_tensorboard": wandb.sync_tensorboard or None,
        "save_code": wandb.save_code or None,
        "dir": str(folder),
    }
    return {name: value for name, value in arguments.items() if value is not None}


def start_run(config: ExperimentConfig, action: str) -> Any:
    """Start a W&B run; None if wandb.enable is false.

    Raises:
        MissingDependency: the wandb package is not installed.
    """
    if not config.wandb.enable:
        return None
    if importlib.util.find_spec("wandb") is None:
        raise MissingDependency(
            "wandb.enable is true, but the wandb package is not installed",
            fix="run pip install 'tao-skill[wandb]', or set wandb.enable=false",
            path="wandb.enable",
        )
    import wandb

    folder = task_results_dir(config, action)
    folder.mkdir(parents=True, exist_ok=True)
    return wandb.init(job_type=action, **wandb_arguments(config, folder))


def finish_run(run: Any, metrics: dict[str, float]) -> None:
    """Log the final metrics and finish the run; does nothing without a run."""
    if run is not None:
        run.log(metrics)
        run.finish()
