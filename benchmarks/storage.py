"""What a cluster of GPUs would ask of a search and its storage, computed from what trials are measured to ask.

Measured are real searches (traced.py), what deciding and reporting take with many trials, and how many transactions
databases take. Extrapolated is the rest: a trial that takes longer is taken to write what the measured one writes, and
signs of life and progress besides.
"""

from __future__ import annotations

import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

from figures import shown, table
from tao_skill.automl.execution.throttle import QUICK_S, SHARE

NAME: Final = "storage"
GPUS: Final = 1000
TRIALS_S: Final = {"1 min": 60.0, "10 min": 600.0, "1 h": 3600.0}
SIZES: Final = (4, 12)
"""Trials of the two searches whose difference is what a trial asks for."""

KNOWN: Final = (10, 100, 1000)
"""Trials a search knows of while what it takes to decide and report is measured."""

SET: Final = (40_000, 300, 34)
"""Sequences, frames and joints of a large set."""

A_MACHINE: Final = 8
"""GPUs of one machine."""

CLIENTS: Final = 8
"""Workers that ask a database at once, for SECONDS."""

SECONDS: Final = 2.0
CALLS: Final = 3
MIB: Final = 2**20


def measure(urls: Sequence[str] = ()) -> dict[str, Any]:
    """Every figure that the tables are computed from."""
    import traced
    from tao_skill.automl.execution.trial_worker import BEAT_S
    from tao_skill.models.pose_classification.training.callbacks import StatusCallback

    few, many = (traced.search(trials) for trials in SIZES)
    trials = many["trials"] - few["trials"]
    by_time = {"elapsed_s", "trials", traced.LOOK, "beats"}
    a_trial = {name: (many[name] - few.get(name, 0)) / trials for name in sorted(many) if name not in by_time}
    with tempfile.TemporaryDirectory() as folder:
        addresses = {"SQLite": f"sqlite:///{folder}/study.db", **{_database(url): url for url in urls}}
        databases = {name: transactions_s(url) for name, url in addresses.items()}
    return {
        "beat_s": BEAT_S,
        "progress_s": StatusCallback.PROGRESS_EVERY_S,
        "a_trial": a_trial,
        "checkpoint_bytes": many["checkpoints_bytes"] / many["checkpoints"],
        "looks_s": many[traced.LOOK] / many["elapsed_s"],
        "deciding": [{"trials": known, **deciding(known)} for known in KNOWN],
        "transactions_s": databases,
    }


def _database(url: str) -> str:
    """Its kind, and no more of its address."""
    return {"postgresql": "PostgreSQL", "sqlite": "SQLite, given"}[url.partition(":")[0]]


def transactions_s(url: str) -> float:
    """Transactions a second that a database takes from several workers at once: signs of life, a write and a read."""
    from tao_skill.automl.execution.queue import Claimed, Queue
    from tao_skill.automl.search.search import Task

    queues = [Queue(url, f"benchmark {time.time()} {number}") for number in range(CLIENTS)]
    claims = []
    for queue in queues:
        queue.put(Task(number=0, values={}, target=1))
        claims.append(queue.claim("worker"))
    until = time.perf_counter() + SECONDS

    def beat(queue: Queue, claim: Claimed) -> int:
        count = 0
        while time.perf_counter() < until:
            queue.beat(claim)
            count += 2  # it is asked as well whether the search has stopped
        queue.close()
        return count

    with ThreadPoolExecutor(CLIENTS) as pool:
        return sum(pool.map(beat, queues, claims)) / SECONDS


class Memory:
    """A journal of trials that are known already and of no others."""

    def __init__(self, trials: list[Any]) -> None:
        self.trials = trials

    def load(self) -> list[Any]:
        """Those it was made with."""
        return list(self.trials)

    def save(self, trial: Any) -> None:
        """Nothing, as databases are measured apart."""


