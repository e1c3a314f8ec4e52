from __future__ import annotations

import ast
import json
import math
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from optuna.trial import TrialState

from tao_skill.automl.execution import study as study_module
from tao_skill.automl.execution.database import connect, parse
from tao_skill.automl.execution.journal import Header
from tao_skill.automl.execution.study import DerivedStudy
from tao_skill.automl.search.asha import Goal, Trial
from tao_skill.errors import BadRequest, CannotWrite
from tests.support.searches import GOAL, SPACE, TRIALS, VALUES, history
from tests.support.servers.postgresql import PostgreSQLServer

HEADER = Header(version=1, id="0123", job="train-1", metric="val_acc", direction="maximize")
GONE_ON = (
    *TRIALS[:1],
    replace(TRIALS[1], history=history(0.1, 0.3, 0.8), state="done"),
    replace(TRIALS[2], history=history(0.2, 0.9, 0.5), target=3, state="done"),
    *TRIALS[3:],
)


def opened(url: str, header: Header = HEADER) -> DerivedStudy:
    return DerivedStudy(url, header, space=SPACE, goal=GOAL)


def address(url: str) -> str:
    return parse(url).render_as_string(hide_password=False)


def read(url: str, name: str = HEADER.job) -> optuna.Study:
    """As anybody who knows Optuna reads it."""
    return optuna.load_study(study_name=name, storage=address(url))


def by_number(url: str) -> dict[int, optuna.trial.FrozenTrial]:
    trials = read(url).trials
    assert len({trial.user_attrs["number"] for trial in trials}) == len(trials)
    return {trial.user_attrs["number"]: trial for trial in trials}


def states(url: str) -> dict[int, str]:
    return {number: trial.state.name for number, trial in by_number(url).items()}


def test_readers_see_trials_that_have_ended_and_at_the_end_all(url: str) -> None:
    study = opened(url)
    assert read(url).trials == []
    study.publish(TRIALS)
    assert states(url) == {0: "COMPLETE", 3: "FAIL", 4: "PRUNED"}
    study.publish(GONE_ON)
    assert states(url) == {0: "COMPLETE", 3: "FAIL", 4: "PRUNED", 1: "COMPLETE", 2: "COMPLETE"}
    assert list(by_number(url)) == [0, 3, 4, 1, 2]
    assert (read(url).best_trial.user_attrs["number"], read(url).best_value) == (2, 0.9)


def test_a_trial_is_shown_with_its_values_and_its_curve(url: str) -> None:
    opened(url).publish(TRIALS, ended=True)
    study, shown = read(url), by_number(url)
    assert (study.direction.name, study.user_attrs["metric"]) == ("MAXIMIZE", "val_acc")
    assert (study.best_trial.number, study.best_value) == (0, 0.7)
    best = shown[0]
    assert best.intermediate_values == {1: 0.4, 2: 0.7, 3: 0.6}
    assert best.params == {name: VALUES[name] for name in VALUES if name != "decay"}  # no logarithm holds its 0
    assert best.distributions["width"] == optuna.distributions.CategoricalDistribution((8, 16, 32))
    assert best.distributions["lr"] == optuna.distributions.FloatDistribution(1e-4, 1.0, log=True)
    assert best.duration == timedelta(seconds=4.5)
    assert math.isnan(shown[4].intermediate_values[2])
    waiting = shown[2]
    assert (waiting.state, waiting.value, waiting.intermediate_values) == (TrialState.PRUNED, None, {1: 0.2})
    assert waiting.user_attrs["failures"] == ["data: x", "y"]
    assert 1 not in shown  # it is running


def test_values_outside_the_ranges_are_attributes_only(url: str) -> None:
    opened(url).publish([TRIALS[0], replace(TRIALS[1], state="done")])
    shown = by_number(url)[1]
    assert shown.params.keys() == VALUES.keys() - {"lr", "decay", "epochs"}
    assert (shown.user_attrs["values"]["lr"], shown.user_attrs["values"]["epochs"]) == (5.0, None)


def test_a_metric_to_be_small_is_shown_so(url: str) -> None:
    goal = Goal(metric="val_loss", maximize=False, tie="val_loss")
    header = replace(HEADER, metric="val_loss", direction="minimize")
    DerivedStudy(url, header, space=SPACE, goal=goal).publish(
        [
            Trial(number=number, full=9, values=VALUES, history=history(accuracy), target=1, state="done")
            for number, accuracy in enumerate((0.2, 0.7, 0.5))
        ]
    )
    assert (read(url).best_trial.number, read(url).best_value) == (1, 1 - 0.7)


def test_a_search_that_is_opened_again_goes_on_with_its_study(url: str) -> None:
    opened(url).publish(TRIALS)
    mine = opened(url)
    for _ in range(2):
        mine.publish(TRIALS)
    first = read(url).trials
    opened(url).publish(GONE_ON)
    assert by_number(url).keys() == {0, 1, 2, 3, 4}
    assert repr(read(url).trials[:3]) == repr(first)  # with the same times: they were not written again


