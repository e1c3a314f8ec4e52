"""What the fault matrix does its worst to: every action as a command, what it leaves, and whether that is whole."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
import torch
import yaml

from tao_skill.jobs.record import TERMINAL
from tests.support.command_line import TAO_SKILL, call

LIMIT_S = 180
SEARCH = ["--search-scope", "schema", "--trials", "3", "--max-epochs", "2", "--min-epochs", "1", "--eta", "2"]
PARENT = "train-parent"


@dataclass(frozen=True, kw_only=True)
class Work:
    """An action on data of its own, run with a key, and what an undisturbed run of it came to.

    Attributes:
        base: results root as it is before, with the parent where there is one.
        metrics, artifacts: of the undisturbed run; artifacts as digests of what they hold, by kind.
    """

    command: Sequence[str]
    base: Path
    seconds: float
    metrics: dict[str, Any]
    artifacts: dict[str, str]

    def begin(self, root: Path) -> subprocess.Popen[bytes]:
        """The command in a session of its own, its answer in `answer` beside the root."""
        with (root.parent / "answer").open("w") as answer, (root.parent / "said").open("w") as said:
            return subprocess.Popen(
                [*TAO_SKILL, *self.command, "--json"],
                env={**os.environ, "TAO_SKILL_RESULTS": str(root)},
                stdout=answer,
                stderr=said,
                start_new_session=True,
            )


def measure(command: Sequence[str], base: Path, root: Path) -> Work:
    """Run the command once, undisturbed."""
    shutil.copytree(base, root, symlinks=True, dirs_exist_ok=True)
    began = time.monotonic()
    document = json.loads(call([*command, "--json"], root).stdout)
    seconds = time.monotonic() - began
    metrics, artifacts = document["metrics"], contents(document)
    return Work(command=command, base=base, seconds=seconds, metrics=metrics, artifacts=artifacts)


def contents(document: dict[str, Any]) -> dict[str, str]:
    """A digest of what each artifact of a job holds, by kind; of those that tell of times and places, nothing."""
    return {
        one["kind"]: digest(Path(one["path"]))
        for one in document["artifacts"]
        if one["kind"] not in ("status", "tensorboard", "csv", "report", "report_data", "best_spec")
    }


def digest(path: Path) -> str:
    content = path.read_bytes()
    if path.suffix == ".pth":
        state = torch.load(path, weights_only=True)["state_dict"]
        content = b"".join(value.numpy().tobytes() for value in state.values())
    return hashlib.sha256(content).hexdigest()


def job_pids(root: Path) -> list[int]:
    """Processes that answer for the jobs under a root; each leads the group of all that its job has."""
    found = []
    for record in root.glob("[!.]*/job.json"):
        with suppress(ValueError):
            attempts = json.loads(record.read_text())["attempts"]
            found += [attempts[-1]["pid"]] if attempts and not attempts[-1]["ended"] else []
    return found


def kill_all(root: Path, running: subprocess.Popen[bytes]) -> None:
    """SIGKILL to the command and to everything that its jobs have started, as when the power goes."""
    with suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGKILL)
    running.wait(LIMIT_S)
    while left := of_jobs(root):
        for process in left:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, 10)


def of_jobs(root: Path) -> list[psutil.Process]:
    """Processes of the jobs under a root: all are told their job's folder."""
    found = psutil.process_iter(["cmdline", "status"])
    living = (one for one in found if one.info["status"] != psutil.STATUS_ZOMBIE)
    return [one for one in living if f"{root}/" in " ".join(one.info["cmdline"] or ())]


def check_whole(root: Path) -> None:
    """Every file under its final name can be read to its end."""
    for path in root.rglob("*"):
        if path.is_symlink() and not path.exists():
            raise AssertionError(f"{path} leads nowhere")
        if path.is_file() and not path.name.startswith("."):
            _read(path)


def _read(path: Path) -> None:
    if path.name in ("status.json", "journal.jsonl"):  # lines; the last one of a killed process may be a part
        for line in path.read_text().splitlines()[:-1]:
            json.loads(line)
    elif path.suffix == ".json":
        json.loads(path.read_text())
    elif path.suffix in (".yaml", ".yml"):
        yaml.safe_load(path.read_text())
    elif path.suffix == ".pth":
        torch.load(path, weights_only=True)
    elif path.suffix == ".npy":
        np.load(path, allow_pickle=False)
    elif path.suffix == ".onnx":
        onnx.checker.check_model(onnx.load(path))
    elif path.suffix == ".db":
        with sqlite3.connect(path) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    elif path.suffix == ".html":
        assert path.read_text().rstrip().endswith("</html>")


def check_ended(root: Path, *, but: Sequence[str] = ()) -> None:
    """Every job says that it has ended, and no process of any is left."""
    for folder in root.iterdir():
        if (folder / "job.json").exists() and folder.name not in but:
            shown = subprocess.run(
                [*TAO_SKILL, "jobs", "show", folder.name, "--json", "--results-root", str(root)],
                capture_output=True,
                text=True,
                check=True,
            )
            assert json.loads(shown.stdout)["job"]["state"] in TERMINAL
    assert job_pids(root) == []


def check_resumes(work: Work, root: Path) -> None:
    """The same command ends with what an undisturbed run came to, and leaves no temporary file."""
    document = json.loads(call([*work.command, "--json"], root).stdout)
    assert document["job"]["state"] == "COMPLETE"
    assert document["metrics"] == work.metrics
    assert contents(document) == work.artifacts
    check_whole(root)
    assert list(root.rglob(".*.tmp*")) == []