def deciding(known: int) -> dict[str, float]:
    """Seconds of a suggestion, seconds and bytes of a report, when a search knows so many trials."""
    from tao_skill.automl.execution.artifacts import SearchArtifacts
    from tao_skill.automl.search.search import Search
    from tao_skill.jobs.record import Job
    from tao_skill.models import get_model

    with tempfile.TemporaryDirectory() as name:
        folder, model = Path(name), get_model(None)
        setup = _setup(model, folder, known)
        search = Search(setup, Memory(_trials(setup, known)))
        job = Job(id="search", model=model.name, action="train", spec=setup.spec, results_dir=name, created="")
        kept = SearchArtifacts(folder=folder, model=model, job=job, setup=setup)
        suggest_s = seconds(search.next_task)
        report_s = seconds(lambda: kept.report(search.trials, elapsed_s=1.0))
        size = sum((folder / file).stat().st_size for file in ("report.json", "report.html"))
    return {"suggest_s": suggest_s, "report_s": report_s, "report_bytes": size}


def seconds(call: Callable[[], object]) -> float:
    """Median of a few calls after the first, which imports."""
    call()
    times = []
    for _ in range(CALLS):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def _setup(model: Any, folder: Path, known: int) -> Any:
    from tao_skill.automl.search.setup import make_setup
    from tao_skill.automl.settings import Settings
    from tao_skill.models.pose_classification.data.sample.sample import write_sample
    from tao_skill.spec import load

    write_sample(folder / "data", train=16, val=8, frames=12, seed=3)
    spec, _ = load.project(model.config, "train", load.read_spec_file(folder / "data" / "spec.yaml"))
    spec = load.check(model.config, "train", spec | {"results_dir": str(folder)})
    return make_setup(model, spec, Settings(trials=2 * known, max_epochs=3, min_epochs=1, search_scope="schema"))


def _trials(setup: Any, known: int) -> list[Any]:
    """Trials that were drawn at random and trained in full, with metrics that nobody measured."""
    from tao_skill.automl.search.asha import Trial
    from tao_skill.automl.search.samplers import draw

    def trial(number: int) -> Any:
        values = draw(setup.space, setup.spec, number, [], sampler="random", seed=0) if number else None
        accuracy = 0.5 + 0.4 * math.sin(number)
        metrics = {"train_loss": 1.0, "train_acc": accuracy, "val_loss": 1.0, "val_acc": accuracy}
        values = values or setup.space.values_of(setup.spec)
        return Trial(number=number, full=3, values=values, target=3, history=(metrics,) * 3, state="done", seconds=60.0)

    return [trial(number) for number in range(known)]


def demand(measured: Mapping[str, Any], trial_s: float, gpus: float = GPUS) -> dict[str, float]:
    """What is asked for in a second by so many GPUs of one search, whose trials take so long."""
    trial, known = measured["a_trial"], measured["deciding"][-1]
    ends, beats = gpus / trial_s, gpus / measured["beat_s"]
    return {
        "finished trials": ends,
        "write transactions": ends * trial["writes"] + beats,
        "all transactions": ends * (trial["writes"] + trial["reads"]) + 2 * beats + measured["looks_s"],
        "checkpoints": ends * trial["checkpoints"],
        "checkpoints, MiB": ends * trial["checkpoints_bytes"] / MIB,
        "small files": ends * trial["records"] + gpus / measured["progress_s"],
        f"reports, MiB, {known['trials']:,} known trials": _reports(measured, known, ends)
        * known["report_bytes"]
        / MIB,
        f"coordinator, seconds, {known['trials']:,} known trials": ends * _deciding_s(measured, known)
        + _reports(measured, known, ends) * known["report_s"],
    }


def _reports(measured: Mapping[str, Any], known: Mapping[str, float], ends: float) -> float:
    """Reports a second where so many trials end: after every event, or as often as slow ones may be written."""
    asked = ends * measured["a_trial"]["reports"]
    return float(min(asked, SHARE / known["report_s"]) if known["report_s"] > QUICK_S else asked)


def _deciding_s(measured: Mapping[str, Any], known: Mapping[str, float]) -> float:
    """What a trial takes the coordinator beside reports: as measured with few known, and what more of them add."""
    trial, few = measured["a_trial"], measured["deciding"][0]
    reporting_s = trial["reports"] * few["report_s"]
    return float(trial["coordinator_cpu_s"] - reporting_s + known["suggest_s"] - few["suggest_s"])


def coordinator_s(measured: Mapping[str, Any], known: Mapping[str, float]) -> float:
    """Time between the ends of two trials, if the coordinator did nothing but what they ask of it."""
    deciding_s = _deciding_s(measured, known)
    if known["report_s"] > QUICK_S:
        return deciding_s / (1 - SHARE)
    return deciding_s + float(measured["a_trial"]["reports"] * known["report_s"])


