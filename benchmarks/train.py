"""A training step beside the textbook's, same maths: `python benchmarks/train.py [--rounds 5] [--threads 2]`.

Each network lives in a process of its own and takes a step in turn with the other, on random sequences, with dropout,
loss, backward and SGD. Ratios are medians over the pairs.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from pairs import Row, row

CLASSES = 9
ROUNDS = 5
LIMIT = 1 / 1.4
"""Of the textbook's time, that a step may take."""

THREADS = 2
TEXTBOOK = "textbook ST-GCN"
PRECISIONS = {"": False, ", bf16": True}


@dataclass(frozen=True)
class Case:
    """A shape of data."""

    layout: str
    frames: int
    batch: int

    def __str__(self) -> str:
        return f"{self.layout}, T = {self.frames}, batch {self.batch}"


CASES = (Case("nvidia", 300, 16), Case("ntu-rgb+d", 150, 16))

Seconds = tuple[float, float]
"""Wall and CPU time of a step, a sequence."""


class Stepper:
    """A process that trains a network for each layout, a step whenever it is asked; leaving the block ends it."""

    def __init__(self, *, ours: bool, threads: int, bf16: bool = False) -> None:
        context = multiprocessing.get_context("spawn")
        self._asked, self._theirs = context.Pipe()
        self._process = context.Process(target=answer, args=(ours, threads, bf16, self._theirs), daemon=True)

    def __enter__(self) -> Stepper:
        self._process.start()
        self._theirs.close()  # else nothing would tell of a process that dies
        return self

    def __exit__(self, *_: object) -> None:
        self._asked.send(None)
        self._process.join()

    def step(self, case: Case) -> Seconds:
        """Take one; the first one of a shape is slower than the others."""
        self._asked.send(case)
        wall, cpu = self._asked.recv()
        return wall / case.batch, cpu / case.batch


def answer(ours: bool, threads: int, bf16: bool, asked: Connection) -> None:
    """In a process of its own: answer each case with the wall and CPU seconds of a step."""
    import torch
    import torch.nn.functional as F

    from tao_skill.models.pose_classification.network import allocator
    from tao_skill.models.pose_classification.network.layouts import LAYOUTS

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    if ours:
        allocator.keep_freed()
    trained: dict[str, Any] = {}
    while case := asked.recv():
        net, optimizer = trained[case.layout] = trained.get(case.layout) or prepared(ours, case.layout)
        x = torch.randn(case.batch, 3, case.frames, LAYOUTS[case.layout].joints, 1)
        ids = torch.randint(CLASSES, (case.batch,))
        wall, cpu = time.perf_counter(), time.process_time()
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            scores = net(x).float()
        F.cross_entropy(scores, ids).backward()
        optimizer.step()
        asked.send((time.perf_counter() - wall, time.process_time() - cpu))


def prepared(ours: bool, layout: str) -> tuple[Any, Any]:
    """A network and its optimizer."""
    import torch

    import textbook
    from tao_skill.models.pose_classification.network.graph import adjacency
    from tao_skill.models.pose_classification.network.layouts import LAYOUTS
    from tao_skill.models.pose_classification.network.stgcn import STGCN

    net: torch.nn.Module = (
        STGCN(layout=LAYOUTS[layout], num_classes=CLASSES)
        if ours
        else textbook.STGCN(torch.from_numpy(adjacency(LAYOUTS[layout], "spatial")), num_classes=CLASSES)
    )
    return net, torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=1e-4)


def measure(case: Case, threads: int, rounds: int, *, bf16: bool) -> list[tuple[Seconds, Seconds]]:
    """(textbook, ours) of each round; the first round is not counted. Three networks at once may not fit in memory."""
    with (
        Stepper(ours=False, threads=threads) as textbook,
        Stepper(ours=True, threads=threads, bf16=bf16) as ours,
    ):
        return [(textbook.step(case), ours.step(case)) for _ in range(rounds + 1)][1:]


def rows(rounds: int = ROUNDS) -> Iterator[Row]:
    """Wall time of both, a case a row."""
    for case in CASES:
        for name, bf16 in PRECISIONS.items():
            pairs = [(textbook[0], ours[0]) for textbook, ours in measure(case, THREADS, rounds, bf16=bf16)]
            yield row(f"training step{name}, a sequence: {case}", TEXTBOOK, pairs, most=None if bf16 else LIMIT)


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--threads", type=int, default=THREADS)
    asked = parser.parse_args()
    print(f"Seconds a sequence, {asked.threads} threads, median of {asked.rounds}:\n")
    print("| data | textbook | tao-skill | times as fast | times less CPU |\n|---|---|---|---|---|")
    for case in CASES:
        for name, bf16 in PRECISIONS.items():
            pairs = measure(case, asked.threads, asked.rounds, bf16=bf16)
            textbook_s, ours_s = (statistics.median(one[i][0] for one in pairs) for i in range(2))
            wall, cpu = (statistics.median(a[i] / b[i] for a, b in pairs) for i in range(2))
            print(f"| {case}{name} | {textbook_s:.3f} | {ours_s:.3f} | {wall:.2f} | {cpu:.2f} |", flush=True)


if __name__ == "__main__":
    main()
