"""Status files of an action: status.json, a log of JSON lines with TAO's fields, and progress.json, its progress."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

from tao_skill.errors import BadData
from tao_skill.io import atomic
from tao_skill.io.strict_json import REPORT_BYTES, finite, parse_json, read_bytes
from tao_skill.progress import Progress

STATUS_FILE: Final = "status.json"
PROGRESS_FILE: Final = "progress.json"

State = Literal["STARTED", "RUNNING", "SUCCESS", "FAILURE"]


@contextmanager
def reporting(results_dir: Path, name: str, *, silent: bool = False) -> Iterator[StatusLog]:
    """Open a status log with a STARTED line; add a FAILURE line if the block raises. The block writes SUCCESS."""
    status = StatusLog(results_dir, silent=silent)
    status.write("STARTED", f"Starting {name}.")
    try:
        yield status
    except BaseException as error:
        status.write("FAILURE", f"{name} stopped: {type(error).__name__}.", verbosity="ERROR")
        raise


class StatusLog:
    """Status log at `results_dir/status.json`, with the fields of TAO's status logger.

    A `silent` log writes nothing; it is for the processes of rank 1 and above.
    """

    def __init__(self, results_dir: Path, *, silent: bool = False) -> None:
        self.silent = silent
        results_dir.mkdir(parents=True, exist_ok=True)
        self.path = results_dir / STATUS_FILE
        self.progress_path = results_dir / PROGRESS_FILE

    def write(
        self,
        state: State,
        message: str,
        *,
        kpi: Mapping[str, float] | None = None,
        verbosity: str = "INFO",
        **extra: Any,
    ) -> None:
        """Append a line in a single write; kpi values that are not finite become null."""
        if self.silent:
            return
        now = datetime.now()
        line = extra | {
            "date": f"{now.month}/{now.day}/{now.year}",
            "time": f"{now.hour}:{now.minute}:{now.second}",
            "status": state,
            "verbosity": verbosity,
            "message": message,
        }
        if kpi:
            line["kpi"] = {name: finite(value) for name, value in kpi.items()}
        text = json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n"
        with atomic.open_to_append(self.path) as stream:
            stream.write(text.encode("utf-8"))

    def progress(self, progress: Progress) -> None:
        """Replace progress.json."""
        if not self.silent:
            atomic.write_json(self.progress_path, progress.to_dict())


def read_status(results_dir: Path) -> list[dict[str, Any]]:
    """Read the complete lines of status.json; empty if the file does not exist.

    Raises:
        BadData: the file cannot be read, or is too large.
    """
    path = results_dir / STATUS_FILE
    if not path.exists():
        return []
    try:
        data = read_bytes(path, REPORT_BYTES)
    except (OSError, ValueError) as error:
        raise BadData(f"{path} cannot be read: {error}", fix="move it away", path=str(path)) from error
    lines = []
    for text in data.splitlines():
        with suppress(ValueError):  # a killed process leaves an incomplete last line
            lines.append(parse_json(text.decode("utf-8")))
    return [line for line in lines if _is_status(line)]


def drop_superseded(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the lines of the current training, without the epochs that a later attempt repeated.

    An attempt that resumes at epoch n keeps the epochs before n and drops all other earlier lines.
    """
    kept: list[dict[str, Any]] = []
    is_new_attempt = False
    for line in lines:
        is_new_attempt = is_new_attempt or line.get("status") == "STARTED"
        if is_new_attempt and "epoch" in line:
            kept = [earlier for earlier in kept if earlier.get("epoch", line["epoch"]) < line["epoch"]]
            is_new_attempt = False
        kept.append(line)
    return kept


def _is_status(line: Any) -> bool:
    if not isinstance(line, dict) or type(line.get("epoch", 0)) is not int:
        return False
    kpi = line.get("kpi", {})
    return isinstance(kpi, dict) and all(value is None or type(value) in (int, float) for value in kpi.values())