def served(measured: Mapping[str, Any], trial_s: float) -> dict[str, float]:
    """So many GPUs each part can serve, as demand grows in proportion to them."""
    coordinators = {
        f"coordinator, {known['trials']:,} known trials": trial_s / coordinator_s(measured, known)
        for known in measured["deciding"]
    }
    looks = measured["looks_s"]
    a_gpu = demand(measured, trial_s, 1)["all transactions"] - looks
    return coordinators | {name: (most - looks) / a_gpu for name, most in measured["transactions_s"].items()}


def blocks(folder: Path) -> dict[str, str]:
    """What the page says, by the place it stands in."""
    data = json.loads((folder / f"{NAME}.json").read_text("utf-8"))
    return {
        "a trial": f"{table(_asked(data))}\n\n{data['measured']}",
        "cluster": f"{table(_by_length(partial(demand, data), f'per second, {GPUS:,} GPUs'))}\n\n{_read()}",
        "served": f"{table(_by_length(partial(served, data), 'largest number of GPUs'))}\n\n{_first(data)}",
    }


def _read() -> str:
    """What is read of a set that is large for its kind, in float32."""
    sequences, frames, joints = SET
    machines, gib = GPUS // A_MACHINE, 4 * 3 * math.prod(SET) / 2**30
    return (
        f"Each machine also reads the data once: {sequences:,} sequences of T = {frames}, V = {joints} "
        f"are {gib:.1f} GiB, or {machines * gib:.0f} GiB for {machines} machines of {A_MACHINE} GPUs."
    )


def _first(data: Mapping[str, Any]) -> str:
    """What gives way before all GPUs are served, the first one first."""
    said = []
    for length, trial_s in TRIALS_S.items():
        short = sorted((gpus, part) for part, gpus in served(data, trial_s).items() if gpus < GPUS)
        parts = ", then ".join(f"{part} ({shown(gpus)} GPUs)" for gpus, part in short) or "none"
        said.append(f"- Trials of {length}: {parts}.")
    return "\n".join([f"Limits below {GPUS:,} GPUs, lowest first:\n", *said])


def _by_length(of: Callable[[float], Mapping[str, float]], title: str) -> list[list[Any]]:
    columns = [of(trial_s) for trial_s in TRIALS_S.values()]
    header = [title, *(f"trials of {length}" for length in TRIALS_S)]
    return [header, *([name, *(column[name] for column in columns)] for name in columns[0])]


def _asked(data: Mapping[str, Any]) -> list[list[Any]]:
    trial = data["a_trial"]
    known = data["deciding"]
    rows: list[list[Any]] = [
        ["epochs", trial["epochs"]],
        ["write transactions, read transactions", f"{trial['writes']:.1f}, {trial['reads']:.1f}"],
        ["SQL statements", trial["statements"]],
        ["growth of the database, KiB", trial["study_bytes"] / 1024],
        ["interval of heartbeats, two transactions each", f"{data['beat_s']:g} s"],
        ["polls of the queue by the coordinator per second, independent of the trials", data["looks_s"]],
        ["checkpoints, MiB each", f"{trial['checkpoints']:.1f}, {data['checkpoint_bytes'] / MIB:.1f}"],
        ["small files: indices, progress at the end of an epoch", trial["records"]],
        ["shortest interval of progress files", f"{data['progress_s']:g} s"],
        ["files kept beside checkpoints, KiB in total", f"{trial['files']:.1f}, {trial['files_bytes'] / 1024:.0f}"],
        ["reports, each a data file and a page", trial["reports"]],
        ["coordinator, CPU seconds", trial["coordinator_cpu_s"]],
    ]
    for one in known:
        times = f"{1000 * one['suggest_s']:.0f} ms, {1000 * one['report_s']:.0f} ms, {one['report_bytes'] / 1024:.0f}"
        rows.append([f"time of a suggestion, time of a report, KiB of a report, {one['trials']:,} known trials", times])
    rows += [
        [f"{name}: transactions per second, {CLIENTS} clients", most] for name, most in data["transactions_s"].items()
    ]
    return [["per trial", ""], *rows]
