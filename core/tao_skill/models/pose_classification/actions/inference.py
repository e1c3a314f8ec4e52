"""Name the action of each sequence."""

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
    """Write one class name a line, in input order, and a JSON with every probability beside it.

    Raises:
        BadData: checkpoint or data do not fit the spec.
    """
    results_dir = task_results_dir(config, "inference").absolute()
    with reporting(results_dir, "Inference") as status:
        tracked = start_run(config, "inference")
        scores_NK, names = probabilities(config, config.inference, "inference", status)
        report = describe(scores_NK, names)
        metrics = _scored(report, config.inference.test_dataset.label_path, scores_NK)
        output = Path(config.inference.output_file or results_dir / OUTPUT).absolute()
        atomic.write_text(output, "".join(f"{one['name']}\n" for one in report["predictions"]))
        atomic.write_json(output.with_suffix(".json"), report)
        finish_run(tracked, metrics)
        status.write("SUCCESS", "Inference finished.", kpi=metrics)
    return Outcome(
        metrics=metrics,
        artifacts=[
            Artifact(kind="predictions", path=output),
            Artifact(kind="probabilities", path=output.with_suffix(".json")),
        ],
    )


def describe(scores_NK: npt.NDArray[np.float32], names: list[str]) -> dict[str, Any]:
    """Predicted name, id and probability of each sequence, and all probabilities by class order."""
    return {
        "classes": names,
        "predictions": [
            {"name": names[i], "id": int(i), "probabilities": [round(float(p), 6) for p in row]}
            for row, i in zip(scores_NK, scores_NK.argmax(axis=1), strict=True)
        ],
    }


def _scored(report: dict[str, Any], label_path: str | None, scores_NK: npt.NDArray[np.float32]) -> dict[str, float]:
    """Where labels are known, mark each prediction right or wrong."""
    metrics = {"sequences": float(len(scores_NK)), "mean_confidence": float(scores_NK.max(axis=1).mean())}
    if label_path is None:
        return metrics
    ids = read_labels(Path(label_path)).ids
    for one, true in zip(report["predictions"], ids, strict=True):
        one["correct"] = one["id"] == true
    return metrics | {"accuracy": 100.0 * float(np.mean(scores_NK.argmax(axis=1) == np.array(ids)))}
