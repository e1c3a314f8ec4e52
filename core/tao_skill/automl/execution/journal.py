"""The journal of a search: a file to which every new or changed trial is appended, and from which the search resumes.

The first line is a header; every other line is the whole record of a trial, and the last line of a trial counts.
"""

from __future__ import annotations

import errno
import json
import math
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal

from filelock import BaseFileLock, FileLock, Timeout

from tao_skill.automl.search.asha import Goal, Trial
from tao_skill.errors import BadData, BadRequest, BadState, CannotWrite
from tao_skill.io import atomic
from tao_skill.io.strict_json import RECORD_BYTES, conform, parse_json

VERSION: Final = 1
"""Version of the format."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """First line of a journal. id: random, kept in the study that is derived from the journal."""

    version: int
    id: str
    job: str
    metric: str
    direction: Literal["maximize", "minimize"]


def journal_path(job_folder: Path) -> Path:
    """The journal in a job's folder."""
    return job_folder / "automl" / "journal.jsonl"


class FileJournal:
    """The journal of a job, open for one process until `close` or its death."""

    def __init__(self, path: Path, *, job: str, goal: Goal) -> None:
        """Open or create a journal.

        Raises:
            BadState: another process has it open. BadRequest: it is for another job or goal.
            BadData: it is damaged. CannotWrite: its folder cannot be written.
        """
        self._path = path
        self._lock = _lock(path)
        self._trials: list[Trial] = []
        try:
            new = _new_header(job, goal)
            if not path.exists():
                atomic.write_text(path, _line(new))
            self.header, self._end = self._replay()
            if replace(self.header, id=new.id) != new:
                found = f"{self.header.job}, {self.header.metric}, {self.header.direction}"
                raise BadRequest(f"{path} is for another search: {found}", fix="use another key", path=str(path))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> FileJournal:
        """The open journal."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let other processes open the journal."""
        self._lock.release()

    def load(self) -> list[Trial]:
        """All trials, by number."""
        return list(self._trials)

    def save(self, trial: Trial) -> None:
        """Append a new or changed trial; after the return it survives a power failure.

        Raises:
            CannotWrite: the disk is full or the file cannot be written; the journal is as before.
        """
        line = _line(trial).encode("ascii")
        try:
            with atomic.open_to_append(self._path) as stream:
                stream.truncate(self._end)  # a killed process or a full disk may have left a part of a line
                if stream.write(line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(stream.fileno())
        except OSError as error:
            raise CannotWrite.because(error, str(self._path)) from error
        self._end += len(line)
        self._trials[trial.number : trial.number + 1] = [trial]

    def _replay(self) -> tuple[Header, int]:
        """Read the trials; the header, and the position after the last complete line."""
        header, end = None, 0
        with self._path.open("rb") as stream:
            for number, line in enumerate(iter(partial(stream.readline, RECORD_BYTES + 1), b""), start=1):
                try:
                    value = _parse(line)
                except ValueError as error:
                    if header and not stream.read(1):  # the process was killed while it wrote the last line
                        break
                    raise self._damaged(number, error) from error
                try:
                    if header is None:
                        header = _header(value)
                    else:
                        self._add(_trial(value))
                except ValueError as error:
                    raise self._damaged(number, error) from error
                end += len(line)
        if header is None:
            raise self._damaged(1, "it is empty")
        return header, end

    def _add(self, trial: Trial) -> None:
        if not 0 <= trial.number <= len(self._trials):
            raise ValueError(f"number is {trial.number}, accepted: 0 to {len(self._trials)}")
        self._trials[trial.number : trial.number + 1] = [trial]

    def _damaged(self, line: int, problem: object) -> BadData:
        fix = "restore it from a backup, or move the job's folder away and search again"
        return BadData(f"{self._path}, line {line}: {problem}", fix=fix, path=str(self._path))


def _lock(path: Path) -> BaseFileLock:
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        fix = "wait until it ends, or cancel its job"
        raise BadState(f"{path} is open in another process: a search has one", fix=fix, path=str(path)) from None
    except OSError as error:
        raise CannotWrite.because(error, str(path)) from error
    return lock


def _new_header(job: str, goal: Goal) -> Header:
    direction: Literal["maximize", "minimize"] = "maximize" if goal.maximize else "minimize"
    return Header(version=VERSION, id=secrets.token_hex(8), job=job, metric=goal.metric, direction=direction)


def _header(value: Any) -> Header:
    header: Header = conform(value, Header)
    if header.version != VERSION:
        raise ValueError(f"version is {header.version}, accepted: {VERSION}")
    return header


def _trial(value: Any) -> Trial:
    if isinstance(value, dict) and "history" in value:
        value["history"] = _as_numbers(value["history"])
    trial: Trial = conform(value, Trial)
    return trial


def _line(record: Header | Trial) -> str:
    value = asdict(record)
    if "history" in value:
        value["history"] = _as_json(value["history"])
    return json.dumps(value, allow_nan=False) + "\n"  # ASCII: failures may quote names that are not valid UTF-8


def _parse(line: bytes) -> Any:
    if not line.endswith(b"\n"):
        raise ValueError("it is not complete")
    return parse_json(line.decode("utf-8"))


def _as_json(history: Sequence[Mapping[str, float]]) -> list[dict[str, float | str]]:
    """Metrics with text in place of NaN and infinity, which strict JSON does not have."""
    return [
        {name: value if math.isfinite(value) else str(value) for name, value in metrics.items()} for metrics in history
    ]


def _as_numbers(value: Any) -> Any:
    """The inverse of `_as_json`; values of other types are returned unchanged."""
    if isinstance(value, list):
        return [_as_numbers(item) for item in value]
    if isinstance(value, dict):
        return {name: _as_numbers(item) for name, item in value.items()}
    return float(value) if value in ("nan", "inf", "-inf") else value
