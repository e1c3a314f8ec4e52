"""What a trial costs beside its epochs, and what a second worker brings: `python benchmarks/automl/overhead.py`.

Prints a Markdown table of searches on a few short sequences, by real processes. Threads are left to the pool, so
OMP_NUM_THREADS must not be set.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from tao_skill.models import get_model
from tao_skill.models.pose_classification.data.sample.sample import write_sample
from tao_skill.status import read_status

if TYPE_CHECKING:
    from pairs import Row

WORKERS = (1, 2)
OPTIONS = (
    "--search-scope",
    "schema",
    "--pruner",
    "none",
    "--sampler",
    "random",
    "--max-epochs",
    "2",
    "epochs=2",
    "num_workers=0",
    "--json",
)
MINUTE_S = 60.0
TRIALS = 12
ROUNDS = 3


@dataclass(frozen=True, kw_only=True)
class Trial:
    """When it ended, in seconds since the epoch, how long it took, and how much of that its epochs."""

    ended: float
    seconds: float
    epochs_s: float

    @property
    def beside_s(self) -> float:
        """What it took beside its epochs."""
        return self.seconds - self.epochs_s


def search(folder: Path, workers: int, trials: int) -> list[Trial]:
    """The trials of a search in the order they ended, without each worker's first, which imports."""
    command = [sys.executable, "-m", "tao_skill", "run", "train", "-e", str(folder / "data" / "spec.yaml"), *OPTIONS]
    command += ["--trials", str(trials), "--workers", str(workers)]
    environment = {**os.environ, "TAO_SKILL_RESULTS": str(folder / f"results_{workers}")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    job = Path(environment["TAO_SKILL_RESULTS"], json.loads(done.stdout)["job"]["id"])
    report = json.loads((job / "report.json").read_text())
    found = [trial(job / "automl" / "trials" / f"{one['number']:04d}" / "train", one) for one in report["trials"]]
    return sorted(found, key=lambda one: one.ended)[workers:]


def trial(results_dir: Path, shown: Mapping[str, float]) -> Trial:
    """A trial as its folder and the report of its search tell it."""
    lines = [line for line in read_status(results_dir) if "train_loss" in line.get("kpi", {}) and "epoch" in line]
    times = (line["time_per_epoch"].split(":") for line in lines)
    epochs = (timedelta(hours=int(h), minutes=int(m), seconds=float(s)).total_seconds() for h, m, s in times)
    return Trial(ended=(results_dir / "status.json").stat().st_mtime, seconds=shown["seconds"], epochs_s=sum(epochs))


def measure(trials: int, rounds: int) -> dict[int, list[list[Trial]]]:
    """The trials of each round's search, by number of workers; both search in turn."""
    found: dict[int, list[list[Trial]]] = {workers: [] for workers in WORKERS}
    for _ in range(rounds):
        for workers in WORKERS:
            with tempfile.TemporaryDirectory() as name:
                write_sample(Path(name, "data"), train=16, val=8, frames=12, seed=3)
                found[workers].append(search(Path(name), workers, trials))
    return found


def rate(trials: Sequence[Trial]) -> float:
    """Trials that a search ends in an hour."""
    return 3600 * (len(trials) - 1) / (trials[-1].ended - trials[0].ended)


def between_s(found: Mapping[int, Sequence[Sequence[Trial]]]) -> float:
    """Median time between a trial of one worker and its next."""
    return statistics.median(
        after.ended - before.ended - after.seconds for one in found[1] for before, after in pairwise(one)
    )


def rows(rounds: int = ROUNDS) -> Iterator[Row]:
    """What a second worker saves, and what a search adds to a trial of a minute."""
    from pairs import row  # beside the module that asks for rows, not beside this one

    found = measure(TRIALS, rounds)
    hours = [(3600 / rate(one), 3600 / rate(two)) for one, two in zip(found[1], found[2], strict=True)]
    yield row("search, time a trial: 2 workers", "1 worker", hours, most=1 / 1.6)
    added_s = statistics.median(each.beside_s for one in found[1] for each in one) + between_s(found)
    yield row("search, a trial of a minute", "its epochs alone", [(MINUTE_S, MINUTE_S + added_s)], most=1.03)


def main() -> None:
    """Search by one worker and by two in turn, and print medians over all rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    found = measure(given.trials, given.rounds)
    between = between_s(found)
    print(f"{get_model(None).name}, {given.trials} trials, medians of {given.rounds} rounds.\n")
    print("| workers | trials an hour | a trial | beside its epochs | before the next | both, of a trial of a minute |")
    print("|---|---|---|---|---|---|")
    for workers, rounds in found.items():
        hourly = statistics.median(rate(one) for one in rounds)
        seconds, beside = (
            statistics.median(getattr(each, name) for one in rounds for each in one) for name in ("seconds", "beside_s")
        )
        waited = f"{between:.2f} s | {(beside + between) / MINUTE_S:.1%}" if workers == 1 else "|"
        print(f"| {workers} | {hourly:.0f} | {seconds:.2f} s | {beside:.2f} s | {waited} |")


if __name__ == "__main__":
    main()
