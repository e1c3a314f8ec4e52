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
    """The nearest job that made a model, e.g. the training of an evaluation, with the merged specs of the jobs between.

    Args:
        metric: metric that its best checkpoint is chosen by, unless it was a search, which has its own.
    """
    jobs = list(_lineage(job, store))
    source = next((ancestor for ancestor in jobs if model.action(ancestor.action).makes_model), job)
    artifacts = {artifact["kind"]: Path(artifact["path"]) for artifact in source.artifacts}
    metric = (source.automl or {}).get("metric") or metric
    return Parent(
        id=source.id,
        results_dir=Path(source.results_dir),
        spec=load.merge(model.config, *(_result_spec(ancestor, model) for ancestor in reversed(jobs))),
        select=partial(model.select_result, source.action, Path(source.results_dir), metric, artifacts),
    )


def parent_warnings(parent: Job | None) -> Iterator[str]:
    """Warn of a parent job that is not complete."""
    if parent is not None and parent.state != "COMPLETE":
        yield f"parent job {parent.id} is {parent.state}: its newest results are used"


def _result_spec(job: Job, model: Model) -> dict[str, Any]:
    """The spec of a job with the values that its result was made with, e.g. those of the winner of a search."""
    return load.override(model.config, job.spec, job.chosen.items())


def _lineage(job: Job, store: Store) -> Iterator[Job]:
    """The job and its ancestors, up to the first without a record."""
    yield job
    while job.parent is not None:
        try:
            job = find_parent(store, job.parent)
        except NotFound:
            return
        yield job
