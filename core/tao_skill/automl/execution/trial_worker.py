"""A process that takes tasks from a search's queue: `python -m ...trial_worker JOB_FOLDER NAME PARENT_PID`.

It stays alive between tasks, so what is imported and read is so once. The address of the database comes with the
secrets, as it may hold a password.
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
"""Time between two signs of life."""

POLL_S: Final = 1.0
"""Time between two looks for work, where there was none for a while."""

SOON_S: Final = 0.02
"""The first such time: what follows on a task is usually there at once. Each one after is twice as long."""


class Training(Protocol):
    """An objective that can be asked, from another thread, how far it is."""

    def __call__(self, task: Task) -> Sequence[Mapping[str, float]]:
        """As an objective."""
        ...

    def progress(self) -> Mapping[str, Any]:
        """What is known of the present task."""
        ...


ObjectiveOf = Callable[[Path], Training]


class Halted(BaseException):
    """The task that is worked on was taken away, or all shall stop; no `except Exception` on the way may hold it up."""


def main(arguments: Sequence[str], objective_of: ObjectiveOf | None = None, **pace: float) -> int:
    """Be a worker of the process that started this one, and end with it.

    Args:
        pace: `beat_s` and `poll_s` of `work`.

    Returns:
        0 when told to end; 1 when the job could not be worked on, which is printed.
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
    """Work on the search of the job in a folder until it stops; from any machine.

    Args:
        name: of this worker, unlike any other's. objective_of: called once; None for what the job's record says.

    Raises:
        BadRequest, MissingDependency: the database or what the job needs is not there.
    """
    signal.signal(signal.SIGTERM, _end)
    redact = _redactor(url)  # before the objective takes its secrets out of the environment
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
    """Take task after task until the queue is stopped.

    A task that is broken off, by a signal that raises or because the queue says so, is there for the next worker.
    """
    said, rest_s = -math.inf, SOON_S
    while True:
        claim = queue.claim(worker)
        if claim is not None:
            _attempt(queue, objective, claim, progress, redact, beat_s)
            said, rest_s = -math.inf, SOON_S  # what it is free for is looked for at once
        elif queue.stopping():
            return
        else:
            if time.monotonic() - said >= beat_s:
                queue.wait(worker)
                said = time.monotonic()
            time.sleep(min(rest_s, poll_s))
            rest_s = min(2 * rest_s, poll_s)


def _attempt(
    queue: Queue,
    objective: Objective,
    claim: Claimed,
    progress: Callable[[], Mapping[str, Any]],
    redact: Redact,
    beat_s: float,
) -> None:
    """The boundary of a task: whatever happens inside becomes a result, or the task is given back."""
    begun = time.monotonic()
    try:
        with _beating(lambda: queue.beat(claim, progress()), beat_s):
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
        queue.finish(claim, history, time.monotonic() - begun)


@contextmanager
def _beating(beat: Callable[[], bool], every_s: float) -> Iterator[None]:
    """Give signs of life during the block; it is ended by Halted when one is answered with no."""
    ended, deciding = threading.Event(), threading.Lock()

    def keep_on() -> None:
        while not ended.wait(every_s):
            try:
                wanted = beat()
            except Exception as error:  # the database does not answer, or progress cannot be told now
                print(f"no sign of life could be given: {error}", file=sys.stderr)
                continue
            with deciding:
                if not wanted and not ended.is_set():
                    halt()
            if not wanted:
                return

    with _haltable() as halt:
        threading.Thread(target=keep_on, daemon=True).start()
        try:
            yield
        finally:
            with deciding:
                ended.set()


@contextmanager
def _haltable() -> Iterator[Callable[[], None]]:
    """Gives what another thread may call to raise Halted in the block; nothing happens outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    here = threading.get_ident()
    signal.signal(signal.SIGUSR1, _halt)
    try:
        yield lambda: signal.pthread_kill(here, signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)


def _halt(number: int, frame: FrameType | None) -> NoReturn:
    raise Halted


def _end(number: int, frame: FrameType | None) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # once is enough; the task is given back now
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
