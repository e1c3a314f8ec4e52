"""What a tool works in: the roots, the jobs, the processes it started, and who hears of progress."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tao_skill.agent_tools.roots import Roots
from tao_skill.errors import Command, Fix, NotFound
from tao_skill.jobs.launch import read_progress, wait
from tao_skill.jobs.progress import share, words
from tao_skill.jobs.record import TERMINAL, Job
from tao_skill.jobs.store import Store

Listener = Callable[[float, str], None]
"""Called while a job is waited for, with the share that is done (0 to 1) and words."""


@dataclass(frozen=True, kw_only=True)
class ToolContext:
    """What a tool works in.

    Attributes:
        results_root: folder of the jobs; in the roots. processes: workers started from here, by job id.
        listener: hears of the job that is waited for.
    """

    roots: Roots
    results_root: Path
    environment: Mapping[str, str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    listener: Listener = lambda done, text: None

    @property
    def store(self) -> Store:
        """The jobs whose records lie in the roots."""
        return Store(self.results_root, allows=self.roots.holds)

    def find(self, ref: str) -> tuple[Store, Job]:
        """A job whose folders lie in the roots, and its store.

        Raises:
            NotFound, BadRequest, BadData: as `Store.find`.
            OutsideRoots: the job, its log or its results lie elsewhere.
        """
        if os.sep in ref:
            self.roots.confine("job", ref)
        if "\0" in ref or not ref:
            raise NotFound(f"no job {ref!r}", fix=Fix("see ", Command("jobs list")))
        self._collect()
        store, job = self.store.find(ref)
        for path in (store.log_path(job.id), Path(job.results_dir)):
            self.roots.confine("job", str(path))
        return store, job

    def wait(self, ref: str, timeout_s: float) -> Job:
        """Follow a job to its end, or for so many seconds; gives back what it is then."""
        store, job = self.find(ref)
        if timeout_s <= 0 or job.state in TERMINAL:
            return job
        process = self.processes.get(job.id)
        return wait(store, job.id, timeout_s, on_progress=self._hear, process=process)

    def progress(self, job: Job) -> str | None:
        """How far a running job is, in words; None where nothing is known."""
        if job.state != "RUNNING" or not self.roots.holds(job.progress_path):
            return None
        progress = read_progress(job)
        return words(progress) if progress else None

    def _hear(self, job: Job, progress: Mapping[str, object] | None) -> None:
        self.listener(share(progress) if progress else 0.0, words(progress) if progress else job.state)

    def _collect(self) -> None:
        """Record the deaths of workers started from here with their exit codes, which only their parent learns."""
        for job_id, process in list(self.processes.items()):
            if process.poll() is not None:
                self.processes.pop(job_id, None)
                self.store.reconcile(job_id, process.returncode)
