"""What the processes of a real search write: their statements, files and CPU time, heard by trace/sitecustomize.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from tao_skill.models.pose_classification.data.sample.sample import write_sample

TRACE: Final = Path(__file__).parent / "trace"
OPTIONS: Final = (
    "--search-scope",
    "schema",
    "--max-epochs",
    "3",
    "--min-epochs",
    "1",
    "epochs=3",
    "num_workers=0",
    "--json",
)
COORDINATOR: Final = "tao_skill.automl.execution.coordinator"
WRITES: Final = ("INSERT", "UPDATE", "DELETE")
LOOK: Final = "looks"
"""Transactions of the coordinator that only read what workers did; there are so many a second, not a trial."""

Line = list[Any]


def search(trials: int) -> dict[str, float]:
    """Counts of a search by one worker on a few short sequences, with rungs of 1 and 3 epochs, in a SQLite file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_sample(folder / "data", train=16, val=8, frames=12, seed=3)
        (folder / "traced").mkdir()
        spec = str(folder / "data" / "spec.yaml")
        command = [sys.executable, "-m", "tao_skill", "run", "train", "-e", spec, "--trials", str(trials), *OPTIONS]
        paths = os.pathsep.join(filter(None, (str(TRACE), os.environ.get("PYTHONPATH"))))
        variables = {"PYTHONPATH": paths, "TRACED_WRITES": str(folder / "traced"), "TAO_SKILL_RESULTS": name}
        done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=True)
        job = folder / json.loads(done.stdout)["job"]["id"]
        return dict(_counts(folder / "traced")) | _left(job) | {"trials": trials}


def _counts(folder: Path) -> Mapping[str, float]:
    found: Counter[str] = Counter()
    for path in folder.glob("*.jsonl"):
        argv, *lines = (json.loads(line) for line in path.read_text().splitlines())
        is_coordinator = COORDINATOR in argv
        for kind, *words in lines:
            if kind == "file":
                found.update(_file(Path(words[0]), words[1]))
            elif kind == "cpu" and is_coordinator:
                found["coordinator_cpu_s"] += words[0]
        for statements in _transactions([line for line in lines if line[0] == "sql"]):
            found.update(_transaction(statements, is_coordinator))
    return found


def _file(path: Path, size: int) -> dict[str, float]:
    """A file that is renamed into its place; a link is none."""
    if path.name.startswith("pc_model_"):
        return {"links": 1}
    kinds = {".pth": "checkpoints", ".html": "pages"}
    kind = "reports" if path.name == "report.json" else kinds.get(path.suffix, "records")
    return {kind: 1, f"{kind}_bytes": size}


def _transactions(lines: list[Line]) -> Iterator[list[str]]:
    """The statements of each, by connection; those outside one are asked to see whether the database is there."""
    open_: dict[int, list[str]] = {}
    for _, connection, statement in lines:
        if statement.startswith("BEGIN"):
            open_[connection] = []
        elif statement in ("COMMIT", "ROLLBACK"):
            yield open_.pop(connection, [])
        elif connection in open_:
            open_[connection].append(statement)


def _transaction(statements: list[str], is_coordinator: bool) -> dict[str, float]:
    writes = any(statement.startswith(WRITES) for statement in statements)
    if is_coordinator and not writes and all("tao_skill_" in statement for statement in statements):
        return {LOOK: 1}
    beats = any(statement.startswith("UPDATE tao_skill_tasks SET beats") for statement in statements)
    kind = "beats" if beats else "writes" if writes else "reads"
    return {kind: 1, "statements": len(statements)}


def _left(job: Path) -> dict[str, float]:
    """What lies in a job's folder after the search, beside checkpoints and links."""
    trials = job / "automl" / "trials"
    files = [path for path in trials.rglob("*") if path.is_file() and path.suffix != ".pth"]
    report = json.loads((job / "report.json").read_text())
    return {
        "files": len(files),
        "files_bytes": sum(path.stat().st_size for path in files),
        "elapsed_s": report["progress"]["elapsed_s"],
        "epochs": report["progress"]["epochs"],
        "study_bytes": (job / "automl" / "study.db").stat().st_size,
    }
