from __future__ import annotations

import errno
import json
import math
import os
import random
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tao_skill.automl.execution.journal import FileJournal, journal_path
from tao_skill.automl.search.asha import Budget, Goal, RungSchedule, Trial
from tao_skill.automl.search.search import Search, Setup
from tao_skill.errors import BadData, BadRequest, BadState, CannotWrite
from tests.support.searches import GOAL, SPACE, SPEC, TRIALS, EqualTrainings, Memory, history

JOB = "train-1"


def opened(folder: Path, goal: Goal = GOAL) -> FileJournal:
    return FileJournal(journal_path(folder), job=JOB, goal=goal)


def reopened(folder: Path) -> list[Trial]:
    with opened(folder) as journal:
        return journal.load()


def kept(folder: Path, *trials: Trial) -> Path:
    """A journal with those trials."""
    with opened(folder) as journal:
        for trial in trials:
            journal.save(trial)
    return journal_path(folder)


def test_every_fact_of_a_trial_comes_back_in_any_process(tmp_path: Path) -> None:
    assert reopened(tmp_path) == []
    with opened(tmp_path) as journal:
        for trial in TRIALS:
            journal.save(trial)
        assert journal.load() == list(TRIALS)
    assert repr(reopened(tmp_path)) == repr(list(TRIALS))  # as text, for NaN differs from itself


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 0.1 + 0.2, 5e-324])
def test_every_number_and_text_comes_back_from_strict_json(value: float, tmp_path: Path) -> None:
    odd = ("not UTF-8: \udc80", "\0\n", "bücken")
    history = ({"val_acc": value, "val_loss": 1},)
    path = kept(tmp_path, Trial(number=0, full=9, values={"name": "nan"}, history=history, failures=odd))

    def refuse(name: str) -> None:
        raise AssertionError(name)

    for line in path.read_text().splitlines():
        json.loads(line, parse_constant=refuse)
    (trial,) = reopened(tmp_path)
    assert repr(trial.history[0]["val_acc"]) == repr(value)
    assert (trial.values, trial.failures) == ({"name": "nan"}, odd)


def test_a_change_is_a_line_and_the_last_one_counts(tmp_path: Path) -> None:
    started = Trial(number=0, full=9, values=TRIALS[0].values, target=3, state="running")
    ended = replace(started, history=history(0.4, 0.5, 0.6), state="done")
    path = kept(tmp_path, started, ended)
    before = path.read_bytes()
    assert reopened(tmp_path) == [ended]
    kept(tmp_path, TRIALS[1])
    assert path.read_bytes().startswith(before)
    assert len(path.read_text().splitlines()) == 4
    assert reopened(tmp_path) == [ended, TRIALS[1]]


def test_an_incomplete_last_line_is_dropped_and_replaced(tmp_path: Path) -> None:
    path = kept(tmp_path, *TRIALS[:2])
    whole = path.read_bytes()
    *_, last = whole.splitlines(keepends=True)
    for cut in range(1, len(last) + 1):
        path.write_bytes(whole[:-cut])
        assert reopened(tmp_path) == [TRIALS[0]]
    for garbage in (b"\0" * 100, b"\0" * 100 + b"\n", b'{"number": 1,\n', b"\xff\n"):
        path.write_bytes(whole + garbage)
        assert reopened(tmp_path) == list(TRIALS[:2])
        kept(tmp_path, TRIALS[2])
        assert reopened(tmp_path) == list(TRIALS[:3])
        assert path.read_bytes().startswith(whole + b'{"number": 2,')


def edited(path: Path, line: int, **changes: Any) -> None:
    lines = path.read_text().splitlines()
    lines[line - 1] = json.dumps(json.loads(lines[line - 1]) | changes)
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("line", "changes", "said"),
    [
        (3, {"mood": "good"}, "line 3: it has an unknown field mood"),
        (4, {"number": 7}, "line 4: number is 7, accepted: 0 to 2"),
        (4, {"number": -1}, "line 4: number is -1, accepted: 0 to 2"),
        (2, {"state": "odd"}, "line 2: state is 'odd'"),
        (2, {"history": [{"val_acc": "high"}]}, r"line 2: history\[0\].val_acc is 'high', accepted: float"),
        (2, {"history": "nan"}, "line 2: history is nan, accepted: a list"),
        (1, {"version": 2}, "line 1: version is 2, accepted: 1"),
        (1, {"owner": "me"}, "line 1: it has an unknown field owner"),
    ],
)
def test_a_damaged_record_is_named_by_its_line(line: int, changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = kept(tmp_path, *TRIALS[:3])
    edited(path, line, **changes)
    with pytest.raises(BadData, match=said) as caught:
        opened(tmp_path)
    assert (caught.value.path, "backup" in caught.value.fix) == (str(path), True)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (lambda whole: b"", "line 1: it is empty"),
        (lambda whole: whole[:20], "line 1: it is not complete"),
        (lambda whole: b"\0" + whole, "line 1: "),
        (lambda whole: whole.replace(b'"lr"', b'"lr', 1), "line 2: "),
        (lambda whole: whole.replace(b"\n", b"\n\n", 1), "line 2: "),
        (lambda whole: whole.replace(b"0.7", b"NaN", 1), "line 2: NaN is not JSON"),
    ],
)
def test_a_damaged_file_is_refused_and_not_touched(content: Any, said: str, tmp_path: Path) -> None:
    path = kept(tmp_path, *TRIALS[:3])
    path.write_bytes(damaged := content(path.read_bytes()))
    with pytest.raises(BadData, match=said):
        opened(tmp_path)
    assert path.read_bytes() == damaged
    path.unlink()
    assert reopened(tmp_path) == []  # the failed opening holds no lock


