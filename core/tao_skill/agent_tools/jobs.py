"""Tools that look at jobs, wait for them, and stop them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any, Final

from tao_skill.agent_tools.context import ToolContext
from tao_skill.agent_tools.tool import CONCISE, Answer, Detail, Object, call
from tao_skill.jobs.document import following, job_document, job_row
from tao_skill.jobs.launch import cancel, tail
from tao_skill.jobs.record import TERMINAL, Job
from tao_skill.model import TRAIN
from tao_skill.models import get_model
from tao_skill.spec.param import Param

LOG_CHARACTERS: Final = 20_000

JobRef = Annotated[str, Param("Id, its start, latest, or latest:ACTION.")]


@dataclass(frozen=True, kw_only=True)
class JobArguments:
    """Which job, and how much of it."""

    job: JobRef
    detail: Detail = CONCISE


@dataclass(frozen=True, kw_only=True)
class JobAnswer(Answer):
    """How a job stands."""

    job: Annotated[Object, Param("id, action, state: PENDING RUNNING COMPLETE ERROR CANCELED.")]
    route: Annotated[Object | None, Param("direct or automl.")] = None
    progress: Annotated[str | None, Param("")] = None
    metrics: Annotated[Object | None, Param("")] = None
    artifacts: Annotated[list[Object] | None, Param("")] = None
    upload: Annotated[Object | None, Param("")] = None
    warnings: Annotated[list[str] | None, Param("")] = None


def job_status(asked: JobArguments, here: ToolContext) -> JobAnswer:
    """How a job stands now."""
    return job_answer(here.find(asked.job)[1], here, asked.detail)


@dataclass(frozen=True, kw_only=True)
class WaitArguments:
    """Which job, and how long."""

    job: JobRef
    timeout_s: Annotated[float, Param("Answers with the state then.", minimum=0, maximum=3600)] = 50.0
    detail: Detail = CONCISE


def wait_for_job(asked: WaitArguments, here: ToolContext) -> JobAnswer:
    """How a job ended, or stands when the time is over."""
    return job_answer(here.wait(asked.job, asked.timeout_s), here, asked.detail)


def cancel_job(asked: JobArguments, here: ToolContext) -> JobAnswer:
    """Stop a job.

    Raises:
        BadState: it has ended, or runs on another machine.
    """
    store, job = here.find(asked.job)
    return job_answer(cancel(store, job.id), here, asked.detail)


@dataclass(frozen=True, kw_only=True)
class LogArguments:
    """Which job, and how many lines."""

    job: JobRef
    lines: Annotated[int, Param("Last ones.", minimum=1, maximum=1000)] = 50


@dataclass(frozen=True, kw_only=True)
class Log(Answer):
    """The end of a log."""

    job: Annotated[str, Param("")]
    log: Annotated[str, Param("")]


def job_logs(asked: LogArguments, here: ToolContext) -> Log:
    """The end of a job's log, at most 20,000 characters."""
    store, job = here.find(asked.job)
    text = tail(store, job.id, asked.lines)
    return Log(job=job.id, log=text[-LOG_CHARACTERS:], next=[call("job_status", job=job.id)])


@dataclass(frozen=True, kw_only=True)
class ListArguments:
    """How many jobs."""

    limit: Annotated[int, Param("Newest ones.", minimum=1, maximum=200)] = 10


@dataclass(frozen=True, kw_only=True)
class Jobs(Answer):
    """Jobs, newest first."""

    jobs: Annotated[list[Object], Param("")]
    total: Annotated[int, Param("")]


def list_jobs(asked: ListArguments, here: ToolContext) -> Jobs:
    """The newest jobs."""
    rows = [job_row(job) for job in islice(here.store.newest(), asked.limit)]
    return Jobs(jobs=rows, total=here.store.count(), next=[_of_newest(rows)])


def _of_newest(rows: Sequence[Object]) -> Object:
    return call("job_status", job=rows[0]["id"]) if rows else call("list_models")


def job_answer(job: Job, here: ToolContext, detail: str, warnings: Sequence[str] = ()) -> JobAnswer:
    """The answer about a job."""
    document = job_document(job)
    if detail == CONCISE:
        document = _in_short(job, document)
    return JobAnswer(
        **document, progress=here.progress(job), warnings=list(warnings) or None, next=list(next_calls(job))
    )


def _in_short(job: Job, document: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {name: document[name] for name in ("upload", "error") if name in document}
    if job.state not in TERMINAL:
        kept["route"] = {"route": job.route.get("route")}
    elif job.state == "COMPLETE":
        kept["metrics"] = {name: round(one, 4) if one is not None else None for name, one in job.metrics.items()}
        kept["artifacts"] = document["artifacts"] if job.action != TRAIN else None
    return {"job": {name: document["job"][name] for name in ("id", "action", "state")}, **kept}


def next_calls(job: Job) -> Iterator[Object]:
    """What usually follows a job in this state."""
    if job.state not in TERMINAL:
        yield call("wait_for_job", job=job.id)
        return
    if job.state != "COMPLETE":
        yield call("job_logs", job=job.id, lines=20)
        return
    then = list(following(job))
    action = get_model(job.model).actions.get(job.action)
    if job.action == TRAIN or (action and action.report) or not then:
        yield call("read_report", job=job.id)
    for one in then:
        yield call("run_action", action=one.action, parent=one.parent, overrides=list(one.overrides), wait_s=50)
