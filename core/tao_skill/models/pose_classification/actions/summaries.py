"""Reports of actions in short, for agents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

LISTED: Final = 10
"""Classes or confusions in a short report."""


def summarize_evaluation(report: Mapping[str, Any]) -> dict[str, Any]:
    """Totals, the classes with the lowest accuracy, and the most frequent confusions as [true, predicted, count]."""
    names = [entry["name"] for entry in report["classes"]]
    scored = [entry for entry in report["classes"] if entry["accuracy"] is not None]
    worst = sorted(scored, key=lambda entry: float(entry["accuracy"]))[:LISTED]
    rows = enumerate(report["confusion_matrix"])
    confusions = [[names[i], names[j], count] for i, row in rows for j, count in enumerate(row) if i != j and count]
    return {
        "accuracy": report["accuracy"],
        "avg_accuracy": report["avg_accuracy"],
        "classes": {entry["name"]: entry["accuracy"] for entry in worst},
        "confusions": sorted(confusions, key=lambda confusion: -confusion[2])[:LISTED],
    }


def summarize_inference(report: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics, and how often each class was predicted."""
    counts = Counter(prediction["name"] for prediction in report["predictions"])
    return {"metrics": report["metrics"], "predicted": dict(counts.most_common(LISTED))}
