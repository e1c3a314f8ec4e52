"""A training step beside the textbook's, same maths: `python benchmarks/train.py [--rounds 5] [--threads 2]`.

Each network lives in a process of its own and takes a step in turn with the other, on random sequences, with dropout,
loss, backward and SGD. Ratios are medians over the pairs.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection

CLASSES = 9


@dataclass(frozen=True)
class Case:
    """A shape of data."""

    layout: str
    frames: int
    batch: int


CASES = (Case("nvidia", 300, 16), Case("ntu-rgb+d", 150, 16))


def steps(ours: bool, case: Case, threads: int, asked: Connection) -> None:
    """In a process of its own: answer each request with the wall and CPU seconds of a step."""
    import torch
    import torch.nn.functional as F

    from benchmarks import textbook
    from tao_skill.models.pose_classification import memory
    from tao_skill.models.pose_classification.graph import LAYOUTS, adjacency
    from tao_skill.models.pose_classification.net import STGCN

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    if ours:
        memory.keep_freed()
        net: torch.nn.Module = STGCN(layout=case.layout, num_classes=CLASSES)
    else:
        net = textbook.STGCN(torch.from_numpy(adjacency(case.layout, "spatial")), num_classes=CLASSES)
    x = torch.randn(case.batch, 3, case.frames, LAYOUTS[case.layout].joints, 1)
    ids = torch.randint(CLASSES, (case.batch,))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=1e-4)
    while asked.recv():
        wall, cpu = time.perf_counter(), time.process_time()
        optimizer.zero_grad()
        F.cross_entropy(net(x), ids).backward()
        optimizer.step()
        asked.send((time.perf_counter() - wall, time.process_time() - cpu))


def measure(case: Case, threads: int, rounds: int) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """(textbook, ours) of each round, each (wall, CPU) seconds a sequence; the first round is not counted."""
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    for ours in (False, True):
        here, there = context.Pipe()
        processes.append(context.Process(target=steps, args=(ours, case, threads, there), daemon=True))
        processes[-1].start()
        pipes.append(here)

    def step(pipe: Connection) -> tuple[float, float]:
        pipe.send(True)
        wall, cpu = pipe.recv()
        return wall / case.batch, cpu / case.batch

    pairs = [(step(pipes[0]), step(pipes[1])) for _ in range(rounds + 1)][1:]
    for pipe, process in zip(pipes, processes, strict=True):
        pipe.send(False)
        process.join()
    return pairs


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    print(f"Seconds a sequence, {asked.threads} threads, median of {asked.rounds}:\n")
    print("| data | textbook | tao-skill | times as fast | times less CPU |\n|---|---|---|---|---|")
    for case in CASES:
        pairs = measure(case, asked.threads, asked.rounds)
        textbook_s, ours_s = (statistics.median(one[i][0] for one in pairs) for i in range(2))
        wall, cpu = (statistics.median(a[i] / b[i] for a, b in pairs) for i in range(2))
        what = f"{case.layout}, T = {case.frames}, batch {case.batch}"
        print(f"| {what} | {textbook_s:.3f} | {ours_s:.3f} | {wall:.2f} | {cpu:.2f} |", flush=True)


if __name__ == "__main__":
    main()
