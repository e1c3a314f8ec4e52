"""Classify sequences with a trained model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tao_skill.io import atomic
from tao_skill.model import task_results_dir
from tao_skill.models.pose_classification.actions.reports import InferenceReport, Prediction
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
        label_path = config.inference.test_dataset.label_path
        true_N = np.array(read_labels(Path(label_path)).ids) if label_path else None
        report, metrics = report_of(scores_NK, names, true_N), metrics_of(scores_NK, true_N)
        output = Path(config.inference.output_file or results_dir / OUTPUT).absolute()
        atomic.write_text(output, "".join(f"{prediction.name}\n" for prediction in report.predictions))
        atomic.write_json(output.with_suffix(".json"), report.to_dict())
        finish_run(wandb_run, metrics)
        status.write("SUCCESS", "Inference finished.", kpi=metrics)
    return Outcome(
        metrics=metrics,
        artifacts=[
            Artifact(kind="predictions", path=output),
            Artifact(kind="probabilities", path=output.with_suffix(".json")),
        ],
    )


def report_of(
    scores_NK: npt.NDArray[np.float32], names: Sequence[str], true_N: npt.NDArray[np.int_] | None
) -> InferenceReport:
    """The most probable class of each sequence; with labels also whether it is correct."""
    correct_N = [None] * len(scores_NK) if true_N is None else (scores_NK.argmax(axis=1) == true_N).tolist()
    return InferenceReport(
        classes=tuple(names),
        predictions=tuple(
            Prediction(name=names[i], id=int(i), probabilities=tuple(round(float(p), 6) for p in row), correct=correct)
            for row, i, correct in zip(scores_NK, scores_NK.argmax(axis=1), correct_N, strict=True)
        ),
    )


def metrics_of(scores_NK: npt.NDArray[np.float32], true_N: npt.NDArray[np.int_] | None) -> dict[str, float]:
    """Number of sequences and mean confidence; with labels also the accuracy in percent."""
    metrics = {"sequences": float(len(scores_NK)), "mean_confidence": float(scores_NK.max(axis=1).mean())}
    if true_N is None:
        return metrics
    return metrics | {"accuracy": 100.0 * float(np.mean(scores_NK.argmax(axis=1) == true_N))}
