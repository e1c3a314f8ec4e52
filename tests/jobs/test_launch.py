from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from tao_skill.errors import BadState, JobFailed
from tao_skill.io import atomic
from tao_skill.jobs import launch
from tao_skill.jobs.record import Job
from tao_skill.jobs.store import Store
from tests.support.jobs import LIMIT_S, TINY_WORKER, MakeJob, begin, finish
from tests.support.waiting import gone, until

START = """
import sys
from pathlib import Path
from tao_skill.jobs import launch
from tao_skill.jobs.store import Store
store = Store(Path(sys.argv[1]))
launch.start(store, store.get(sys.argv[2]), {}, worker=sys.argv[3:])
"""


def running(store: Store, job: Job) -> tuple[subprocess.Popen[bytes], int]:
    """Start an endless job; its process, and the pid of the child it spawned."""
    opened, process = begin(store, job)
    until(lambda: opened.progress_path.exists())
    return process, int((store.folder(opened.id) / "child").read_text())


def test_a_job_runs_to_its_end_and_its_record_holds_the_result(store: Store, make: MakeJob) -> None:
    job = make(spec={"results_dir": str(store.root / "out"), "value": 0.75}, results_dir=str(store.root / "out"))
    seen: list[Any] = []
    opened, process = begin(store, job)
    ended = launch.wait(
        store, "latest", LIMIT_S, poll=0.05, on_progress=lambda _, facts: seen.append(facts), process=process
    )
    assert (ended.state, process.wait(LIMIT_S)) == ("COMPLETE", 0)
    assert ended.metrics == {"value": 0.75, "nothing": None}
    answer = store.root / "out" / "answer.txt"
    assert ended.artifacts == ({"kind": "answer", "path": str(answer), "sha256": atomic.sha256(answer)},)
    assert seen[-1].epochs == 1
    assert "attempt 1 of" in launch.tail(store, opened.id, 10)


def test_an_expected_error_is_recorded_with_its_exit_code(store: Store, make: MakeJob) -> None:
    ended = finish(store, make("refuse"))
    assert (ended.state, ended.attempts[0].exit_code) == ("ERROR", 2)
    assert ended.error == {
        "code": "bad_data",
        "message": "the data are no data",
        "fix": "take other data",
        "path": "dataset",
    }


def test_an_unexpected_error_is_recorded_and_its_traceback_is_in_the_log(store: Store, make: MakeJob) -> None:
    ended = finish(store, make("fail"))
    assert (ended.state, ended.attempts[0].exit_code) == ("ERROR", 1)
    assert ended.error is not None
    assert ended.error["code"] == "job_failed"
    assert ended.error["message"] == "ValueError: login with None failed"
    assert str(store.log_path(ended.id)) in ended.error["fix"]
    log = launch.tail(store, ended.id, 100)
    assert "Traceback" in log
    assert "working\n" in log
    assert launch.tail(store, ended.id, 1) == "ValueError: login with None failed\n"


@pytest.mark.parametrize("action", ["complete", "fail"])
def test_secrets_reach_the_action_and_nothing_on_disk(store: Store, make: MakeJob, action: str) -> None:
    secret = "s3cr'et\\x"
    ended = finish(store, make(action), **{"login.token": secret})
    if action == "complete":
        assert Path(ended.artifacts[0]["path"]).read_text() == "True False"
    else:
        assert "the token is ***" in launch.tail(store, ended.id, 100)
    written = [path.read_text() for path in store.root.rglob("*") if path.is_file()]
    assert len(written) >= 2
    for form in (secret, repr(secret)[1:-1], "s3cr"):
        assert not [text for text in written if form in text]


def test_secrets_are_in_nothing_that_others_see_of_a_process(store: Store, make: MakeJob) -> None:
    _, process = begin(store, make("endless"), **{"login.token": "s3cret"})
    assert "s3cret" not in " ".join(psutil.Process(process.pid).cmdline())
    assert "s3cret" not in " ".join(psutil.Process(process.pid).environ().values())
    assert launch.cancel(store, "latest").state == "CANCELED"
    assert process.wait(LIMIT_S) != 0


