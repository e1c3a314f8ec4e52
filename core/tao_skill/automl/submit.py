"""From a plan to a started job, direct or as a search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tao_skill.automl.report.review import SearchReview, review
from tao_skill.automl.search.setup import training_keys
from tao_skill.automl.settings import read_settings
from tao_skill.errors import BadState, SpecError
from tao_skill.jobs.record import Job
from tao_skill.jobs.store import Store
from tao_skill.model import TRAIN
from tao_skill.planning.plan import Plan
from tao_skill.spec import load
from tao_skill.spec.paths import Confine
from tao_skill.spec.tree import lookup

if TYPE_CHECKING:
    import subprocess


def review_search(planned: Plan, store: Store | None = None, confine: Confine | None = None) -> SearchReview | None:
    """The review of the search that a plan leads to; None for a direct run.

    Args:
        store: has the earlier trainings by which the time is estimated; None for no estimate.
        confine: raises for each path that may not be read.

    Raises:
        BadRequest: a setting of the search is not accepted, or the spec does not fit its max_epochs.
    """
    if planned.route.route != "automl":
        return None
    from tao_skill.automl.execution.epoch_time import epoch_time
    from tao_skill.automl.search.setup import has_budget, make_setup, not_in_tao

    model, settings = planned.model, read_settings(planned.search)
    setup = make_setup(model, planned.spec, settings)
    if settings.max_epochs and (problems := model.check_run(load.build(model.config, setup.spec), TRAIN).problems):
        raise SpecError(problems)
    values = setup.recipes[0].values if setup.recipes else {}
    spec = load.override(model.config, setup.spec, values.items())
    measured = epoch_time(model, spec, store, confine) if store else None
    full_s = measured.seconds * setup.trainings.epochs(values) if measured else None
    job = measured.job if measured else None
    specs = (load.override(model.config, setup.spec, one.values.items()) for one in setup.recipes)
    own_keys = dict.fromkeys(key for one in (setup.spec, *specs) for key in not_in_tao(model, one))
    proposed = not has_budget(settings)
    return review(setup, full_s=full_s, learnt_from=job, is_proposed=proposed, own_keys=list(own_keys))


def warnings(planned: Plan) -> list[str]:
    """Warnings of a plan, and about settings that have no effect on its route."""
    if planned.route.route == "automl":
        fixed = training_keys(planned.model).trial
        values = {key: lookup(planned.spec, key) for key in fixed}
        unused = ", ".join(f"{key}={value}" for key, value in values.items() if value != fixed[key])
        note = f"a search validates after every epoch and trains a trial on one device; not used: {unused}"
        return [note, *planned.warnings] if unused else list(planned.warnings)
    if not planned.search:
        return list(planned.warnings)
    unused = f"{', '.join(planned.search)}: no effect, as this run is direct ({planned.route.reason})"
    return [unused, *planned.warnings]


def start(job: Job, store: Store, secrets: Mapping[str, str]) -> subprocess.Popen[bytes] | None:
    """Start a job, unless it is complete or another process runs it.

    Raises:
        JobFailed: its process cannot be started.
    """
    from tao_skill.jobs import launch

    coordinator = (*launch.PYTHON, "tao_skill.automl.execution.coordinator")
    try:
        return launch.start(store, job, secrets, worker=launch.WORKER if job.automl is None else coordinator)
    except BadState:
        return None
