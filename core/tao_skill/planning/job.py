"""The job record of a plan."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from tao_skill.io import atomic
from tao_skill.jobs.record import Job, timestamp
from tao_skill.jobs.store import Store
from tao_skill.planning.plan import Plan
from tao_skill.spec.references import escaped

SPEC_FILE: Final = "spec.yaml"
"""File in the job's folder with its spec, in the form that `--spec` reads."""


def open_job(planned: Plan, store: Store, *, now: datetime) -> tuple[Job, bool]:
    """Open the job record of a plan; if its key was used before, return the job of that key.

    Returns:
        The job, and whether it is new.

    Raises:
        KeyConflict: the key belongs to another request.
    """
    job = Job(
        id=planned.job_id,
        model=planned.model.name,
        action=planned.action,
        parent=planned.parent,
        key=planned.key,
        upload=planned.upload,
        route=dict(vars(planned.route)),
        command=tuple(map(planned.mask_secrets, planned.command)),
        spec=dict(planned.spec),
        automl=dict(planned.search) if planned.route.route == "automl" else None,
        results_dir=str(planned.results_dir),
        created=timestamp(now),
    )
    opened, is_new = store.open(job)
    spec_file = store.folder(opened.id) / SPEC_FILE
    if not spec_file.exists():  # new, or an earlier call was killed before it wrote the file
        from tao_skill.io.strict_yaml import dump_yaml

        atomic.write_text(spec_file, dump_yaml(escaped(opened.spec)))
    return opened, is_new
