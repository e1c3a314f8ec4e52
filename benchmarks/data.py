"""What reading data costs a training, in time and memory.

`OMP_NUM_THREADS=1 python benchmarks/data.py --irds FOLDER` prints two Markdown tables. The large files are sparse: they
take no room on the disk, but as much of the system's cache as is free.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
import psutil
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.profilers import SimpleProfiler

from pairs import Row, row
from tao_skill.models.pose_classification.actions import train
from tao_skill.models.pose_classification.checks.check import check
from tao_skill.models.pose_classification.config import ExperimentConfig
from tao_skill.models.pose_classification.data import sequences
from tao_skill.models.pose_classification.data.datamodule import SkeletonDataModule
from tao_skill.models.pose_classification.network import allocator
from tao_skill.models.pose_classification.training.module import PoseClassifier
from tao_skill.spec import load
from tao_skill.status import StatusLog

SEQUENCES: Final = 64
BATCH: Final = 16
ROUNDS: Final = 3
TURNS: Final = 6
RESAMPLED: Final = "dataset.resample_frames"
MEAN: Final = 100
PADDING_LIMIT = 1 / 2.5
"""Of the time of whole sequences, where a third of the frames is used."""
EPOCHS: Final = 4
TIMED: Final = 3
STEPS: Final = 4
SMALL_BYTES: Final = 4 * 2**20
LARGE_BYTES: Final = 10 * 2**30
FRAMES: Final = 300
WAITING: Final = "[_TrainingEpochLoop].train_dataloader_next"


class Memory(Callback):
    """The largest resident memory, in MiB, that each process of a training has had when it ends."""

    def __init__(self) -> None:
        self.peaks: list[float] = []

    def on_train_end(self, *_: Any) -> None:
        """While the workers still live."""
        self.peaks = [_peak_mib(os.getpid()), *(_peak_mib(child.pid) for child in psutil.Process().children())]


class Turns(Callback):
    """Trains an epoch whenever it is asked to, and answers with its seconds."""

    def __init__(self, asked: Connection) -> None:
        self._asked = asked
        self._began = 0.0

    def on_train_epoch_start(self, *_: Any) -> None:
        """Wait for the turn."""
        self._asked.recv()
        self._began = time.perf_counter()

    def on_train_epoch_end(self, *_: Any) -> None:
        """Give it to the next one."""
        self._asked.send(time.perf_counter() - self._began)


def _peak_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def write_set(folder: Path, data_NCTVM: sequences.Sequences) -> dict[str, Any]:
    """A training set of one class, and the spec keys of it."""
    folder.mkdir()
    np.save(folder / "data.npy", data_NCTVM)
    return facts(folder / "data.npy", len(data_NCTVM))


def facts(data: Path, n: int) -> dict[str, Any]:
    """Labels beside a data file, and the spec keys of both."""
    label = data.with_suffix(".pkl")
    label.write_bytes(pickle.dumps([[str(i) for i in range(n)], [0] * n]))
    return {"dataset.train_dataset.data_path": str(data), "dataset.train_dataset.label_path": str(label)}


def moving(shortest: int, longest: int) -> sequences.Sequences:
    """Skeletons of `nvidia` that move for so many of 300 frames, all lengths between alike."""
    rng = np.random.default_rng(0)
    data_NCTVM = rng.normal(size=(SEQUENCES, 3, FRAMES, 34, 1)).astype(np.float32)
    frames_N = rng.permutation(np.linspace(shortest, longest, SEQUENCES).astype(int))
    for x_CTVM, used in zip(data_NCTVM, frames_N, strict=True):
        x_CTVM[:, used:] = 0
    return data_NCTVM


def cases(work: Path, irds: Path | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Training sets as spec keys."""
    yield f"nvidia, T = {FRAMES}, mean {MEAN}", write_set(work / "nvidia", moving(24, 176))
    if irds:
        data_NCTVM = sequences.open_sequences(irds / "train_data.npy")[:SEQUENCES]
        mean = sequences.unpadded_lengths(data_NCTVM).mean()
        layout = {"model.graph_layout": "ntu-rgb+d"}
        yield f"irds, T = 150, mean {mean:.0f}", write_set(work / "irds", data_NCTVM) | layout


