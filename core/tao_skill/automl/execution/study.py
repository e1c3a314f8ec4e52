"""Where a search is kept: an Optuna study, so that everything that reads those can show it.

The truth about a trial is one attribute of its Optuna trial, written in one commit. All else there (state, value,
values by epoch) is made from it for readers, and made again by `load` if a process died in between.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any, Final, TypeVar

import optuna
import sqlalchemy as sa
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from tao_skill.automl.execution.database import begin_at_once, connect, making_tables, options, parse, patiently
from tao_skill.automl.search.asha import Goal, Trial
from tao_skill.automl.space.dimension import Dimension
from tao_skill.automl.space.space import Space
from tao_skill.errors import BadRequest
from tao_skill.io.strict_json import mask_password

RECORD: Final = "trial"
"""The attribute that holds a trial as the search knows it."""

METRIC: Final = "metric"
"""The attribute of a study that names what is optimised."""

T = TypeVar("T")


def open_study(url: str, name: str, *, space: Space, goal: Goal) -> StudyJournal:
    """The study of that name, made if there is none.

    Raises:
        BadRequest: nothing answers at the address, or the study there is no search, or one for another goal.
        MissingDependency: the database's driver is not installed.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = _storage(url)
    direction = StudyDirection.MAXIMIZE if goal.maximize else StudyDirection.MINIMIZE
    try:
        study_id = storage.create_new_study([direction], name)
        storage.set_study_user_attr(study_id, METRIC, goal.metric)
    except optuna.exceptions.DuplicatedStudyError:
        study_id = storage.get_study_id_from_name(name)
    found = storage.get_study_user_attrs(study_id).get(METRIC, goal.metric), storage.get_study_directions(study_id)
    if found != (goal.metric, [direction]):
        raise BadRequest(
            f"study {name!r} in {mask_password(url)} is for another search: {found[0]}, {found[1][0].name.lower()}",
            fix="take another storage, or another key",
        )
    return StudyJournal(storage, url, study_id, space=space, goal=goal)


def _storage(url: str) -> RDBStorage:
    parsed, engine = parse(url), connect(url)
    text = parsed.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")  # Optuna formats it
    try:
        with making_tables(engine):
            storage = RDBStorage(text, options(parsed))
    except RuntimeError as error:  # kept by another release of Optuna
        raise BadRequest(f"{mask_password(url)}: {error}", fix="see the message, or take another storage") from error
    finally:
        engine.dispose()
    begin_at_once(storage.engine)
    return storage


