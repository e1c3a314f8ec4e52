"""A job as it is shown to agents and people, and what usually follows it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tao_skill.jobs.record import Job


@dataclass(frozen=True, kw_only=True)
class Following:
    """A run that usually comes next: an action on a parent, with what it needs beside."""

    action: str
    parent: str
    overrides: tuple[str, ...]


def job_document(job: Job) -> dict[str, Any]:
    """The result of a job, as the contract for agents has it, without what comes next."""
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
        "artifacts": [{"kind": one["kind"], "path": one["path"]} for one in job.artifacts],
    }
    if job.upload or job.uploaded:
        from tao_skill.io.s3 import join

        document["upload"] = {"uri": join(job.upload or "", job.id)} | (job.uploaded or {})
    return document | ({"error": job.error} if job.error else {})


def job_row(job: Job) -> dict[str, Any]:
    """The job in a list."""
    return {"id": job.id, "action": job.action, "state": job.state, "parent": job.parent, "created": job.created}


def following(job: Job) -> Iterator[Following]:
    """What is run next on a finished job."""
    from tao_skill.models import get_model

    actions = get_model(job.model).actions
    action = actions.get(job.action)
    if action is None:
        return
    feeds = [f"{action.feeds[one['kind']]}={one['path']}" for one in job.artifacts if one.get("kind") in action.feeds]
    parent = job.id if action.makes_model else job.parent
    if feeds and not parent:
        parent = f"latest:{next(name for name in actions if actions[name].makes_model)}"
    if not parent or (action.feeds and not feeds):
        return
    # What follows on a parent's model must be something one can do with that kind of model.
    before = actions.get(parent.removeprefix("latest:").split("-")[0])
    for name in action.next:
        if before is not None and name in before.next:
            yield Following(action=name, parent=parent, overrides=tuple(feeds))
