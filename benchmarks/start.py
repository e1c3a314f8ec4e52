"""CPU time of the start: `python benchmarks/start.py` prints a Markdown table."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from pairs import HEADER, Row, row
from tao_skill.models import get_model

ROUNDS: Final = 21
PYTHON: Final = "python -c pass"
LIMITS_S: Final = {"--help": 0.15, "run train -e data/spec.yaml --dry-run": 0.4}
"""Calls of the program and the limits of their CPU time."""


def cpu_seconds(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> float:
    """CPU time of one call."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=environment, cwd=folder, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(rounds: int) -> dict[str, list[float]]:
    """CPU times of each call, measured in turn. The first round is not counted."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        get_model(None).write_sample(folder / "data")
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "TAO_SKILL_RESULTS": str(folder / "results")}
        calls = {call: (sys.executable, "-m", "tao_skill", *call.split()) for call in LIMITS_S}
        commands = {PYTHON: (sys.executable, "-c", "pass"), **calls}
        found = [
            {call: cpu_seconds(command, environment, folder) for call, command in commands.items()}
            for _ in range(1 + rounds)
        ]
        return {call: [times[call] for times in found[1:]] for call in commands}


def rows(rounds: int = ROUNDS) -> Iterator[Row]:
    """CPU time of each call, compared with Python's own start."""
    times = measure(rounds)
    for call, limit_s in LIMITS_S.items():
        pairs = list(zip(times[PYTHON], times[call], strict=True))
        yield row(f"`tao-skill {call}`, CPU", f"`{PYTHON}`", pairs, unit="ms", most_s=limit_s)


def main() -> None:
    """Print medians."""
    print(HEADER, *rows(), sep="\n")


if __name__ == "__main__":
    main()
