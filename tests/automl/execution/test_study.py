from __future__ import annotations

import json
import math
import os
import random
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from tao_skill.automl.execution.database import parse
from tao_skill.automl.execution.study import StudyJournal, open_study
from tao_skill.automl.search.asha import Budget, Goal, Trial, make_rung_schedule
from tao_skill.automl.search.search import Search, Setup
from tao_skill.automl.space.dimension import Dimension
from tao_skill.automl.space.space import Space
from tao_skill.errors import BadRequest
from tests.support.servers.postgresql import PostgreSQLServer

GOAL = Goal(metric="val_acc", maximize=True, tie="val_loss")
SPACE = Space(
    dimensions=(
        Dimension(key="lr", kind="float", low=1e-4, high=1.0, log=True),
        Dimension(key="width", kind="int", choices=(8, 16, 32)),
        Dimension(key="strategy", kind="choice", choices=("uniform", "spatial"), weights=(1.0, 3.0)),
        Dimension(key="decay", kind="float", low=1e-6, high=1e-2, log=True, off=0.0),
        Dimension(key="dropout", kind="float", low=0.1, high=0.5, off=0.0),
        Dimension(key="epochs", kind="int", low=1, high=50),
    )
)
VALUES = {"lr": 0.1 + 0.2, "width": 16, "strategy": "spatial", "decay": 0.0, "dropout": 0.0, "epochs": 10}


def history(*accuracies: float) -> tuple[dict[str, float], ...]:
    return tuple({"val_acc": one, "val_loss": 1 - one} for one in accuracies)


def opened(url: str, name: str = "train-1") -> StudyJournal:
    return open_study(url, name, space=SPACE, goal=GOAL)


def read(url: str, name: str = "train-1") -> optuna.Study:
    """As anybody who knows Optuna reads it."""
    return optuna.load_study(study_name=name, storage=parse(url).render_as_string(hide_password=False))


@pytest.fixture
def journal(url: str) -> Iterator[StudyJournal]:
    journal = opened(url)
    yield journal
    journal.close()


TRIALS = (
    Trial(number=0, values=VALUES, history=history(0.4, 0.7, 0.6), target=3, state="done", seconds=4.5),
    Trial(number=1, values={**VALUES, "lr": 5.0, "epochs": None}, history=history(0.1), target=3),
    Trial(number=2, values={"lr": 1e-3}, history=history(0.2), target=1, state="waiting", failures=("data: x", "y")),
    Trial(number=3, values={"lr": 2e-3}, history=history(0.3), target=1, state="failed", reason="no memory"),
    Trial(
        number=4, values={"lr": 1.0}, history=history(0.3, math.nan), target=3, state="done", reason="training diverged"
    ),
)


def test_every_fact_of_a_trial_comes_back_in_any_process(journal: StudyJournal, url: str) -> None:
    assert journal.load() == []
    for trial in TRIALS:
        journal.save(trial)
    for reader in (journal, opened(url)):
        assert repr(reader.load()) == repr(list(TRIALS))  # as text, for NaN differs from itself


def test_saving_again_changes_one_trial_and_adds_none(journal: StudyJournal, url: str) -> None:
    started = Trial(number=0, values=VALUES, target=3)
    journal.save(started)
    journal.save(started)
    ended = replace(started, history=history(0.4, 0.5, 0.6), state="done")
    journal.save(ended)
    journal.save(ended)
    assert journal.load() == [ended]
    assert len(read(url).trials) == 1


def test_optuna_shows_it_as_a_study(journal: StudyJournal, url: str) -> None:
    for trial in TRIALS:
        journal.save(trial)
    study = read(url)
    states = [TrialState.COMPLETE, TrialState.RUNNING, TrialState.RUNNING, TrialState.FAIL, TrialState.PRUNED]
    assert [trial.state for trial in study.trials] == states
    assert study.direction.name == "MAXIMIZE"
    assert (study.best_trial.number, study.best_value) == (0, 0.7)
    best = study.trials[0]
    assert best.intermediate_values == {1: 0.4, 2: 0.7, 3: 0.6}
    assert best.params == {name: VALUES[name] for name in VALUES if name != "decay"}  # no logarithm holds its 0
    assert best.distributions["width"] == optuna.distributions.CategoricalDistribution((8, 16, 32))
    assert study.trials[1].params.keys() == VALUES.keys() - {"lr", "decay", "epochs"}  # outside their ranges
    assert study.trials[1].user_attrs["trial"]["values"]["lr"] == 5.0
    assert math.isnan(study.trials[4].intermediate_values[2])


def test_a_metric_to_be_small_is_shown_so(url: str) -> None:
    journal = open_study(url, "train-1", space=SPACE, goal=Goal(metric="val_loss", maximize=False, tie="val_loss"))
    for number, accuracy in enumerate((0.2, 0.7, 0.5)):
        journal.save(Trial(number=number, values=VALUES, history=history(accuracy), target=1, state="done"))
    assert (read(url).best_trial.number, read(url).best_value) == (1, 1 - 0.7)


def test_closing_shows_the_waiting_as_pruned_and_they_can_still_go_on(journal: StudyJournal, url: str) -> None:
    for trial in TRIALS:
        journal.save(trial)
    journal.close()
    assert read(url).trials[2].state is TrialState.PRUNED
    again = opened(url)
    assert again.load()[2] == TRIALS[2]
    again.save(replace(TRIALS[2], state="running", target=2))
    assert read(url).trials[2].state is TrialState.RUNNING
    again.save(replace(TRIALS[2], history=history(0.2, 0.9), target=2, state="done"))
    assert read(url).best_trial.number == 2


