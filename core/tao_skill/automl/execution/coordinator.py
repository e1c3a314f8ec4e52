"""The process of a search: `python -m tao_skill.automl.execution.coordinator FOLDER ATTEMPT`."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final

from tao_skill.automl.execution.artifacts import SearchArtifacts
from tao_skill.automl.execution.database import default_url
from tao_skill.automl.execution.devices import find_gpus
from tao_skill.automl.execution.pool import Pool
from tao_skill.automl.execution.queue import Queue, Result
from tao_skill.automl.execution.study import open_study
from tao_skill.automl.execution.throttle import Throttle
from tao_skill.automl.report import live
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
"""So many failures of one root cause end the search."""

OVERDUE_S: Final = 60.0
"""A worker without a sign of life for so long is given up."""

PRESENT_S: Final = 15.0
"""A worker that was seen in this time is counted on."""

LOOK_S: Final = 0.3
"""Time between two looks at workers."""

SOON_S: Final = 0.05
"""Time between two looks for a result: while it lies there, its worker waits."""


def search(folder: Path, model: Model, job: Job, spec: Mapping[str, Any], secrets: Mapping[str, str]) -> Outcome:
    """Search, and leave the winner as a train job leaves its model.

    Raises:
        BadRequest: the default cannot be trained as asked. JobFailed: the same trouble came up too often.
        KeyboardInterrupt: it was asked to stop; the same command with the same key goes on.
    """
    settings = read_settings(job.automl or {})
    setup = make_setup(model, spec, settings)
    url = os.environ.pop(STORAGE_VARIABLE, None) or settings.storage or default_url(folder)
    environment = launch.worker_environment(secrets)
    kept = SearchArtifacts(
        folder=folder, model=model, job=job, setup=setup, workers=settings.workers, keep_all=settings.keep_all
    )
    with reporting(Path(job.results_dir), "Search") as status:
        study, queue = open_study(url, job.id, space=setup.space, goal=setup.goal), Queue(url, job.id)
        gpus = find_gpus(environment)
        with Pool(queue, folder, url, settings.workers, environment=environment, gpus=gpus) as pool:
            coordinator = Coordinator(Search(setup, study), queue, pool, kept, status, settings)
            coordinator.run()
        study.close()
        outcome = kept.publish(coordinator.search.trials, elapsed_s=coordinator.elapsed_s())
        status.write("SUCCESS", "Search finished.", kpi=outcome.metrics)
    return outcome


class Coordinator:
    """Hands out the work of a search and takes in what comes of it, until there is no more."""

    def __init__(
        self, search: Search, queue: Queue, pool: Pool, kept: SearchArtifacts, status: StatusLog, settings: Settings
    ) -> None:
        self.search, self.queue, self.pool, self.kept, self.status = search, queue, pool, kept, status
        self.settings = settings
        self.told = kept.last_report()
        earlier_s = self.told["progress"]["elapsed_s"] if self.told else 0.0
        self.began = time.monotonic() - earlier_s
        self.stopping = False
        self.report = Throttle(self._tell)

    def elapsed_s(self) -> float:
        """Seconds that the search has taken, in all its attempts."""
        return time.monotonic() - self.began

    def run(self) -> None:
        """Work until the search has ended.

        Raises:
            KeyboardInterrupt: it was asked to stop, and what ran has ended.
        """
        before = signal.signal(signal.SIGINT, self._stop)
        try:
            self.queue.reopen()
            for task in self.search.interrupted():
                self._put(task)
            while self._step():
                self._await_result()
            self.report.settle()
        finally:
            signal.signal(signal.SIGINT, before)
            self.queue.stop("now")
        if self.stopping:
            raise KeyboardInterrupt("the search was stopped")

    def _step(self) -> bool:
        """Take in and hand out once; False when nothing is left to wait for."""
        self.pool.look()
        self.queue.overdue(OVERDUE_S)
        for result in self.queue.results():
            self._take_in(result)
            self.queue.acknowledge(result)
        hands = max(self.settings.workers, len(self.queue.workers(PRESENT_S)))  # of other machines, too
        while not self.stopping and self._busy() < hands:
            task = self.search.next_task(new=not self._is_late())
            if task is None:
                break
            self._put(task)
            self.report.ask()
        self.report.catch_up()
        return self._busy() > 0

    def _await_result(self) -> None:
        until = time.monotonic() + LOOK_S
        while time.monotonic() < until and not self.queue.has_results():
            time.sleep(SOON_S)

    def _put(self, task: Task) -> None:
        self.queue.put(task, attempt=len(self.search.trials[task.number].failures))

    def _take_in(self, result: Result) -> None:
        """A result that is known already, from before an interruption, changes nothing."""
        trial = self.search.trials[result.number]
        if trial.state != "running" or trial.target != result.target or len(trial.failures) != result.attempt:
            return
        if result.failure is None:
            self.search.succeed(result.number, result.history or (), result.seconds)
        else:
            self._trouble(result)
        self.report.ask()
        self.kept.prune(self.search.trials)

    def _trouble(self, result: Result) -> None:
        assert result.failure is not None
        failure = result.failure
        if failure.kind == "data" and result.number == DEFAULT_TRIAL:
            raise BadRequest(failure.message, fix="correct the spec or the settings of the search")
        if failure.kind == "worker lost":  # it has been tried again by other workers
            self.search.give_up(result.number, failure.root_cause)
            return
        again = self.search.fail(result.number, failure.root_cause)
        causes = Counter(cause for trial in self.search.trials for cause in trial.failures)
        if causes[failure.root_cause] >= SAME_CAUSE:
            raise JobFailed(
                f"the search stopped, as the same went wrong {SAME_CAUSE} times: {failure.message}",
                fix="remove the cause, then run again with the same key",
            )
        if again is not None:
            self._put(again)

    def _tell(self) -> None:
        report = self.kept.report(self.search.trials, elapsed_s=self.elapsed_s())
        for line in live.lines(self.told, report):
            print(line, file=sys.stderr)
            self.status.write("RUNNING", line)
        self.told = report
        done, expected = report["progress"]["epochs"], report["budget"]["expected_epochs"]
        eta_s = report["progress"]["eta_s"]
        self.status.progress(Progress(batch=done, batches=max(done, expected), eta_s=eta_s))

    def _busy(self) -> int:
        return sum(trial.state == "running" for trial in self.search.trials)

    def _is_late(self) -> bool:
        budget = self.settings.time_budget
        return budget is not None and self.elapsed_s() >= budget

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """The first time what runs comes to its rung's end; the second time all ends at once."""
        if self.stopping:
            raise KeyboardInterrupt("the search was stopped at once")
        self.stopping = True
        print("stopping when the current rung is done; once more stops at once", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(job_process.main(sys.argv[1:], perform=partial(search, Path(sys.argv[1]))))