def test_a_journal_of_another_search_is_refused(tmp_path: Path) -> None:
    path = kept(tmp_path)
    for goal in (replace(GOAL, maximize=False), replace(GOAL, metric="val_f1")):
        with pytest.raises(BadRequest, match="is for another search: train-1, val_acc, maximize"):
            opened(tmp_path, goal)
    with pytest.raises(BadRequest, match="is for another search: train-1, val_acc, maximize"):
        FileJournal(path, job="train-2", goal=GOAL)


def test_one_process_at_a_time_has_it_open_until_it_ends_or_is_killed(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(BadState, match="journal.jsonl is open in another process"):
        opened(tmp_path)
    with Appender(tmp_path) as other:
        assert other.process.stdout is not None
        other.process.stdout.readline()
        with pytest.raises(BadState, match="journal.jsonl is open in another process"):
            opened(tmp_path)
        other.process.kill()
        other.process.wait()
        opened(tmp_path).close()


def test_a_full_disk_is_said_and_the_next_save_goes_on(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        journal.save(TRIALS[0])
        size = journal_path(tmp_path).stat().st_size
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, limits[1]))  # room for a part of the line
            for _ in range(2):
                with pytest.raises(CannotWrite, match="journal.jsonl cannot be written"):
                    journal.save(TRIALS[1])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, handler)
        assert journal.load() == [TRIALS[0]]
        journal.save(TRIALS[1])
    assert reopened(tmp_path) == list(TRIALS[:2])


def test_what_is_saved_is_synced_with_its_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[str, int]] = []
    sync = os.fsync

    def hear(descriptor: int) -> None:
        sync(descriptor)
        synced.append((str(Path(f"/proc/self/fd/{descriptor}").readlink()), os.fstat(descriptor).st_size))

    monkeypatch.setattr(os, "fsync", hear)
    path = journal_path(tmp_path)
    with opened(tmp_path) as journal:
        assert synced[-1][0] == str(path.parent)
        journal.save(TRIALS[0])
        assert synced[-1] == (str(path), path.stat().st_size)

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with opened(tmp_path) as journal:
        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(CannotWrite, match="Input/output error"):
            journal.save(TRIALS[1])
        monkeypatch.setattr(os, "fsync", sync)
        journal.save(TRIALS[1])
    assert len(path.read_text().splitlines()) == 3


def test_a_search_goes_on_from_what_was_kept(tmp_path: Path) -> None:
    setup = Setup(
        space=SPACE,
        spec=SPEC,
        goal=GOAL,
        schedule=RungSchedule(),
        budget=Budget(trials=6),
        trainings=EqualTrainings(full=9),
        sampler="random",
    )

    def step(search: Search) -> bool:
        task = next(iter(search.interrupted()), None) or search.next_task()
        if task is not None:
            rate = float(task.values["lr"])
            search.succeed(task.number, history(*(1 - math.exp(-rate * n) for n in range(1, task.target + 1))))
        return task is not None

    undisturbed = Search(setup, Memory())
    while step(undisturbed):
        pass
    for _ in range(50):  # every step by a new process, as it were; some die after they handed out a task
        with opened(tmp_path) as journal:
            Search(setup, journal).next_task()
        with opened(tmp_path) as journal:
            if not step(Search(setup, journal)):
                break
    assert reopened(tmp_path) == undisturbed.trials
    assert len(undisturbed.trials) == 6


APPENDER = """
import sys
from dataclasses import replace
from pathlib import Path
from tao_skill.automl.execution.journal import FileJournal, journal_path
from tao_skill.automl.search.asha import Goal, Trial

goal = Goal(metric="val_acc", maximize=True, tie="val_loss")
with FileJournal(journal_path(Path(sys.argv[1])), job="train-1", goal=goal) as journal:
    trials = journal.load()
    saves = sum(1 + len(trial.history) for trial in trials)
    while True:
        last = trials[-1] if trials and len(trials[-1].history) < 5 else None
        if last is None:
            trials.append(Trial(number=len(trials), full=9, values={"lr": 0.1}, target=5, state="running"))
        else:
            grown = (*last.history, {"val_acc": len(last.history) / 10, "val_loss": 1.0})
            trials[-1] = replace(last, history=grown, state="done" if len(grown) == 5 else "running")
        journal.save(trials[-1])
        saves += 1
        print(saves, flush=True)
"""


class Appender:
    """A process that saves on and on, and says the number of each save when it is done."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", APPENDER, str(folder)], stdout=subprocess.PIPE)

    def __enter__(self) -> Appender:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()

    def kill_after(self, seconds: float) -> int:
        """The last save that it said was done before SIGKILL."""
        assert self.process.stdout is not None
        first = self.process.stdout.readline()
        time.sleep(seconds)
        self.process.kill()
        return int((first + self.process.communicate()[0]).split(b"\n")[-2])


def test_a_kill_at_any_moment_loses_no_save_and_doubles_none(tmp_path: Path) -> None:
    chance = random.Random(5)
    for _ in range(12):
        with Appender(tmp_path) as appender:
            said = appender.kill_after(chance.uniform(0.0, 0.1))
        trials = reopened(tmp_path)
        assert sum(1 + len(trial.history) for trial in trials) in (said, said + 1)
        assert [trial.number for trial in trials] == list(range(len(trials)))
        for trial in trials:
            assert [one["val_acc"] for one in trial.history] == [i / 10 for i in range(len(trial.history))]
            assert (trial.state == "done") == (len(trial.history) == 5)
    assert len(trials) > 10