def test_what_readers_are_shown_is_mended_by_loading(journal: StudyJournal, url: str) -> None:
    journal.save(Trial(number=0, values=VALUES, target=3))
    study = read(url)
    record = study.trials[0].user_attrs["trial"] | {"state": "done", "history": [*history(0.4, 0.5, 0.6)]}
    optuna.trial.Trial(study, study.trials[0]._trial_id).set_user_attr("trial", record)  # and then power was lost
    assert study.trials[0].state is TrialState.RUNNING
    (trial,) = opened(url).load()
    assert (trial.state, trial.history) == ("done", history(0.4, 0.5, 0.6))
    assert (study.best_value, len(study.trials[0].intermediate_values)) == (0.6, 3)


def test_a_trial_that_the_database_made_twice_is_one(journal: StudyJournal, url: str) -> None:
    journal.save(TRIALS[0])
    twice = read(url)
    twice.add_trial(
        optuna.trial.create_trial(state=TrialState.RUNNING, user_attrs={"trial": twice.trials[0].user_attrs["trial"]})
    )
    assert journal.load() == [TRIALS[0]]
    journal.save(TRIALS[1])
    assert journal.load() == [*TRIALS[:2]]


def test_a_study_that_is_no_search_or_has_another_goal_is_refused(url: str) -> None:
    opened(url).close()
    with pytest.raises(BadRequest, match="val_acc, maximize"):
        open_study(url, "train-1", space=SPACE, goal=Goal(metric="val_acc", maximize=False, tie="val_loss"))
    with pytest.raises(BadRequest, match="val_acc, maximize"):
        open_study(url, "train-1", space=SPACE, goal=Goal(metric="val_f1", maximize=True, tie="val_loss"))
    foreign = optuna.create_study(
        study_name="mine", storage=parse(url).render_as_string(hide_password=False), direction="maximize"
    )
    foreign.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    with pytest.raises(BadRequest, match="does not belong to a search") as caught:
        opened(url, "mine").load()
    assert "fake-" not in str(caught.value.as_dict())


def test_a_search_goes_on_from_what_was_kept(url: str) -> None:
    spec = {"lr": 0.1, "width": 8, "strategy": "uniform", "decay": 1e-4, "dropout": 0.2, "epochs": 5}
    setup = Setup(
        space=SPACE,
        spec=spec,
        goal=GOAL,
        schedule=make_rung_schedule(9),
        budget=Budget(trials=6, max_epochs=9),
        sampler="random",
    )

    def step(search: Search) -> bool:
        task = next(iter(search.interrupted()), None) or search.next_task()
        if task is not None:
            rate = float(task.values["lr"])
            search.succeed(task.number, history(*(1 - math.exp(-rate * n) for n in range(1, task.target + 1))))
        return task is not None

    class Memory:
        def load(self) -> list[Trial]:
            return []

        def save(self, trial: Trial) -> None:
            pass

    undisturbed = Search(setup, Memory())
    while step(undisturbed):
        pass
    for _ in range(50):  # every step by a new process, as it were; some die after they handed out a task
        search = Search(setup, opened(url))
        search.next_task()
        if not step(Search(setup, opened(url))):
            break
    assert opened(url).load() == undisturbed.trials
    assert len(undisturbed.trials) == 6


def _save_on_and_on(url: str, said: int) -> None:
    """Say the number of each save when it is done."""
    journal = opened(url)
    trials = journal.load()
    saves = sum(1 + len(trial.history) for trial in trials)
    while True:
        last = trials[-1] if trials and len(trials[-1].history) < 5 else None
        if last is None:
            trials.append(Trial(number=len(trials), values=VALUES, target=5))
        else:
            grown = (*last.history, *history(len(last.history) / 10))
            trials[-1] = replace(last, history=grown, state="done" if len(grown) == 5 else "running")
        journal.save(trials[-1])
        saves += 1
        os.write(said, f"{saves}\n".encode())


def test_a_kill_at_any_moment_loses_no_save_and_doubles_none(url: str) -> None:
    chance = random.Random(5)
    opened(url).close()
    for _ in range(8):
        hear, say = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                _save_on_and_on(url, say)
            finally:
                os._exit(1)
        os.close(say)
        heard = os.read(hear, 1 << 16)
        assert heard
        time.sleep(chance.uniform(0.0, 0.15))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        while more := os.read(hear, 1 << 16):
            heard += more
        os.close(hear)
        said = int(heard.split()[-1])
        journal = opened(url)
        trials = journal.load()
        assert sum(1 + len(trial.history) for trial in trials) in (said, said + 1)
        assert [trial.number for trial in trials] == list(range(len(trials)))
        assert all(trial.history == history(*(i / 10 for i in range(len(trial.history)))) for trial in trials)
        shown = read(url).trials
        assert [len(trial.intermediate_values) for trial in shown] == [len(trial.history) for trial in trials]
        assert [trial.state is TrialState.COMPLETE for trial in shown] == [trial.state == "done" for trial in trials]
        journal.close()
    assert len(trials) > 2


def test_a_file_needs_no_other_file_beside_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/{{a}} 50%/study.db"
    opened(url).save(TRIALS[0])
    (path,) = (tmp_path / "{a} 50%").iterdir()
    with sqlite3.connect(f"file:{str(path).replace('%', '%25')}?mode=ro", uri=True) as connection:
        ((text,),) = connection.execute("SELECT value_json FROM trial_user_attributes").fetchall()
    assert json.loads(text)["values"] == VALUES


def test_a_save_waits_for_a_server_that_is_started_anew(postgresql: PostgreSQLServer) -> None:
    journal = opened(postgresql.database("saved"))
    journal.save(TRIALS[0])
    postgresql.stop()
    starter = threading.Timer(1.0, postgresql.start)
    starter.start()
    journal.save(replace(TRIALS[1], number=1))
    starter.join()
    assert len(journal.load()) == 2
    journal.close()
