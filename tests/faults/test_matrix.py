"""Every action, broken in every way we know: nothing half-written, a true end, and a resume to the same result."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.command_line import SMALL, TAO_SKILL, call, call_json
from tests.support.experiments import dataset_overrides
from tests.support.processes.actions import (
    LIMIT_S,
    SEARCH,
    Work,
    check_ended,
    check_resumes,
    check_whole,
    job_pids,
    kill_all,
    measure,
)
from tests.support.recordings import recording
from tests.support.waiting import until

ActionMoment = tuple[str, int]

ACTIONS = ("train", "evaluate", "inference", "export", "dataset_convert", "automl")
WITH_PARENT = ("evaluate", "inference", "export")
MOMENTS = 20
QUICK = {"kill": {("evaluate", 0), ("dataset_convert", 0)}, "full": set[ActionMoment]()}
"""What the tests take of what `make faults` does."""


def cases(fault: str, moments: int) -> list[object]:
    """Every action at every moment; those that are not quick are for `make faults`."""
    return [
        pytest.param(
            action,
            moment,
            id=f"{action}-{moment}",
            marks=() if (action, moment) in QUICK.get(fault, ()) else pytest.mark.faults,
        )
        for action in ACTIONS
        for moment in range(moments)
    ]


def each(*quick: str, of: tuple[str, ...] = ACTIONS) -> list[object]:
    """Every action once."""
    return [pytest.param(action, id=action, marks=() if action in quick else pytest.mark.faults) for action in of]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def work(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Work]:
    """What is done for an action; measured once, when it is asked for first."""
    folder = tmp_path_factory.mktemp("faults")
    facts = dataset_overrides(tiny)
    train = ["run", "train", *SMALL, *facts, "--key", "broken"]
    recording(folder / "people.json")
    commands = {
        "train": [*train, "--automl", "off", "epochs=4"],
        "automl": [*train, *SEARCH],
        "dataset_convert": [
            "run", "dataset_convert", f"dataset_convert.data={folder / 'people.json'}", "--key", "broken",
            "dataset_convert.sequence_length_min=2", "dataset_convert.sequence_length=4",
        ],
    }  # fmt: skip
    parent = folder / "parent"
    done: dict[str, Work] = {}

    def of(action: str) -> Work:
        base = folder / "nothing"
        base.mkdir(exist_ok=True)
        if action in WITH_PARENT:
            base = parent
            if not parent.exists():
                call_json([*train[:-1], "parent", "--automl", "off", "epochs=2"], parent)
        if action not in done:
            command = commands.get(action, ["run", action, "--parent", "latest:train", "--key", "broken"])
            done[action] = measure(command, base, folder / f"undisturbed {action}")
        return done[action]

    return of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "results"


def copied(base: Path, root: Path) -> None:
    """The jobs as if they had been run there."""
    shutil.copytree(base, root, symlinks=True, dirs_exist_ok=True)
    for path in (*root.glob("*/job.json"), *root.glob("*/spec.yaml")):
        path.write_text(path.read_text().replace(f"{base}/", f"{root}/"))


def moment_of(work: Work, moment: int) -> float:
    """Seconds after the start: anywhere in the time that an undisturbed run takes, the same for the same moment."""
    return random.Random(f"{work.command}{moment}").uniform(0.0, work.seconds)


@pytest.mark.parametrize(("action", "moment"), cases("kill", MOMENTS))
def test_sigkill(action: str, moment: int, work: Callable[[str], Work], root: Path) -> None:
    done = work(action)
    copied(done.base, root)
    running = done.begin(root)
    time.sleep(moment_of(done, moment))
    kill_all(root, running)
    check_whole(root)
    check_ended(root)
    check_resumes(done, root)


@pytest.mark.parametrize("of", ["the job", "the command"])
@pytest.mark.parametrize("action", each())
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_asked_to_end(action: str, number: signal.Signals, of: str, work: Callable[[str], Work], root: Path) -> None:
    done = work(action)
    copied(done.base, root)
    running = done.begin(root)
    until(lambda: job_pids(root) or running.poll() is not None)
    time.sleep(done.seconds / 3)
    for pid in job_pids(root) if of == "the job" else [running.pid]:
        os.killpg(pid, number)
    running.wait(LIMIT_S)
    if of == "the command" and number == signal.SIGTERM:  # its job goes on by itself
        call(["jobs", "wait", "latest"], root)
    check_whole(root)
    check_ended(root)
    check_resumes(done, root)


@pytest.fixture
def small_disk(root: Path) -> Iterator[Path]:
    """The results root on a disk of its own."""
    root.mkdir()
    if (
        os.geteuid()
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=400m", "none", str(root)], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("nobody may mount a small disk here; as root, or under `unshare --map-root-user --mount`, one may")
    yield root
    subprocess.run(["umount", "--lazy", str(root)], check=True)


@pytest.mark.parametrize(("action", "moment"), cases("full", 6))
def test_disk_full(action: str, moment: int, work: Callable[[str], Work], small_disk: Path) -> None:
    """From some moment on nothing can be written: no record, log, checkpoint or report."""
    done = work(action)
    copied(done.base, small_disk)
    running = done.begin(small_disk)
    time.sleep(done.seconds * moment / 6)
    filler = small_disk / ".filler"
    with filler.open("wb", buffering=0) as stream:
        try:
            while running.poll() is None:
                stream.write(b"\0" * 4096)
        except OSError:
            running.wait(LIMIT_S)
    check_whole(small_disk)
    check_ended_in_words(small_disk)
    filler.unlink()
    check_ended(small_disk)
    check_resumes(done, small_disk)


def check_ended_in_words(root: Path) -> None:
    """The end is told even where it cannot be written."""
    listed = json.loads(call(["jobs", "list", "--json"], root).stdout)
    assert {job["state"] for job in listed["jobs"]} <= {"COMPLETE", "ERROR", "CANCELED"}


@pytest.mark.parametrize("action", each("evaluate"))
def test_read_only_root(action: str, work: Callable[[str], Work], small_disk: Path) -> None:
    done = work(action)
    copied(done.base, small_disk)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    error = call_json(done.command, small_disk, code=2)["error"]
    assert re.search("cannot be written|not a writable directory", error["message"])
    check_ended_in_words(small_disk)
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    check_resumes(done, small_disk)


@pytest.mark.parametrize("action", each(of=("train", "automl")))
def test_corrupted_latest_checkpoint(action: str, work: Callable[[str], Work], root: Path) -> None:
    done = work(action)
    running = done.begin(root)
    newest = until(lambda: sorted(root.rglob("model_epoch_*.pth"), key=lambda one: one.stat().st_mtime), LIMIT_S)
    time.sleep(1.0)
    kill_all(root, running)
    newest = sorted(root.rglob("model_epoch_*.pth"), key=lambda one: one.stat().st_mtime)
    content = bytearray(newest[-1].read_bytes())
    content[len(content) // 3] ^= 255
    newest[-1].write_bytes(content)
    check_resumes(done, root)


@pytest.mark.parametrize("action", each(of=WITH_PARENT))
def test_corrupted_checkpoint_of_the_parent(action: str, work: Callable[[str], Work], root: Path) -> None:
    done = work(action)
    copied(done.base, root)
    (best,) = {path.resolve() for path in root.rglob("pc_model_best.pth")}
    whole = best.read_bytes()
    best.write_bytes(whole[: len(whole) // 2])
    error = call_json(done.command, root, code=2)["error"]
    assert (error["code"], best.name in error["message"]) == ("bad_data", True)
    (job,) = {path.parent.parent.name for path in root.rglob("pc_model_best.pth")}
    assert str(best) in call_json(["jobs", "verify", job], root, code=2)["error"]["message"]
    best.write_bytes(whole)
    check_resumes(done, root)


@pytest.mark.parametrize("how", ["half", "empty"])
@pytest.mark.parametrize("action", each("dataset_convert"))
def test_truncated_record(action: str, how: str, work: Callable[[str], Work], root: Path) -> None:
    """What a job was cannot be recovered: that is said, and the fix that is named leads to the result."""
    done = work(action)
    copied(done.base, root)
    running = done.begin(root)
    record = until(lambda: records(root, done), LIMIT_S)[0]
    time.sleep(done.seconds / 3)
    kill_all(root, running)
    record.write_bytes(record.read_bytes()[: 300 if how == "half" else 0])
    error = call_json(done.command, root, code=2)["error"]
    assert (error["code"], error["path"]) == ("bad_data", str(record))
    assert f"move the folder {record.parent} away" in error["fix"]
    record.parent.rename(root.parent / "moved away")
    check_ended(root)
    check_resumes(done, root)


def records(root: Path, done: Work) -> list[Path]:
    """Of the jobs that the work itself has made."""
    before = {path.name for path in done.base.iterdir()}
    return [one for one in root.glob("[!.]*/job.json") if one.parent.name not in before]


@pytest.mark.parametrize("how", ["half", "empty", "garbage"])
@pytest.mark.parametrize("file", ["study.db", "journal.jsonl"])
@pytest.mark.faults
def test_truncated_search(file: str, how: str, work: Callable[[str], Work], root: Path) -> None:
    """The database is made again from the journal; half a journal gets the lost results from the database."""
    done = work("automl")
    running = done.begin(root)
    until(lambda: list(root.rglob("model_epoch_*.pth")), LIMIT_S)
    kill_all(root, running)
    (path,) = root.rglob(file)
    content = path.read_bytes()
    path.write_bytes({"half": content[: len(content) // 2], "empty": b"", "garbage": os.urandom(len(content))}[how])
    for beside in root.rglob(f"{file}-*"):
        beside.unlink()
    answer = subprocess.run(
        [*TAO_SKILL, *done.command, "--json"],
        env={**os.environ, "TAO_SKILL_RESULTS": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    document = json.loads(answer.stdout)
    if answer.returncode:  # said, and the fix leads on
        assert document["error"]["code"] == "bad_data"
        assert str(path) in document["error"]["message"]
        assert "move" in document["error"]["fix"]
        (path if file == "study.db" else path.parent.parent).rename(root.parent / "moved away")
    check_resumes(done, root)


@pytest.mark.parametrize("action", each(of=WITH_PARENT))
def test_deleted_parent(action: str, work: Callable[[str], Work], root: Path) -> None:
    done = work(action)
    copied(done.base, root)
    running = done.begin(root)
    until(lambda: list(root.glob(f"{action}-*/job.json")), LIMIT_S)
    kill_all(root, running)
    (parent,) = root.glob("train-*")
    parent.rename(root.parent / "kept")
    error = call_json(done.command, root, code=3)["error"]
    assert (error["code"], "no train job" in error["message"]) == ("not_found", True)
    check_ended(root)
    (root.parent / "kept").rename(parent)
    check_resumes(done, root)


@pytest.mark.skipif(shutil.which("faketime") is None, reason="needs faketime to set a clock")
@pytest.mark.parametrize("action", each())
def test_clock_set_back(action: str, work: Callable[[str], Work], root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = work(action)
    copied(done.base, root)
    running = done.begin(root)
    time.sleep(done.seconds / 2)
    kill_all(root, running)
    settings = subprocess.run(
        ["faketime", "-f", "-3d", "env"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for name in ("LD_PRELOAD", "FAKETIME"):
        monkeypatch.setenv(name, next(line.partition("=")[2] for line in settings if line.startswith(f"{name}=")))
    check_ended(root)
    check_resumes(done, root)
    monkeypatch.undo()
    check_ended(root)


@pytest.mark.parametrize("action", each("inference"))
def test_two_starts_at_once(action: str, work: Callable[[str], Work], root: Path) -> None:
    done = work(action)
    copied(done.base, root)
    both = [
        subprocess.Popen(
            [*TAO_SKILL, *done.command, "--json"],
            env={**os.environ, "TAO_SKILL_RESULTS": str(root)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    answers = [json.loads(one.communicate(timeout=LIMIT_S)[0]) for one in both]
    assert answers[0]["job"] == answers[1]["job"]
    (record,) = records(root, done)
    assert len(json.loads(record.read_text())["attempts"]) == 1
    check_resumes(done, root)


@pytest.mark.faults
@pytest.mark.parametrize("moment", range(3))
def test_two_resume_one_study(moment: int, work: Callable[[str], Work], root: Path) -> None:
    done = work("automl")
    running = done.begin(root)
    until(lambda: list(root.rglob("study.db")), LIMIT_S)
    time.sleep(moment_of(done, moment) / 2)
    kill_all(root, running)
    (job,) = (one.parent.name for one in root.glob("*/job.json"))
    both = [
        subprocess.Popen(
            [*TAO_SKILL, "automl", "resume", job, "--json"],
            env={**os.environ, "TAO_SKILL_RESULTS": str(root)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    answers = [json.loads(one.communicate(timeout=LIMIT_S)[0]) for one in both]
    assert "COMPLETE" in [one["job"]["state"] for one in answers if "job" in one]
    check_resumes(done, root)
