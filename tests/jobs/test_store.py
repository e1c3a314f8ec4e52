from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tao_skill.errors import BadData, BadRequest, BadState, KeyConflict, NotFound
from tao_skill.jobs.record import Ending, Job, new_id
from tao_skill.jobs.store import Store
from tests.support.jobs import MakeJob

COMPLETE = Ending(state="COMPLETE", exit_code=0, metrics={"val_acc": 0.5})
ERROR = Ending(state="ERROR", exit_code=1, error={"code": "job_failed", "message": "no", "fix": "yes"})

OPEN_AT_ONCE = """
import sys, time
from pathlib import Path
from tao_skill.jobs.record import Job
from tao_skill.jobs.store import Store
import json
job = Job.from_dict(json.loads(sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
opened, created = Store(Path(sys.argv[1])).open(job)
print(opened.id, created)
"""

HOLD = """
import sys, time
from pathlib import Path
from tao_skill.jobs.store import Store
store = Store(Path(sys.argv[1]))
number = len(store.claim(sys.argv[2]).attempts)
if sys.argv[3] == "run":
    store.begin_attempt(sys.argv[2], number)
print("ready", flush=True)
time.sleep(60)
"""


def run(store: Store, job: Job) -> Job:
    return store.begin_attempt(job.id, len(store.claim(job.id).attempts))


def finish(store: Store, job: Job, ending: Ending = COMPLETE) -> Job:
    return store.close_attempt(job.id, len(run(store, job).attempts), ending)


def hold(store: Store, job: Job, how: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(store.root), job.id, how], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_an_opened_job_is_read_back_as_it_was_written(store: Store, make: MakeJob) -> None:
    opened, created = store.open(make("train", command=("tao-skill", "run"), route={"route": "direct"}))
    assert created
    assert store.get(opened.id) == opened
    assert opened.state == "PENDING"
    assert json.loads((store.folder(opened.id) / "job.json").read_text())["state"] == "PENDING"


def test_a_key_fixes_the_id_and_without_one_it_tells_the_time(store: Store) -> None:
    now = datetime(2026, 11, 21, 4, 28, 12, tzinfo=UTC)
    assert new_id("train", now=now, token="1a2b") == "train-20261121-042812-1a2b"
    assert new_id("train", "mine", now=now, token="x") == new_id("train", "mine", now=datetime.now(UTC), token="y")


@pytest.mark.parametrize("job_id", ["../out", "a/b", "..", "", ".hidden", "a\n", "/etc"])
def test_an_id_that_could_leave_the_root_is_refused(store: Store, make: MakeJob, job_id: str) -> None:
    with pytest.raises(BadRequest, match="not valid"):
        store.open(replace(make(), id=job_id))
    assert not store.root.exists()


def test_simultaneous_starts_with_one_key_give_one_job(store: Store, make: MakeJob) -> None:
    record = json.dumps(make("train", "same").to_dict())
    command = [sys.executable, "-c", OPEN_AT_ONCE, str(store.root), record]
    callers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) for _ in range(6)
    ]
    assert {caller.stdout.readline() for caller in callers if caller.stdout} == {"ready\n"}
    for caller in callers:
        assert caller.stdin is not None
        caller.stdin.write("go\n")
    answers = [caller.communicate()[0].split() for caller in callers]
    assert len({job_id for job_id, _ in answers}) == 1
    assert sorted(created for _, created in answers) == ["False"] * 5 + ["True"]
    assert store.count() == 1
    assert not list(store.root.glob(".new-*"))


