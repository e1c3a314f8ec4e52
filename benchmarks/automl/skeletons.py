"""Search on recorded skeletons, and train the default spec plainly for as many epochs: which model is better?

Works in a folder and goes on where it stopped; prints a line a run and writes skeletons.md beside this file when all
runs are done. Takes about an hour and a half on one core.
"""

from __future__ import annotations

import argparse
import json
import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np

from tao_skill.models.pose_classification.data.sequences import read_labels

FRAMES: Final = 64
RESULTS: Final = Path(__file__).parent / "skeletons.md"
TAO_SKILL: Final = (sys.executable, "-m", "tao_skill")

PAGE: Final = """# A search on recorded skeletons

Written by `OMP_NUM_THREADS=1 python benchmarks/automl/skeletons.py --data FOLDER --work FOLDER`, on one core of a
virtual machine without a GPU.

Sequences are cut to {frames} frames. `utkinect` has 100 training and 99 validation sequences of 10 actions, `irds` 200
and 150, drawn once, of 9 gestures; validation shows other people. Trial 0, the default, and the plain training have
every parameter at its default except the data's own facts and the batch size given. The search trains for the same
epochs in all; the plain training spends them on one model. Both keep their best epoch; accuracies are of the validation
set, which both looked at after every epoch: the search looks at more models, so its figure is the more flattered one.

| data | batch | epochs in all | of a trial | seed | plain training | trial 0 | the search's winner | trials | winner |
|---|---|---|---|---|---|---|---|---|---|
{rows}

{figures}
"""


@dataclass(frozen=True, kw_only=True)
class Case:
    """Recordings, and what may be spent on them.

    Attributes:
        keep: sequences drawn of the training and validation set; None for all.
        total, full, lowest: epochs of all trials, of a whole training and of the lowest rung.
    """

    name: str
    layout: str
    keep: tuple[int, int] | None
    batch_size: int
    total: int
    full: int
    lowest: int


CASES: Final = (
    Case(name="utkinect", layout="ntu_edge", keep=None, batch_size=8, total=36, full=9, lowest=3),
    Case(name="irds", layout="ntu-rgb+d", keep=(200, 150), batch_size=16, total=24, full=6, lowest=2),
)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with utkinect/ and irds/")
    parser.add_argument("--work", type=Path, required=True, help="folder for cut data and jobs")
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0 to N-1 (default: 3)")
    parser.add_argument("--only", choices=[case.name for case in CASES], help="run one set, and write nothing")
    given = parser.parse_args()
    found = []
    for case in CASES:
        if given.only in (None, case.name):
            facts = cut(case, given.data / case.name, given.work / case.name)
            found += [(case, seed, *compare(case, facts, seed, given.work)) for seed in range(given.seeds)]
    if given.only is None:
        text = PAGE.format(frames=FRAMES, rows="\n".join(map(_row, found)), figures="\n".join(_figures(found)))
        RESULTS.write_text(text, "utf-8")


def cut(case: Case, source: Path, target: Path) -> list[str]:
    """Write the case's part of the recordings; its facts as overrides of a spec."""
    target.mkdir(parents=True, exist_ok=True)
    label_map = json.loads((source / "label_map.json").read_text("utf-8"))
    for split, count in zip(("train", "val"), case.keep or (None, None), strict=True):
        x_NCTVM = np.load(source / f"{split}_data.npy", mmap_mode="r")
        labels = read_labels(source / f"{split}_label.pkl")
        rows = np.sort(np.random.default_rng(0).permutation(len(x_NCTVM))[:count])
        np.save(target / f"{split}_data.npy", x_NCTVM[rows, :, :FRAMES])
        kept = [[labels.names[i] for i in rows], [int(labels.ids[i]) for i in rows]]
        (target / f"{split}_label.pkl").write_bytes(pickle.dumps(kept, protocol=2))
    paths = {"data": "data.npy", "labels": "label.pkl"}
    return [
        f"model.graph_layout={case.layout}",
        f"dataset.num_classes={len(label_map)}",
        f"dataset.label_map={json.dumps(label_map)}",
        f"dataset.batch_size={case.batch_size}",
        "dataset.num_workers=0",
        *(
            f"{split}_{name}={target / f'{split}_{ending}'}"
            for split in ("train", "val")
            for name, ending in paths.items()
        ),
    ]


def compare(case: Case, facts: Sequence[str], seed: int, work: Path) -> tuple[float, dict[str, Any]]:
    """Best accuracy of the plain training, and metrics of the search."""
    name, seeded = f"{case.name}-{seed}", [*facts, f"train.seed={seed}"]
    budget = ["--epochs-total", case.total, "--max-epochs", case.full, "--min-epochs", case.lowest, "--trials", 99]
    searched = train(work, f"{name}-search", [*seeded, *budget, "--search-seed", seed])
    plain = train(work, f"{name}-plain", [*seeded, "--automl", "off", f"train.num_epochs={case.total}"])
    print(name, f"plain {plain['best_val_acc']:.4f}", f"search {searched['best_val_acc']:.4f}", flush=True)
    return plain["best_val_acc"], searched


def train(work: Path, key: str, arguments: Sequence[object]) -> dict[str, Any]:
    """Metrics of a train job, which is run unless it is complete."""
    command = [
        *TAO_SKILL,
        "run",
        "train",
        *map(str, arguments),
        "--key",
        key,
        "--json",
        "--results-root",
        work / "results",
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    metrics: dict[str, Any] = json.loads(done.stdout)["metrics"]
    return metrics


def _row(run: tuple[Case, int, float, dict[str, Any]]) -> str:
    case, seed, plain, searched = run
    accuracies = (plain, searched["default_val_acc"], searched["best_val_acc"])
    shown = [f"{100 * one:.1f} %" for one in accuracies]
    cells = [case.name, case.batch_size, case.total, case.full, seed, *shown]
    return f"| {' | '.join(map(str, cells))} | {searched['trials']:.0f} | {searched['winner']:.0f} |"


def _figures(runs: Sequence[tuple[Case, int, float, dict[str, Any]]]) -> Iterator[str]:
    for case in CASES:
        pairs = [(plain, searched["best_val_acc"]) for one, _, plain, searched in runs if one is case]
        gains = [100 * (after - before) for before, after in pairs]
        yield f"- {case.name}, points gained over the plain training: {', '.join(f'{one:+.1f}' for one in gains)}"
        yield f"- {case.name}, median of the winner: {100 * median(after for _, after in pairs):.1f} %"


if __name__ == "__main__":
    main()
