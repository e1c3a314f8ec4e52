"""Validation accuracy on recorded skeletons: networks, streams, recipes and options, beside simple baselines.

    python benchmarks/accuracy.py --data FOLDER [--only 'ST-GCN*/joint/*'] [--jobs 2] [--hours 8]
    python benchmarks/accuracy.py --plan
    python benchmarks/accuracy.py --table

FOLDER has a folder for each set: train_data.npy, train_label.pkl, val_data.npy, val_label.pkl and label_map.json. Every
row is a training by the command line, on one thread. A finished row is appended to accuracy.jsonl and not run again
while its spec stays the same; a row that is interrupted starts anew. --plan lists the rows that remain, with
the time that they take; --table writes accuracy.md from those that are done.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from accuracy_grid import HERE, SETS, Row, rows
from accuracy_table import page
from machine import machine
from row_file import append, read_rows
from tao_skill import __version__
from tao_skill.models.pose_classification.config import ExperimentConfig
from tao_skill.models.pose_classification.network.registry import build_net
from tao_skill.spec.load import build, read_spec_file
from tao_skill.status import read_status

BASELINES: Final = ("1-NN", "linear SVM", "RBF SVM")
EVALUATE: Final = "evaluate."
TAO_SKILL: Final = (sys.executable, "-m", "tao_skill")
FILES: Final = {"data_path": "data.npy", "label_path": "label.pkl"}

Result = dict[str, Any]
"""A line of accuracy.jsonl."""


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the sets")
    parser.add_argument("--only", default="*", help="pattern of NETWORK/STREAMS/RECIPE/OPTION/SET/SEED")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time (default: 2)")
    parser.add_argument("--hours", type=float, default=float("inf"), help="stop starting trainings after this long")
    parser.add_argument("--results", type=Path, default=HERE / "accuracy.jsonl", help="file of the finished rows")
    parser.add_argument("--plan", action="store_true", help="list the rows that remain, and stop")
    parser.add_argument("--table", action="store_true", help="write the Markdown file beside --results, and stop")
    asked = parser.parse_args()
    results = read_rows(asked.results)
    remaining = [row for row in rows() if fnmatchcase(row.name, asked.only) and not is_done(row, results)]
    if asked.table:
        asked.results.with_suffix(".md").write_text(page(results), "utf-8")
    elif asked.plan:
        print_plan(remaining, asked.jobs)
    elif asked.data is None:
        parser.error("--data is missing")
    else:
        measure_baselines(asked.data, asked.results, results)
        sys.exit(train_all(remaining, asked.data, asked.results, asked.jobs, asked.hours))


def is_done(row: Row, results: Sequence[Result]) -> bool:
    """Whether a result has the name and the spec of the row: one of an older recipe has another spec."""
    return any(one.get("row") == row.name and one["spec"] == row.spec for one in results)


def print_plan(remaining: Sequence[Row], jobs: int) -> None:
    """A line a row: its expected minutes, and the hours until it ends."""
    total_s = 0.0
    for row in remaining:
        total_s += row.expected_s
        print(f"{row.expected_s / 60:6.1f} min {total_s / 3600 / jobs:6.2f} h  {row.name}")


def measure_baselines(data: Path, path: Path, results: Sequence[Result]) -> None:
    """Add the baselines that are not in the results."""
    done = {(one.get("baseline"), one["set"]) for one in results}
    for name in SETS:
        for method in BASELINES:
            if (method, name) not in done:
                import baselines

                append(path, {"baseline": method, "set": name, "accuracy": baselines.accuracy(method, name, data)})


def train_all(remaining: Sequence[Row], data: Path, path: Path, jobs: int, hours: float) -> int:
    """Train the rows, `jobs` at a time, and append their results; the exit code is 1 if one failed.

    When this ends early, by Ctrl-C or SIGTERM, the trainings that run are stopped.
    """
    queue, running, failed = list(remaining), list[Training](), 0
    until = time.monotonic() + 3600 * hours
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="accuracy-", ignore_cleanup_errors=True)))
        stack.callback(lambda: [one.stop() for one in running])
        while running or (queue and time.monotonic() < until):
            while queue and len(running) < jobs and time.monotonic() < until:
                running.append(Training(queue.pop(0), data, folder))
            time.sleep(0.2)
            for one in [one for one in running if one.process.poll() is not None]:
                running.remove(one)
                result = one.result()
                failed += result is None
                if result is not None:
                    append(path, result)
    return 1 if failed else 0


class Training:
    """A row that is being trained, in a results root of its own."""

    def __init__(self, row: Row, data: Path, folder: Path) -> None:
        self.row, self.data, self.began = row, data / row.set, time.monotonic()
        self.root = Path(tempfile.mkdtemp(dir=folder))
        paths = _paths("dataset.train_dataset", self.data, "train") | _paths("dataset.val_dataset", self.data, "val")
        spec = {key: value for key, value in row.spec.items() if not key.startswith(EVALUATE)}
        command = _command("train", ["--automl", "off"], spec | paths, self.root)
        self.process = _start(command, self.root)

    def stop(self) -> None:
        """Cancel the job, which is a process of its own and outlives the command that started it."""
        cancel = [*TAO_SKILL, "jobs", "cancel", "latest", "--results-root", str(self.root)]
        subprocess.run(cancel, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        self.process.terminate()
        self.process.wait()

    def result(self) -> Result | None:
        """What is recorded of a training that has ended; None, and its error on stderr, if it failed."""
        row, seconds = self.row, time.monotonic() - self.began
        if self.process.returncode:
            said = "".join((self.root / name).read_text("utf-8", "replace") for name in ("stderr", "stdout"))
            print(f"{row.name}: failed with {self.process.returncode}:\n{said[-1000:]}", file=sys.stderr, flush=True)
            return None
        document = json.loads((self.root / "stdout").read_text("utf-8"))
        metrics = document["metrics"]
        found = {key: metrics[key] for key in ("best_val_acc", "best_epoch", "val_acc", "val_loss", "train_acc")}
        if asked := {key: value for key, value in row.spec.items() if key.startswith(EVALUATE)}:
            found |= {"best_val_acc": self._evaluated(document["job"]["id"], asked)}
        print(f"{row.name}: {100 * found['best_val_acc']:.1f} % in {seconds / 60:.1f} min", file=sys.stderr, flush=True)
        return {
            "row": row.name,
            "network": row.network,
            "streams": row.streams,
            "recipe": row.recipe,
            "option": row.option,
            "set": row.set,
            "seed": row.seed,
            **found,
            "epochs": row.spec["train.num_epochs"],
            "epoch_s": epoch_seconds(Path(document["job"]["results_dir"])),
            "seconds": round(seconds, 1),
            "parameters": parameters(self.root / document["job"]["id"] / "spec.yaml"),
            "forward_gflop": round(row.forward_gflop, 4),
            "spec": dict(row.spec),
            "version": __version__,
            "machine": machine(),
        }

    def _evaluated(self, job: str, asked: Mapping[str, Any]) -> float:
        """Accuracy of the best checkpoint on the validation set, as `evaluate` measures it."""
        paths = _paths("evaluate.test_dataset", self.data, "val")
        command = _command("evaluate", ["--parent", job], dict(asked) | paths, self.root)
        done = subprocess.run(command, env=_one_thread(), cwd=HERE, stdout=subprocess.PIPE, check=True)
        return float(json.loads(done.stdout)["metrics"]["accuracy"]) / 100


def _paths(section: str, folder: Path, split: str) -> dict[str, str]:
    return {f"{section}.{key}": str(folder.absolute() / f"{split}_{name}") for key, name in FILES.items()}


def _command(action: str, options: Sequence[str], overrides: Mapping[str, Any], root: Path) -> list[str]:
    texts = [f"{key}={json.dumps(value)}" for key, value in overrides.items()]
    return [*TAO_SKILL, "run", action, *options, "--json", "--results-root", str(root), *texts]


def _start(command: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
        return subprocess.Popen(command, env=_one_thread(), cwd=HERE, stdout=stdout, stderr=stderr)


def _one_thread() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1"}


def epoch_seconds(results_dir: Path) -> float:
    """Median time of an epoch with its validation."""
    times = [line["time_per_epoch"] for line in read_status(results_dir) if "time_per_epoch" in line]
    parts = [text.split(":") for text in times]
    seconds = [timedelta(hours=int(h), minutes=int(m), seconds=float(s)).total_seconds() for h, m, s in parts]
    return round(statistics.median(seconds), 3)


def parameters(spec: Path) -> int:
    """Learnt values of the network that a spec describes."""
    config = build(ExperimentConfig, read_spec_file(spec))
    return sum(one.numel() for one in build_net(config.model, config.dataset.num_classes).parameters())


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    main()
