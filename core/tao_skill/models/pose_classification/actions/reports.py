"""Reports of evaluation and inference: the JSON files that they write, and their summaries for agents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from tao_skill.io.strict_json import conform

LISTED: Final = 10
"""Classes or confusions in a summary."""


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """Accuracy of a class in percent; None without test sequences of the class."""

    name: str
    id: int
    sequences: int
    accuracy: float | None


@dataclass(frozen=True, kw_only=True)
class EvaluationReport:
    """Result of an evaluation.

    Attributes:
        accuracy: share of correct predictions in percent. avg_accuracy: mean over the classes in the test set.
        confusion_matrix: counts by true and predicted class id. loss: mean cross-entropy.
    """

    accuracy: float
    avg_accuracy: float
    classes: tuple[ClassScore, ...]
    confusion_matrix: tuple[tuple[int, ...], ...]
    loss: float | None = None

    def __post_init__(self) -> None:
        size = len(self.classes)
        if [len(row) for row in self.confusion_matrix] != [size] * size:
            raise ValueError(f"confusion_matrix is not {size} x {size}")

    @property
    def metrics(self) -> dict[str, float]:
        """The two accuracies."""
        return {"accuracy": self.accuracy, "avg_accuracy": self.avg_accuracy}

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON."""
        return asdict(self)

    def table(self) -> str:
        """The report as fixed-width text: one line per class, with its row of the confusion matrix."""
        width = max(len("average class"), *(len(score.name) for score in self.classes))
        lines = [f"{'class':<{width}}  {'acc %':>6}  {'n':>5}  predicted as 0..{len(self.classes) - 1}"]
        for score, row in zip(self.classes, self.confusion_matrix, strict=True):
            accuracy = "-" if score.accuracy is None else f"{score.accuracy:.2f}"
            lines.append(f"{score.name:<{width}}  {accuracy:>6}  {score.sequences:>5}  {' '.join(map(str, row))}")
        lines.append(f"{'total':<{width}}  {self.accuracy:>6.2f}")
        lines.append(f"{'average class':<{width}}  {self.avg_accuracy:>6.2f}")
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The class of a sequence, the probabilities of all classes, and, with labels, whether it is correct."""

    name: str
    id: int
    probabilities: tuple[float, ...]
    correct: bool | None = None


@dataclass(frozen=True, kw_only=True)
class InferenceReport:
    """Predictions in input order; probabilities in the order of `classes`."""

    classes: tuple[str, ...]
    predictions: tuple[Prediction, ...]

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON; `correct` only with labels."""
        predictions = [
            {name: value for name, value in vars(prediction).items() if value is not None}
            for prediction in self.predictions
        ]
        return {"classes": self.classes, "predictions": predictions}


def summarize_evaluation(document: Mapping[str, Any], metrics: Mapping[str, float | None]) -> dict[str, Any]:
    """Accuracies, the classes with the lowest accuracy, and the most frequent confusions as [true, predicted, count].

    Raises:
        ValueError: the document is not an evaluation report.
    """
    report: EvaluationReport = conform(dict(document), EvaluationReport)
    names = [score.name for score in report.classes]
    scored = {score.name: score.accuracy for score in report.classes if score.accuracy is not None}
    confusions = [
        (names[true], names[predicted], count)
        for true, row in enumerate(report.confusion_matrix)
        for predicted, count in enumerate(row)
        if true != predicted and count
    ]
    return {
        **report.metrics,
        "classes": dict(sorted(scored.items(), key=lambda item: item[1])[:LISTED]),
        "confusions": sorted(confusions, key=lambda confusion: -confusion[2])[:LISTED],
    }


def summarize_inference(document: Mapping[str, Any], metrics: Mapping[str, float | None]) -> dict[str, Any]:
    """The metrics, and the number of predictions of each class.

    Raises:
        ValueError: the document is not an inference report.
    """
    report: InferenceReport = conform(dict(document), InferenceReport)
    counts = Counter(prediction.name for prediction in report.predictions)
    return {"metrics": metrics, "predicted": dict(counts.most_common(LISTED))}
