from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from tao_skill.automl.devices import cores, find_gpus, share
from tao_skill.automl.execution.failures import failure_of
from tao_skill.automl.execution.pool import Pool
from tao_skill.automl.execution.queue import LOSSES, Queue, Result
from tao_skill.automl.execution.trial_worker import work
from tao_skill.automl.search.search import Task
from tao_skill.errors import BadData, BadRequest, CannotWrite, JobFailed, MissingDependency
from tests.support.folders import PROCESSES
from tests.support.processes.trial_worker import Logistic
from tests.support.servers.postgresql import PASSWORD, PostgreSQLServer
from tests.support.waiting import gone, until

LIMIT_S = 60
TINY = (sys.executable, str(PROCESSES / "trial_worker.py"))

COORDINATE = """
import os, sys, time
from pathlib import Path
from tao_skill.automl.execution.pool import Pool
from tao_skill.automl.execution.queue import Queue
folder, url = Path(sys.argv[1]), sys.argv[2]
with Pool(Queue(url, folder.name), folder, url, 2, environment=os.environ, command=sys.argv[3:]) as pool:
    print(*pool.pids, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "train-1"
    folder.mkdir()
    return folder


@pytest.fixture
def queue(url: str) -> Iterator[Queue]:
    queue = Queue(url, "train-1")
    yield queue
    queue.close()


def pool(queue: Queue, folder: Path, url: str, count: int = 2) -> Pool:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    return Pool(queue, folder, url, count, environment=environment, command=TINY)


def put(queue: Queue, *numbers: int, target: int = 4, **values: Any) -> None:
    for number in numbers:
        queue.put(Task(number=number, values={"lr": 0.1 * (number + 1), **values}, target=target))


def results(queue: Queue, count: int) -> Callable[[], list[Result] | None]:
    """Results once there are so many."""
    return lambda: found if len(found := queue.results()) >= count else None


def lines(path: Path) -> list[list[str]]:
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def alone(tmp_path: Path, number: int, target: int) -> Sequence[Mapping[str, float]]:
    """The history of a training that nothing disturbs."""
    (undisturbed := tmp_path / f"alone-{number}").mkdir()
    return Logistic(undisturbed)(Task(number=number, values={"lr": 0.1 * (number + 1)}, target=target))


def test_two_workers_finish_all_tasks_in_one_process_each(queue: Queue, folder: Path, url: str, tmp_path: Path) -> None:
    put(queue, *range(6), pause_s=0.02)
    with pool(queue, folder, url) as workers:
        found = until(results(queue, 6), meanwhile=workers.check)
        pids = {str(pid) for pid in workers.pids}
        queue.stop("after_rung")
        until(lambda: workers.check() == 0)
    assert {result.number: result.history for result in found} == {n: tuple(alone(tmp_path, n, 4)) for n in range(6)}
    assert all(result.seconds >= 4 * 0.02 for result in found)
    loaded = lines(folder / "loaded")
    assert {pid for pid, _ in loaded} == pids
    assert len(loaded) == 2
    assert {threads for _, threads in loaded} == {str(max(1, cores() // 2))}


def test_killed_workers_cost_at_most_the_epoch_they_were_in(
    queue: Queue, folder: Path, url: str, tmp_path: Path
) -> None:
    count, target, kills, chance = 6, 12, LOSSES - 1, random.Random(11)
    put(queue, *range(count), target=target, pause_s=0.05)
    with pool(queue, folder, url) as workers:
        for _ in range(kills):
            before = len(lines(folder / "epochs"))
            until(lambda before=before: len(lines(folder / "epochs")) > before, meanwhile=workers.check)
            time.sleep(chance.uniform(0.0, 0.2))
            os.kill(chance.choice(workers.pids), signal.SIGKILL)
        found = until(results(queue, count), meanwhile=workers.check)
    assert sorted(result.number for result in found) == list(range(count))
    for result in found:
        assert result.history == tuple(alone(tmp_path, result.number, target))
    trained = Counter((number, epoch) for number, epoch, _ in lines(folder / "epochs"))
    assert len(trained) == count * target
    assert sum(trained.values()) <= count * target + kills


def test_a_task_on_which_a_worker_died_is_taken_up_at_its_checkpoint(
    queue: Queue, folder: Path, url: str, tmp_path: Path
) -> None:
    put(queue, 0, **{"raise": "kill"})
    with pool(queue, folder, url) as workers:
        (result,) = until(results(queue, 1), meanwhile=workers.check)
    assert result.history == tuple(alone(tmp_path, 0, 4))
    trained = lines(folder / "epochs")
    assert [epoch for _, epoch, _ in trained] == ["1", "2", "3", "4"]
    assert len({pid for *_, pid in trained}) == 2


def test_a_worker_that_stalls_is_given_up_and_cannot_disturb_when_it_is_back(
    queue: Queue, folder: Path, url: str, tmp_path: Path
) -> None:
    put(queue, 0, target=30, pause_s=0.05)
    with pool(queue, folder, url) as workers:
        until(lambda: lines(folder / "epochs"))
        stalled = int(lines(folder / "epochs")[0][2])
        os.kill(stalled, signal.SIGSTOP)
        until(lambda: queue.overdue(1.5))
        until(lambda: int(lines(folder / "epochs")[-1][2]) != stalled)
        os.kill(stalled, signal.SIGCONT)
        (result,) = until(results(queue, 1), meanwhile=workers.check)
        put(queue, 1, 2, pause_s=0.05)
        until(results(queue, 3), meanwhile=workers.check)
        assert stalled in workers.pids  # it works again, on another task
    assert result.history == tuple(alone(tmp_path, 0, 30))
    assert Counter(result.number for result in queue.results()) == {0: 1, 1: 1, 2: 1}
    assert lines(folder / "epochs")[-1][0] != "0"


def test_a_failure_is_told_and_the_worker_stays(queue: Queue, folder: Path, url: str) -> None:
    put(queue, 0, **{"raise": "memory"})
    put(queue, 1)
    with pool(queue, folder, url, count=1) as workers:
        failed, finished = until(results(queue, 2), meanwhile=workers.check)
    assert failed.failure == failure_of(MemoryError("no room"))
    assert finished.history is not None
    assert len(lines(folder / "loaded")) == 1
    assert "MemoryError: no room" in workers.log(0).read_text()


def test_stopping_at_once_breaks_off_and_loses_no_epoch(queue: Queue, folder: Path, url: str) -> None:
    put(queue, 0, 1, 2, target=1000, pause_s=0.02)
    with pool(queue, folder, url) as workers:
        until(lambda: len(lines(folder / "epochs")) > 6)
        running = until(lambda: [one for one in queue.running() if one.progress.get("epoch", 0) > 0])
        assert running[0].target == 1000
        queue.stop("now")
        until(lambda: workers.check() == 0)
    assert (queue.running(), queue.results()) == ([], [])
    queue.reopen()
    taken = [queue.claim("next"), queue.claim("next"), queue.claim("next")]
    assert [one is not None and one.task.number for one in taken] == [0, 1, 2]


def test_a_terminated_worker_gives_its_task_back(queue: Queue, folder: Path, url: str) -> None:
    put(queue, 0, target=1000, pause_s=0.02)
    workers = pool(queue, folder, url, count=1)
    with workers:
        until(lambda: lines(folder / "epochs"))
        workers.end()
    claimed = queue.claim("next")
    assert claimed is not None
    assert all(gone(pid) for pid in workers.pids)


def test_no_worker_outlives_a_killed_coordinator_and_the_next_one_goes_on(
    queue: Queue, folder: Path, url: str, tmp_path: Path
) -> None:
    put(queue, 0, 1, target=40, pause_s=0.05)
    command = [sys.executable, "-c", COORDINATE, str(folder), url, *TINY]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    pids = [int(pid) for pid in first.stdout.readline().split()]
    until(lambda: len({number for number, *_ in lines(folder / "epochs")}) == 2)
    first.kill()
    first.wait()
    until(lambda: all(gone(pid) for pid in pids))
    first.stdout.close()
    with pool(queue, folder, url) as workers:
        found = until(results(queue, 2), meanwhile=workers.check)
    for result in found:
        assert result.history == tuple(alone(tmp_path, result.number, 40))


def test_workers_that_cannot_begin_are_not_started_for_ever(queue: Queue, folder: Path, url: str) -> None:
    (folder / "broken").touch()
    put(queue, 0)
    with (
        pytest.raises(JobFailed, match="the points are gone; find them") as caught,
        pool(queue, folder, url, count=1) as workers,
    ):
        until(lambda: False, meanwhile=workers.check)
    assert str(workers.log(0)) in caught.value.fix
    assert queue.results() == []


def test_a_password_is_in_no_log_and_no_command(postgresql: PostgreSQLServer, folder: Path) -> None:
    url = postgresql.database("secret")
    queue = Queue(url, "train-1")
    put(queue, 0, pause_s=0.3)
    with pool(queue, folder, url, count=1) as workers:
        until(lambda: lines(folder / "loaded"))
        commands = [word for pid in workers.pids for word in psutil.Process(pid).cmdline()]
        until(results(queue, 1), meanwhile=workers.check)
    queue.close()
    written = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert PASSWORD not in " ".join(commands)
    assert not any(PASSWORD.encode() in content for content in written)


def test_work_is_done_in_any_thread(queue: Queue, folder: Path) -> None:
    put(queue, 0, 1)
    thread = threading.Thread(
        target=work, args=(queue, Logistic(folder)), kwargs={"worker": "thread", "beat_s": 0.01, "poll_s": 0.01}
    )
    thread.start()
    assert len(until(results(queue, 2))) == 2
    until(lambda: queue.workers(5.0) == {"thread"})
    queue.stop("after_rung")
    thread.join(LIMIT_S)
    assert not thread.is_alive()


def test_what_follows_on_a_task_does_not_wait_for_the_next_look(queue: Queue, folder: Path) -> None:
    put(queue, 0)
    kwargs = {"worker": "thread", "beat_s": 0.01, "poll_s": 3600}
    thread = threading.Thread(target=work, args=(queue, Logistic(folder)), kwargs=kwargs, daemon=True)
    thread.start()
    until(results(queue, 1))
    put(queue, 1)
    assert len(until(results(queue, 2))) == 2
    queue.stop("after_rung")
    thread.join(LIMIT_S)
    assert not thread.is_alive()


class OutOfMemoryError(RuntimeError):
    """As PyTorch names it."""


@pytest.mark.parametrize(
    ("error", "kind", "cause"),
    [
        (MemoryError(), "out of memory", "out of memory: MemoryError"),
        (
            OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1.5 GiB free"),
            "out of memory",
            "out of memory: OutOfMemoryError: CUDA out of memory. Tried to allocate # GiB. GPU # has # GiB free",
        ),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 123 bytes."),
            "out of memory",
            "out of memory: RuntimeError: DefaultCPUAllocator: can't allocate memory: you tried to allocate # bytes.",
        ),
        (
            OSError(12, "Cannot allocate memory"),
            "out of memory",
            "out of memory: OSError: [Errno #] Cannot allocate memory",
        ),
        (BadData("/data/a.npy has 3 rows", fix=""), "data", "data: BadData: PATH has # rows"),
        (BadRequest("no", fix=""), "data", "data: BadRequest: no"),
        (
            FileNotFoundError(2, "No such file or directory", "/data/b 1/c.npy"),
            "infrastructure",
            "infrastructure: FileNotFoundError: [Errno #] No such file or directory: 'PATH #PATH'",
        ),
        (ConnectionResetError("reset"), "infrastructure", "infrastructure: ConnectionResetError: reset"),
        (
            CannotWrite("s3://b/x cannot be written", fix=""),
            "infrastructure",
            "infrastructure: CannotWrite: PATH cannot be written",
        ),
        (MissingDependency("no s3fs", fix=""), "infrastructure", "infrastructure: MissingDependency: no s#fs"),
        (ValueError("at 0x7f3a2b, step 1e-05\nmore"), "error", "error: ValueError: at #, step #"),
    ],
)
def test_a_failure_has_a_kind_and_a_cause_that_can_be_compared(error: Exception, kind: str, cause: str) -> None:
    failure = failure_of(error)
    assert (failure.kind, failure.root_cause) == (kind, cause)


def test_secrets_are_in_no_failure() -> None:
    failure = failure_of(ValueError("token geheim"), lambda text: text.replace("geheim", "***"))
    assert (failure.message, failure.root_cause) == ("ValueError: token ***", "error: ValueError: token ***")


def test_each_worker_has_its_part_of_the_machine(tmp_path: Path) -> None:
    assert share(0, 10_000, {}, ()) == {"OMP_NUM_THREADS": "1"}
    assert share(0, 1, {}, ()) == {"OMP_NUM_THREADS": str(cores())}
    assert share(0, 2, {"OMP_NUM_THREADS": "5"}, ()) == {"OMP_NUM_THREADS": "5"}
    assert [share(i, 3, {}, ("GPU-a", "GPU-b"))["CUDA_VISIBLE_DEVICES"] for i in range(3)] == [
        "GPU-a",
        "GPU-b",
        "GPU-a",
    ]
    assert find_gpus({"CUDA_VISIBLE_DEVICES": "3, 5"}) == ("3", "5")
    assert find_gpus({"CUDA_VISIBLE_DEVICES": ""}) == ()
    assert find_gpus({"PATH": str(tmp_path)}) == ()
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho GPU-1\necho GPU-2\n")
    program.chmod(0o755)
    assert find_gpus({"PATH": str(tmp_path)}) == ("GPU-1", "GPU-2")
