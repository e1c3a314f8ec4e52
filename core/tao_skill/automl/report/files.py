"""Files of a search's report, and how they are read back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from tao_skill.automl.report.report import SearchReport, TrialReport
from tao_skill.errors import Command, Fix, NotFound
from tao_skill.io.strict_json import REPORT_BYTES, read_json
from tao_skill.jobs.record import Job
from tao_skill.jobs.trials import has_checkpoint

REPORT_FILE: Final = "report.json"
PAGE_FILE: Final = "report.html"


def check_search(job: Job) -> None:
    """Make sure that a job is a search.

    Raises:
        NotFound: it is not.
    """
    if job.automl is None:
        raise NotFound(f"job {job.id} is not an AutoML search", fix=Fix(Command("jobs show", job.id)))


def read_report(folder: Path, job: Job) -> SearchReport:
    """The newest report of a search.

    Args:
        folder: the job's.

    Raises:
        NotFound: the job is not a search, or has no report yet. BadData: the report is damaged or of another version.
    """
    path = folder / REPORT_FILE
    check_search(job)
    if not path.is_file():
        raise NotFound(f"job {job.id} has no report yet", fix=Fix(Command("jobs wait", job.id)), path=str(path))
    report: SearchReport = read_json(
        path, SearchReport, what="a report of a search", fix="resume the job, which writes it again", most=REPORT_BYTES
    )
    return report


def with_parents(report: SearchReport, folder: Path, job: Job) -> SearchReport:
    """The report with `parent`, the reference for --parent, in each trial that has a checkpoint."""

    def referenced(trial: TrialReport) -> TrialReport:
        is_parent = has_checkpoint(folder, trial.number, job)
        return replace(trial, parent=f"{job.id}/{trial.number}") if is_parent else trial

    return replace(report, trials=tuple(map(referenced, report.trials)))
