"""Wall time to a validation accuracy, from a cold start, beside the textbook's.

    python benchmarks/time_to_accuracy.py --irds FOLDER [--target 0.97] [--threads 1] [--seeds 0 1 2] [--only ours]

FOLDER holds IntelliRehabDS as four files (train_data.npy, train_label.pkl, val_data.npy, val_label.pkl). The textbook's
ST-GCN sees all 150 frames, in batches of 16 at lr 0.01 with dropout 0.1; ours is irds_quick.yaml. Each is a process of
its own, whose imports and reading of data count.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tao_skill.status import read_status

HERE = Path(__file__).parent
BATCH, MOST_EPOCHS = 16, 20
FILES = {
    "train_data": "train_data.npy",
    "train_labels": "train_label.pkl",
    "val_data": "val_data.npy",
    "val_labels": "val_label.pkl",
}


def textbook(folder: Path, threads: int, seed: int, target: float) -> None:
    """In a process of its own: train until the target is reached, a line of JSON an epoch."""
    import numpy as np
    import torch
    import torch.nn.functional as F

    from tao_skill.models.pose_classification.data.sequences import read_labels
    from tao_skill.models.pose_classification.network.graph import adjacency
    from tao_skill.models.pose_classification.network.layouts import LAYOUTS
    from textbook import STGCN

    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    (x, ids), (val_x, val_ids) = (
        (np.load(folder / f"{split}_data.npy", mmap_mode="r"), np.array(read_labels(folder / f"{split}_label.pkl").ids))
        for split in ("train", "val")
    )
    A = torch.from_numpy(adjacency(LAYOUTS["ntu-rgb+d"], "spatial"))
    net = STGCN(A, num_classes=9, dropout=0.1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=1e-4)
    rng = np.random.default_rng(seed)
    for _ in range(MOST_EPOCHS):
        net.train()
        order = rng.permutation(len(x))
        for start in range(0, len(x), BATCH):
            chosen = order[start : start + BATCH]
            optimizer.zero_grad()
            scores = net(torch.from_numpy(x[chosen].astype(np.float32)))
            F.cross_entropy(scores, torch.from_numpy(ids[chosen])).backward()
            optimizer.step()
        net.eval()
        with torch.inference_mode():
            parts = [torch.from_numpy(val_x[i : i + BATCH].astype(np.float32)) for i in range(0, len(val_x), BATCH)]
            found = np.concatenate([net(part).argmax(1).numpy() for part in parts])
        accuracy = float((found == val_ids).mean())
        print(json.dumps({"val_acc": accuracy}), flush=True)
        if accuracy >= target:
            return


def theirs(folder: Path, threads: int, seed: int, target: float) -> Iterator[tuple[float, float]]:
    """Seconds and accuracy after each epoch of the textbook's."""
    command = [sys.executable, __file__, "--irds", str(folder), "--threads", str(threads), "--seeds", str(seed)]
    began = time.monotonic()
    with subprocess.Popen([*command, "--target", str(target), "--textbook"], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout
        for line in run.stdout:
            yield time.monotonic() - began, json.loads(line)["val_acc"]
    _check(run)


def ours(folder: Path, threads: int, seed: int, target: float) -> Iterator[tuple[float, float]]:
    """Seconds and accuracy after each epoch of `tao-skill run train`, also of those after the target."""
    paths = [f"{key}={folder / name}" for key, name in FILES.items()]
    with tempfile.TemporaryDirectory() as results:
        command = ["run", "train", "-e", str(HERE / "irds_quick.yaml"), "--automl", "off", "--results-root", results]
        began, seen, running = time.monotonic(), 0, True
        with subprocess.Popen(
            [sys.executable, "-m", "tao_skill", *command, *paths, f"seed={seed}"],
            env=os.environ | {"OMP_NUM_THREADS": str(threads)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as run:
            while running:
                time.sleep(0.05)
                running = run.poll() is None  # what it wrote last is read after its end
                told = [line for job in Path(results).glob("*/train") for line in read_status(job) if "epoch" in line]
                known = [line["kpi"]["val_acc"] for line in told if "val_acc" in line["kpi"]]
                yield from ((time.monotonic() - began, accuracy) for accuracy in known[seen:])
                seen = len(known)
    _check(run)


def _check(run: subprocess.Popen[Any]) -> None:
    if run.returncode:
        raise SystemExit(f"{run.args} failed with {run.returncode}")


SIDES: Final = {"theirs": ("textbook ST-GCN", theirs), "ours": ("tao-skill", ours)}


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--irds", type=Path, required=True)
    parser.add_argument("--target", type=float, default=0.97)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", choices=SIDES)
    parser.add_argument("--textbook", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.textbook:
        textbook(asked.irds, asked.threads, asked.seeds[0], asked.target)
        return
    print("| | seed | seconds to the target | validation accuracy after each epoch, % |\n|---|---|---|---|")
    for seed in asked.seeds:
        for name in [asked.only] if asked.only else SIDES:
            shown, train = SIDES[name]
            told = list(train(asked.irds, asked.threads, seed, asked.target))
            reached = next((f"{seconds:.0f}" for seconds, accuracy in told if accuracy >= asked.target), "not reached")
            path = ", ".join(f"{100 * accuracy:.1f}" for _, accuracy in told)
            print(f"| {shown} | {seed} | {reached} | {path} |", flush=True)


if __name__ == "__main__":
    main()
