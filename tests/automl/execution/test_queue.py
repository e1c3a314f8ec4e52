from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tao_skill.automl.execution.database import connect, default_url, with_retries
from tao_skill.automl.execution.failures import failure_of
from tao_skill.automl.execution.queue import LOSSES, Claimed, Queue
from tao_skill.automl.search.search import Task
from tao_skill.errors import BadRequest, JobFailed
from tao_skill.io.strict_json import mask_password
from tests.support.servers.postgresql import PASSWORD, PostgreSQLServer

HISTORY = ({"val_acc": 0.5, "val_loss": math.inf}, {"val_acc": 0.1 + 0.2, "val_loss": 1e-300})


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(url: str, clock: Clock) -> Iterator[Queue]:
    queue = Queue(url, "train-1", clock=clock)
    yield queue
    queue.close()


def task(number: int = 0, target: int = 3) -> Task:
    return Task(number=number, values={"train.optim.lr": 0.1 + 0.2, "model.graph_strategy": "spatial"}, target=target)


def claim(queue: Queue, worker: str = "a") -> Claimed:
    claimed = queue.claim(worker)
    assert claimed is not None
    return claimed


def test_a_task_goes_through_unchanged_and_its_result_comes_until_it_is_acknowledged(queue: Queue) -> None:
    assert queue.put(task(4, 9))
    claimed = claim(queue)
    assert claimed.task == task(4, 9)
    assert queue.results() == []
    assert not queue.has_results()
    assert queue.finish(claimed, HISTORY, 1.5)
    (result,) = queue.results()
    assert queue.results() == [result]
    assert queue.has_results()
    assert (result.number, result.target, result.attempt, result.seconds) == (4, 9, 0, 1.5)
    assert result.history == HISTORY
    assert result.failure is None
    queue.acknowledge(result)
    assert queue.results() == []
    assert not queue.has_results()


def test_putting_a_task_again_adds_nothing_and_brings_back_its_result(queue: Queue) -> None:
    assert queue.put(task())
    assert not queue.put(task())
    queue.finish(claim(queue), HISTORY, 1.0)
    assert not queue.put(task())
    queue.acknowledge(queue.results()[0])
    assert queue.put(task(target=9))
    assert queue.put(task(), attempt=1)
    assert queue.results() == []
    assert not queue.put(task())
    (result,) = queue.results()
    assert (result.target, result.attempt, result.history) == (3, 0, HISTORY)
    assert claim(queue).task == task(target=9)


def test_a_failure_that_is_put_again_comes_back_as_a_failure(queue: Queue) -> None:
    queue.put(task())
    queue.fail(claim(queue), failure_of(MemoryError("no room")))
    (result,) = queue.results()
    queue.acknowledge(result)
    queue.put(task())
    assert queue.results() == [result]


def test_tasks_are_taken_in_the_order_they_were_put(queue: Queue) -> None:
    for number in (3, 1, 2):
        queue.put(task(number))
    assert [claim(queue).task.number for _ in range(3)] == [3, 1, 2]


def test_searches_in_one_database_do_not_meet(queue: Queue, url: str) -> None:
    other = Queue(url, "train-2")
    queue.put(task())
    queue.stop("now")
    assert (other.claim("a"), other.stopping(), other.results()) == (None, None, [])
    assert other.put(task())
    assert other.claim("a") is not None
    other.close()


