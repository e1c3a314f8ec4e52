"""The interface of a model and its actions. Implementations import torch and other heavy packages inside methods."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from tao_skill.errors import BadRequest, NotFound

if TYPE_CHECKING:
    from tao_skill.inference import Function
    from tao_skill.outcome import Advice, DataReport, ImportRequest, Limit, Outcome, Recipe, Selection

TRAIN: Final = "train"
"""The action that AutoML can turn into a search."""

RESULTS_DIR: Final = "results_dir"
"""Spec key of the output folder, at the top level and in the section of each action (TAO's rule)."""


def _with_metrics(report: Mapping[str, Any], metrics: Mapping[str, float | None]) -> dict[str, Any]:
    return {**report, "metrics": metrics}


@dataclass(frozen=True, kw_only=True)
class Action:
    """An action of a model.

    Attributes:
        run: runs the action with a checked config. It imports heavy packages only when called.
        makes_model: whether its jobs produce a model that other actions start from.
        next: actions that usually follow, on its own model or, if it makes none, on its parent's.
        feeds: artifact kind -> spec key of the next action that reads such an artifact; the next action requires it.
        processes: number of processes of a run on this machine; None for an action that always uses a single process.
        report: kind of the artifact that is its report. summarize: shortens the report.
        in_deploy: whether it belongs to TAO's task group `deploy`.
    """

    name: str
    summary: str
    run: Callable[[Any], Outcome]
    makes_model: bool = False
    next: tuple[str, ...] = ()
    feeds: Mapping[str, str] = field(default_factory=dict)
    processes: Callable[[Any], int] | None = None
    report: str | None = None
    summarize: Callable[[Mapping[str, Any], Mapping[str, float | None]], dict[str, Any]] = _with_metrics
    in_deploy: bool = False

    def count_processes(self, config: Any) -> int:
        """Number of processes of a run with `config` on this machine."""
        return 1 if self.processes is None else self.processes(config)


@dataclass(frozen=True, kw_only=True)
class TrainingKeys:
    """Spec keys and values that a search controls the trainings of its trials with.

    Attributes:
        epochs: key of the number of epochs. seed: key of the random seed.
        trial: values that replace those of the spec in every trial, also in its recorded spec.
        checkpoints: values that limit the checkpoints of a trial to its rungs and its best epoch.
        tie_breaker: metric that ranks trials with equal values of the search metric; lower is better.
        class_average: metric with the mean accuracy of the classes, in percent, if training reports one.
        lower_on_divergence: key of the parameter to lower if every training diverges.
    """

    epochs: str
    seed: str
    trial: Mapping[str, Any]
    checkpoints: Mapping[str, Any]
    tie_breaker: str
    lower_on_divergence: str
    class_average: str | None = None


class Model(ABC):
    """A trainable model. A `config` argument is a checked instance of the dataclass `Model.config`.

    Attributes:
        actions: actions by name, in the order of the workflow.
        checkpoint_suffix: file suffix of checkpoints, e.g. `.pth`.
        training: None for a model that AutoML does not support.
        import_request: dataclass of the options of `import_data`; None for a model without data import.
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
        """The dataclass of all parameters of all actions."""

    @abstractmethod
    def check_run(self, config: Any, action: str) -> Advice:
        """Check the spec against its data, without importing heavy packages."""

    @abstractmethod
    def select_result(
        self, action: str, results_dir: Path, metric: str, artifacts: Mapping[str, Path] = MappingProxyType({})
    ) -> Selection:
        """Choose the file of a job that a downstream action starts from.

        Args:
            artifacts: recorded artifacts of the job, by kind.

        Raises:
            NotFound: the job has no such file. BadRequest: the action makes no model.
        """

    @abstractmethod
    def latest_result(self, results_dir: Path) -> Path | None:
        """The checkpoint that an interrupted training resumes from."""

    @abstractmethod
    def result_files(self, results_dir: Path) -> Sequence[Path]:
        """The files of a training's model, including links and indexes; empty before the first checkpoint."""

    @abstractmethod
    def keep_only_best(self, results_dir: Path, metric: str) -> None:
        """Delete all checkpoints of a training but the best."""

    def actual_checkpoint(self, path: Path) -> Path:
        """Resolve the path of a checkpoint, whose name may lack the step."""
        return path

    def inference_functions(self) -> Mapping[str, Function]:
        """Inference functions of this model, by their names in SKILL.md."""
        return {}

    def train_until(self, config: Any, until: int, metric: str, limit_s: float | None = None) -> list[dict[str, float]]:
        """Train the first `until` epochs of a full training, resuming from its latest checkpoint.

        With `limit_s`, training stops before an epoch that could not end within so many seconds after this call; the
        latest checkpoint is then that of the last finished epoch. An epoch is left, without a trace, if it is the first
        of this call and its batches predict that it would end too late, or if it became so slow that it would exceed
        the limit by more than a usual epoch; the latest checkpoint may then be that of an earlier epoch.

        Returns:
            Metrics of each finished epoch. Fewer than `until` if the training diverged, in which case the last are not
            finite, or if the time was over, in which case all are finite and the list may be empty.
        """
        raise NotImplementedError

    def epoch_seconds(self, config: Any) -> float:
        """Measured seconds of a training epoch with its validation, from a few batches."""
        raise NotImplementedError

    def shortened(self, config: Any, epochs: int) -> dict[str, Any]:
        """Spec values of the same training in fewer epochs, or in more."""
        assert self.training is not None
        return {self.training.epochs: epochs}

    def validation_data(self, spec: Mapping[str, Any]) -> str:
        """Describe the data that the trials of a search are compared on."""
        return "the validation set"

    def validation_size(self, config: Any) -> int | None:
        """Number of sequences that validation scores, 0 without validation; None if unknown."""
        return None

    def test_set(self, config: Any) -> tuple[Path, Path] | None:
        """Data and labels of the test set beside the training set; None if there is none."""
        return None

    def score(self, config: Any, checkpoint: Path, data: Path, labels: Path, results_dir: Path) -> dict[str, float]:
        """Evaluate a trained model of this config on a labelled set, with a report in `results_dir`."""
        raise self._unsupported("evaluation")

    def epoch_flop(self, config: Any) -> float | None:
        """Floating-point operations of a training epoch; None if unknown."""
        return None

    def warm_up_epochs(self, config: Any) -> int:
        """Epochs at the beginning of a training after which its metrics say little about its end."""
        return 0

    def recipes(self, config: Any, fixed: Collection[str]) -> Sequence[Recipe]:
        """Recipes for the data of a spec, the best known first, that keep the values of the `fixed` keys."""
        return ()

    def scaled(self, config: Any, base: Any) -> dict[str, Any]:
        """Values of `config` that follow from its difference to `base`, e.g. the learning rate from the batch size."""
        return {}

    def search_limits(self, config: Any) -> Mapping[str, Limit]:
        """Limits of the search ranges that follow from the spec and its data, by spec key."""
        return {}

    def write_sample(self, folder: Path) -> dict[str, Any]:
        """Generate a data set and describe it."""
        raise self._unsupported("sample data")

    def inspect_data(
        self, data: Path, labels: Path | None, other_data: Path | None, other_labels: Path | None
    ) -> DataReport:
        """Describe a data set, and its overlap with another split."""
        raise self._unsupported("data inspection")

    def training_data(
        self, data: str, labels: str | None, other_data: str | None, other_labels: str | None
    ) -> dict[str, str]:
        """Spec values of a training on these files, with the other split for validation."""
        raise self._unsupported("data inspection")

    def import_data(self, request: Any) -> dict[str, Any]:
        """Convert recordings to a data set and describe it. `request` is an instance of `import_request`."""
        raise self._unsupported("data import")

    def action(self, name: str) -> Action:
        """Look up an action.

        Raises:
            NotFound: the model has no such action.
        """
        if name not in self.actions:
            raise NotFound(f"model {self.name} has no action {name!r}", fix=f"use one of {', '.join(self.actions)}")
        return self.actions[name]

    def _unsupported(self, feature: str) -> BadRequest:
        return BadRequest(f"model {self.name} does not support {feature}", fix="name another model with -m")


def task_results_dir(config: Any, action: str) -> Path:
    """The output folder of an action: `<action>.results_dir`, else `results_dir/<action>` (TAO's rule)."""
    action_dir = getattr(config, action).results_dir
    return Path(action_dir) if action_dir else Path(config.results_dir or "results") / action
