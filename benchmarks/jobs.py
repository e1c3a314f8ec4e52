"""What ten thousand jobs cost: `python benchmarks/jobs.py`."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tao_skill.jobs.record import Attempt, Job, new_id, timestamp
from tao_skill.models import get_model
from tao_skill.spec import load

COUNT = 10_000
APART_S = 60
ROUNDS = 7
PROGRAM = (sys.executable, "-m", "tao_skill")
COMMANDS = {
    "python -c pass": (sys.executable, "-c", "pass"),
    "--version": (*PROGRAM, "--version"),
    "jobs list": (*PROGRAM, "jobs", "list"),
    "jobs show latest": (*PROGRAM, "jobs", "show", "latest"),
    "jobs show latest:evaluate (the oldest of all)": (*PROGRAM, "jobs", "show", "latest:evaluate"),
    "jobs show, by the start of an id": (*PROGRAM, "jobs", "show", "evaluate"),
}


def fill(root: Path) -> None:
    """Records as trainings leave them, a minute apart; the oldest job is an evaluation."""
    model = get_model(None)
    spec = load.check(model.config, "dataset_convert", {"dataset_convert": {"data": "people.json"}})
    for number in range(COUNT):
        ended = time.time() - (COUNT - number) * APART_S
        now = datetime.fromtimestamp(ended - APART_S / 2, UTC)
        action = "train" if number else "evaluate"
        attempt = Attempt(number=1, state="COMPLETE", pid=1, pid_created=0.0, host="elsewhere", ended=timestamp(now))
        job = Job(
            id=new_id(action, f"key {number}" if number % 2 else None, now=now, token=f"{number:04x}"),
            model=model.name,
            action=action,
            spec=dict.fromkeys(("dataset", "model", "train"), spec),
            results_dir=str(root),
            created=timestamp(now),
            attempts=(attempt,),
            route={"policy": "off", "route": "direct", "reason": "policy off"},
        )
        record = root / job.id / "job.json"
        record.parent.mkdir()
        record.write_text(json.dumps(job.to_dict(), indent=2))
        os.utime(record, (ended, ended))


def seconds(command: Sequence[str], root: Path) -> float:
    """Wall time of one call."""
    began = time.perf_counter()
    subprocess.run(command, env={**os.environ, "TAO_SKILL_RESULTS": str(root)}, capture_output=True, check=True)
    return time.perf_counter() - began


def main() -> None:
    """Fill a root, time each command in turn, and print medians."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        fill(root)
        size = sum(path.stat().st_size for path in root.glob("*/job.json")) / COUNT
        times: dict[str, list[float]] = {name: [] for name in COMMANDS}
        for _ in range(ROUNDS):
            for name, command in COMMANDS.items():
                times[name].append(seconds(command, root))
        medians = {name: statistics.median(one) for name, one in times.items()}
        print(f"{COUNT} jobs, {size / 1024:.1f} KiB a record; medians of {ROUNDS} rounds")
        for name, median in medians.items():
            ratio, beyond_ms = median / medians["python -c pass"], 1000 * (median - medians["--version"])
            print(f"{name:<46} {1000 * median:6.0f} ms {ratio:6.1f} x {beyond_ms:+6.0f} ms beyond --version")


if __name__ == "__main__":
    main()
