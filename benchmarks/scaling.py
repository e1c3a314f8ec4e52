"""How time grows with the work: measures, draws and writes docs/performance.md's figures.

`python benchmarks/scaling.py --out docs/performance` keeps what it measures as JSON beside the SVG files that it
draws of it, and puts tables into the page beside that folder. `--draw` does the second half alone. Points of a
figure are measured in turn, round by round; a first round, or a first epoch, is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import storage
from figures import Figure, Point, fill, keep, point, publish
from machine import machine
from tao_skill.jobs.launch import PASSIVE_WAIT
from tao_skill.models.pose_classification.network.architecture import TRAIN, forward_flop
from tao_skill.models.pose_classification.network.graph import STRATEGIES
from tao_skill.models.pose_classification.network.layouts import LAYOUTS
from train import Case, Stepper

FRAMES: Final = (16, 32, 64, 150, 300)
BATCHES: Final = (1, 4, 16, 64)
SEQUENCES: Final = (32, 128, 512)
WORKERS: Final = (0, 1, 2)
BATCH: Final = 8
SUBSETS: Final = STRATEGIES["spatial"].subsets

Key = TypeVar("Key", bound=Hashable)
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """How much is measured."""

    rounds: int
    threads: Sequence[int]


def in_turn(calls: Mapping[Key, Callable[[], T]], rounds: int, *, first: int = 1) -> dict[Key, list[T]]:
    """What each call gives in each round, after `first` ones that are not counted."""
    found = [{key: call() for key, call in calls.items()} for _ in range(first + rounds)][first:]
    return {key: [one[key] for one in found] for key in calls}


def threads_of(count: int) -> str:
    """Name of a line."""
    return f"{count} thread" + ("s" if count > 1 else "")


def gflop(layout: str, frames: int) -> float:
    """Of one sequence forward through the network."""
    return forward_flop(frames, LAYOUTS[layout].joints, SUBSETS) / 1e9


def steps(asked: Asked, cases: Sequence[tuple[float, Case, dict[str, str]]]) -> Iterator[Point]:
    """Training steps of cases, each with its x and its name."""
    with ExitStack() as stack:
        steppers = {count: stack.enter_context(Stepper(ours=True, threads=count)) for count in asked.threads}
        calls = {(n, case): partial(stepper.step, case) for n, stepper in steppers.items() for _, case, _ in cases}
        found = in_turn(calls, asked.rounds)
    for count in asked.threads:
        for x, case, named in cases:
            walls = [wall for wall, _ in found[count, case]]
            work = TRAIN * gflop(case.layout, case.frames)
            one = point(threads_of(count), x, [1000 * wall for wall in walls], **named, **{"GFLOP per sequence": work})
            yield one | {"GFLOP/s": 1000 * work / one["y"]}


def by_frames(asked: Asked) -> Iterator[Point]:
    """Longer sequences."""
    return steps(asked, [(frames, Case("nvidia", frames, BATCH), {}) for frames in FRAMES])


def by_joints(asked: Asked) -> Iterator[Point]:
    """Every layout."""
    layouts = sorted(LAYOUTS.items(), key=lambda one: one[1].joints)
    return steps(asked, [(one.joints, Case(name, 64, BATCH), {"name": name}) for name, one in layouts])


def by_batch(asked: Asked) -> Iterator[Point]:
    """Larger batches."""
    return steps(asked, [(batch, Case("nvidia", 64, batch), {}) for batch in BATCHES])


def by_sequences(asked: Asked) -> Iterator[Point]:
    """Larger sets: an epoch, and the largest memory that its process had."""
    cases = {n: (n, 16, {"model.graph_layout": "coco", "dataset.num_workers": 0}) for n in SEQUENCES}
    for n, found in epochs(asked, cases).items():
        peak = max(one["peak_mib"] for one in found)
        yield point(threads_of(max(asked.threads)), n, [one["seconds"] for one in found], **{"peak MiB": peak})


def by_workers(asked: Asked) -> Iterator[Point]:
    """More processes that load."""
    cases = {n: (32, 64, {"dataset.num_workers": n}) for n in WORKERS}
    for n, found in epochs(asked, cases).items():
        share = sorted(100 * one["waiting"] / one["seconds"] for one in found)[len(found) // 2]
        name = threads_of(max(asked.threads))
        yield point(name, n, [one["seconds"] for one in found], **{"waiting for data, %": share})


def epochs(asked: Asked, cases: Mapping[int, tuple[int, int, dict[str, Any]]]) -> dict[int, list[dict[str, float]]]:
    """Second epochs of trainings in processes of their own; a case is how many sequences, frames and spec keys."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(max(asked.threads))}

    def call(case: tuple[int, int, dict[str, Any]]) -> dict[str, float]:
        command = [sys.executable, __file__, "--epoch", json.dumps(case)]
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return found

    return in_turn({x: partial(call, case) for x, case in cases.items()}, asked.rounds, first=0)


