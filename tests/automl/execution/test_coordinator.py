"""A coordinator with a real journal, queue and study, whose one worker is a thread that trains on digits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from tao_skill.automl.execution.artifacts import SearchArtifacts
from tao_skill.automl.execution.coordinator import Coordinator
from tao_skill.automl.execution.database import default_url
from tao_skill.automl.execution.journal import FileJournal, journal_path
from tao_skill.automl.execution.pool import Pool
from tao_skill.automl.execution.queue import Queue
from tao_skill.automl.execution.study import DerivedStudy
from tao_skill.automl.search.asha import RungSchedule, Trial
from tao_skill.automl.search.search import Search
from tao_skill.automl.settings import Settings
from tao_skill.jobs.record import Job
from tao_skill.models import get_model
from tao_skill.status import StatusLog, read_status
from tests.support.searches import make_setup, objective

JOB = "train-1"


class Worker:
    """Trains until it is stopped; `after` is called once, when the first result is submitted."""

    def __init__(self, url: str, after: Callable[[], object] = lambda: None) -> None:
        self._queue, self._after, self._ended = Queue(url, JOB), after, threading.Event()
        self._thread = threading.Thread(target=self._work)
        self.tasks = 0

    def __enter__(self) -> Worker:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()
        self._queue.close()

    def _work(self) -> None:
        while not self._ended.is_set():
            claimed = self._queue.claim("thread")
            if claimed is None:
                time.sleep(0.01)
                continue
            self._queue.finish(claimed, objective(claimed.task), 1.0)
            self.tasks += 1
            if self.tasks == 1:
                self._after()


def search(folder: Path, after: Callable[[], object] = lambda: None) -> tuple[list[Trial], int]:
    """Run a search of four trials to its end; its trials, and the number of tasks that were trained."""
    # Every task ends its trial, which is then in the study.
    url, setup = default_url(folder), replace(make_setup(trials=4), schedule=RungSchedule(levels=1))
    settings = Settings(trials=4)
    job = Job(id=JOB, model="pose_classification", action="train", results_dir=str(folder), created="2026-01-01")
    with FileJournal(journal_path(folder), job=JOB, goal=setup.goal) as journal, Worker(url, after) as worker:
        queue = Queue(url, JOB)
        coordinator = Coordinator(
            Search(setup, journal),
            queue,
            Pool(queue, folder, url, 0, environment={}),
            SearchArtifacts(folder=folder, model=get_model(None), job=job, setup=setup, settings=settings),
            DerivedStudy(url, journal.header, space=setup.space, goal=setup.goal),
            StatusLog(folder),
            settings,
        )
        coordinator.run()
        coordinator.publish(ended=True)
        queue.close()
    return coordinator.search.trials, worker.tasks


def shown(folder: Path) -> dict[int, dict[int, float]]:
    """Curves of the study, by number of the trial."""
    study = optuna.load_study(study_name=JOB, storage=default_url(folder))
    return {trial.user_attrs["number"]: trial.intermediate_values for trial in study.trials}


def curves(trials: list[Trial]) -> dict[int, dict[int, float]]:
    return {
        trial.number: {epochs: metrics["val_acc"] for epochs, metrics in enumerate(trial.history, start=1)}
        for trial in trials
    }


def without_times(trials: list[Trial]) -> list[tuple[object, ...]]:
    return [(trial.number, trial.values, trial.history, trial.state) for trial in trials]


def test_a_search_goes_on_without_its_study_and_writes_it_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    undisturbed, _ = search(tmp_path / "undisturbed")
    assert "warning" not in capsys.readouterr().err
    folder = tmp_path / "disturbed"

    def delete() -> None:
        while not shown(folder):  # until the first trial is in it
            time.sleep(0.01)
        optuna.delete_study(study_name=JOB, storage=default_url(folder))

    trials, _ = search(folder, delete)
    assert "warning: the study in sqlite:///" in capsys.readouterr().err
    assert any("study.db cannot be written" in line["message"] for line in read_status(folder))
    assert without_times(trials) == without_times(undisturbed)
    assert shown(folder) == curves(trials) == shown(tmp_path / "undisturbed")


def test_results_that_the_journal_lost_come_back_from_the_queue_without_training(tmp_path: Path) -> None:
    trials, tasks = search(tmp_path)
    assert tasks == 4
    path = journal_path(tmp_path)
    content = path.read_bytes()
    for kept in (len(content) // 2, content.index(b"\n") + 1):
        path.write_bytes(content[:kept])
        again, trained = search(tmp_path)
        assert (again, trained) == (trials, 0)
        assert shown(tmp_path) == curves(trials)


def test_a_search_goes_on_with_a_new_database(tmp_path: Path) -> None:
    trials, _ = search(tmp_path)
    path = journal_path(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[: len(lines) // 2]))
    (tmp_path / "automl" / "study.db").unlink()
    again, trained = search(tmp_path)
    assert without_times(again) == without_times(trials)
    assert 0 < trained < 8
    assert shown(tmp_path) == curves(trials)
