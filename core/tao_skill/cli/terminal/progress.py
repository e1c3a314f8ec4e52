"""Following a job: a live bar on a terminal, a line an epoch elsewhere, both on stderr; its log on stdout."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from tao_skill.cli.terminal.output import interactive, note
from tao_skill.errors import NotFound
from tao_skill.jobs.record import Job
from tao_skill.progress import Progress

Listener = Callable[[Job, Progress | None], None]


@contextmanager
def follow(log: Path | None = None) -> Iterator[Listener]:
    """A listener for `jobs.launch.wait`, right for where stderr goes; with a log, that is printed as it grows."""
    if log is not None:
        yield _with_log(_lines(), log)
        return
    if not interactive():
        yield _lines()
        return
    from rich import progress as rich_progress
    from rich.console import Console

    columns = (
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(),
        rich_progress.TextColumn("{task.percentage:>3.0f} %"),
    )
    with rich_progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=1.0)

        def show(job: Job, progress: Progress | None) -> None:
            if progress is not None:
                bar.update(task, completed=progress.fraction, description=f"{job.action}  {progress.text}")

        yield show


@contextmanager
def follow_search(folder: Path) -> Iterator[Listener]:
    """A listener that shows a search: a live table on a terminal, a line for each event elsewhere."""
    if not interactive():
        yield _events(folder)
        return
    from rich.console import Console
    from rich.live import Live

    from tao_skill.automl.report.live import table

    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as shown:
        yield _on_report(folder, lambda before, after: shown.update(table(after), refresh=True))


def _events(folder: Path) -> Listener:
    from tao_skill.automl.report.live import lines

    def tell(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> None:
        for line in lines(before, after):
            note(line)

    return _on_report(folder, tell)


def _on_report(folder: Path, tell: Callable[[Mapping[str, Any] | None, Mapping[str, Any]], None]) -> Listener:
    """Call `tell` with the report before and the one now, whenever it was written anew."""
    from tao_skill.automl.report.report import REPORT_FILE, read_report

    path = folder / REPORT_FILE
    seen, before = 0, None

    def show(job: Job, progress: Progress | None) -> None:
        nonlocal seen, before
        with suppress(FileNotFoundError, NotFound):
            if (written := path.stat().st_mtime_ns) != seen:
                after = read_report(folder, job)
                tell(before, after)
                seen, before = written, after

    return show


def _with_log(listener: Listener, log: Path) -> Listener:
    position = 0

    def show(job: Job, progress: Progress | None) -> None:
        nonlocal position
        with log.open("rb") as stream:
            stream.seek(position)
            added = stream.read()
        position += len(added)
        click.echo(added, nl=False)
        listener(job, progress)

    return show


def _lines() -> Listener:
    reported = 0
    transfer: str | None = None

    def show(job: Job, progress: Progress | None) -> None:
        nonlocal reported, transfer
        if progress is not None and progress.transfer_text not in (None, transfer):
            transfer = progress.transfer_text
            note(f"{job.id}  {transfer}")
        if progress is not None and progress.epochs_done > reported:
            reported = progress.epochs_done
            note(f"{job.id}  {replace(progress, epoch=reported - 1).text}")

    return show
