"""Trials of a search as parents: `JOB/3` is trial 3 of the search JOB, with its own spec and its own checkpoints."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Final

from tao_skill.errors import Command, Fix, NotFound, Option
from tao_skill.jobs.record import Job
from tao_skill.jobs.store import RECORD_FILE, Store
from tao_skill.models import get_model
from tao_skill.spec import load

TRIALS: Final = "automl/trials"
"""Where trials train, in the job's folder."""

SPEC_FILE: Final = "spec.yaml"
"""The spec of a trial, in its folder: complete, without secrets; `-e` takes it as it is."""

_TRIAL: Final = re.compile(r"(?P<search>.+)/(?P<number>\d{1,6})", re.DOTALL)


def trial_folder(job_folder: Path, number: int) -> Path:
    """The folder of one trial."""
    return job_folder / TRIALS / f"{number:04d}"


def trial_results(job_folder: Path, number: int, action: str) -> Path:
    """Where a trial's training writes its checkpoints."""
    return trial_folder(job_folder, number) / action


def has_checkpoint(job_folder: Path, number: int, job: Job) -> bool:
    """Whether a trial of a search can be a parent."""
    return bool(get_model(job.model).result_files(trial_results(job_folder, number, job.action)))


def split_reference(reference: str) -> tuple[str, int | None]:
    """The job reference and the number of the trial: `latest:train/3` is (`latest:train`, 3), `JOB` is (`JOB`, None).

    The path of a job folder stays whole, whatever the folder is called.
    """
    match = _TRIAL.fullmatch(reference)
    if match is None or (Path(reference) / RECORD_FILE).is_file():
        return reference, None
    return match["search"], int(match["number"])


def find_parent(store: Store, reference: str) -> Job:
    """The job of a reference, or a trial of a search in the form of a job: its own spec, folder and id `JOB/NUMBER`.

    Raises:
        NotFound: there is no such job or trial, or the job is not a search.
        BadRequest, BadData: as `Store.find`; the trial's spec cannot be read.
    """
    name, number = split_reference(reference)
    home, job = store.find(name)
    if number is None:
        return job
    if job.automl is None:
        raise NotFound(
            f"job {job.id} is not an AutoML search: it has no trial {number}",
            fix=Fix("give ", Option("parent", job.id)),
        )
    folder = home.folder(job.id)
    spec = trial_folder(folder, number) / SPEC_FILE
    if not spec.is_file():
        raise NotFound(
            f"search {job.id} has no trial {number}", fix=Fix("see ", Command("automl show", job.id)), path=str(spec)
        )
    return replace(
        job,
        id=f"{job.id}/{number}",
        spec=load.read_spec_file(spec),
        results_dir=str(trial_results(folder, number, job.action)),
        chosen={},
        artifacts=(),
        metrics={},
    )
