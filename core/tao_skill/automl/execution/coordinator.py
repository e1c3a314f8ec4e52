"""The process of a search: `python -m tao_skill.automl.execution.coordinator FOLDER ATTEMPT`."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final

from tao_skill.automl.devices import find_gpus
from tao_skill.automl.execution.artifacts import SearchArtifacts
from tao_skill.automl.execution.database import default_url
from tao_skill.automl.execution.failures import Failure
from tao_skill.automl.execution.journal import FileJournal, journal_path
from tao_skill.automl.execution.pool import Pool
from tao_skill.automl.execution.queue import Queue, Result
from tao_skill.automl.execution.study import DerivedStudy
from tao_skill.automl.execution.throttle import Throttle
from tao_skill.automl.report import live
from tao_skill.automl.report.report import SearchReport
from tao_skill.automl.search.asha import DEFAULT_TRIAL
from tao_skill.automl.search.search import Search, Task
from tao_skill.automl.search.setup import make_setup
from tao_skill.automl.settings import Settings, read_settings
from tao_skill.errors import BadRequest, JobFailed
from tao_skill.jobs import job_process, launch
from tao_skill.jobs.record import Job
from tao_skill.jobs.secrets import STORAGE_VARIABLE
from tao_skill.model import Model
from tao_skill.outcome import Outcome
from tao_skill.progress import Progress
from tao_skill.status import StatusLog, reporting

SAME_CAUSE: Final = 3
"""Number of failures with the same root cause that ends the search."""

HEARTBEAT_TIMEOUT_S: Final = 60.0
"""Time without a heartbeat after which a task is taken from its worker."""

PRESENT_S: Final = 15.0
"""Time since its last heartbeat in which a waiting worker counts as available."""

WORKER_POLL_S: Final = 0.3
"""Time between two checks of the workers."""

PUBLISH_SHARE: Final = 0.02
"""Share of a time budget that is kept for writing the winner."""

RESULT_POLL_S: Final = 0.05
"""Time between two checks for a result, during which its worker is idle."""


def search(folder: Path, model: Model, job: Job, spec: Mapping[str, Any], secrets: Mapping[str, str]) -> Outcome:
    """Run a search and write the winner as a train job writes its model.

    Raises:
        BadRequest: the default cannot be trained. JobFailed: the same failure occurred too often.
        KeyboardInterrupt: the search was interrupted; the same command with the same key resumes it.
    """
    settings = read_settings(job.automl or {})
    setup = make_setup(model, spec, settings)
    url = os.environ.pop(STORAGE_VARIABLE, None) or settings.storage or default_url(folder)
    environment = launch.worker_environment(secrets)
    artifacts = SearchArtifacts(folder=folder, model=model, job=job, setup=setup, settings=settings)
    with (
        reporting(Path(job.results_dir), "Search") as status,
        FileJournal(journal_path(folder), job=job.id, goal=setup.goal) as journal,
    ):
        study, queue = DerivedStudy(url, journal.header, space=setup.space, goal=setup.goal), Queue(url, job.id)
        gpus = find_gpus(environment)
        with Pool(queue, folder, url, settings.workers, environment=environment, gpus=gpus) as pool:
            coordinator = Coordinator(Search(setup, journal), queue, pool, artifacts, study, status, settings)
            coordinator.run()
        coordinator.publish(ended=True)
        outcome = artifacts.publish(coordinator.search.trials, spec, elapsed_s=coordinator.elapsed_s())
        status.write("SUCCESS", "Search finished.", kpi=outcome.metrics)
    return outcome


class Coordinator:
    """Gives tasks to workers and takes in their results, until the search has ended."""

    def __init__(
        self,
        search: Search,
        queue: Queue,
        pool: Pool,
        artifacts: SearchArtifacts,
        study: DerivedStudy,
        status: StatusLog,
        settings: Settings,
    ) -> None:
        self.search, self.queue, self.pool, self.artifacts, self.status = search, queue, pool, artifacts, status
        self.study, self.settings = study, settings
        self.last_report = artifacts.last_report()
        earlier_s = self.last_report.progress.elapsed_s if self.last_report else None
        self.began = time.monotonic() - (earlier_s or 0.0) - _seconds_since_start(artifacts.job)
        self.stopping = False
        self.report, self.display = Throttle(self._report), Throttle(self.publish)

    def elapsed_s(self) -> float:
        """Seconds that the search has run, in all its attempts."""
        return time.monotonic() - self.began

    def run(self) -> None:
        """Run until the search has ended.

        Raises:
            KeyboardInterrupt: the search was interrupted, and running tasks have ended.
        """
        before = signal.signal(signal.SIGINT, self._stop)
        try:
            self.queue.reopen()
            for task in self.search.interrupted():
                self._put(task)
            while self._step():
                self._await_result()
            self.report.flush()
            self.display.flush()
        finally:
            signal.signal(signal.SIGINT, before)
            self.queue.stop("now")
        if self.stopping:
            raise KeyboardInterrupt("the search was stopped")

    def publish(self, *, ended: bool = False) -> None:
        """Write the study; a search goes on without it, as it is only derived."""
        try:
            self.study.publish(self.search.trials, ended=ended)
        except BadRequest as error:
            print(f"warning: {error.message}", file=sys.stderr)
            self.status.write("RUNNING", error.message, verbosity="WARNING")

    def _step(self) -> bool:
        """Take in results and give out tasks; False when no task is running."""
        self.pool.check()
        self.queue.overdue(HEARTBEAT_TIMEOUT_S)
        for result in self.queue.results():
            self._take_in(result)
            self.queue.acknowledge(result)
        workers = max(self.settings.workers, len(self.queue.workers(PRESENT_S)))  # also those of other machines
        while not self.stopping and self._running() < workers:
            task = self.search.next_task(left_s=self._left_s())
            if task is None:
                break
            self._put(task)
            self.report.request()
        self.report.poll()
        self.display.poll()
        return self._running() > 0

    def _await_result(self) -> None:
        until = time.monotonic() + WORKER_POLL_S
        while time.monotonic() < until and not self.queue.has_results():
            time.sleep(RESULT_POLL_S)

    def _put(self, task: Task) -> None:
        left_s = self._left_s()
        if task.limit_s is None and math.isfinite(left_s) and task.target:  # started before an interruption
            task = replace(task, limit_s=max(0.0, left_s))
        self.queue.put(task, attempt=len(self.search.trials[task.number].failures))

    def _take_in(self, result: Result) -> None:
        """Take in a result; one that was taken in before an interruption is ignored."""
        trial = self.search.trials[result.number]
        if trial.state != "running" or trial.target != result.target or len(trial.failures) != result.attempt:
            return
        if result.failure is None:
            self.search.succeed(result.number, result.history or (), result.seconds)
        else:
            self._take_in_failure(result, result.failure)
        self.report.request()
        self.display.request()
        self.artifacts.prune(self.search.trials)

    def _take_in_failure(self, result: Result, failure: Failure) -> None:
        if failure.kind == "data" and result.number == DEFAULT_TRIAL:
            raise BadRequest(failure.message, fix="correct the spec or the settings of the search")
        if failure.kind in ("data", "worker lost"):  # no retry helps, or the queue has already retried it
            self.search.give_up(result.number, failure.root_cause)
            return
        retry = self.search.fail(result.number, failure.root_cause)
        causes = Counter(cause for trial in self.search.trials for cause in trial.failures)
        if causes[failure.root_cause] >= SAME_CAUSE:
            raise JobFailed(
                f"the search stopped: the same failure occurred {SAME_CAUSE} times: {failure.message}",
                fix="remove the cause, then run again with the same key",
            )
        if retry is not None:
            self._put(retry)

    def _report(self) -> None:
        report = self.artifacts.report(self.search.trials, elapsed_s=self.elapsed_s())
        for line in live.lines(self.last_report, report):
            print(line, file=sys.stderr)
            self.status.write("RUNNING", line)
        self.last_report = report
        self.status.progress(_progress(report))

    def _running(self) -> int:
        return sum(trial.state == "running" for trial in self.search.trials)

    def _left_s(self) -> float:
        """Seconds left of the time budget, without those in which the winner is written."""
        budget = self.search.setup.budget.seconds
        return math.inf if budget is None else budget * (1 - PUBLISH_SHARE) - self.elapsed_s()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """The first interrupt lets running tasks reach their rung, the second stops them."""
        if self.stopping:
            raise KeyboardInterrupt("the search was stopped immediately")
        self.stopping = True
        print("stopping after the current rung; interrupt again to stop now", file=sys.stderr)


def _seconds_since_start(job: Job) -> float:
    """Seconds since the present attempt began, in which libraries were imported."""
    if job.started is None:
        return 0.0
    return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(job.started)).total_seconds())


def _progress(report: SearchReport) -> Progress:
    """Progress in the unit of the budget: seconds, epochs or trials; in trials if there is none."""
    budget, progress = report.budget, report.progress
    if budget.seconds is not None:
        done, total = round(progress.elapsed_s or 0.0), round(budget.seconds)
    elif budget.epochs_total is not None:
        done, total = progress.epochs, budget.epochs_total
    else:
        done, total = progress.trials, budget.trials or progress.trials
    return Progress(batch=min(done, total), batches=total, eta_s=progress.eta_s)


if __name__ == "__main__":
    sys.exit(job_process.main(sys.argv[1:], perform=partial(search, Path(sys.argv[1]))))
