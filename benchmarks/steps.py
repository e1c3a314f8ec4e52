"""What a training step of each network takes, and what it is made of: `python benchmarks/steps.py [--rounds 9]`.

Sequences of the ntu-rgb+d layout in batches of 16. In each round every network takes a step in each precision, beside
a product of two large matrices in the same precision, whose speed is the machine's peak. Figures are medians over the
rounds. Seconds are CPU time a thread, which other work on the machine disturbs least.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import torch
import torch.nn.functional as F
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from machine import machine
from tao_skill.models.pose_classification.config import Optim
from tao_skill.models.pose_classification.network import allocator
from tao_skill.models.pose_classification.network.layouts import LAYOUTS
from tao_skill.models.pose_classification.network.registry import NETWORKS
from tao_skill.models.pose_classification.training.module import OPTIMIZERS

BATCH, CLASSES, SIDE = 16, 60, 2048
LAYOUT: Final = LAYOUTS["ntu-rgb+d"]
PRECISIONS: Final = {"fp32": torch.float32, "bf16": torch.bfloat16}

KINDS: Final = {
    "convolutions": ("convolution",),
    "products": ("mm", "mv", "matmul"),
    "batch norm": ("batch_norm", "BatchNorm"),
    "copies": ("copy_", "_to_copy", "cat", "clone", "contiguous"),
    "optimizer": ("Optimizer", "_fused"),
}
"""Parts of the names of operations; all others are `OTHERS`."""

OTHERS: Final = "elementwise, sums"
HEADER: Final = ("network", "T", "precision", "steps/s", "GFLOP/s", "of the peak", *KINDS, OTHERS)


class Case(NamedTuple):
    """A network, frames of a sequence, and a precision."""

    network: str
    frames: int
    precision: str


def stepper(case: Case) -> Callable[[], None]:
    """A training step of a new network on random sequences."""
    net = NETWORKS[case.network].load()(layout=LAYOUT, num_classes=CLASSES)
    optimizer = OPTIMIZERS["torch.optim.SGD"](net.parameters(), Optim(lr=0.01))
    x_NCTVM, ids_N = torch.randn(BATCH, 3, case.frames, LAYOUT.joints, 1), torch.randint(CLASSES, (BATCH,))

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=case.precision == "bf16"):
            scores_NK = net(x_NCTVM).float()
        F.cross_entropy(scores_NK, ids_N).backward()
        optimizer.step()

    return step


def seconds(work: Callable[[], Any]) -> float:
    """CPU time of each thread."""
    began = time.process_time()
    work()
    return (time.process_time() - began) / torch.get_num_threads()


def kind(operation: str) -> str:
    """The kind of an operation by the name that torch's profiler gives it."""
    return next((kind for kind, parts in KINDS.items() if any(part in operation for part in parts)), OTHERS)


def shares(step: Callable[[], None]) -> dict[str, float]:
    """Share of each kind of operation in the time of a step."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        step()
    times: Counter[str] = Counter()
    for operation in profiled.key_averages():
        times[kind(operation.key)] += operation.self_cpu_time_total
    return {name: times[name] / times.total() for name in (*KINDS, OTHERS)}


def measure(cases: Sequence[Case], rounds: int) -> list[tuple[str, ...]]:
    """A row of the table for each case; the first two steps of a network are not counted."""
    steps = {case: stepper(case) for case in cases}
    matrices = {name: torch.randn(SIDE, SIDE).to(kind) for name, kind in PRECISIONS.items()}
    flop: dict[Case, int] = {}
    for case, step in steps.items():
        step()
        with FlopCounterMode(display=False) as counter:
            step()
        flop[case] = counter.get_total_flops()
    found: dict[Case, list[tuple[float, float]]] = {case: [] for case in cases}
    for _ in range(rounds):
        for case, step in steps.items():
            matrix = matrices[case.precision]
            found[case].append((flop[case] / seconds(step), 2 * SIDE**3 / seconds(partial(torch.mm, matrix, matrix))))
    rows = []
    for case, speeds in found.items():
        speed = statistics.median(ours for ours, _ in speeds)
        share = statistics.median(ours / peak for ours, peak in speeds)
        parts = (f"{100 * part:.0f} %" for part in shares(steps[case]).values())
        figures = f"{speed / flop[case]:.2f}", f"{speed / 1e9:.0f}", f"{100 * share:.0f} %"
        rows.append((case.network, str(case.frames), case.precision, *figures, *parts))
    return rows


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--frames", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--only", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    allocator.keep_freed()
    cases = [Case(name, frames, one) for name in given.only for frames in given.frames for one in PRECISIONS]
    for line in (HEADER, ("---",) * len(HEADER), *measure(cases, given.rounds)):
        print(f"| {' | '.join(line)} |")
    print(f"\n{given.threads} threads, {given.rounds} rounds, {machine()}")


if __name__ == "__main__":
    main()
