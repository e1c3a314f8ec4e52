"""The Optuna study of a search: derived from its journal so that Optuna's tools can display it, and never read back.

It uses Optuna's public interface only. Optuna cannot change a finished trial and numbers trials in the order they are
added, so a trial is added when it can no longer change, and its own number is an attribute.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields
from datetime import timedelta
from typing import Any, Final

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from tao_skill.automl.execution.database import connect, driver_message, options, parse, table_lock
from tao_skill.automl.execution.journal import Header
from tao_skill.automl.search.asha import Goal, Trial
from tao_skill.automl.space.dimension import Dimension
from tao_skill.automl.space.space import Space
from tao_skill.errors import BadRequest, CannotWrite
from tao_skill.io.strict_json import mask_password

JOURNAL: Final = "journal"
"""The attribute of a study with the id of its journal."""

METRIC: Final = "metric"
"""The attribute of a study that names its metric."""


class DerivedStudy:
    """The study of a search; only the process that has its journal open may write it."""

    def __init__(self, url: str, journal: Header, *, space: Space, goal: Goal) -> None:
        """Open or create the study.

        Raises:
            BadRequest: the database cannot be opened, or has a study of this name that is not of this journal.
            MissingDependency: the database's driver is not installed.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._url, self._journal, self._goal = url, journal, goal
        self._distributions = {dimension.key: _distribution(dimension) for dimension in space.dimensions}
        self._study: optuna.Study | None = None
        self._written: dict[Any, dict[str, Any]] = {}
        with self._errors():
            self._storage = _storage(url)
            self._open()

    def publish(self, trials: Sequence[Trial], *, ended: bool = False) -> None:
        """Add the trials that can no longer change, or write the study anew if it has others.

        Args:
            ended: whether the search has ended: waiting trials are added as pruned.

        Raises:
            CannotWrite: the database does not answer; the next call adds what is missing.
            BadRequest: the database has another study of this name meanwhile.
        """
        final = ("done", "failed", "waiting") if ended else ("done", "failed")
        attributes = {trial.number: _attributes(trial) for trial in trials if trial.state in final}
        if self._study and attributes == self._written:
            return
        with self._errors():
            study = self._study
            if study is None or JOURNAL not in study.user_attrs:  # Optuna reads once, but repeats writes for a while
                study = self._open()
            if any(attributes.get(number) != written for number, written in self._written.items()):
                study = self._create()
            for number in sorted(attributes.keys() - self._written.keys()):
                study.add_trial(self._optuna_trial(trials[number], attributes[number]))
                self._written[number] = attributes[number]

    def _open(self) -> optuna.Study:
        """The study of the journal, created if there is none."""
        with suppress(KeyError):
            study = optuna.load_study(study_name=self._journal.job, storage=self._storage)
            found = [trial.user_attrs for trial in study.get_trials(deepcopy=False)]
            if study.user_attrs.get(JOURNAL) == self._journal.id:
                self._study, self._written = study, {one.get("number"): one for one in found}
                return study if len(self._written) == len(found) else self._create()
            if found or JOURNAL in study.user_attrs:  # else its creation was interrupted
                message = f"study {self._journal.job!r} in {mask_password(self._url)} does not belong to this search"
                raise BadRequest(message, fix="use another storage, or another key")
        return self._create()

    def _create(self) -> optuna.Study:
        """A new study without trials, in place of the present one."""
        name, self._study, self._written = self._journal.job, None, {}
        with suppress(KeyError):
            optuna.delete_study(study_name=name, storage=self._storage)
        study = optuna.create_study(study_name=name, storage=self._storage, direction=self._journal.direction)
        study.set_user_attr(METRIC, self._journal.metric)
        study.set_user_attr(JOURNAL, self._journal.id)
        self._study = study
        return study

    def _optuna_trial(self, trial: Trial, attributes: dict[str, Any]) -> FrozenTrial:
        """A finished Optuna trial, with those parameters that lie within their distributions."""
        known = {key: self._distributions[key] for key in trial.values if key in self._distributions}
        distributions = {key: item for key, item in known.items() if _contains(item, trial.values[key])}
        state, value = _ending(trial, self._goal)
        values = [metrics.get(self._goal.metric, math.nan) for metrics in trial.history]
        made = create_trial(
            state=state,
            value=value,
            params={key: trial.values[key] for key in distributions},
            distributions=distributions,
            user_attrs=attributes,
            intermediate_values=dict(enumerate(values, start=1)),
        )
        if made.datetime_complete:
            made.datetime_start = made.datetime_complete - timedelta(seconds=trial.seconds)
        return made

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Errors of the database and of Optuna as CannotWrite; the study is then opened again."""
        try:
            yield
        except (optuna.exceptions.OptunaError, SQLAlchemyError, KeyError) as error:  # KeyError: somebody deleted it
            self._study = None
            message = driver_message(error.__cause__ or error, self._url)
            raise CannotWrite(
                f"the study in {mask_password(self._url)} cannot be written: {message}",
                fix="start or repair the database, or free its disk",
            ) from None


def _storage(url: str) -> RDBStorage:
    parsed, engine = parse(url), connect(url)
    text = (
        parsed.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
    )  # Optuna applies str.format
    try:
        with table_lock(engine):
            return RDBStorage(text, options(parsed) | {"poolclass": NullPool})
    except RuntimeError as error:  # schema of another release of Optuna
        raise BadRequest(f"{mask_password(url)}: {error}", fix="follow the message, or use another storage") from error
    finally:
        engine.dispose()


def _attributes(trial: Trial) -> dict[str, Any]:
    """The record of a trial without its metrics, as JSON."""
    record = {field.name: getattr(trial, field.name) for field in fields(trial) if field.name != "history"}
    attributes: dict[str, Any] = json.loads(json.dumps(record))
    return attributes


def _ending(trial: Trial, goal: Goal) -> tuple[TrialState, float | None]:
    """State and value of a trial for display; only full trainings have a value."""
    if trial.state == "failed":
        return TrialState.FAIL, None
    value = trial.best(goal).get(goal.metric, math.nan)
    is_complete = trial.state == "done" and trial.reason is None and math.isfinite(value)
    return (TrialState.COMPLETE, value) if is_complete else (TrialState.PRUNED, None)


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
