"""Following a job: a live bar on a terminal, a line an epoch elsewhere, both on stderr; its log on stdout."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tao_skill.cli.terminal.output import interactive, note
from tao_skill.errors import NotFound
from tao_skill.jobs.progress import moving_file, share, words
from tao_skill.jobs.record import Job

if TYPE_CHECKING:
    from tao_skill.automl.report.report import SearchReport

Listener = Callable[[Job, Mapping[str, Any] | None], None]


@contextmanager
def follow(log: Path | None = None) -> Iterator[Listener]:
    """A listener for `jobs.launch.wait`, right for where stderr goes; with a log, that is printed as it grows."""
    if log is not None:
        yield _with_log(_lines(), log)
        return
    if not interactive():
        yield _lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=1.0)

        def show(job: Job, progress: Mapping[str, Any] | None) -> None:
            if progress is not None:
                bar.update(task, completed=share(progress), description=f"{job.action}  {words(progress)}")

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

    def tell(before: SearchReport | None, after: SearchReport) -> None:
        for line in lines(before, after):
            note(line)

    return _on_report(folder, tell)


def _on_report(folder: Path, tell: Callable[[SearchReport | None, SearchReport], None]) -> Listener:
    """Call `tell` with the report before and the one now, whenever it was written anew."""
    from tao_skill.automl.report.files import REPORT_FILE, read_report

    path = folder / REPORT_FILE
    seen, before = 0, None

    def show(job: Job, progress: Mapping[str, Any] | None) -> None:
        nonlocal seen, before
        with suppress(FileNotFoundError, NotFound):
            if (written := path.stat().st_mtime_ns) != seen:
                after = read_report(folder, job)
                tell(before, after)
                seen, before = written, after

    return show


def _with_log(listener: Listener, log: Path) -> Listener:
    position = 0

    def show(job: Job, progress: Mapping[str, Any] | None) -> None:
        nonlocal position
        with log.open("rb") as stream:
            stream.seek(position)
            added = stream.read()
        position += len(added)
        click.echo(added, nl=False)
        listener(job, progress)

    return show


def _lines() -> Listener:
    told = 0
    moving = ""

    def show(job: Job, progress: Mapping[str, Any] | None) -> None:
        nonlocal told, moving
        if progress is not None and "bytes_total" in progress and moving_file(progress) != moving:
            moving = moving_file(progress)
            note(f"{job.id}  {moving}")
        if progress is not None and progress.get("epochs_done", 0) > told:
            told = progress["epochs_done"]
            note(f"{job.id}  {words({**progress, 'epoch': told - 1})}")

    return show
