"""What it costs to start: `python benchmarks/start.py` prints a Markdown table."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import psutil

from pairs import Row, row
from tao_skill.jobs.record import Ending, Job, new_id, timestamp
from tao_skill.jobs.store import Store
from tao_skill.models import get_model
from tao_skill.spec import load

ROUNDS = 21
SERVER_ROUNDS = 7
SERVER_LIMIT_S = 1.0
PASS = "python -c pass"
PROGRAM = (sys.executable, "-m", "tao_skill")
LIMITS_S = {
    "--help": 0.15,
    "jobs list": None,
    "jobs show JOB": None,
    "jobs show JOB --json": None,
    "run train -e data/spec.yaml --dry-run": 0.4,
    "run train -e data/spec.yaml --dry-run --json": 0.4,
}
"""Calls of the program, and the CPU time that they may take."""

HELLO = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "benchmark", "version": "1"}}
MESSAGES = (
    {"id": 1, "method": "initialize", "params": HELLO},
    {"method": "notifications/initialized"},
    {"id": 2, "method": "tools/list", "params": {}},
)


def finished_job(root: Path, spec_file: Path) -> str:
    """A training as it is recorded, and its id."""
    now, store, model = datetime.now(UTC), Store(root), get_model(None)
    spec, _ = load.project(model.config, "train", load.read_spec_file(spec_file))
    job = Job(
        id=new_id("train", now=now, token="1a2b"),
        model=model.name,
        spec=load.check(model.config, "train", spec | {"results_dir": str(root)}),
        action="train",
        route={"policy": "off", "route": "direct", "reason": "policy off"},
        results_dir=str(root / "train"),
        created=timestamp(now),
    )
    store.open(job)
    store.begin_attempt(job.id, 1)
    store.close_attempt(job.id, 1, Ending(state="COMPLETE", exit_code=0, metrics={"val_acc": 0.5}))
    return job.id


def seconds(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> tuple[float, float]:
    """Wall and CPU time of one call."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, env=environment, cwd=folder, capture_output=True, check=True)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def server_seconds(environment: Mapping[str, str], folder: Path) -> float:
    """CPU time of a server until it has answered `initialize` and `tools/list`."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([*PROGRAM, "mcp"], env=environment, cwd=folder, text=True, **pipes) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        for message in MESSAGES:
            print(json.dumps({"jsonrpc": "2.0", **message}), file=server.stdin, flush=True)
            answer = server.stdout.readline() if "id" in message else ""
        assert json.loads(answer)["result"]["tools"]
        spent = psutil.Process(server.pid).cpu_times()
        server.stdin.close()
    return spent.user + spent.system


def measure(rounds: int) -> tuple[dict[str, list[tuple[float, float]]], list[float]]:
    """Wall and CPU time of each call in each round, all calls in turn, and CPU times of a server's start.

    The first round is not counted.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        get_model(None).write_sample(folder / "data")
        job = finished_job(folder / "results", folder / "data" / "spec.yaml")
        compiled = {"PYTHONDONTWRITEBYTECODE": ""}  # as an installed package is, from the first round on
        environment = {**os.environ, **compiled, "TAO_SKILL_RESULTS": str(folder / "results")}
        calls = {call: (*PROGRAM, *call.replace("JOB", job).split()) for call in LIMITS_S}
        commands = {PASS: (sys.executable, "-c", "pass"), **calls}
        times: dict[str, list[tuple[float, float]]] = {call: [] for call in commands}
        for number in range(rounds + 1):
            for call, command in commands.items():
                found = seconds(command, environment, folder)
                times[call] += [found] if number else []
        return times, [server_seconds(environment, folder) for _ in range(min(rounds, SERVER_ROUNDS))]


def rows(rounds: int = ROUNDS) -> Iterator[Row]:
    """CPU time of each call, and of a server's start, beside Python's own."""
    times, served = measure(rounds)
    for call, most_s in LIMITS_S.items():
        pairs = [(own[1], found[1]) for own, found in zip(times[PASS], times[call], strict=True)]
        yield row(f"`tao-skill {call}`, CPU", f"`{PASS}`", pairs, unit="ms", most_s=most_s)
    spent = [(own[1], found) for own, found in zip(times[PASS], served, strict=False)]
    yield row("`tao-skill mcp`, CPU until tools/list", f"`{PASS}`", spent, unit="ms", most_s=SERVER_LIMIT_S)


def main() -> None:
    """Print medians."""
    times, served = measure(ROUNDS)
    medians = {call: [statistics.median(one) for one in zip(*found, strict=True)] for call, found in times.items()}
    print(f"Medians of {ROUNDS} rounds, every command once a round.\n")
    print("| `tao-skill ...` | wall | CPU | wall, of Python's own | CPU, of Python's own | CPU limit |")
    print("|---|---|---|---|---|---|")
    for call, (wall, cpu) in medians.items():
        ratios = [f"{one / own:.1f} x" for one, own in zip((wall, cpu), medians[PASS], strict=True)]
        limit = f"{1000 * most_s:.0f} ms" if (most_s := LIMITS_S.get(call)) else ""
        print(f"| `{call}` | {1000 * wall:.0f} ms | {1000 * cpu:.0f} ms | {' | '.join(ratios)} | {limit} |")
    print(f"| `mcp`, until tools/list | | {1000 * statistics.median(served):.0f} ms | | | {SERVER_LIMIT_S:.0f} s |")


if __name__ == "__main__":
    main()
