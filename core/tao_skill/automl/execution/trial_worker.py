"""A worker process of a search: `python -m tao_skill.automl.execution.trial_worker JOB_FOLDER NAME PARENT_PID`.

It runs many tasks, so that libraries are imported and data are read once. The URL of the database comes with the
secrets, as it may contain a password.
"""

from __future__ import annotations

import json
import math
import os
import pkgutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn, Protocol

from tao_skill.automl.execution.database import password
from tao_skill.automl.execution.failures import failure_of
from tao_skill.automl.execution.queue import Claimed, Queue
from tao_skill.automl.search.search import Objective, Task
from tao_skill.errors import TaoSkillError
from tao_skill.jobs.job_process import Redact, RedactedStream, redactor
from tao_skill.jobs.peers import end_with_parent
from tao_skill.jobs.secrets import SECRETS_VARIABLE, STORAGE_VARIABLE, receive_secrets, secret_values

OBJECTIVE: Final = "tao_skill.automl.execution.objective:objective_of"

BEAT_S: Final = 5.0
"""Time between two heartbeats."""

POLL_S: Final = 1.0
"""Longest time between two polls for a task."""

FIRST_POLL_S: Final = 0.02
"""Time to the first poll after a task, whose successor is usually queued at once; doubled after each poll."""


class Training(Protocol):
    """An objective that reports its progress to another thread."""

    def __call__(self, task: Task) -> Sequence[Mapping[str, float]]:
        """See `Objective`."""
        ...

    def progress(self) -> Mapping[str, Any]:
        """Progress of the current task."""
        ...


ObjectiveOf = Callable[[Path], Training]


class Halted(BaseException):
    """The current task was taken away, or the search stops. Not an `Exception`, so that no handler swallows it."""


def main(arguments: Sequence[str], objective_of: ObjectiveOf | None = None, **pace: float) -> int:
    """Run a worker that ends with the process that started it.

    Args:
        pace: `beat_s` and `poll_s` of `work`.

    Returns:
        0 when the search stops; 1 when the job cannot be trained, with a message on stderr.
    """
    folder, name, parent = Path(arguments[0]), arguments[1], int(arguments[2])
    end_with_parent(parent)
    receive_secrets()
    url = os.environ.pop(STORAGE_VARIABLE)
    redact = _redactor(url)
    sys.stdout, sys.stderr = RedactedStream(1, redact), RedactedStream(2, redact)
    try:
        serve(folder, url, name, objective_of, **pace)
    except TaoSkillError as error:
        print(f"{error.message}; {error.fix}", file=sys.stderr)
        return 1
    return 0


def serve(folder: Path, url: str, name: str, objective_of: ObjectiveOf | None = None, **pace: float) -> None:
    """Work on the search of a job, from any machine, until the search stops.

    Args:
        name: unique name of this worker. objective_of: makes the objective; None for that of the job's model.

    Raises:
        BadRequest, MissingDependency: the database or the job cannot be used on this machine.
    """
    signal.signal(signal.SIGTERM, _end)
    redact = _redactor(url)  # before the objective removes its secrets from the environment
    queue = Queue(url, folder.name)
    training = (objective_of or pkgutil.resolve_name(OBJECTIVE))(folder)
    try:
        work(queue, training, worker=name, progress=training.progress, redact=redact, **pace)
    finally:
        queue.close()


def _redactor(url: str) -> Redact:
    secrets = json.loads(os.environ.get(SECRETS_VARIABLE, "{}"))
    return redactor([password(url) or "", *secrets.values(), *secret_values(os.environ)])


def work(
    queue: Queue,
    objective: Objective,
    *,
    worker: str,
    progress: Callable[[], Mapping[str, Any]] = dict,
    redact: Redact = str,
    beat_s: float = BEAT_S,
    poll_s: float = POLL_S,
) -> None:
    """Run tasks until the queue is stopped.

    An interrupted task is released for the next worker.
    """
    last_beat, poll_interval_s = -math.inf, FIRST_POLL_S
    while True:
        claim = queue.claim(worker)
        if claim is not None:
            _attempt(queue, objective, claim, progress, redact, beat_s)
            last_beat, poll_interval_s = -math.inf, FIRST_POLL_S
        elif queue.stopping():
            return
        else:
            if time.monotonic() - last_beat >= beat_s:
                queue.wait(worker)
                last_beat = time.monotonic()
            time.sleep(min(poll_interval_s, poll_s))
            poll_interval_s = min(2 * poll_interval_s, poll_s)


def _attempt(
    queue: Queue,
    objective: Objective,
    claim: Claimed,
    progress: Callable[[], Mapping[str, Any]],
    redact: Redact,
    beat_s: float,
) -> None:
    """Run a task: its outcome becomes a result, or the task is given back."""
    began = time.monotonic()
    try:
        with _heartbeat(lambda: queue.beat(claim, progress()), beat_s):
            history = objective(claim.task)
    except Halted:
        queue.give_back(claim)
    except Exception as error:
        traceback.print_exception(error)
        queue.fail(claim, failure_of(error, redact))
    except BaseException:
        queue.give_back(claim)
        raise
    else:
        queue.finish(claim, history, time.monotonic() - began)


@contextmanager
def _heartbeat(beat: Callable[[], bool], every_s: float) -> Iterator[None]:
    """Call `beat` regularly during the block; raise Halted in the block when it returns False."""
    ended, deciding = threading.Event(), threading.Lock()

    def run() -> None:
        while not ended.wait(every_s):
            try:
                is_wanted = beat()
            except Exception as error:  # the database does not answer, or the objective cannot report progress
                print(f"no heartbeat was sent: {error}", file=sys.stderr)
                continue
            with deciding:
                if not is_wanted and not ended.is_set():
                    halt()
            if not is_wanted:
                return

    with _haltable() as halt:
        threading.Thread(target=run, daemon=True).start()
        try:
            yield
        finally:
            with deciding:
                ended.set()


@contextmanager
def _haltable() -> Iterator[Callable[[], None]]:
    """Yield a function by which another thread raises Halted in the block; it does nothing outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    main_thread = threading.get_ident()
    signal.signal(signal.SIGUSR1, _halt)
    try:
        yield lambda: signal.pthread_kill(main_thread, signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)


def _halt(number: int, frame: FrameType | None) -> NoReturn:
    raise Halted


def _end(number: int, frame: FrameType | None) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # a second signal must not interrupt the release of the task
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
