"""Classify sequences with a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tao_skill.io import atomic
from tao_skill.model import task_results_dir
from tao_skill.models.pose_classification.config import ExperimentConfig
from tao_skill.models.pose_classification.data.sequences import read_labels
from tao_skill.models.pose_classification.deploy.predict import probabilities
from tao_skill.models.pose_classification.training.tracking import finish_run, start_run
from tao_skill.outcome import Artifact, Outcome
from tao_skill.status import reporting

OUTPUT = "results.txt"


def run(config: ExperimentConfig) -> Outcome:
    """Write the predicted class names, one per line in input order, and a JSON file with all probabilities.

    Raises:
        BadData: the checkpoint or the data do not fit the spec.
    """
    results_dir = task_results_dir(config, "inference").absolute()
    with reporting(results_dir, "Inference") as status:
        wandb_run = start_run(config, "inference")
        scores_NK, names = probabilities(config, config.inference, "inference", status)
        report = describe(scores_NK, names)
        metrics = _score(report, config.inference.test_dataset.label_path, scores_NK)
        output = Path(config.inference.output_file or results_dir / OUTPUT).absolute()
        atomic.write_text(output, "".join(f"{prediction['name']}\n" for prediction in report["predictions"]))
        atomic.write_json(output.with_suffix(".json"), report)
        finish_run(wandb_run, metrics)
        status.write("SUCCESS", "Inference finished.", kpi=metrics)
    return Outcome(
        metrics=metrics,
        artifacts=[
            Artifact(kind="predictions", path=output),
            Artifact(kind="probabilities", path=output.with_suffix(".json")),
        ],
    )


def describe(scores_NK: npt.NDArray[np.float32], names: list[str]) -> dict[str, Any]:
    """Class name, class id and probabilities, in the order of the classes, of each sequence."""
    return {
        "classes": names,
        "predictions": [
            {"name": names[i], "id": int(i), "probabilities": [round(float(p), 6) for p in row]}
            for row, i in zip(scores_NK, scores_NK.argmax(axis=1), strict=True)
        ],
    }


def _score(report: dict[str, Any], label_path: str | None, scores_NK: npt.NDArray[np.float32]) -> dict[str, float]:
    """Metrics of the predictions; with labels, also the accuracy, and `correct` of each prediction in the report."""
    metrics = {"sequences": float(len(scores_NK)), "mean_confidence": float(scores_NK.max(axis=1).mean())}
    if label_path is None:
        return metrics
    ids = read_labels(Path(label_path)).ids
    for prediction, true_id in zip(report["predictions"], ids, strict=True):
        prediction["correct"] = prediction["id"] == true_id
    return metrics | {"accuracy": 100.0 * float(np.mean(scores_NK.argmax(axis=1) == np.array(ids)))}
