"""The model and its actions; methods and actions import heavy packages when they are called."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from tao_skill.model import Action, Model, TrainingKeys
from tao_skill.models.pose_classification.actions.reports import summarize_evaluation, summarize_inference
from tao_skill.models.pose_classification.data.imports.request import RecordingImport

if TYPE_CHECKING:
    from tao_skill.inference import Function
    from tao_skill.models.pose_classification.config import ExperimentConfig
    from tao_skill.outcome import Advice, DataReport, Limit, Outcome, Recipe, Selection


class PoseClassification(Model):
    """Skeleton-action classification with ST-GCN, compatible with NVIDIA TAO's PoseClassificationNet."""

    name = "pose_classification"
    skill = "tao-train-pose-classification"
    checkpoint_suffix = ".pth"
    import_request = RecordingImport
    training = TrainingKeys(
        epochs="train.num_epochs",
        seed="train.seed",
        # Each rung needs a validation result, and a worker trains on a single device.
        trial={"train.validation_interval": 1, "train.num_gpus": 1, "train.gpu_ids": [0], "train.num_nodes": 1},
        checkpoints={"train.checkpoint_interval": 10**6, "train.checkpoint_interval_unit": "epoch"},
        tie_breaker="val_loss",
        lower_on_divergence="train.optim.lr",
        class_average="avg_accuracy",
    )

    def __init__(self) -> None:
        self.actions = MappingProxyType({action.name: action for action in _ACTIONS})

    @property
    def config(self) -> type[ExperimentConfig]:
        """See `Model.config`."""
        from tao_skill.models.pose_classification.config import ExperimentConfig

        return ExperimentConfig

    def check_run(self, config: ExperimentConfig, action: str) -> Advice:
        """See `Model.check_run`."""
        from tao_skill.models.pose_classification.checks.check import check

        return check(config, action)

    def select_result(
        self, action: str, results_dir: Path, metric: str, artifacts: Mapping[str, Path] = MappingProxyType({})
    ) -> Selection:
        """See `Model.select_result`."""
        from tao_skill.models.pose_classification.training.checkpoint_index import select

        return select(action, results_dir, metric, artifacts)

    def latest_result(self, results_dir: Path) -> Path | None:
        """See `Model.latest_result`."""
        from tao_skill.models.pose_classification.training.checkpoint_index import latest

        return latest(results_dir)

    def result_files(self, results_dir: Path) -> Sequence[Path]:
        """See `Model.result_files`."""
        from tao_skill.models.pose_classification.training.checkpoint_index import result_files

        return result_files(results_dir)

    def keep_only_best(self, results_dir: Path, metric: str) -> None:
        """See `Model.keep_only_best`."""
        from tao_skill.models.pose_classification.training.checkpoint_index import keep_only_best

        keep_only_best(results_dir, metric)

    def actual_checkpoint(self, path: Path) -> Path:
        """See `Model.actual_checkpoint`."""
        from tao_skill.models.pose_classification.training.checkpoint_index import actual

        return actual(path)

    def inference_functions(self) -> Mapping[str, Function]:
        """See `Model.inference_functions`."""
        from tao_skill.models.pose_classification.inference import FUNCTIONS

        return FUNCTIONS

    def train_until(
        self, config: ExperimentConfig, until: int, metric: str, limit_s: float | None = None
    ) -> list[dict[str, float]]:
        """See `Model.train_until`."""
        deadline = None if limit_s is None else time.monotonic() + limit_s  # before the imports, which take seconds
        from tao_skill.models.pose_classification.actions.train import advance

        return advance(config, until, metric, deadline)

    def epoch_seconds(self, config: ExperimentConfig) -> float:
        """See `Model.epoch_seconds`."""
        from tao_skill.models.pose_classification.actions.train import epoch_seconds

        return epoch_seconds(config)

    def shortened(self, config: ExperimentConfig, epochs: int) -> dict[str, Any]:
        """See `Model.shortened`."""
        from tao_skill.models.pose_classification.training.schedule import shortened

        return shortened(config.train, epochs)

    def validation_data(self, spec: Mapping[str, Any]) -> str:
        """See `Model.validation_data`."""
        from tao_skill.models.pose_classification.data.hold_out import validation_data

        return validation_data(spec)

    def validation_size(self, config: ExperimentConfig) -> int | None:
        """See `Model.validation_size`."""
        from tao_skill.models.pose_classification.data.hold_out import validation_size

        return validation_size(config.dataset, config.train.seed)

    def test_set(self, config: ExperimentConfig) -> tuple[Path, Path] | None:
        """See `Model.test_set`."""
        from tao_skill.models.pose_classification.data.test_set import test_set

        return test_set(config.dataset)

    def score(
        self, config: ExperimentConfig, checkpoint: Path, data: Path, labels: Path, results_dir: Path
    ) -> dict[str, float]:
        """See `Model.score`."""
        from tao_skill.models.pose_classification.actions.evaluate import score_model

        return score_model(config, checkpoint, data, labels, results_dir)

    def epoch_flop(self, config: ExperimentConfig) -> float | None:
        """See `Model.epoch_flop`."""
        from tao_skill.models.pose_classification.network.architecture import epoch_flop

        return epoch_flop(config)

    def warm_up_epochs(self, config: ExperimentConfig) -> int:
        """See `Model.warm_up_epochs`."""
        from tao_skill.models.pose_classification.recipes import warm_up_epochs

        return warm_up_epochs(config)

    def recipes(self, config: ExperimentConfig, fixed: Collection[str]) -> Sequence[Recipe]:
        """See `Model.recipes`."""
        from tao_skill.models.pose_classification.recipes import recipes

        return recipes(config, fixed)

    def scaled(self, config: ExperimentConfig, base: ExperimentConfig) -> dict[str, Any]:
        """See `Model.scaled`."""
        from tao_skill.models.pose_classification.recipes import scaled

        return dict(scaled(config, base))

    def search_limits(self, config: ExperimentConfig) -> Mapping[str, Limit]:
        """See `Model.search_limits`."""
        from tao_skill.models.pose_classification.checks.search_limits import limits

        return limits(config)

    def write_sample(self, folder: Path) -> dict[str, Any]:
        """See `Model.write_sample`."""
        from tao_skill.models.pose_classification.data.sample.sample import write_sample

        return write_sample(folder)

    def inspect_data(
        self, data: Path, labels: Path | None, other_data: Path | None, other_labels: Path | None
    ) -> DataReport:
        """See `Model.inspect_data`."""
        from tao_skill.models.pose_classification.data.inspect import data_report

        return data_report(data, labels, other_data, other_labels)

    def training_data(
        self, data: str, labels: str | None, other_data: str | None, other_labels: str | None
    ) -> dict[str, str]:
        """See `Model.training_data`."""
        files = {
            "dataset.train_dataset.data_path": data,
            "dataset.train_dataset.label_path": labels,
            "dataset.val_dataset.data_path": other_data,
            "dataset.val_dataset.label_path": other_labels,
        }
        return {key: path for key, path in files.items() if path is not None}

    def import_data(self, request: RecordingImport) -> dict[str, Any]:
        """See `Model.import_data`."""
        from tao_skill.models.pose_classification.data.imports.dataset import import_data

        return import_data(request)