def test_the_same_request_with_its_key_gives_the_job_there_is(store: Store, make: MakeJob) -> None:
    first, _ = store.open(make("train", "k", spec={"train": {"lr": 0.1, "steps": (1, 2)}}))
    again, created = store.open(make("train", "k", spec={"train": {"lr": 0.1, "steps": [1, 2]}}))
    assert not created
    assert again.id == first.id


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"action": "evaluate"}, "action is 'train' in the job, 'evaluate' in the request"),
        ({"model": "other"}, "model is 'tiny' in the job, 'other' in the request"),
        ({"parent": "train-1"}, "parent is None in the job, 'train-1' in the request"),
        ({"spec": {"train": {"lr": 0.2}}}, "train.lr is 0.1 in the job, 0.2 in the request"),
        ({"spec": {"train": {"lr": 0.1, "seed": 1}}}, "train.seed is absent in the job, 1 in the request"),
    ],
)
def test_a_key_used_for_another_request_is_refused_naming_the_difference(
    store: Store, make: MakeJob, changes: dict[str, object], named: str
) -> None:
    store.open(make("train", "k", spec={"train": {"lr": 0.1}}))
    other = {"action": "train", "spec": {"train": {"lr": 0.1}}} | changes
    with pytest.raises(KeyConflict, match=named.replace(".", r"\.")) as caught:
        store.open(make(key="k", **other))
    assert caught.value.fix.startswith("use --key k-2, or repeat")


def test_the_key_to_use_instead_is_a_new_one_each_time(store: Store, make: MakeJob) -> None:
    for number, key in enumerate(("night", "night-2", "night-3")):
        store.open(make("train", key, spec={"lr": number}))
        with pytest.raises(KeyConflict) as caught:
            store.open(make("train", key, spec={"lr": -1}))
        assert f"use --key night-{number + 2}," in caught.value.fix


def test_an_id_that_is_taken_is_not_opened_twice(store: Store, make: MakeJob) -> None:
    job = make()
    store.open(job)
    with pytest.raises(BadState, match="exists already"):
        store.open(job)


def test_jobs_are_listed_newest_first(store: Store, make: MakeJob) -> None:
    ids = [store.open(make(action))[0].id for action in ("train", "evaluate", "inference")]
    assert [job.id for job in store.newest()] == ids[::-1]


def test_a_job_is_found_by_id_prefix_latest_and_path(store: Store, make: MakeJob, tmp_path: Path) -> None:
    first = store.open(make("train"))[0].id
    last = store.open(make("evaluate"))[0].id
    assert store.get("tra").id == first
    assert store.get("latest").id == last
    assert store.get("latest:train").id == first
    home, job = Store(tmp_path / "elsewhere").find(str(store.folder(first)))
    assert (home.root, job.id) == (store.root, first)


def test_a_reference_to_no_job_or_to_several_is_answered_clearly(store: Store, make: MakeJob) -> None:
    with pytest.raises(NotFound, match="no job in"):
        store.get("latest")
    ids = [store.open(make("train"))[0].id for _ in range(2)]
    with pytest.raises(BadRequest, match=f"'train' matches several jobs: {ids[0]}, {ids[1]}"):
        store.get("train")
    for ref in ("export", "latest:export", "../results/none", "/etc", ""):
        with pytest.raises((NotFound, BadRequest)):
            store.get(ref)


