"""What naming the actions of many sequences costs, whole processes: `python benchmarks/inference.py [CHECKPOINT]`.

Compared are a plain loop of PyTorch with the network as its paper has it (textbook.py) and `tao-skill run inference`
from the checkpoint, from an fp32 ONNX file and from an int8 one, in turn, on generated sequences. Wall seconds are
medians; the ratio is that of the plain loop, round by round.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import torch

from pairs import Row, row
from tao_skill.models.pose_classification.network.graph import STRATEGIES, adjacency
from tao_skill.models.pose_classification.network.layouts import LAYOUTS
from tao_skill.models.pose_classification.network.stgcn import STGCN as Ours
from tao_skill.models.pose_classification.training.checkpoint_file import PREFIX, load, network_state, save
from textbook import STGCN

PLAIN = "plain PyTorch"
BATCH = 64
LAYOUT = "ntu-rgb+d"
CLASSES = 9
FRAMES = 150
SIZES = [250, 1000]
ROUNDS = 3
LIMIT, INT8_LIMIT = 1 / 1.5, 1 / 2.5
"""Of the time of plain PyTorch, that others may take."""

Cost = tuple[float, float]
"""Wall seconds of a call, and the peak memory in MiB of the largest process that works on its folder."""


def plain_loop(checkpoint: str, data: str, output: str) -> None:
    """Score a file of sequences, a batch at a time, and write a class id a line."""
    net = STGCN.of(torch.load(checkpoint, weights_only=True)["state_dict"])
    data_NCTVM = np.load(data, mmap_mode="r")
    with torch.no_grad():
        batches = (data_NCTVM[start : start + BATCH] for start in range(0, len(data_NCTVM), BATCH))
        scores_NK = torch.cat([net(torch.from_numpy(np.array(batch, np.float32))) for batch in batches])
    Path(output).write_text("".join(f"{identity}\n" for identity in scores_NK.argmax(1).tolist()))


def measured(command: list[str], folder: Path) -> Cost:
    """What a call costs."""
    began, peak_kib = time.perf_counter(), 0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        peak_kib = max([peak_kib, *_peaks(str(folder))])
        time.sleep(0.1)
    seconds = time.perf_counter() - began
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed with {process.returncode}")
    return seconds, peak_kib / 1024


def _peaks(named: str) -> Iterator[int]:
    """Peak memory, in KiB, of processes that are told of something; a job is a process of its own."""
    for process in psutil.process_iter(["cmdline"]):
        if any(named in word for word in process.info["cmdline"] or ()):
            with suppress(OSError):
                status = Path(f"/proc/{process.pid}/status").read_text()
                yield from (int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))


def facts(state: dict[str, torch.Tensor]) -> tuple[str, str, int]:
    """Layout, strategy and classes of a checkpoint."""
    found = [
        (layout, strategy)
        for layout in LAYOUTS
        for strategy in STRATEGIES
        if np.array_equal(adjacency(LAYOUTS[layout], strategy), state["A"].numpy())
    ]
    return *found[0], len(state["fcn.weight"])


def commands(checkpoint: Path, folder: Path, data: Path, frames: int) -> dict[str, list[str]]:
    """What is compared; the ONNX files are exported first, calibrated with sequences made like the others."""
    layout, strategy, classes = facts(network_state(load(checkpoint)))
    spec = [f"model.graph_layout={layout}", f"model.graph_strategy={strategy}", f"dataset.num_classes={classes}"]
    program = [sys.executable, "-m", "tao_skill", "run"]
    models = {"checkpoint": checkpoint}
    for precision in ("fp32", "int8"):
        models[f"ONNX, {precision}"] = folder / f"{precision}.onnx"
        if models[f"ONNX, {precision}"].exists():
            continue
        keys = {
            "checkpoint": checkpoint,
            "onnx_file": models[f"ONNX, {precision}"],
            "sequence_length": frames,
            "num_persons": 1,
            "precision": precision,
            "calibration.data_path": data,
        }
        exported = [f"export.{name}={value}" for name, value in keys.items()]
        subprocess.run(
            [*program, "export", "--results-root", str(folder / "exports"), *spec, *exported],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    inputs = [f"inference.test_dataset.data_path={data}", *spec]
    results = ["--results-root", str(folder / "jobs")]
    ours = {
        name: [*program, "inference", *results, *inputs, f"inference.checkpoint={model}"]
        for name, model in models.items()
    }
    return {PLAIN: [sys.executable, __file__, str(checkpoint), "--plain", str(data), str(folder / "plain.txt")], **ours}


def new_checkpoint(folder: Path) -> Path:
    """A network as it is initialised, for speed does not depend on what the weights have learnt."""
    net = Ours(layout=LAYOUTS[LAYOUT], num_classes=CLASSES)
    save({"state_dict": {f"{PREFIX}{name}": value for name, value in net.state_dict().items()}}, folder / "new.pth")
    return folder / "new.pth"


def measure(checkpoint: Path, folder: Path, size: int, frames: int, rounds: int) -> dict[str, list[Cost]]:
    """What so many sequences cost in each round, by what is compared; all in turn."""
    joints = network_state(load(checkpoint))["A"].shape[1]
    data = folder / f"{size}.npy"
    steps = np.random.default_rng(0).normal(0.0, 0.05, (size, 3, frames, joints, 1))
    np.save(data, steps.cumsum(axis=2).astype(np.float16))
    compared = commands(checkpoint, folder, data, frames)
    found = [{name: measured(command, folder) for name, command in compared.items()} for _ in range(rounds)]
    return {name: [one[name] for one in found] for name in compared}


def rows(rounds: int = ROUNDS) -> Iterator[Row]:
    """Whole processes from each kind of file, in wall time and peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        found = measure(new_checkpoint(Path(folder)), Path(folder), SIZES[0], FRAMES, rounds)
    plain = found.pop(PLAIN)
    for name, costs in found.items():
        what = f"inference, {name}: {SIZES[0]} sequences, {LAYOUT}, T = {FRAMES}"
        for i, unit in enumerate(("s", "MiB")):
            pairs = [(other[i], mine[i]) for other, mine in zip(plain, costs, strict=True)]
            most = None if i else INT8_LIMIT if "int8" in name else LIMIT
            yield row(what + (", peak memory" if i else ""), PLAIN, pairs, unit=unit, most=most)


