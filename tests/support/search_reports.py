"""What the report of a search says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def report_of(root: Path, document: dict[str, Any]) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((root / document["job"]["id"] / "report.json").read_text())
    return loaded


def results_of(report: dict[str, Any]) -> list[Any]:
    """What a search found, without how long it took."""
    kept = ("number", "state", "epochs", "metric", "best_epoch", "values", "last")
    return [{name: one[name] for name in kept} for one in report["trials"]] + [report["winner"]["number"]]