def epoch(sequences: int, frames: int, keys: Mapping[str, Any]) -> dict[str, float]:
    """In a process of its own: train two epochs, and tell of the second."""
    import resource

    import numpy as np

    import data

    joints = LAYOUTS[keys.get("model.graph_layout", "nvidia")].joints
    made = np.random.default_rng(0).normal(size=(sequences, 3, frames, joints, 1)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        files = data.write_set(Path(folder, "data"), made)
        seconds, waiting = data.epoch(Path(folder), **files, **{"dataset.batch_size": BATCH}, **keys)
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "waiting": waiting, "peak_mib": peak_kib / 1024}


def by_frames_scored(asked: Asked) -> Iterator[Point]:
    """Longer sequences through a checkpoint, as `inference` runs it."""
    import numpy as np
    import torch

    import data
    import inference
    from tao_skill.models.pose_classification.deploy.scorers import open_scorer

    with tempfile.TemporaryDirectory() as folder:
        path = inference.new_checkpoint(Path(folder))
        config = data.build({"model.graph_layout": inference.LAYOUT, "dataset.num_classes": inference.CLASSES})
        scorer = open_scorer(path, config, torch.device("cpu"))
    joints = LAYOUTS[inference.LAYOUT].joints
    made = np.random.default_rng(0).normal(size=(BATCH, 3, max(FRAMES), joints, 1)).astype(np.float32)

    def score(threads: int, frames: int) -> float:
        torch.set_num_threads(threads)
        began = time.perf_counter()
        scorer(np.ascontiguousarray(made[:, :, :frames]))
        return (time.perf_counter() - began) / BATCH

    calls = {(count, frames): partial(score, count, frames) for count in asked.threads for frames in FRAMES}
    for (count, frames), found in in_turn(calls, asked.rounds).items():
        work = gflop(inference.LAYOUT, frames)
        one = point(threads_of(count), frames, [1000 * value for value in found], **{"GFLOP per sequence": work})
        yield one | {"GFLOP/s": 1000 * work / one["y"]}


STEP: Final = "ms per sequence"

FIGURES: Final[Mapping[str, tuple[Figure, Callable[[Asked], Iterator[Point]]]]] = {
    "frames": (Figure(title="A training step by frames", x="frames T", y=STEP, proportional=True), by_frames),
    "joints": (Figure(title="A training step by joints", x="joints V", y=STEP, proportional=True), by_joints),
    "batch": (Figure(title="A training step by batch size", x="sequences per batch", y=STEP), by_batch),
    "sequences": (
        Figure(title="An epoch by sequences", x="sequences N", y="s per epoch", proportional=True),
        by_sequences,
    ),
    "workers": (
        Figure(title="An epoch by loader processes", x="dataset.num_workers", y="s per epoch", steps=True),
        by_workers,
    ),
    "inference": (Figure(title="Inference by frames", x="frames T", y=STEP, proportional=True), by_frames_scored),
}


def measured(asked: Asked, note: str) -> str:
    """How, in a sentence."""
    rounds = f"Median of {asked.rounds} rounds" if asked.rounds > 1 else "One round"
    return "; ".join(filter(None, (rounds, machine(), note))) + "."


def main() -> None:
    """Measure unless only drawing is asked for, then draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/performance"))
    parser.add_argument("--draw", action="store_true", help="measure nothing")
    parser.add_argument("--only", nargs="+", choices=[*FIGURES, storage.NAME], default=[*FIGURES, storage.NAME])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--note", default="", help="words to keep with the data on how it was measured")
    parser.add_argument("--storage", nargs="*", default=[], help="addresses of empty databases, measured beside SQLite")
    parser.add_argument("--epoch", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.epoch:
        print(json.dumps(epoch(*given.epoch)))
        return
    os.environ |= PASSIVE_WAIT  # threads wait for each other as they do in a job
    asked = Asked(rounds=given.rounds, threads=given.threads)
    for name in [] if given.draw else given.only:
        found = storage.measure(given.storage) if name == storage.NAME else {"points": list(FIGURES[name][1](asked))}
        keep(given.out / f"{name}.json", measured(asked, given.note), found)
        print(f"{name} is measured", flush=True)
    blocks = {name: publish(name, figure, given.out) for name, (figure, _) in FIGURES.items()}
    fill(given.out.with_suffix(".md"), blocks | storage.blocks(given.out))


if __name__ == "__main__":
    main()
