"""Storage of trials in an Optuna study, so that Optuna's tools can display a search.

The record of a trial is one attribute of its Optuna trial, written in one commit. State, value and intermediate values
of the Optuna trial are derived from it for readers; `load` repairs them if a process died in between.
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

from tao_skill.automl.execution.database import begin_at_once, connect, options, parse, table_lock, with_retries
from tao_skill.automl.search.asha import Goal, Trial
from tao_skill.automl.space.dimension import Dimension
from tao_skill.automl.space.space import Space
from tao_skill.errors import BadRequest
from tao_skill.io.strict_json import mask_password

RECORD: Final = "trial"
"""The attribute that holds the record of a trial."""

METRIC: Final = "metric"
"""The attribute of a study that names its metric."""

T = TypeVar("T")


def open_study(url: str, name: str, *, space: Space, goal: Goal) -> StudyJournal:
    """Open or create a study.

    Raises:
        BadRequest: the database cannot be opened, or the study has another goal.
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
    metric = storage.get_study_user_attrs(study_id).get(METRIC, goal.metric)
    directions = storage.get_study_directions(study_id)
    if metric != goal.metric or directions != [direction]:
        raise BadRequest(
            f"study {name!r} in {mask_password(url)} is for another search: {metric}, {directions[0].name.lower()}",
            fix="use another storage, or another key",
        )
    return StudyJournal(storage, url, study_id, space=space, goal=goal)


def _storage(url: str) -> RDBStorage:
    parsed, engine = parse(url), connect(url)
    text = (
        parsed.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
    )  # Optuna applies str.format
    try:
        with table_lock(engine):
            storage = RDBStorage(text, options(parsed))
    except RuntimeError as error:  # schema of another release of Optuna
        raise BadRequest(f"{mask_password(url)}: {error}", fix="follow the message, or use another storage") from error
    finally:
        engine.dispose()
    begin_at_once(storage.engine)
    return storage


class StudyJournal:
    """The journal of a search in a study; only one process may write."""

    def __init__(self, storage: RDBStorage, url: str, study_id: int, *, space: Space, goal: Goal) -> None:
        self._storage = storage
        self._url = url
        self._study = study_id
        self._distributions = {dimension.key: _distribution(dimension) for dimension in space.dimensions}
        self._goal = goal

    def load(self) -> list[Trial]:
        """All trials, by number.

        Raises:
            BadRequest: the study has a trial of another program.
        """
        trials = []
        for frozen in self._with_retries(lambda: self._storage.get_all_trials(self._study, deepcopy=False)):
            if RECORD not in frozen.user_attrs:
                raise BadRequest(
                    f"trial {frozen.number} of the study in {mask_password(self._url)} does not belong to a search",
                    fix="use another storage, or another key",
                )
            trial = _trial(frozen.user_attrs[RECORD])
            if trial.number != frozen.number:  # a duplicate from a retry; the next trial replaces it
                continue
            self._with_retries(partial(self._display, trial, frozen))
            trials.append(trial)
        return trials

    def save(self, trial: Trial) -> None:
        """Store a new or changed trial atomically."""
        self._with_retries(lambda: self._save(trial))

    def close(self) -> None:
        """Display waiting trials as pruned, and close the database.

        A search that is opened again may still promote them.
        """
        for frozen in self._storage.get_all_trials(self._study, deepcopy=False):
            if frozen.state is TrialState.RUNNING and frozen.user_attrs[RECORD]["state"] == "waiting":
                self._storage.set_trial_state_values(frozen._trial_id, TrialState.PRUNED)
        self._storage.remove_session()
        self._storage.engine.dispose()

    def _save(self, trial: Trial) -> None:
        try:
            trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._study, trial.number)
        except KeyError:
            trial_id = self._storage.create_new_trial(self._study, self._template(trial))
        frozen = self._storage.get_trial(trial_id)
        record = _record(trial)
        if json.dumps(frozen.user_attrs[RECORD]) != json.dumps(record):  # as text, since NaN differs from itself
            if frozen.state.is_finished():
                self._reopen(trial_id)
            self._storage.set_trial_user_attr(trial_id, RECORD, record)
            frozen = self._storage.get_trial(trial_id)
        self._display(trial, frozen)

    def _template(self, trial: Trial) -> FrozenTrial:
        """A new Optuna trial, with those parameters that lie within their distributions."""
        distributions = {key: self._distributions[key] for key in trial.values if key in self._distributions}
        params = {key: trial.values[key] for key, item in distributions.items() if _contains(item, trial.values[key])}
        return create_trial(
            state=TrialState.RUNNING,
            params=params,
            distributions={key: distributions[key] for key in params},
            user_attrs={RECORD: _record(trial)},
        )

    def _reopen(self, trial_id: int) -> None:
        """Set a finished Optuna trial to running, so that it can be changed; Optuna has no call for this."""
        trials = sa.table("trials", sa.column("trial_id"), sa.column("state"), sa.column("datetime_complete"))
        running = {"state": TrialState.RUNNING.name, "datetime_complete": None}
        with self._storage.engine.begin() as connection:
            connection.execute(sa.update(trials).where(trials.c.trial_id == trial_id).values(running))

    def _display(self, trial: Trial, frozen: FrozenTrial) -> None:
        """Update the values and the state that Optuna's tools display."""
        if frozen.state.is_finished():
            return
        for epochs, metrics in enumerate(trial.history, start=1):
            value = metrics.get(self._goal.metric, math.nan)
            if repr(frozen.intermediate_values.get(epochs)) != repr(value):
                self._storage.set_trial_intermediate_value(frozen._trial_id, epochs, value)
        if trial.state in ("done", "failed"):
            self._storage.set_trial_state_values(frozen._trial_id, *_ending(trial, self._goal))

    def _with_retries(self, call: Callable[[], T]) -> T:
        def unwrapped() -> T:
            try:
                return call()
            except optuna.exceptions.StorageInternalError as error:  # Optuna wraps the error of the database
                raise (error.__cause__ or error) from None

        return with_retries(self._url, unwrapped)


def _record(trial: Trial) -> dict[str, Any]:
    """The trial as JSON."""
    record: dict[str, Any] = json.loads(json.dumps(asdict(trial)))
    return record


def _trial(record: Mapping[str, Any]) -> Trial:
    return Trial(**{**record, **{name: tuple(record[name]) for name in ("history", "failures")}})


def _ending(trial: Trial, goal: Goal) -> tuple[TrialState, list[float] | None]:
    """State and value of a finished trial for display; only full trainings have a value."""
    if trial.state == "failed":
        return TrialState.FAIL, None
    value = trial.best(goal).get(goal.metric, math.nan)
    diverged = trial.reason is not None or not math.isfinite(value)
    return (TrialState.PRUNED, None) if diverged else (TrialState.COMPLETE, [value])


def _distribution(dimension: Dimension) -> BaseDistribution:
    """The distribution of values for display; samplers use other distributions, of draws."""
    if dimension.choices:
        return CategoricalDistribution(dimension.choices)
    if dimension.kind == "int":
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
    low = dimension.low if dimension.off is None or dimension.log else min(dimension.low, dimension.off)
    return FloatDistribution(low, dimension.high, log=dimension.log)


def _contains(distribution: BaseDistribution, value: Any) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    numbers = (int,) if isinstance(distribution, IntDistribution) else (int, float)
    low, high = distribution.low, distribution.high  # type: ignore[attr-defined]
    return isinstance(value, numbers) and bool(low <= value <= high)
