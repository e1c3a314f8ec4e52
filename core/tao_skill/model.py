"""What a model and its actions are, independent of any one of them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tao_skill.errors import NotFound

if TYPE_CHECKING:
    from tao_skill.outcome import Advice, ImportRequest, Limit, Outcome, Selection


@dataclass(frozen=True, kw_only=True)
class Action:
    """One verb of a model.

    Attributes:
        entry: `module:function` of the code behind it, `function(config) -> Outcome`.
        makes_model: whether its jobs leave a model that other actions start from.
        next: actions that usually follow, on its own result or, where it makes no model, on its parent's.
        feeds: kind of an artifact that is the data of the next action -> spec key that takes it; next needs it.
        processes: `module:function` saying how many processes of this machine a run takes, `function(config) -> int`;
            one where it is None.
    """

    name: str
    summary: str
    entry: str
    makes_model: bool = False
    next: tuple[str, ...] = ()
    feeds: Mapping[str, str] = field(default_factory=dict)
    processes: str | None = None

    def load(self) -> Callable[[Any], Outcome]:
        """Import the code behind the action; everything heavy is imported here and not before."""
        loaded: Callable[[Any], Outcome] = _attribute(self.entry)
        return loaded

    def count_processes(self, config: Any) -> int:
        """In how many processes of this machine a run of `config` works."""
        return 1 if self.processes is None else int(_attribute(self.processes)(config))


@dataclass(frozen=True, kw_only=True)
class Model:
    """A trainable model.

    Attributes:
        parameters: `module:class` of the dataclass that holds every parameter of every action.
        actions: by name, in the order of the workflow.
        check: `module:function` looking at spec and data before a job exists, `function(config, action) -> Advice`.
        select: `module:function` choosing the file a downstream action starts from,
            `function(action, results_dir, metric, artifacts) -> Selection`.
        latest: `module:function` finding what an interrupted run continues from,
            `function(results_dir) -> Path | None`.
        actual: `module:function` giving the file that the path of a checkpoint means, `function(path) -> Path`.
        classes: `module:function` finding a file of class names beside the training data,
            `function(spec, confine) -> (Path, {name: id}) | None`; `confine(key, path)` may refuse to have it read.
        sample: `module:function` writing generated data, `function(folder) -> dict`.
        advance: `module:function` training the first epochs of a whole training,
            `function(config, until, metric) -> [{metric: value}, ...]`, one entry for each epoch so far.
        effort: `module:function` counting the floating-point operations of an epoch,
            `function(config) -> float | None`.
        limits: `module:function` saying what spec and data leave of search ranges, `function(config) -> {key: Limit}`.
        inspect: `module:function` describing data, `function(data, labels, other_data, other_labels) -> dict`.
        importer: `module:function` turning recordings of other formats into data, `function(request) -> dict`.
    """

    name: str
    skill: str
    parameters: str
    actions: Mapping[str, Action]
    check: str
    select: str
    latest: str
    actual: str
    classes: str
    sample: str
    advance: str
    effort: str
    limits: str
    inspect: str
    importer: str

    @cached_property
    def config(self) -> type:
        """The dataclass that holds every parameter of every action."""
        config: type = _attribute(self.parameters)
        return config

    def action(self, name: str) -> Action:
        """Look up an action.

        Raises:
            NotFound: the model has no such action.
        """
        if name not in self.actions:
            raise NotFound(f"model {self.name} has no action {name!r}", fix=f"use one of {', '.join(self.actions)}")
        return self.actions[name]

    def check_run(self, config: Any, action: str) -> Advice:
        """Look at spec and data together, without loading anything heavy."""
        advice: Advice = _attribute(self.check)(config, action)
        return advice

    def select_result(
        self, action: str, results_dir: Path, metric: str, artifacts: Mapping[str, Path] = MappingProxyType({})
    ) -> Selection:
        """Choose the file of a finished job that a downstream action starts from; `artifacts` it recorded, by kind.

        Raises:
            NotFound: the job left no such file.
        """
        selection: Selection = _attribute(self.select)(action, results_dir, metric, artifacts)
        return selection

    def latest_result(self, results_dir: Path) -> Path | None:
        """What an interrupted run in `results_dir` continues from."""
        found: Path | None = _attribute(self.latest)(results_dir)
        return found

    def actual_checkpoint(self, path: Path) -> Path:
        """The file that the path of a checkpoint means: another one where its name lacks the step."""
        found: Path = _attribute(self.actual)(path)
        return found

    def classes_beside_data(
        self, spec: Mapping[str, Any], confine: Callable[[str, str], None]
    ) -> tuple[Path, Mapping[str, int]] | None:
        """The class names in a file beside the training data of a spec that need not be checked."""
        found: tuple[Path, Mapping[str, int]] | None = _attribute(self.classes)(spec, confine)
        return found

    def train_until(self, config: Any, until: int, metric: str) -> list[dict[str, float]]:
        """Train the first `until` epochs of a whole training, going on where it stopped."""
        epochs: list[dict[str, float]] = _attribute(self.advance)(config, until, metric)
        return epochs

    def epoch_flop(self, config: Any) -> float | None:
        """Floating-point operations of an epoch of training; None while its data cannot be looked at."""
        flop: float | None = _attribute(self.effort)(config)
        return flop

    def search_limits(self, config: Any) -> Mapping[str, Limit]:
        """What a checked train config and its data leave of the search ranges, by spec key."""
        limits: Mapping[str, Limit] = _attribute(self.limits)(config)
        return limits

    def write_sample(self, folder: Path) -> dict[str, Any]:
        """Write a generated data set and say what it is."""
        described: dict[str, Any] = _attribute(self.sample)(folder)
        return described

    def inspect_data(
        self, data: Path, labels: Path | None, other_data: Path | None, other_labels: Path | None
    ) -> dict[str, Any]:
        """Describe a data set, and what it shares with another split."""
        described: dict[str, Any] = _attribute(self.inspect)(data, labels, other_data, other_labels)
        return described

    def import_data(self, request: ImportRequest) -> dict[str, Any]:
        """Write a data set made of recordings and say what it is."""
        described: dict[str, Any] = _attribute(self.importer)(request)
        return described


def task_results_dir(config: Any, action: str) -> Path:
    """Where an action writes: `<action>.results_dir`, else `results_dir/<action>` (TAO's rule)."""
    own = getattr(config, action).results_dir
    return Path(own) if own else Path(config.results_dir or "results") / action


def _attribute(reference: str) -> Any:
    module, name = reference.split(":")
    return getattr(importlib.import_module(module), name)
