"""A worker that fits a logistic regression, a checkpoint each epoch: `python trial_worker.py FOLDER NAME PARENT`."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tao_skill.automl.execution import trial_worker
from tao_skill.automl.search.search import Task
from tao_skill.errors import BadData
from tao_skill.io import atomic


class Logistic:
    """Two classes of points in a plane; `values` may slow it down or break it.

    In the folder: `loaded` has a line for each process, `epochs` one for each epoch trained, with its trial.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.epoch = 0
        if (folder / "broken").exists():
            raise BadData("the points are gone", fix="find them")
        _note(folder / "loaded", f"{os.getpid()} {os.environ.get('OMP_NUM_THREADS')}")
        random = np.random.default_rng(7)
        self.labels_N = random.integers(0, 2, 200)
        self.points_NC = random.normal(size=(200, 2)) + self.labels_N[:, None]

    def __call__(self, task: Task) -> Sequence[Mapping[str, float]]:
        checkpoint = self.folder / "trials" / f"{task.number}.json"
        weights_C, history = np.zeros(2), []
        if checkpoint.exists():
            kept = json.loads(checkpoint.read_text())
            weights_C, history = np.array(kept["weights"]), kept["history"]
        while len(history) < task.target:
            scores_N = 1 / (1 + np.exp(-(self.points_NC @ weights_C - weights_C.sum() / 2)))
            weights_C = weights_C + task.values["lr"] * (self.labels_N - scores_N) @ (self.points_NC - 0.5) / 200
            history.append({"val_acc": float(np.mean((scores_N > 0.5) == self.labels_N))})
            self.break_as_asked(task.values, len(history))
            # Noted first: whoever is killed in between trains the epoch again.
            _note(self.folder / "epochs", f"{task.number} {len(history)} {os.getpid()}")
            atomic.write_json(checkpoint, {"weights": weights_C.tolist(), "history": history})
            self.epoch = len(history)
        return history

    def progress(self) -> Mapping[str, Any]:
        return {"epoch": self.epoch}

    def break_as_asked(self, values: Mapping[str, Any], epoch: int) -> None:
        time.sleep(values.get("pause_s", 0.0))
        if values.get("raise") == "memory":
            raise MemoryError("no room")
        if values.get("raise") == "kill" and epoch == 2 and not (self.folder / "killed").exists():
            (self.folder / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)


def _note(path: Path, line: str) -> None:
    with path.open("a") as notes:
        notes.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(trial_worker.main(sys.argv[1:], Logistic, beat_s=0.2, poll_s=0.05))
