"""Progress of a followed job on stderr: a live bar on a terminal, a line per epoch elsewhere; its log on stdout."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tao_skill.cli.terminal.output import interactive, note
from tao_skill.errors import NotFound
from tao_skill.jobs.record import Job
from tao_skill.progress import Progress

if TYPE_CHECKING:
    from tao_skill.automl.report.report import SearchReport

Listener = Callable[[Job, Progress | None], None]
"""Receives a running job and its progress, repeatedly."""


@contextmanager
def follow(log: Path | None = None) -> Iterator[Listener]:
    """Give a listener for `jobs.launch.wait` that fits stderr; if `log` is given, the log is printed as it grows."""
    if log is not None:
        yield _log_printer(log, _line_printer())
        return
    if not interactive():
        yield _line_printer()
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

        def update_bar(job: Job, progress: Progress | None) -> None:
            if progress is not None:
                bar.update(task, completed=progress.fraction, description=f"{job.action}  {progress.text}")

        yield update_bar


@contextmanager
def follow_search(folder: Path) -> Iterator[Listener]:
    """Give a listener that shows a search: a live table on a terminal, a line per event elsewhere."""
    if not interactive():
        yield _event_printer(folder)
        return
    from rich.console import Console
    from rich.live import Live

    from tao_skill.automl.report.live import table

    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as live:
        yield _report_listener(folder, lambda before, after: live.update(table(after), refresh=True))


def _event_printer(folder: Path) -> Listener:
    from tao_skill.automl.report.live import lines

    def print_events(before: SearchReport | None, after: SearchReport) -> None:
        for line in lines(before, after):
            note(line)

    return _report_listener(folder, print_events)


def _report_listener(folder: Path, on_report: Callable[[SearchReport | None, SearchReport], None]) -> Listener:
    """Call `on_report` with the previous and the present report whenever the report of the search has changed."""
    from tao_skill.automl.report.files import REPORT_FILE, read_report

    path = folder / REPORT_FILE
    modified_ns, before = 0, None

    def read_if_changed(job: Job, progress: Progress | None) -> None:
        nonlocal modified_ns, before
        with suppress(FileNotFoundError, NotFound):
            if (newly_modified_ns := path.stat().st_mtime_ns) != modified_ns:
                after = read_report(folder, job)
                on_report(before, after)
                modified_ns, before = newly_modified_ns, after

    return read_if_changed


def _log_printer(log: Path, listener: Listener) -> Listener:
    position = 0

    def print_new_output(job: Job, progress: Progress | None) -> None:
        nonlocal position
        with log.open("rb") as stream:
            stream.seek(position)
            output = stream.read()
        position += len(output)
        click.echo(output, nl=False)
        listener(job, progress)

    return print_new_output


def _line_printer() -> Listener:
    epochs_printed = 0
    transfer: str | None = None

    def print_line(job: Job, progress: Progress | None) -> None:
        nonlocal epochs_printed, transfer
        if progress is not None and progress.transfer_text not in (None, transfer):
            transfer = progress.transfer_text
            note(f"{job.id}  {transfer}")
        if progress is not None and progress.epochs_done > epochs_printed:
            epochs_printed = progress.epochs_done
            note(f"{job.id}  {replace(progress, epoch=epochs_printed - 1).text}")

    return print_line
