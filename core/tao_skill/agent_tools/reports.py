"""The tool that reads what a finished job found out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from tao_skill.agent_tools.context import ToolContext
from tao_skill.agent_tools.jobs import JobRef, next_calls
from tao_skill.agent_tools.tool import CONCISE, Answer, Detail, Object, call
from tao_skill.automl.document import to_json
from tao_skill.automl.report.files import REPORT_FILE, with_parents
from tao_skill.automl.report.files import read_report as read_search_report
from tao_skill.automl.report.report import SearchReport
from tao_skill.errors import BadData, Command, Fix, NotFound
from tao_skill.io.strict_json import REPORT_BYTES, read_json
from tao_skill.jobs.record import Job
from tao_skill.jobs.store import Store
from tao_skill.model import TRAIN, Action
from tao_skill.models import get_model
from tao_skill.spec.param import Param
from tao_skill.status import of_present_training, read_status

LISTED: Final = 10
"""Epochs in a concise report."""


@dataclass(frozen=True, kw_only=True)
class ReportArguments:
    """Which job, and how much of its report."""

    job: JobRef
    detail: Detail = CONCISE


@dataclass(frozen=True, kw_only=True)
class Report(Answer):
    """What a job found out."""

    job: Annotated[str, Param("")]
    report: Annotated[Object, Param("")]


def read_report(arguments: ReportArguments, context: ToolContext) -> Report:
    """The report of a search, a training, an evaluation or an inference; any other job's metrics.

    Raises:
        NotFound: there is none yet. BadData: it cannot be read. OutsideRoots: it lies elsewhere.
    """
    store, job = context.find(arguments.job)
    is_concise = arguments.detail == CONCISE
    if job.automl is not None:
        search = _read_search(store, job, context)
        report = _concise_search(search) if is_concise else to_json(search)
    else:
        full = _read(job, context)
        report = _concise(job, full) if is_concise else full
    then = [proposal for proposal in next_calls(job) if proposal["tool"] != "read_report"]
    return Report(job=job.id, report=report, next=then or [call("list_jobs")])


def _concise(job: Job, report: Mapping[str, Any]) -> dict[str, Any]:
    try:
        brief: dict[str, Any] = _rounded(_summary(job)(report))
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        problem = f"the report of job {job.id} lacks what a report has ({type(error).__name__}: {error})"
        raise BadData(problem, fix="run the job again, or ask for detail=full", path=job.results_dir) from error
    return brief


def _summary(job: Job) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    return _train if job.action == TRAIN else _action(job).summarize


def _action(job: Job) -> Action:
    return get_model(job.model).action(job.action)


def _read_search(store: Store, job: Job, context: ToolContext) -> SearchReport:
    folder = store.folder(job.id)
    context.roots.confine("job", str(folder / REPORT_FILE))
    return with_parents(read_search_report(folder, job), folder, job)


def _read(job: Job, context: ToolContext) -> dict[str, Any]:
    if job.action == TRAIN:
        context.roots.confine("job", str(Path(job.results_dir) / "status.json"))
        return {"metrics": job.metrics, "history": _history(job)}
    kind = _action(job).report
    path = next((artifact["path"] for artifact in job.artifacts if artifact["kind"] == kind), None)
    if path is None:
        if job.state != "COMPLETE":
            raise NotFound(f"job {job.id} is {job.state} and has no report", fix=Fix(Command("jobs wait", job.id)))
        return {"metrics": job.metrics, "artifacts": list(job.artifacts)}
    context.roots.confine("job", path)
    return _json(Path(path)) | {"metrics": job.metrics}


def _history(job: Job) -> list[dict[str, Any]]:
    """The metrics of each status line of the training as it stands that has some."""
    lines = of_present_training(read_status(Path(job.results_dir)))
    facts = ("epoch", "max_epoch", "kpi")
    return [{name: line[name] for name in facts if name in line} for line in lines if line.get("kpi")]


def _json(path: Path) -> dict[str, Any]:
    report: dict[str, Any] = read_json(
        path, dict[str, Any], what="a report", fix="run the job again", most=REPORT_BYTES
    )
    return report


def _concise_search(report: SearchReport) -> dict[str, Any]:
    winner, default = report.winner, report.baseline
    parents = {trial.number: trial.parent for trial in report.trials}
    brief: dict[str, Any] = _rounded(
        {
            "goal": {"metric": report.goal.metric, "direction": report.goal.direction},
            "winner": {
                "number": winner.number,
                "is_default": winner.is_default,
                "sentence": winner.sentence,
                "gain": winner.gain,
                "values": winner.values,
                "best_epoch": winner.best_epoch,
            },
            "default": {
                "metric": default.metric if default else None,
                "best_epoch": default.best_epoch if default else None,
            },
            "trials": report.progress.trials,
            "epochs": report.progress.epochs,
            "ended": report.progress.ended,
            "best": [
                {"number": trial.number, "metric": trial.metric, "parent": parents.get(trial.number)}
                for trial in report.finalists[:3]
            ],
        }
    )
    return brief


def _train(whole: Mapping[str, Any]) -> dict[str, Any]:
    return {"metrics": whole["metrics"], "history": whole["history"][-LISTED:]}


def _rounded(value: Any) -> Any:
    """Numbers in four significant digits."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, Mapping):
        return {name: _rounded(one) for name, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list) else value
