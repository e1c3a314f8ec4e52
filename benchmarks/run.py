"""Every pair of the benchmarks in one run, as one table: `python benchmarks/run.py`, which is `make bench`.

Prints rows as they are known, and in the end writes them to results.md beside this file with the machine's name.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import data
import inference
import start
import train
from automl import overhead
from machine import machine
from pairs import HEADER, Row
from tao_skill.io.atomic import write_text

SOURCES: Final[Mapping[str, Callable[..., Iterator[Row]]]] = {
    "train": train.rows,
    "inference": inference.rows,
    "data": data.rows,
    "start": start.rows,
    "searches": overhead.rows,
}

PAGE: Final = """# Ratios

Written by `make bench` in {minutes:.0f} minutes, on {machine}.
The two of a pair were measured in turn; figures are medians over the rounds, ratios the median of the pairs' ratios.
Less is better everywhere. What each pair is stands in [README.md](README.md).

{table}
"""


def main() -> None:
    """Measure what was asked for, and keep it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results.md")
    parser.add_argument("--only", nargs="+", choices=SOURCES, default=list(SOURCES))
    parser.add_argument("--rounds", type=int, help="of every pair; by default each has its own number")
    given = parser.parse_args()
    if "OMP_NUM_THREADS" in os.environ:
        parser.error("OMP_NUM_THREADS is set: unset it, for searches share the cores among their workers themselves")
    rounds = {} if given.rounds is None else {"rounds": given.rounds}
    lines, began = [HEADER], time.monotonic()
    print(HEADER, flush=True)
    for name in given.only:
        for row in SOURCES[name](**rounds):
            lines.append(str(row))
            print(row, flush=True)
    minutes = (time.monotonic() - began) / 60
    write_text(given.out, PAGE.format(minutes=minutes, machine=machine(), table="\n".join(lines)))


if __name__ == "__main__":
    main()
