"""Tools that list, inspect, wait for and cancel jobs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any, Final

from tao_skill.agent_tools.context import ToolContext
from tao_skill.agent_tools.tool import CONCISE, Answer, Detail, Object, call
from tao_skill.jobs.document import job_document, job_row, next_runs
from tao_skill.jobs.launch import cancel, tail
from tao_skill.jobs.record import TERMINAL, Job
from tao_skill.model import TRAIN
from tao_skill.models import get_model
from tao_skill.spec.param import Param

LOG_CHARACTERS: Final = 20_000

JobRef = Annotated[str, Param("Id, prefix, latest, or latest:ACTION.")]


@dataclass(frozen=True, kw_only=True)
class JobArguments:
    """A job and the level of detail."""

    job: JobRef
    detail: Detail = CONCISE


@dataclass(frozen=True, kw_only=True)
class JobAnswer(Answer):
    """The state of a job."""

    job: Annotated[Object, Param("id, action, state: PENDING RUNNING COMPLETE ERROR CANCELED.")]
    route: Annotated[Object | None, Param("direct or automl.")] = None
    progress: Annotated[str | None, Param("")] = None
    metrics: Annotated[Object | None, Param("")] = None
    artifacts: Annotated[list[Object] | None, Param("")] = None
    upload: Annotated[Object | None, Param("")] = None
    warnings: Annotated[list[str] | None, Param("")] = None


def job_status(arguments: JobArguments, context: ToolContext) -> JobAnswer:
    """Return the state of a job."""
    return job_answer(context.find(arguments.job)[1], context, arguments.detail)


@dataclass(frozen=True, kw_only=True)
class WaitArguments:
    """A job, a timeout and the level of detail."""

    job: JobRef
    timeout_s: Annotated[float, Param("Longest wait.", minimum=0, maximum=3600)] = 50.0
    detail: Detail = CONCISE


def wait_for_job(arguments: WaitArguments, context: ToolContext) -> JobAnswer:
    """Wait until a job ends, or for `timeout_s`, and return its state."""
    return job_answer(context.wait(arguments.job, arguments.timeout_s), context, arguments.detail)


def cancel_job(arguments: JobArguments, context: ToolContext) -> JobAnswer:
    """Cancel a job.

    Raises:
        BadState: the job has ended, or runs on another machine.
    """
    store, job = context.find(arguments.job)
    return job_answer(cancel(store, job.id), context, arguments.detail)


@dataclass(frozen=True, kw_only=True)
class LogArguments:
    """A job and a number of lines."""

    job: JobRef
    lines: Annotated[int, Param("Last lines.", minimum=1, maximum=1000)] = 50


@dataclass(frozen=True, kw_only=True)
class Log(Answer):
    """The last lines of a log."""

    job: Annotated[str, Param("")]
    log: Annotated[str, Param("")]


def job_logs(arguments: LogArguments, context: ToolContext) -> Log:
    """Return the last lines of a job's log, at most 20,000 characters."""
    store, job = context.find(arguments.job)
    text = tail(store, job.id, arguments.lines)
    return Log(job=job.id, log=text[-LOG_CHARACTERS:], next=[call("job_status", job=job.id)])


@dataclass(frozen=True, kw_only=True)
class ListArguments:
    """A number of jobs."""

    limit: Annotated[int, Param("Newest jobs.", minimum=1, maximum=200)] = 10


@dataclass(frozen=True, kw_only=True)
class Jobs(Answer):
    """Jobs, newest first."""

    jobs: Annotated[list[Object], Param("")]
    total: Annotated[int, Param("")]


def list_jobs(arguments: ListArguments, context: ToolContext) -> Jobs:
    """Return the newest jobs."""
    rows = [job_row(job) for job in islice(context.store.newest(), arguments.limit)]
    return Jobs(jobs=rows, total=context.store.count(), next=[_next_call(rows)])


def _next_call(rows: Sequence[Object]) -> Object:
    return call("job_status", job=rows[0]["id"]) if rows else call("list_models")


def job_answer(job: Job, context: ToolContext, detail: str, warnings: Sequence[str] = ()) -> JobAnswer:
    """Build the answer for a job."""
    document = job_document(job)
    if detail == CONCISE:
        document = _concise(job, document)
    return JobAnswer(
        **document, progress=context.progress(job), warnings=list(warnings) or None, next=list(next_calls(job))
    )


def _concise(job: Job, document: dict[str, Any]) -> dict[str, Any]:
    concise: dict[str, Any] = {name: document[name] for name in ("upload", "error") if name in document}
    if job.state not in TERMINAL:
        concise["route"] = {"route": job.route.get("route")}
    elif job.state == "COMPLETE":
        concise["metrics"] = {
            name: round(value, 4) if value is not None else None for name, value in job.metrics.items()
        }
        concise["artifacts"] = document["artifacts"] if job.action != TRAIN else None
    return {"job": {name: document["job"][name] for name in ("id", "action", "state")}, **concise}


def next_calls(job: Job) -> Iterator[Object]:
    """Yield the calls that usually follow a job in its state."""
    if job.state not in TERMINAL:
        yield call("wait_for_job", job=job.id)
        return
    if job.state != "COMPLETE":
        yield call("job_logs", job=job.id, lines=20)
        return
    runs = list(next_runs(job))
    action = get_model(job.model).actions.get(job.action)
    if job.action == TRAIN or (action and action.report) or not runs:
        yield call("read_report", job=job.id)
    for run in runs:
        yield call("run_action", action=run.action, parent=run.parent, overrides=list(run.overrides), wait_s=50)
