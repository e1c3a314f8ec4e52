"""The tool that reads what a finished job found out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from tao_skill.agent_tools.context import ToolContext
from tao_skill.agent_tools.jobs import JobRef, next_calls
from tao_skill.agent_tools.tool import CONCISE, Answer, Detail, Object, call
from tao_skill.automl.report.report import read_report as read_search
from tao_skill.automl.report.report import with_parents
from tao_skill.errors import BadData, Command, Fix, NotFound
from tao_skill.io.strict_json import REPORT_BYTES, read_json
from tao_skill.jobs.record import Job
from tao_skill.jobs.store import Store
from tao_skill.spec.param import Param
from tao_skill.status import drop_superseded, read_status

SHOWN: Final = 10
"""Classes, confusions or epochs in a concise report."""


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


def read_report(asked: ReportArguments, here: ToolContext) -> Report:
    """The report of a search, a training, an evaluation or an inference; any other job's metrics.

    Raises:
        NotFound: there is none yet. BadData: it cannot be read. OutsideRoots: it lies elsewhere.
    """
    store, job = here.find(asked.job)
    whole = _read(store, job, here)
    report = _concise(job, whole) if asked.detail == CONCISE else whole
    then = [one for one in next_calls(job) if one["tool"] != "read_report"]
    return Report(job=job.id, report=report, next=then or [call("list_jobs")])


def _concise(job: Job, whole: Mapping[str, Any]) -> dict[str, Any]:
    try:
        found: dict[str, Any] = _rounded(_SHORT[_kind(job)](whole))
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        problem = f"the report of job {job.id} lacks what a report has ({type(error).__name__}: {error})"
        raise BadData(problem, fix="run the job again, or ask for detail=full", path=job.results_dir) from error
    return found


def _kind(job: Job) -> str:
    return "search" if job.automl is not None else job.action if job.action in _SHORT else "other"


def _read(store: Store, job: Job, here: ToolContext) -> dict[str, Any]:
    if job.automl is not None:
        here.roots.confine("job", str(store.folder(job.id) / "report.json"))
        folder = store.folder(job.id)
        return with_parents(read_search(folder, job), folder, job)
    if job.action == "train":
        here.roots.confine("job", str(Path(job.results_dir) / "status.json"))
        return {"metrics": job.metrics, "history": _history(job)}
    path = next((one["path"] for one in job.artifacts if one["kind"] in ("report", "probabilities")), None)
    if path is None:
        if job.state != "COMPLETE":
            raise NotFound(f"job {job.id} is {job.state} and has no report", fix=Fix(Command("jobs wait", job.id)))
        return {"metrics": job.metrics, "artifacts": list(job.artifacts)}
    here.roots.confine("job", path)
    return _json(Path(path)) | {"metrics": job.metrics}


def _history(job: Job) -> list[dict[str, Any]]:
    """The metrics of each status line of the training as it stands that has some."""
    lines = drop_superseded(read_status(Path(job.results_dir)))
    facts = ("epoch", "max_epoch", "kpi")
    return [{name: line[name] for name in facts if name in line} for line in lines if line.get("kpi")]


def _json(path: Path) -> dict[str, Any]:
    report: dict[str, Any] = read_json(
        path, dict[str, Any], what="a report", fix="run the job again", most=REPORT_BYTES
    )
    return report


def _search(whole: Mapping[str, Any]) -> dict[str, Any]:
    baseline, winner = whole["baseline"] or {}, whole["winner"]
    parents = {one["number"]: one.get("parent") for one in whole["trials"]}
    return {
        "goal": {name: whole["goal"][name] for name in ("metric", "direction")},
        "winner": {name: winner[name] for name in ("number", "is_default", "sentence", "gain", "values", "best_epoch")},
        "default": {name: baseline.get(name) for name in ("metric", "best_epoch")},
        "trials": whole["progress"]["trials"],
        "epochs": whole["progress"]["epochs"],
        "ended": whole["progress"]["ended"],
        "best": [
            {"number": one["number"], "metric": one["metric"], "parent": parents.get(one["number"])}
            for one in whole["finalists"][:3]
        ],
    }


def _train(whole: Mapping[str, Any]) -> dict[str, Any]:
    return {"metrics": whole["metrics"], "history": whole["history"][-SHOWN:]}


def _evaluate(whole: Mapping[str, Any]) -> dict[str, Any]:
    """Totals, the classes that went worst, and the most frequent confusions as [true, predicted, count]."""
    names = [one["name"] for one in whole["classes"]]
    known = [one for one in whole["classes"] if one["accuracy"] is not None]
    worst = sorted(known, key=lambda one: float(one["accuracy"]))[:SHOWN]
    rows = enumerate(whole["confusion_matrix"])
    wrong = [[names[i], names[j], n] for i, row in rows for j, n in enumerate(row) if i != j and n]
    return {
        "accuracy": whole["accuracy"],
        "avg_accuracy": whole["avg_accuracy"],
        "classes": {one["name"]: one["accuracy"] for one in worst},
        "confusions": sorted(wrong, key=lambda one: -one[2])[:SHOWN],
    }


def _inference(whole: Mapping[str, Any]) -> dict[str, Any]:
    counts = Counter(one["name"] for one in whole["predictions"])
    return {"metrics": whole["metrics"], "predicted": dict(counts.most_common(SHOWN))}


_SHORT: Final[Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]]] = {
    "search": _search,
    "train": _train,
    "evaluate": _evaluate,
    "inference": _inference,
    "other": dict,
}
"""What of a report is told in short."""


def _rounded(value: Any) -> Any:
    """Numbers in four significant digits."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, Mapping):
        return {name: _rounded(one) for name, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list) else value
