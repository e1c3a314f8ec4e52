"""A job as JSON for agents and users, and the runs that usually follow it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tao_skill.jobs.record import Job


@dataclass(frozen=True, kw_only=True)
class NextRun:
    """A run that usually follows a job: an action, its parent job and its overrides."""

    action: str
    parent: str
    overrides: tuple[str, ...]


def job_document(job: Job) -> dict[str, Any]:
    """Return a job in the JSON contract for agents, without the next commands."""
    document: dict[str, Any] = {
        "job": {
            "id": job.id,
            "model": job.model,
            "action": job.action,
            "state": job.state,
            "parent": job.parent,
            "results_dir": job.results_dir,
            "created": job.created,
            "started": job.started,
            "ended": job.ended,
        },
        "route": dict(job.route),
        "metrics": dict(job.metrics),
        "artifacts": [{"kind": artifact["kind"], "path": artifact["path"]} for artifact in job.artifacts],
    }
    if job.upload or job.uploaded:
        from tao_skill.io.s3 import join

        document["upload"] = {"uri": join(job.upload or "", job.id)} | (job.uploaded or {})
    return document | ({"error": job.error} if job.error else {})


def job_row(job: Job) -> dict[str, Any]:
    """Return the row of a job in a list."""
    return {"id": job.id, "action": job.action, "state": job.state, "parent": job.parent, "created": job.created}


def next_runs(job: Job) -> Iterator[NextRun]:
    """Yield the runs that usually follow a completed job."""
    from tao_skill.models import get_model

    actions = get_model(job.model).actions
    action = actions.get(job.action)
    if action is None:
        return
    feeds = [
        f"{action.feeds[artifact['kind']]}={artifact['path']}"
        for artifact in job.artifacts
        if artifact.get("kind") in action.feeds
    ]
    parent = job.id if action.makes_model else job.parent
    if feeds and not parent:
        parent = f"latest:{next(name for name in actions if actions[name].makes_model)}"
    if not parent or (action.feeds and not feeds):
        return
    # An action that follows must be possible on the model of the parent too.
    parent_action = actions.get(parent.removeprefix("latest:").split("-")[0])
    for name in action.next:
        if parent_action is not None and name in parent_action.next:
            yield NextRun(action=name, parent=parent, overrides=tuple(feeds))
