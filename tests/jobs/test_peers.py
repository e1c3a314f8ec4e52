"""Attempts that take two processes, in real ones."""

from __future__ import annotations

import json
import os
import signal

import pytest

from tao_skill.jobs import launch
from tao_skill.jobs.store import Store
from tests.support.jobs import LIMIT_S, MakeJob, begin, finish
from tests.support.waiting import gone, until


def test_both_processes_know_the_secret_and_where_to_meet_and_one_answers(store: Store, make: MakeJob) -> None:
    ended = finish(store, make("shared"), **{"login.token": "s3cret"})
    assert (ended.state, ended.metrics, len(ended.attempts)) == ("COMPLETE", {"rank": 0.0}, 1)
    first, second = (json.loads((store.folder(ended.id) / f"rank_{rank}").read_text()) for rank in (0, 1))
    assert first == second
    assert first[1:] == ["s3cret", "127.0.0.1", False, ended.attempts[0].pid]
    assert launch.tail(store, ended.id, 100).count("attempt 1 of") == 1


def test_a_second_process_that_fails_ends_the_attempt_with_its_traceback_in_the_log(
    store: Store, make: MakeJob
) -> None:
    ended = finish(store, make("second_fails"))
    assert (ended.state, ended.attempts[0].exit_code) == ("ERROR", -signal.SIGKILL)
    log = launch.tail(store, ended.id, 100)
    assert "ValueError: the second one cannot" in log
    assert "of this attempt failed" in log


def test_a_first_process_that_fails_takes_the_second_with_it(store: Store, make: MakeJob) -> None:
    ended = finish(store, make("second_endless"))
    assert ended.error is not None
    assert ended.error["message"] == "ValueError: the first one cannot"


@pytest.mark.parametrize(("how", "state"), [("killed", "ERROR"), ("canceled", "CANCELED")])
def test_no_process_of_a_stopped_job_is_left(store: Store, make: MakeJob, how: str, state: str) -> None:
    opened, process = begin(store, make("asleep"))
    left = store.folder(opened.id) / "pid_1"
    peer = int(until(lambda: left.exists() and left.read_text()))
    if how == "killed":
        os.kill(process.pid, signal.SIGKILL)
    else:
        launch.cancel(store, opened.id)
    process.wait(LIMIT_S)
    until(lambda: gone(peer))
    assert launch.wait(store, opened.id, LIMIT_S).state == state