@pytest.mark.parametrize("text", ["", '{"id": "x"', "[]", "{}", '{"attempts": 5}', "null", "\udcff"])
def test_a_damaged_record_hides_no_other_job_and_says_what_is_wrong(store: Store, make: MakeJob, text: str) -> None:
    good, bad = (store.open(make("train", key))[0].id for key in ("good", "bad"))
    (store.folder(bad) / "job.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert [job.id for job in store.newest()] == [good]
    with pytest.raises(BadData, match="not a readable job record") as caught:
        store.get(bad)
    assert "job.json" in caught.value.fix
    with pytest.raises(BadData):
        store.open(make("train", "bad"))


def test_a_record_from_before_uploads_is_read_as_one_without(store: Store, make: MakeJob) -> None:
    job, _ = store.open(make())
    path = store.folder(job.id) / "job.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({name: value for name, value in record.items() if not name.startswith("upload")}))
    assert store.get(job.id) == job
    assert (job.upload, job.uploaded) == (None, None)


def test_a_record_under_another_name_is_not_believed(store: Store, make: MakeJob) -> None:
    job = store.open(make())[0]
    store.folder(job.id).rename(store.root / "copy")
    with pytest.raises(BadData, match="a folder called 'copy'"):
        store.get("copy")


def test_an_attempt_runs_once_and_ends_once(store: Store, make: MakeJob) -> None:
    job = store.open(make())[0]
    assert run(store, job).state == "RUNNING"
    for again in (lambda: store.claim(job.id), lambda: store.begin_attempt(job.id, 1)):
        with pytest.raises(BadState):
            again()
    ended = store.close_attempt(job.id, 1, COMPLETE)
    assert (ended.state, ended.metrics) == ("COMPLETE", {"val_acc": 0.5})
    assert ended.started is not None
    assert ended.ended is not None
    assert datetime.fromisoformat(ended.started) <= datetime.fromisoformat(ended.ended)


def test_a_terminal_attempt_never_changes(store: Store, make: MakeJob) -> None:
    job = store.open(make())[0]
    ended = finish(store, job)
    before = (store.folder(job.id) / "job.json").read_bytes()
    assert store.close_attempt(job.id, 1, ERROR) == ended
    assert store.reconcile(job.id, -9) == ended
    for refused in (store.request_cancel, store.claim):
        with pytest.raises(BadState, match="COMPLETE"):
            refused(job.id)
    assert (store.folder(job.id) / "job.json").read_bytes() == before


def test_a_failed_job_is_resumed_as_a_new_attempt(store: Store, make: MakeJob) -> None:
    job = store.open(make())[0]
    failed = finish(store, job, ERROR)
    resumed = finish(store, job)
    assert resumed.state == "COMPLETE"
    assert resumed.attempts[0] == failed.attempts[0]
    assert [attempt.number for attempt in resumed.attempts] == [1, 2]


def test_a_late_end_of_an_earlier_attempt_leaves_the_next_one_alone(store: Store, make: MakeJob) -> None:
    job = store.open(make())[0]
    finish(store, job, ERROR)
    running = run(store, job)
    assert store.close_attempt(job.id, 1, COMPLETE) == running


@pytest.mark.parametrize("how", ["claim", "run"])
def test_a_killed_process_is_recognised_whether_it_launched_or_ran_the_job(
    store: Store, make: MakeJob, how: str
) -> None:
    job = store.open(make(key="mine"))[0]
    finish(store, job, ERROR)
    holder = hold(store, job, how)
    assert store.get(job.id).state == {"claim": "PENDING", "run": "RUNNING"}[how]
    with pytest.raises(BadState, match=f"process {holder.pid}"):
        store.claim(job.id)
    kill(holder)
    dead = next(store.newest())
    assert dead.state == "ERROR"
    assert dead.error is not None
    assert dead.error["code"] == "process_died"
    assert "the key mine" in dead.error["fix"]
    assert store.claim(job.id).state == "PENDING"


def test_a_job_whose_opener_was_killed_before_it_started_anything_shows_as_error(store: Store, make: MakeJob) -> None:
    job = make("train", "k")
    command = [sys.executable, "-c", OPEN_AT_ONCE, str(store.root), json.dumps(job.to_dict())]
    subprocess.run(command, input="go\n", capture_output=True, text=True, check=True)
    assert store.get(job.id).state == "ERROR"


def test_a_killed_process_nobody_waited_for_counts_as_gone(store: Store, make: MakeJob) -> None:
    job = store.open(make())[0]
    finish(store, job, ERROR)
    holder = hold(store, job, "run")
    holder.kill()
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
    assert store.get(job.id).state == "ERROR"
    holder.communicate()


def test_a_later_process_with_the_same_pid_is_not_taken_for_the_job(store: Store, make: MakeJob) -> None:
    job = run(store, store.open(make())[0])
    attempt = replace(job.attempts[0], pid_created=job.attempts[0].pid_created - 60)
    record = replace(job, attempts=(attempt,)).to_dict()
    (store.folder(job.id) / "job.json").write_text(json.dumps(record))
    assert store.get(job.id).state == "ERROR"


def test_a_job_of_another_machine_is_left_as_recorded(store: Store, make: MakeJob) -> None:
    job = run(store, store.open(make())[0])
    away = replace(job, attempts=(replace(job.attempts[0], host="elsewhere", pid=2**22 + 1),))
    (store.folder(job.id) / "job.json").write_text(json.dumps(away.to_dict()))
    assert store.get(job.id) == away
    with pytest.raises(BadState, match="runs on elsewhere"):
        store.request_cancel(job.id)
