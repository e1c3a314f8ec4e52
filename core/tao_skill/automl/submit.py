"""From a plan to a started job, whichever way it is routed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from typing import Any, Final

from tao_skill.automl.report import review
from tao_skill.automl.settings import read_settings
from tao_skill.errors import BadState
from tao_skill.jobs import launch
from tao_skill.jobs.record import Job
from tao_skill.jobs.store import Store
from tao_skill.runner import Plan

SEARCHER: Final = (sys.executable, "-m", "tao_skill.automl.run")
"""What runs a job whose route is automl."""


def review_search(planned: Plan) -> dict[str, Any]:
    """What a search would do, as `automl`; empty where there is none.

    Raises:
        BadRequest: its settings are wrong.
    """
    if planned.route.route != "automl":
        return {}
    from tao_skill.automl.setup import make_setup

    setup = make_setup(planned.model, planned.spec, read_settings(planned.search))
    return {"automl": review(setup, workers=planned.search.get("workers", 1))}


def warnings(planned: Plan) -> list[str]:
    """What the plan warns of, and settings of a search that is none."""
    if planned.route.route == "automl" or not planned.search:
        return list(planned.warnings)
    idle = f"{', '.join(planned.search)}: no effect, as this run is direct ({planned.route.reason})"
    return [idle, *planned.warnings]


def start(job: Job, store: Store, secrets: Mapping[str, str]) -> subprocess.Popen[bytes] | None:
    """Start a job, unless it is complete or another process runs it.

    Raises:
        JobFailed: its process could not be started.
    """
    try:
        return launch.start(store, job, secrets, worker=SEARCHER if job.automl is not None else launch.WORKER)
    except BadState:
        return None
