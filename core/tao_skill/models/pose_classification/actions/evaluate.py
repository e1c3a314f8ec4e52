"""Evaluate a trained model on a labelled test set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tao_skill.io import atomic
from tao_skill.model import task_results_dir
from tao_skill.models.pose_classification.actions.reports import ClassScore, EvaluationReport
from tao_skill.models.pose_classification.config import ExperimentConfig, LabelledData
from tao_skill.models.pose_classification.data.sequences import read_labels
from tao_skill.models.pose_classification.deploy.predict import probabilities
from tao_skill.models.pose_classification.training.tracking import finish_run, start_run
from tao_skill.outcome import Artifact, Outcome
from tao_skill.status import reporting

REPORT = "evaluation.json"


def run(config: ExperimentConfig) -> Outcome:
    """Write accuracy and average class accuracy (percent), accuracy of each class and the confusion matrix.

    Raises:
        BadData: the checkpoint or the data do not fit the spec.
    """
    results_dir = task_results_dir(config, "evaluate").absolute()
    with reporting(results_dir, "Evaluation") as status:
        wandb_run = start_run(config, "evaluate")
        scores_NK, names = probabilities(config, config.evaluate, "evaluate", status)
        true_N = np.array(read_labels(Path(config.evaluate.test_dataset.label_path)).ids)
        loss = float(-np.log(np.maximum(scores_NK[np.arange(len(true_N)), true_N], 1e-30)).mean())
        report = replace(score(true_N, scores_NK.argmax(axis=1), names), loss=loss)
        atomic.write_json(results_dir / REPORT, report.to_dict())
        print(report.table())
        finish_run(wandb_run, report.metrics)
        status.write("RUNNING", "Test metrics generated.", kpi=report.metrics)
        status.write("SUCCESS", "Evaluation finished.")
    return Outcome(metrics=report.metrics, artifacts=[Artifact(kind="report", path=results_dir / REPORT)])


def score_model(
    config: ExperimentConfig, checkpoint: Path, data: Path, labels: Path, results_dir: Path
) -> dict[str, float]:
    """Evaluate a model of this config on a labelled set, with the files of an evaluation in `results_dir`.

    Raises:
        BadData: as in `run`.
    """
    task = replace(
        config.evaluate,
        checkpoint=str(checkpoint),
        test_dataset=LabelledData(data_path=str(data), label_path=str(labels)),
        results_dir=str(results_dir),
    )
    return dict(run(replace(config, evaluate=task)).metrics)


def score(true_N: npt.NDArray[np.int_], predicted_N: npt.NDArray[np.int_], names: list[str]) -> EvaluationReport:
    """Compute the accuracies and the confusion matrix; the average is over the classes in the test set."""
    size = len(names)
    confusion = np.bincount(true_N * size + predicted_N, minlength=size * size).reshape(size, size)
    counts, hits = confusion.sum(axis=1), confusion.diagonal()
    percent = 100.0 * hits / np.maximum(counts, 1)
    return EvaluationReport(
        accuracy=float(100.0 * hits.sum() / counts.sum()),
        avg_accuracy=float(percent[counts > 0].mean()),
        classes=tuple(
            ClassScore(name=name, id=i, sequences=int(counts[i]), accuracy=float(percent[i]) if counts[i] else None)
            for i, name in enumerate(names)
        ),
        confusion_matrix=tuple(tuple(row) for row in confusion.tolist()),
    )