class StudyJournal:
    """Trials of a search in a study; one process writes."""

    def __init__(self, storage: RDBStorage, url: str, study_id: int, *, space: Space, goal: Goal) -> None:
        self._storage = storage
        self._url = url
        self._study = study_id
        self._distributions = {one.key: _distribution(one) for one in space.dimensions}
        self._goal = goal

    def load(self) -> list[Trial]:
        """Every trial so far, by number.

        Raises:
            BadRequest: the study holds what no search put there.
        """
        trials = []
        for kept in self._patiently(lambda: self._storage.get_all_trials(self._study, deepcopy=False)):
            if RECORD not in kept.user_attrs:
                fix = "take another storage, or another key"
                raise BadRequest(
                    f"trial {kept.number} of the study in {mask_password(self._url)} is of no search", fix=fix
                )
            trial = _trial(kept.user_attrs[RECORD])
            if trial.number != kept.number:  # made a second time as the first answer was lost; the next one replaces it
                continue
            self._patiently(partial(self._show, trial, kept))
            trials.append(trial)
        return trials

    def save(self, trial: Trial) -> None:
        """Keep a new or changed trial, at once or not at all."""
        self._patiently(lambda: self._save(trial))

    def close(self) -> None:
        """Say of the trials left waiting that they go no further, and let go of the database.

        A search that is opened again may take them further after all.
        """
        for kept in self._storage.get_all_trials(self._study, deepcopy=False):
            if kept.state is TrialState.RUNNING and kept.user_attrs[RECORD]["state"] == "waiting":
                self._storage.set_trial_state_values(kept._trial_id, TrialState.PRUNED)
        self._storage.remove_session()
        self._storage.engine.dispose()

    def _save(self, trial: Trial) -> None:
        try:
            trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._study, trial.number)
        except KeyError:
            trial_id = self._storage.create_new_trial(self._study, self._new(trial))
        kept = self._storage.get_trial(trial_id)
        record = _record(trial)
        if json.dumps(kept.user_attrs[RECORD]) != json.dumps(record):  # as text, for NaN differs from itself
            if kept.state.is_finished():
                self._reopen(trial_id)
            self._storage.set_trial_user_attr(trial_id, RECORD, record)
            kept = self._storage.get_trial(trial_id)
        self._show(trial, kept)

    def _new(self, trial: Trial) -> FrozenTrial:
        """A trial with its parameters, as far as a reader can be shown them."""
        known = {key: self._distributions[key] for key in trial.values if key in self._distributions}
        params = {key: trial.values[key] for key, one in known.items() if _contains(one, trial.values[key])}
        return create_trial(
            state=TrialState.RUNNING,
            params=params,
            distributions={key: known[key] for key in params},
            user_attrs={RECORD: _record(trial)},
        )

    def _reopen(self, trial_id: int) -> None:
        """Make a trial that was shown as ended one that can be changed, for which Optuna has no call."""
        trials = sa.table("trials", sa.column("trial_id"), sa.column("state"), sa.column("datetime_complete"))
        running = {"state": TrialState.RUNNING.name, "datetime_complete": None}
        with self._storage.engine.begin() as connection:
            connection.execute(sa.update(trials).where(trials.c.trial_id == trial_id).values(running))

    def _show(self, trial: Trial, kept: FrozenTrial) -> None:
        """Bring what readers are shown up to the truth."""
        if kept.state.is_finished():
            return
        for epochs, metrics in enumerate(trial.history, start=1):
            value = metrics.get(self._goal.metric, math.nan)
            if repr(kept.intermediate_values.get(epochs)) != repr(value):
                self._storage.set_trial_intermediate_value(kept._trial_id, epochs, value)
        if trial.state in ("done", "failed"):
            self._storage.set_trial_state_values(kept._trial_id, *_ending(trial, self._goal))

    def _patiently(self, call: Callable[[], T]) -> T:
        def plainly() -> T:
            try:
                return call()
            except optuna.exceptions.StorageInternalError as error:  # Optuna's cover for what the database said
                raise (error.__cause__ or error) from None

        return patiently(self._url, plainly)


def _record(trial: Trial) -> dict[str, Any]:
    """As it is read back: tuples are lists in JSON."""
    record: dict[str, Any] = json.loads(json.dumps(asdict(trial)))
    return record


def _trial(record: Mapping[str, Any]) -> Trial:
    return Trial(**{**record, **{name: tuple(record[name]) for name in ("history", "failures")}})


def _ending(trial: Trial, goal: Goal) -> tuple[TrialState, list[float] | None]:
    """How a trial that goes no further is shown; only full trainings have a value, by which they are compared."""
    if trial.state == "failed":
        return TrialState.FAIL, None
    value = trial.best(goal).get(goal.metric, math.nan)
    diverged = trial.reason is not None or not math.isfinite(value)
    return (TrialState.PRUNED, None) if diverged else (TrialState.COMPLETE, [value])


def _distribution(one: Dimension) -> BaseDistribution:
    """The range as a reader knows it: values themselves, not the numbers a sampler draws for them."""
    if one.choices:
        return CategoricalDistribution(one.choices)
    if one.kind == "int":
        return IntDistribution(int(one.low), int(one.high), log=one.log)
    low = one.low if one.off is None or one.log else min(one.low, one.off)
    return FloatDistribution(low, one.high, log=one.log)


def _contains(one: BaseDistribution, value: Any) -> bool:
    if isinstance(one, CategoricalDistribution):
        return value in one.choices
    numbers = (int,) if isinstance(one, IntDistribution) else (int, float)
    return isinstance(value, numbers) and one.low <= value <= one.high  # type: ignore[attr-defined]