def test_a_worker_killed_in_the_middle_shows_as_error_and_the_job_can_be_resumed(store: Store, make: MakeJob) -> None:
    process, child = running(store, make("endless", "k"))
    os.kill(process.pid, signal.SIGKILL)
    dead = launch.wait(store, "latest", LIMIT_S, process=process)
    os.kill(child, signal.SIGKILL)
    assert (dead.state, dead.attempts[0].exit_code) == ("ERROR", -9)
    assert dead.error is not None
    assert "SIGKILL" in dead.error["message"]
    again, created = store.open(make("endless", "k"))
    assert not created
    second = launch.start(store, again, {}, worker=TINY_WORKER)
    until(lambda: store.get(again.id).state == "RUNNING")
    assert launch.cancel(store, again.id).state == "CANCELED"
    second.wait(LIMIT_S)
    assert [attempt.state for attempt in store.get(again.id).attempts] == ["ERROR", "CANCELED"]


@pytest.mark.parametrize("action", ["endless", "stubborn"])
def test_cancel_stops_the_worker_and_everything_it_started(store: Store, make: MakeJob, action: str) -> None:
    process, child = running(store, make(action))
    canceled = launch.cancel(store, "latest", grace_s=1.0)
    assert (canceled.state, canceled.error, canceled.attempts[0].exit_code) == ("CANCELED", None, 130)
    process.wait(LIMIT_S)
    until(lambda: gone(child))
    with pytest.raises(BadState, match="CANCELED"):
        launch.cancel(store, "latest")
    assert store.get("latest") == canceled


def test_a_termination_nobody_asked_for_is_an_error(store: Store, make: MakeJob) -> None:
    process, child = running(store, make("endless"))
    process.terminate()
    ended = launch.wait(store, "latest", LIMIT_S, process=process)
    os.kill(child, signal.SIGKILL)
    assert (ended.state, process.wait(LIMIT_S)) == ("ERROR", 130)
    assert ended.error is not None
    assert ended.error["code"] == "interrupted"
    assert "SIGTERM" in ended.error["message"]


def test_a_job_canceled_before_its_worker_began_never_runs(store: Store, make: MakeJob) -> None:
    job, _ = store.open(make())
    canceled = launch.cancel(store, job.id)
    late = subprocess.run([*TINY_WORKER, str(store.folder(job.id)), "1"], capture_output=True, text=True, check=False)
    assert canceled.state == "CANCELED"
    assert late.returncode != 0
    assert "cannot start: the job is CANCELED" in late.stderr
    assert store.get(job.id) == canceled
    assert not (store.folder(job.id) / "answer.txt").exists()


def test_a_launcher_that_leaves_at_once_does_not_end_the_job(store: Store, make: MakeJob) -> None:
    job, _ = store.open(make())
    store.request_cancel(job.id)
    subprocess.run([sys.executable, "-W", "ignore", "-c", START, str(store.root), job.id, *TINY_WORKER], check=True)
    assert store.get(job.id).state in {"PENDING", "RUNNING", "COMPLETE"}
    ended = launch.wait(store, job.id, LIMIT_S, poll=0.05)
    assert [attempt.state for attempt in ended.attempts] == ["CANCELED", "COMPLETE"]


def test_waiting_ends_at_the_timeout_with_the_record_as_it_is(store: Store, make: MakeJob) -> None:
    job, _ = store.open(make())
    assert launch.wait(store, job.id, 0.1, poll=0.02).state == "PENDING"
    assert launch.tail(store, job.id, 5) == ""


def test_a_worker_that_cannot_be_spawned_leaves_an_error(store: Store, make: MakeJob) -> None:
    job, _ = store.open(make())
    with pytest.raises(JobFailed, match="could not be started"):
        launch.start(store, job, {}, worker=(str(store.root / "no-such-python"),))
    assert store.get(job.id).state == "ERROR"


def test_the_real_worker_runs_the_models_of_the_bank(store: Store, make: MakeJob) -> None:
    job, _ = store.open(make("export", model="no_such_model"))
    process = launch.start(store, job, {})
    ended = launch.wait(store, job.id, LIMIT_S, process=process)
    assert process.wait(LIMIT_S) == 3
    assert ended.error is not None
    assert ended.error["code"] == "not_found"


def test_following_jobs_loads_nothing_heavy() -> None:
    code = (
        "import sys, tao_skill.jobs.launch, tao_skill.jobs.job_process\n"
        "print(sorted({'torch', 'numpy'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "[]\n"