def added_twice(study: optuna.Study) -> None:
    study.add_trial(study.trials[0])


def added_by_hand(study: optuna.Study) -> None:
    study.add_trial(optuna.trial.create_trial(value=1.0))


@pytest.mark.parametrize(
    ("before", "change"),
    [
        (GONE_ON, None),  # the journal has lost the last lines
        ([replace(TRIALS[0], seconds=1.0)], None),  # or tells another story
        (TRIALS, added_twice),
        (TRIALS, added_by_hand),
    ],
)
def test_a_study_that_is_not_what_the_journal_says_is_written_anew(
    before: Sequence[Trial], change: Any, url: str
) -> None:
    opened(url).publish(before)
    if change:
        change(read(url))
    opened(url).publish(TRIALS)
    assert states(url) == {0: "COMPLETE", 3: "FAIL", 4: "PRUNED"}
    assert by_number(url)[0].user_attrs["seconds"] == 4.5


def test_trials_that_waited_at_the_end_can_still_go_on(url: str) -> None:
    study = opened(url)
    study.publish(TRIALS, ended=True)
    assert states(url)[2] == "PRUNED"
    study.publish(TRIALS)
    assert 2 not in states(url)
    study.publish(GONE_ON, ended=True)
    assert states(url)[2] == "COMPLETE"


def test_a_study_that_somebody_deleted_is_written_anew(url: str) -> None:
    study = opened(url)
    study.publish(TRIALS)
    optuna.delete_study(study_name=HEADER.job, storage=address(url))
    with pytest.raises(CannotWrite, match=r"the study in \S+ cannot be written"):
        study.publish(GONE_ON)
    study.publish(GONE_ON)
    assert states(url).keys() == {0, 1, 2, 3, 4}


def test_a_creation_that_was_interrupted_is_repeated(url: str) -> None:
    connect(url).dispose()
    optuna.create_study(study_name=HEADER.job, storage=address(url), direction="minimize")
    opened(url).publish(TRIALS)
    assert read(url).best_value == 0.7


def test_a_study_of_others_is_refused_and_not_touched(url: str) -> None:
    opened(url).publish(TRIALS)
    with pytest.raises(BadRequest, match="study 'train-1' in .* does not belong to this search"):
        opened(url, replace(HEADER, id="4567"))
    assert len(read(url).trials) == 3
    foreign = optuna.create_study(study_name="mine", storage=address(url), direction="maximize")
    foreign.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    with pytest.raises(BadRequest, match="does not belong to this search") as caught:
        opened(url, replace(HEADER, job="mine"))
    assert "fake-" not in str(caught.value.as_dict())
    assert len(read(url, "mine").trials) == 1


def test_a_file_needs_no_other_file_beside_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/{{a}} 50%/study.db"
    opened(url).publish(TRIALS)
    (path,) = (tmp_path / "{a} 50%").iterdir()
    with sqlite3.connect(f"file:{str(path).replace('%', '%25')}?mode=ro", uri=True) as connection:
        rows = connection.execute("SELECT value_json FROM trial_user_attributes WHERE key = 'values'").fetchall()
    assert json.loads(rows[0][0]) == VALUES


def test_a_file_that_is_locked_or_another_release_of_optuna_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tao_skill.automl.execution.database.TIMEOUT_S", 0.1)
    url = f"sqlite:///{tmp_path}/study.db"
    study = opened(url)
    with sqlite3.connect(tmp_path / "study.db", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(CannotWrite, match="study.db cannot be written: database is locked"):
            study.publish(TRIALS)
        other.execute("ROLLBACK")
    study.publish(TRIALS)
    assert len(read(url).trials) == 3
    with sqlite3.connect(tmp_path / "study.db") as other:
        other.execute("UPDATE alembic_version SET version_num = 'v0.0.1'")
    other.close()
    with pytest.raises(BadRequest, match="study.db"):
        opened(url)


def test_a_study_is_written_later_where_the_server_is_away(postgresql: PostgreSQLServer) -> None:
    url = postgresql.database("study_away")
    study = opened(url)
    study.publish(TRIALS)
    postgresql.stop()
    try:
        with pytest.raises(CannotWrite, match="cannot be written") as caught:
            study.publish(GONE_ON)
        assert str(sa.make_url(url).password) not in str(caught.value.as_dict())
    finally:
        postgresql.start()
    study.publish(GONE_ON)
    assert states(url).keys() == {0, 1, 2, 3, 4}


def test_only_the_public_interface_of_optuna_is_used() -> None:
    nodes = list(ast.walk(ast.parse(Path(study_module.__file__).read_text())))
    accessed = [(ast.unparse(node.value), node.attr) for node in nodes if isinstance(node, ast.Attribute)]
    assert [
        one for one in accessed if one[1].startswith("_") and one[0] != "self" and one != ("error", "__cause__")
    ] == []
    assert [name for owner, name in accessed if owner == "self._storage"] == []  # Optuna documents none of them
    modules = {node.module for node in nodes if isinstance(node, ast.ImportFrom)} - {"__future__"}
    assert [name for name in modules if "._" in str(name)] == []
