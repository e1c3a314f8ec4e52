"""The tool that reads the report of a job."""

from __future__ import annotations

from collections.abc import Mapping
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
from tao_skill.status import drop_superseded, read_status

MAX_EPOCHS: Final = 10
"""Last epochs in a concise report."""


@dataclass(frozen=True, kw_only=True)
class ReportArguments:
    """The job, and the level of detail of its report."""

    job: JobRef
    detail: Detail = CONCISE


@dataclass(frozen=True, kw_only=True)
class Report(Answer):
    """The report of a job."""

    job: Annotated[str, Param("")]
    report: Annotated[Object, Param("")]


def read_report(arguments: ReportArguments, context: ToolContext) -> Report:
    """Read the report of a search, training, evaluation or inference, or the metrics of any other job.

    Raises:
        NotFound: the job has no report yet. BadData: it cannot be read. OutsideRoots: it is outside the roots.
    """
    store, job = context.find(arguments.job)
    report = _document(store, job, context, is_concise=arguments.detail == CONCISE)
    other_calls = [next_call for next_call in next_calls(job) if next_call["tool"] != "read_report"]
    return Report(job=job.id, report=report, next=other_calls or [call("list_jobs")])


def _document(store: Store, job: Job, context: ToolContext, *, is_concise: bool) -> dict[str, Any]:
    if job.automl is not None:
        search = _read_search(store, job, context)
        return _concise_search(search) if is_concise else to_json(search)
    if job.action == TRAIN:
        context.roots.confine("job", str(Path(job.results_dir) / "status.json"))
        history = _history(job)
        latest: dict[str, Any] = _round({"metrics": job.metrics, "history": history[-MAX_EPOCHS:]})
        return latest if is_concise else {"metrics": job.metrics, "history": history}
    report = _read(job, context)
    if report is None:
        return {"metrics": job.metrics, "artifacts": list(job.artifacts)}
    return _summarize(job, report) if is_concise else {**report, "metrics": job.metrics}


def _summarize(job: Job, report: Mapping[str, Any]) -> dict[str, Any]:
    try:
        summary: dict[str, Any] = _round(_action(job).summarize(report, job.metrics))
    except ValueError as error:
        problem = f"the report of job {job.id} is damaged: {error}"
        raise BadData(problem, fix="run the job again, or ask for detail=full", path=job.results_dir) from error
    return summary


def _action(job: Job) -> Action:
    return get_model(job.model).action(job.action)


def _read_search(store: Store, job: Job, context: ToolContext) -> SearchReport:
    folder = store.folder(job.id)
    context.roots.confine("job", str(folder / REPORT_FILE))
    return with_parents(read_search_report(folder, job), folder, job)


def _read(job: Job, context: ToolContext) -> dict[str, Any] | None:
    """The report file of a job; None if its action leaves none."""
    kind = _action(job).report
    path = next((artifact["path"] for artifact in job.artifacts if artifact["kind"] == kind), None)
    if path is None:
        if job.state != "COMPLETE":
            raise NotFound(f"job {job.id} is {job.state} and has no report", fix=Fix(Command("jobs wait", job.id)))
        return None
    context.roots.confine("job", path)
    report: dict[str, Any] = read_json(
        Path(path), dict[str, Any], what="a report", fix="run the job again", most=REPORT_BYTES
    )
    return report


def _history(job: Job) -> list[dict[str, Any]]:
    """The metrics in the status lines of the training, without epochs that were trained again after a resume."""
    lines = drop_superseded(read_status(Path(job.results_dir)))
    fields = ("epoch", "max_epoch", "kpi")
    return [{name: line[name] for name in fields if name in line} for line in lines if line.get("kpi")]


def _concise_search(report: SearchReport) -> dict[str, Any]:
    winner, default = report.winner, report.baseline
    parents = {trial.number: trial.parent for trial in report.trials}
    more = {"test": winner.test, "flags": list(winner.flags), "not_in_tao": list(winner.not_in_tao)}
    brief: dict[str, Any] = _round(
        {
            "goal": {"metric": report.goal.metric, "direction": report.goal.direction},
            "winner": {
                "number": winner.number,
                "is_default": winner.is_default,
                "sentence": winner.sentence,
                "gain": winner.gain,
                "values": winner.values,
                "best_epoch": winner.best_epoch,
                **{name: value for name, value in more.items() if value},
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


def _round(value: Any) -> Any:
    """Round numbers to four significant digits."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, Mapping):
        return {name: _round(item) for name, item in value.items()}
    return [_round(item) for item in value] if isinstance(value, list) else value