def _dataset_convert(config: ExperimentConfig) -> Outcome:
    from tao_skill.models.pose_classification.actions.dataset_convert import run

    return run(config)


def _train(config: ExperimentConfig) -> Outcome:
    from tao_skill.models.pose_classification.actions.train import run

    return run(config)


def _train_processes(config: ExperimentConfig) -> int:
    from tao_skill.models.pose_classification.training.devices import train_processes

    return train_processes(config)


def _evaluate(config: ExperimentConfig) -> Outcome:
    from tao_skill.models.pose_classification.actions.evaluate import run

    return run(config)


def _inference(config: ExperimentConfig) -> Outcome:
    from tao_skill.models.pose_classification.actions.inference import run

    return run(config)


def _export(config: ExperimentConfig) -> Outcome:
    from tao_skill.models.pose_classification.actions.export import run

    return run(config)


def _gen_trt_engine(config: ExperimentConfig) -> Outcome:
    from tao_skill.models.pose_classification.actions.gen_trt_engine import run

    return run(config)


_ACTIONS: Final = (
    Action(
        name="dataset_convert",
        summary="Turn DeepStream bodypose-3d JSON into sequences.",
        run=_dataset_convert,
        next=("inference",),
        feeds={"combined_sequences": "inference.test_dataset.data_path"},
    ),
    Action(
        name="train",
        summary="Train ST-GCN on labelled sequences.",
        run=_train,
        makes_model=True,
        next=("evaluate", "inference", "export"),
        processes=_train_processes,
    ),
    Action(
        name="evaluate",
        summary="Score a trained model on a labelled test set.",
        run=_evaluate,
        next=("inference", "export"),
        report="report",
        summarize=summarize_evaluation,
        in_deploy=True,
    ),
    Action(
        name="inference",
        summary="Name the action of each sequence.",
        run=_inference,
        report="probabilities",
        summarize=summarize_inference,
        in_deploy=True,
    ),
    Action(
        name="export",
        summary="Write a trained model as ONNX.",
        run=_export,
        makes_model=True,
        next=("gen_trt_engine", "evaluate", "inference"),
    ),
    Action(
        name="gen_trt_engine",
        summary="Build a TensorRT engine from ONNX.",
        run=_gen_trt_engine,
        makes_model=True,
        next=("evaluate", "inference"),
        in_deploy=True,
    ),
)


MODEL: Final = PoseClassification()
