"""Plans of a fixed time."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tao_skill.jobs.store import Store
from tao_skill.planning.plan import Plan, make_plan
from tao_skill.planning.request import Request
from tao_skill.runner import load_runner

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def planned(root: Path, action: str = "train", environment: dict[str, str] | None = None, **asked: Any) -> Plan:
    runner = load_runner("pose_classification", action)
    return make_plan(runner, Request(**asked), Store(root), environment=environment or {}, now=NOW, token="beef")
