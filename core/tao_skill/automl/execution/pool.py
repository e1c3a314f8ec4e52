"""The workers of a search on this machine, each with its share of cores or a GPU; they end with this process."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

from tao_skill.automl.devices import share
from tao_skill.automl.execution.queue import Queue
from tao_skill.errors import JobFailed
from tao_skill.io import atomic
from tao_skill.jobs.launch import PYTHON
from tao_skill.jobs.process import this_host, wait_for_exit
from tao_skill.jobs.secrets import STORAGE_VARIABLE, spawn

COMMAND: Final = (*PYTHON, "tao_skill.automl.execution.trial_worker")
CRASHES: Final = 3
"""Number of workers in a row that may die without having had a task."""

_GRACE_S: Final = 10.0


class Pool:
    """Worker processes of a job, in the process group of this process; a worker that dies is replaced.

    Their output goes to `automl/worker_<i>.log` in the job's folder.
    """

    def __init__(
        self,
        queue: Queue,
        folder: Path,
        url: str,
        count: int,
        *,
        environment: Mapping[str, str],
        gpus: Sequence[str] = (),
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._queue = queue
        self._folder = folder
        self._command = command
        shares = [share(i, count, environment, gpus) for i in range(count)]
        self._environments = [{**environment, **variables, STORAGE_VARIABLE: url} for variables in shares]
        self._processes: list[subprocess.Popen[bytes]] = []
        self._crashes = 0

    def __enter__(self) -> Pool:
        """Start the workers; tasks of workers of an earlier process of this job are released."""
        for i in range(len(self._environments)):
            self._queue.release(self.name(i), blame=False)
            self._processes.append(self._start(i))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()

    def name(self, i: int) -> str:
        """Name of worker `i`; its replacement has the same."""
        return f"{this_host()}-{i}"

    def log(self, i: int) -> Path:
        """Log file of worker `i`."""
        return self._folder / "automl" / f"worker_{i}.log"

    @property
    def pids(self) -> list[int]:
        """Process ids of the current workers."""
        return [process.pid for process in self._processes]

    def check(self) -> int:
        """Replace workers that have died and release their tasks; the number of workers that run.

        Raises:
            JobFailed: CRASHES workers in a row died without having had a task.
        """
        running = 0
        for i, process in enumerate(self._processes):
            if process.poll() == 0:  # it was asked to end
                continue
            if process.returncode is not None:
                self._processes[i] = self._replace(i, process.returncode)
            running += 1
        return running

    def end(self) -> None:
        """Ask the workers to give their tasks back and end; kill those that do not."""
        for process in self._processes:
            process.terminate()
        wait_for_exit(self._processes, _GRACE_S)
        for process in self._processes:
            process.kill()
            process.wait()

    def _replace(self, i: int, exit_code: int) -> subprocess.Popen[bytes]:
        self._crashes = 0 if self._queue.release(self.name(i)) else self._crashes + 1
        if self._crashes >= CRASHES:
            message = (
                f"{CRASHES} workers in a row ended, the last with exit code {exit_code}: {_last_line(self.log(i))}"
            )
            raise JobFailed(message, fix=f"read the log {self.log(i)}")
        return self._start(i)

    def _start(self, i: int) -> subprocess.Popen[bytes]:
        self.log(i).parent.mkdir(parents=True, exist_ok=True)
        with atomic.open_to_append(self.log(i)) as log:
            command = [*self._command, str(self._folder), self.name(i), str(os.getpid())]
            return spawn(command, self._environments[i], output=log)


def _last_line(log: Path) -> str:
    lines = log.read_text("utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "no output"