def epoch(work: Path, **keys: Any) -> tuple[float, float]:
    """Seconds of one of the last TIMED of EPOCHS, and of these the ones that waited for data; in a process of its own.

    What one training leaves in memory would be in the way of the next.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(_epoch, work, keys).result()


def _epoch(work: Path, keys: dict[str, Any]) -> tuple[float, float]:
    profiler = SimpleProfiler()
    train_with(work, {"train.num_epochs": EPOCHS, **keys}, [], profiler=profiler)
    whole, waits = (profiler.recorded_durations[name] for name in ("run_training_epoch", WAITING))
    return median(whole[-TIMED:]), sum(waits[-(len(waits) // EPOCHS) * TIMED :]) / TIMED


def train_with(work: Path, keys: dict[str, Any], callbacks: list[Callback], **attributes: Any) -> None:
    """Train as the action does, with these callbacks beside its own and attributes of the trainer set."""
    config = build({"results_dir": str(work), "dataset.batch_size": BATCH, "train.optim.lr": 0.01, **keys})
    allocator.keep_freed()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)  # it would print the whole profile
    with tempfile.TemporaryDirectory(dir=work) as folder:
        trainer = train.build_trainer(config, Path(folder), StatusLog(Path(folder), silent=True))
        trainer.callbacks += callbacks
        for name, value in attributes.items():
            setattr(trainer, name, value)
        trainer.fit(PoseClassifier(config), SkeletonDataModule(config.dataset, config.train.seed))


def build(keys: dict[str, Any]) -> ExperimentConfig:
    """The config of some spec keys."""
    config = load.build(ExperimentConfig, load.override(ExperimentConfig, {}, keys.items()))
    assert isinstance(config, ExperimentConfig)
    return config


def rows(rounds: int = TURNS) -> Iterator[Row]:
    """An epoch over generated sequences that move for a third of their frames, whole and resampled to that."""
    with tempfile.TemporaryDirectory() as name:
        ((data, keys),) = cases(Path(name), None)
        pairs = epochs_in_turn(Path(name), keys, keys | {RESAMPLED: MEAN}, rounds)
        what = f"epoch of {SEQUENCES} sequences, resample_frames={MEAN}: {data}"
        yield row(what, "without", pairs, most=PADDING_LIMIT)


def epochs_in_turn(work: Path, its: dict[str, Any], ours: dict[str, Any], rounds: int) -> list[tuple[float, float]]:
    """Seconds of an epoch of two trainings, by spec keys, in turn.

    Each is a process of its own that lives through all rounds. The first epoch of each is not counted, nor the last,
    beside which the other training ends.
    """
    context = multiprocessing.get_context("spawn")
    trainings: list[Connection] = []
    processes = []
    for keys in (its, ours):
        here, there = context.Pipe()
        process = context.Process(target=_take_turns, args=(work, {"train.num_epochs": rounds + 2, **keys}, there))
        process.start()
        there.close()
        trainings.append(here)
        processes.append(process)
    pairs = [(_turn(trainings[0]), _turn(trainings[1])) for _ in range(rounds + 2)]
    for process in processes:
        process.join()  # it still writes its last checkpoint, into a folder of `work`
    return pairs[1:-1]


def _turn(training: Connection) -> float:
    training.send(None)
    seconds: float = training.recv()
    return seconds


def _take_turns(work: Path, keys: dict[str, Any], asked: Connection) -> None:
    train_with(work, keys, [Turns(asked)])


def time_rows(work: Path, irds: Path | None) -> Iterator[str]:
    """Training speed and the share of waiting: each variant in turn, medians of the rounds."""
    yield "| data | workers | resample_frames | sequences/s | of the time, waiting for data |\n|---|---|---|---|---|"
    for name, keys in cases(work, irds):
        variants = [(1, None), (1, MEAN), (0, MEAN)]
        found: dict[tuple[int, int | None], list[tuple[float, float]]] = {one: [] for one in variants}
        for _ in range(ROUNDS):
            for workers, frames in variants:
                settings = {**keys, "dataset.num_workers": workers, RESAMPLED: frames}
                found[workers, frames].append(epoch(work, **settings))
        for (workers, frames), times in found.items():
            speed = median(SEQUENCES / seconds for seconds, _ in times)
            share = median(waited / seconds for seconds, waited in times)
            yield f"| {name} | {workers} | {frames or 'off'} | {speed:.2f} | {share:.2%} |"


def large(work: Path, dtype: str, bytes_: int) -> dict[str, Any]:
    """A sparse file of zeros that takes no room, as spec keys."""
    n = bytes_ // (3 * FRAMES * 34 * np.dtype(dtype).itemsize)
    path = work / f"{dtype}-{n}.npy"
    np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=(n, 3, FRAMES, 34, 1))
    return facts(path, n)


def measure(work: Path, keys: dict[str, Any]) -> dict[str, Any]:
    """Plan a training and take a few steps of it, in this process."""
    began = time.perf_counter()
    assert not check(build({**keys, "dataset.num_classes": 1}), "train").problems
    planned, memory = time.perf_counter() - began, Memory()
    train_with(
        work,
        {**keys, "dataset.num_workers": 1, "train.num_epochs": 1},
        [memory],
        limit_train_batches=STEPS,
    )
    return {"plan_s": planned, "peaks": memory.peaks}


def memory_rows(work: Path) -> Iterator[str]:
    """Peak memory of a training on a large file, beside that on a small one."""
    yield "| data | resample_frames | plan | peak memory: training | worker |\n|---|---|---|---|---|"
    for size, dtype in ((SMALL_BYTES, "float32"), (LARGE_BYTES, "float32"), (LARGE_BYTES, "float16")):
        keys = large(work, dtype, size)
        for frames in (None, MEAN):
            asked = json.dumps({**keys, RESAMPLED: frames})
            command = [sys.executable, __file__, "--measure", asked]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
            found = json.loads(said)
            main, worker = found["peaks"]
            yield (
                f"| {size / 2**20:.0f} MiB, {dtype} | {frames or 'off'} | {found['plan_s']:.1f} s "
                f"| {main:.0f} MiB | {worker:.0f} MiB |"
            )


def main() -> None:
    """Print both tables; with --measure, one figure of the second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--irds", type=Path, help="folder of the recorded set")
    parser.add_argument("--only", choices=("time", "memory"))
    parser.add_argument("--measure", type=json.loads, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if asked.measure:
            print(json.dumps(measure(Path(folder), asked.measure)))
            return
        rows = {"time": lambda: time_rows(Path(folder), asked.irds), "memory": lambda: memory_rows(Path(folder))}
        for name, of in rows.items():
            if asked.only in (None, name):
                for row in of():
                    print(row, flush=True)


if __name__ == "__main__":
    main()
