"""The interface of a model and its actions. Implementations import torch and the like inside their methods."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from tao_skill.errors import BadRequest, NotFound

if TYPE_CHECKING:
    from tao_skill.inference import Function
    from tao_skill.outcome import Advice, DataReport, ImportRequest, Limit, Outcome, Selection

TRAIN: Final = "train"
"""The action that AutoML can search."""

RESULTS_DIR: Final = "results_dir"
"""Spec key, of the whole spec and of each action's section, for the folder that results go to (TAO's rule)."""


@dataclass(frozen=True, kw_only=True)
class Action:
    """One verb of a model.

    Attributes:
        run: runs the action with a checked config; imports heavy packages only when called.
        makes_model: whether its jobs leave a model that other actions start from.
        next: actions that usually follow, on its own result or, where it makes no model, on its parent's.
        feeds: kind of an artifact that is the data of the next action -> spec key that takes it; next needs it.
        processes: number of processes that a run takes on this machine; None for an action that never takes several.
        report: kind of the artifact that is its report. summarize: the report in short.
        in_deploy: whether TAO's task group `deploy` has it.
    """

    name: str
    summary: str
    run: Callable[[Any], Outcome]
    makes_model: bool = False
    next: tuple[str, ...] = ()
    feeds: Mapping[str, str] = field(default_factory=dict)
    processes: Callable[[Any], int] | None = None
    report: str | None = None
    summarize: Callable[[Mapping[str, Any]], dict[str, Any]] = dict
    in_deploy: bool = False

    def count_processes(self, config: Any) -> int:
        """Number of processes that a run of `config` takes on this machine."""
        return 1 if self.processes is None else self.processes(config)


@dataclass(frozen=True, kw_only=True)
class TrainingKeys:
    """Spec keys and values by which a search controls the trainings of its trials.

    Attributes:
        epochs: key of the number of epochs of a full training. seed: key of the random seed.
        trial: values of every trial, whatever the spec says; part of the spec that a trial records.
        checkpoints: values that make a trial save checkpoints at its rungs and of its best epoch only.
        tie_breaker: metric that decides between trials of equal value; lower is better.
        lower_on_divergence: key of the parameter to lower when every training diverges.
    """

    epochs: str
    seed: str
    trial: Mapping[str, Any]
    checkpoints: Mapping[str, Any]
    tie_breaker: str
    lower_on_divergence: str


class Model(ABC):
    """A trainable model. Methods that read specs take a config: an instance of `config`, checked.

    Attributes:
        actions: by name, in the order of the workflow.
        checkpoint_suffix: of the files that hold weights.
        training: None for a model that cannot be searched.
        import_request: dataclass of the options of `import_data`; None for a model that imports nothing.
    """

    name: str
    skill: str
    actions: Mapping[str, Action]
    checkpoint_suffix: str
    training: TrainingKeys | None = None
    import_request: type[ImportRequest] | None = None

    @property
    @abstractmethod
    def config(self) -> type:
        """The dataclass that holds every parameter of every action."""

    @abstractmethod
    def check_run(self, config: Any, action: str) -> Advice:
        """Check spec and data together, without loading anything heavy."""

    @abstractmethod
    def select_result(
        self, action: str, results_dir: Path, metric: str, artifacts: Mapping[str, Path] = MappingProxyType({})
    ) -> Selection:
        """Choose the file of a finished job that a downstream action starts from.

        Args:
            artifacts: files that the job recorded, by kind.

        Raises:
            NotFound: the job left no such file. BadRequest: jobs of this action make no model.
        """

    @abstractmethod
    def latest_result(self, results_dir: Path) -> Path | None:
        """The checkpoint that an interrupted training continues from."""

    @abstractmethod
    def result_files(self, results_dir: Path) -> Sequence[Path]:
        """The files that make up the model of a training, links and indexes included; none before a checkpoint."""

    @abstractmethod
    def keep_only_best(self, results_dir: Path, metric: str) -> None:
        """Delete the checkpoints of a training other than the best."""

    def actual_checkpoint(self, path: Path) -> Path:
        """The file that a checkpoint's path stands for; another file where the name lacks the step."""
        return path

    def inference_functions(self) -> Mapping[str, Function]:
        """Inference functions that only this model has, by the names used in SKILL.md."""
        return {}

    def train_until(self, config: Any, until: int, metric: str) -> list[dict[str, float]]:
        """Train the first `until` epochs of a full training, resuming from its checkpoint.

        Returns:
            Metrics of each epoch so far; fewer epochs where training diverged.
        """
        raise NotImplementedError

    def validation_data(self, spec: Mapping[str, Any]) -> str:
        """The data that the trials of a search are compared on, in words."""
        return "the validation set"

    def epoch_flop(self, config: Any) -> float | None:
        """Floating-point operations of an epoch of training; None where they are not known."""
        return None

    def search_limits(self, config: Any) -> Mapping[str, Limit]:
        """Limits that the spec and its data set to the search ranges, by spec key."""
        return {}

    def write_sample(self, folder: Path) -> dict[str, Any]:
        """Write a generated data set and describe it."""
        raise self._lacks("sample data")

    def inspect_data(
        self, data: Path, labels: Path | None, other_data: Path | None, other_labels: Path | None
    ) -> DataReport:
        """Describe a data set, and its overlap with another split."""
        raise self._lacks("data inspection")

    def training_data(
        self, data: str, labels: str | None, other_data: str | None, other_labels: str | None
    ) -> dict[str, str]:
        """Spec keys of a training on these files, the other split for validation."""
        raise self._lacks("data inspection")

    def import_data(self, request: Any) -> dict[str, Any]:
        """Write a data set made of recordings and describe it. `request` is an instance of `import_request`."""
        raise self._lacks("data import")

    def action(self, name: str) -> Action:
        """Look up an action.

        Raises:
            NotFound: the model has no such action.
        """
        if name not in self.actions:
            raise NotFound(f"model {self.name} has no action {name!r}", fix=f"use one of {', '.join(self.actions)}")
        return self.actions[name]

    def _lacks(self, feature: str) -> BadRequest:
        return BadRequest(f"model {self.name} does not support {feature}", fix="name another model with -m")


def task_results_dir(config: Any, action: str) -> Path:
    """The folder an action writes to: `<action>.results_dir`, else `results_dir/<action>` (TAO's rule)."""
    own = getattr(config, action).results_dir
    return Path(own) if own else Path(config.results_dir or "results") / action
