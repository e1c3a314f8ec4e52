"""status.json: one JSON object a line, with TAO's fields; and progress.json, the newest word on a running action."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

from tao_skill.errors import BadData
from tao_skill.io import atomic
from tao_skill.io.strict_json import REPORT_BYTES, parse_json, read_bytes

STATUS_FILE: Final = "status.json"
PROGRESS_FILE: Final = "progress.json"

State = Literal["STARTED", "RUNNING", "SUCCESS", "FAILURE"]


@contextmanager
def reporting(results_dir: Path, name: str, *, silent: bool = False) -> Iterator[StatusLog]:
    """A status log with its STARTED line, and a FAILURE line if the block raises; SUCCESS is the block's to write."""
    status = StatusLog(results_dir, silent=silent)
    status.write("STARTED", f"Starting {name}.")
    try:
        yield status
    except BaseException as error:
        status.write("FAILURE", f"{name} stopped: {type(error).__name__}.", verbosity="ERROR")
        raise


class StatusLog:
    """Appends status lines to `results_dir/status.json` (fields as in TAO's status logger).

    One that is `silent` writes nothing, for processes beside the one that reports.
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
        """Append one line in a single write; a kpi that is not finite is written as null."""
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

    def progress(self, **facts: Any) -> None:
        """Replace progress.json: e.g. epoch, epochs_done, epochs, batch, batches, train_loss,
        val_acc, eta_s."""
        if self.silent:
            return
        atomic.write_json(self.progress_path, {name: finite(value) for name, value in facts.items()})


def finite(value: Any) -> Any:
    """A number that is not finite as None, which strict JSON can say; anything else as it is."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_status(results_dir: Path) -> list[dict[str, Any]]:
    """All whole lines of a status.json; none if there is no file.

    Raises:
        BadData: it cannot be read, or is too large.
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
        with suppress(ValueError):  # the last line of a process that was killed
            lines.append(parse_json(text.decode("utf-8")))
    return [line for line in lines if _is_status(line)]


def of_present_training(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines of a training as it stands, where a later attempt may have gone back, or begun anew.

    All that stands before the first epoch of an attempt is dropped, but the epochs before that one.
    """
    kept: list[dict[str, Any]] = []
    began = False
    for line in lines:
        began = began or line.get("status") == "STARTED"
        if began and "epoch" in line:
            kept = [one for one in kept if one.get("epoch", line["epoch"]) < line["epoch"]]
            began = False
        kept.append(line)
    return kept


def _is_status(line: Any) -> bool:
    if not isinstance(line, dict) or type(line.get("epoch", 0)) is not int:
        return False
    kpi = line.get("kpi", {})
    return isinstance(kpi, dict) and all(value is None or type(value) in (int, float) for value in kpi.values())
