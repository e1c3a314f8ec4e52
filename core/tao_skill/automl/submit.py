"""From a plan to a started job, whichever way it is routed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tao_skill.automl.execution.devices import find_gpus
from tao_skill.automl.report.report import review
from tao_skill.automl.search.setup import training_keys
from tao_skill.automl.settings import read_settings
from tao_skill.errors import BadState
from tao_skill.jobs.record import Job
from tao_skill.jobs.store import Store
from tao_skill.planning.plan import Plan
from tao_skill.spec.paths import Confine
from tao_skill.spec.tree import lookup

if TYPE_CHECKING:
    import subprocess


def review_search(planned: Plan, store: Store | None = None, confine: Confine | None = None) -> dict[str, Any]:
    """What a search would do, as `automl`; empty where there is none.

    Args:
        store: where earlier trainings tell how long an epoch takes; None leaves the time out.
        confine: raises for each path that may not be read.

    Raises:
        BadRequest: its settings are wrong.
    """
    if planned.route.route != "automl":
        return {}
    from tao_skill.automl.execution.epoch_time import epoch_time
    from tao_skill.automl.search.setup import make_setup

    settings = read_settings(planned.search)
    setup = make_setup(planned.model, planned.spec, settings)
    known = epoch_time(planned.model, planned.spec, store, confine) if store else None
    seconds, job = (known.seconds, known.job) if known else (None, None)
    # Workers without a GPU each share the cores that one training used.
    at_once = 1 if settings.workers == 1 else min(settings.workers, max(1, len(find_gpus(os.environ))))
    return {"automl": review(setup, seconds_per_epoch=seconds, learnt_from=job, workers=at_once)}


def warnings(planned: Plan) -> list[str]:
    """The plan's warnings, and settings without an effect on the route taken."""
    if planned.route.route == "automl":
        fixed = training_keys(planned.model).trial
        given = {key: lookup(planned.spec, key) for key in fixed}
        unused = ", ".join(f"{key}={value}" for key, value in given.items() if value != fixed[key])
        note = f"a search validates after every epoch and trains a trial on one device; not used: {unused}"
        return [note, *planned.warnings] if unused else list(planned.warnings)
    if not planned.search:
        return list(planned.warnings)
    idle = f"{', '.join(planned.search)}: no effect, as this run is direct ({planned.route.reason})"
    return [idle, *planned.warnings]


def start(job: Job, store: Store, secrets: Mapping[str, str]) -> subprocess.Popen[bytes] | None:
    """Start a job, unless it is complete or another process runs it.

    Raises:
        JobFailed: its process could not be started.
    """
    from tao_skill.jobs import launch

    searcher = (*launch.PYTHON, "tao_skill.automl.execution.coordinator")
    try:
        return launch.start(store, job, secrets, worker=launch.WORKER if job.automl is None else searcher)
    except BadState:
        return None