def table(checkpoint: Path, folder: Path, sizes: list[int], frames: int, rounds: int) -> Iterator[str]:
    """Lines of Markdown."""
    layout, strategy, classes = facts(network_state(load(checkpoint)))
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    yield f"{layout}, {strategy}, {classes} classes, T = {frames}, {threads} threads\n"
    yield "| sequences | | seconds | times as fast | peak MiB |\n|---|---|---|---|---|"
    for size in sizes:
        found = measure(checkpoint, folder, size, frames, rounds)
        for name, costs in found.items():
            seconds, peak = statistics.median(one for one, _ in costs), max(one for _, one in costs)
            ratio = statistics.median(its / ours for (its, _), (ours, _) in zip(found[PLAIN], costs, strict=True))
            yield f"| {size} | {name} | {seconds:.1f} | {ratio:.2f} | {peak:.0f} |"


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, nargs="?", help="a trained network; by default a new one")
    parser.add_argument("--sequences", type=int, nargs="+", default=SIZES)
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--plain", nargs=2, metavar=("DATA", "OUTPUT"), help="be the plain loop")
    given = parser.parse_args()
    if given.plain:
        plain_loop(str(given.checkpoint), *given.plain)
        return
    with tempfile.TemporaryDirectory() as name:
        checkpoint = given.checkpoint.absolute() if given.checkpoint else new_checkpoint(Path(name))
        for line in table(checkpoint, Path(name), given.sequences, given.frames, given.rounds):
            print(line, flush=True)


if __name__ == "__main__":
    main()
