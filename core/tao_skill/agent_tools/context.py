"""The context of tool calls: roots, jobs, worker processes and the progress listener."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tao_skill.agent_tools.roots import Roots
from tao_skill.errors import Command, Fix, NotFound
from tao_skill.jobs.launch import read_progress, wait
from tao_skill.jobs.record import TERMINAL, Job
from tao_skill.jobs.store import Store
from tao_skill.progress import Progress

Listener = Callable[[float, str], None]
"""Called while a tool waits for a job, with the fraction done (0 to 1) and a progress text."""


@dataclass(frozen=True, kw_only=True)
class ToolContext:
    """The context of tool calls.

    Attributes:
        results_root: directory of the jobs, inside a root. processes: workers started by this server, by job id.
        listener: receives the progress of the job that a tool waits for.
    """

    roots: Roots
    results_root: Path
    environment: Mapping[str, str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    listener: Listener = lambda done, text: None

    @property
    def store(self) -> Store:
        """The store of jobs whose records are inside the roots."""
        return Store(self.results_root, allows=self.roots.contains)

    def find(self, ref: str) -> tuple[Store, Job]:
        """Return a job whose directories are inside the roots, and its store.

        Raises:
            NotFound, BadRequest, BadData: as `Store.find`.
            OutsideRoots: the job, its log or its results are outside the roots.
        """
        if os.sep in ref:
            self.roots.confine("job", ref)
        if "\0" in ref or not ref:
            raise NotFound(f"no job {ref!r}", fix=Fix("see ", Command("jobs list")))
        self._reap()
        store, job = self.store.find(ref)
        for path in (store.log_path(job.id), Path(job.results_dir)):
            self.roots.confine("job", str(path))
        return store, job

    def wait(self, ref: str, timeout_s: float) -> Job:
        """Wait until a job ends, or for `timeout_s` seconds, and return it."""
        store, job = self.find(ref)
        if timeout_s <= 0 or job.state in TERMINAL:
            return job
        process = self.processes.get(job.id)
        return wait(store, job.id, timeout_s, on_progress=self._on_progress, process=process)

    def progress(self, job: Job) -> str | None:
        """Return the progress text of a running job; None without progress."""
        if job.state != "RUNNING" or not self.roots.contains(job.progress_path):
            return None
        progress = read_progress(job)
        return progress.text if progress else None

    def _on_progress(self, job: Job, progress: Progress | None) -> None:
        if progress:
            self.listener(progress.fraction, progress.text)
        else:
            self.listener(0.0, job.state)

    def _reap(self) -> None:
        """Record the exit codes of workers that died; only this process, their parent, can read them."""
        for job_id, process in list(self.processes.items()):
            if process.poll() is not None:
                self.processes.pop(job_id, None)
                self.store.reconcile(job_id, process.returncode)