def test_no_two_claimers_get_the_same_task(queue: Queue, url: str) -> None:
    count, claimers = 60, 4
    for number in range(count):
        queue.put(task(number))
    taken: list[list[int]] = [[] for _ in range(claimers)]
    start = threading.Barrier(claimers)

    def take(i: int) -> None:
        own = Queue(url, "train-1")
        start.wait()
        while (claimed := own.claim(f"worker {i}")) is not None:
            taken[i].append(claimed.task.number)
            time.sleep(0.005)  # what it would train
        own.close()

    threads = [threading.Thread(target=take, args=(i,)) for i in range(claimers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(number for one in taken for number in one) == Counter(range(count))
    assert sum(map(bool, taken)) > 1


def test_a_worker_that_was_given_up_and_comes_back_changes_nothing(queue: Queue) -> None:
    queue.put(task())
    stalled = claim(queue, "stalled")
    assert queue.release("stalled") == 1
    assert not queue.beat(stalled)
    assert not queue.finish(stalled, HISTORY, 1.0)
    second = claim(queue, "stalled")
    assert second.fence > stalled.fence
    assert not queue.beat(stalled)
    assert not queue.fail(stalled, failure_of(ValueError("late")))
    assert not queue.give_back(stalled)
    assert queue.results() == []
    assert queue.beat(second)
    assert queue.finish(second, HISTORY, 2.0)
    assert not queue.finish(stalled, HISTORY, 1.0)
    assert [result.seconds for result in queue.results()] == [2.0]


def test_a_claim_is_overdue_when_its_beats_stand_still_by_the_coordinators_clock(queue: Queue, clock: Clock) -> None:
    for number in range(2):
        queue.put(task(number))
    quiet, lively = claim(queue, "quiet"), claim(queue, "lively")
    for _ in range(4):
        assert queue.overdue(30) == []
        clock.now += 10
        assert queue.beat(lively, {"epoch": 2, "val_loss": math.nan})
    (late,) = queue.overdue(30)
    assert (late.worker, late.number) == ("quiet", 0)
    assert not queue.beat(quiet)
    (running,) = queue.running()
    assert (running.worker, running.beats, running.progress["epoch"]) == ("lively", 4, 2)
    again = claim(queue, "next")
    assert again.task == quiet.task
    clock.now += 29
    assert queue.overdue(30) == []  # the time of the new claim counts from its own beginning


def test_the_workers_there_are_have_a_task_or_lately_said_that_they_wait(queue: Queue, clock: Clock, url: str) -> None:
    other = Queue(url, "train-1")
    assert queue.workers(10) == set()
    other.wait("idle")
    other.wait("gone")
    queue.put(task())
    claim(other, "busy")
    assert queue.workers(10) == {"idle", "gone", "busy"}
    for _ in range(2):
        clock.now += 6
        other.wait("idle")
        seen = queue.workers(10)
    assert seen == {"idle", "busy"}
    queue.reopen()
    assert queue.workers(10) == {"busy"}
    other.wait("gone")
    assert queue.workers(10) == {"busy", "gone"}
    other.close()


def test_a_task_on_which_worker_after_worker_dies_has_failed(queue: Queue) -> None:
    queue.put(task())
    for number in range(LOSSES):
        assert queue.results() == []
        claim(queue, f"worker {number}")
        queue.release(f"worker {number}")
    (result,) = queue.results()
    assert result.failure is not None
    assert (result.failure.kind, result.failure.root_cause) == ("worker lost", "worker lost")
    assert "worker 2" in result.failure.message
    assert queue.claim("next") is None


def test_ending_without_blame_never_counts_against_a_task(queue: Queue) -> None:
    queue.put(task())
    for _ in range(LOSSES + 1):
        claim(queue, "a")
        assert queue.release("a", blame=False) == 1
        assert queue.give_back(claim(queue, "b"))
    assert queue.results() == []


def test_a_stopped_queue_hands_out_nothing_and_now_breaks_off(queue: Queue) -> None:
    for number in range(2):
        queue.put(task(number))
    claimed = claim(queue)
    queue.stop("after_rung")
    assert (queue.stopping(), queue.claim("b")) == ("after_rung", None)
    assert queue.beat(claimed)
    queue.stop("now")
    assert queue.stopping() == "now"
    assert not queue.beat(claimed)
    assert queue.give_back(claimed)
    queue.reopen()
    assert queue.stopping() is None
    assert claim(queue).task == task(0)


def test_everything_is_there_for_another_process(queue: Queue, url: str) -> None:
    for number in range(2):
        queue.put(task(number))
    queue.fail(claim(queue), failure_of(MemoryError("no room")))
    claimed = claim(queue)
    other = Queue(url, "train-1")
    assert other.results() == queue.results()
    assert other.finish(claimed, HISTORY, 1.0)
    assert [result.failure is None for result in queue.results()] == [False, True]
    other.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("study.db", "is not a database URL"),
        ("mysql://me:geheim@host/db", "is not supported, accepted: SQLite and PostgreSQL"),
        ("sqlite://", "has no file name"),
        ("postgresql://me:geheim@host:port/db", "is not a database URL"),
        ("postgresql://me:geheim@127.0.0.1:1/db", "cannot be opened"),
        ("postgresql://127.0.0.1:1/db?user=me&password=geheim", "cannot be opened"),
        ("sqlite:////proc/nowhere/study.db", "cannot be written"),
    ],
)
def test_a_database_that_cannot_be_used_is_named_without_its_password(url: str, said: str) -> None:
    with pytest.raises(BadRequest, match=said) as caught:
        Queue(url, "train-1")
    error = caught.value
    assert "geheim" not in f"{error.as_dict()} {error.__cause__!r} {mask_password(url)}"


def test_a_wrong_password_or_a_file_that_is_no_database_is_said(postgresql: PostgreSQLServer, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="password authentication failed") as caught:
        connect(postgresql.url("postgres").replace(PASSWORD, "wrong-one"))
    assert "wrong-one" not in caught.value.message
    file = tmp_path / "study.db"
    file.write_text("no database, but long enough to be taken for one " * 10)
    with pytest.raises(BadRequest, match="not a database"):
        connect(f"sqlite:///{file}")


def test_a_folder_whose_name_an_address_cannot_hold_is_refused(tmp_path: Path) -> None:
    Queue(default_url(tmp_path / "50% {a} #1"), "train-1").close()
    assert (tmp_path / "50% {a} #1" / "automl" / "study.db").is_file()
    with pytest.raises(BadRequest, match="'\\?'"):
        default_url(tmp_path / "what?")


def test_a_server_that_is_started_anew_loses_nothing_and_stops_nobody(postgresql: PostgreSQLServer) -> None:
    queue = Queue(postgresql.database("restarted"), "train-1")
    queue.put(task())
    claimed = claim(queue)
    postgresql.stop()
    starter = threading.Timer(1.0, postgresql.start)
    starter.start()
    assert queue.finish(claimed, HISTORY, 1.0)
    starter.join()
    assert queue.results()[0].history == HISTORY
    queue.close()


def test_a_server_that_stays_away_is_named_in_the_end(postgresql: PostgreSQLServer) -> None:
    url = postgresql.database("away")
    engine = connect(url)
    postgresql.stop()
    with pytest.raises(JobFailed, match="does not answer") as caught:
        with_retries(url, lambda: engine.connect().close(), seconds=0.5)
    postgresql.start()
    assert PASSWORD not in caught.value.message
    engine.dispose()
