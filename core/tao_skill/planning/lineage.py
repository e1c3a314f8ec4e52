"""The parent job of a run, and the jobs that the parent was built on."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tao_skill.errors import NotFound
from tao_skill.inference import Parent
from tao_skill.jobs.record import Job
from tao_skill.jobs.store import Store
from tao_skill.jobs.trials import find_parent
from tao_skill.model import Model
from tao_skill.spec import load


def as_parent(job: Job, model: Model, store: Store, metric: str) -> Parent:
    """The parent that a job stands for: the training behind an evaluation, with the specs of all jobs between them.

    Args:
        metric: metric that its best checkpoint is chosen by, unless it was a search for another metric.
    """
    jobs = list(_lineage(job, store))
    maker = next((ancestor for ancestor in jobs if model.action(ancestor.action).makes_model), job)
    artifacts = {artifact["kind"]: Path(artifact["path"]) for artifact in maker.artifacts}
    metric = (maker.automl or {}).get("metric") or metric
    return Parent(
        id=maker.id,
        results_dir=Path(maker.results_dir),
        spec=load.merge(model.config, *(_result_spec(ancestor, model) for ancestor in reversed(jobs))),
        select=partial(model.select_result, maker.action, Path(maker.results_dir), metric, artifacts),
    )


def parent_warnings(parent: Job | None) -> Iterator[str]:
    """A warning where the parent job has not ended well."""
    if parent is not None and parent.state != "COMPLETE":
        yield f"parent job {parent.id} is {parent.state}: what it has left so far is used"


def _result_spec(job: Job, model: Model) -> dict[str, Any]:
    """The spec that a job's result was made with."""
    return load.override(model.config, job.spec, job.chosen.items())


def _lineage(job: Job, store: Store) -> Iterator[Job]:
    """The job, its parent, and so on as far as there are records."""
    yield job
    while job.parent is not None:
        try:
            job = find_parent(store, job.parent)
        except NotFound:
            return
        yield job
