"""Train a network, or resume its training."""

from __future__ import annotations

import math
import sys
import tempfile
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from pytorch_lightning.plugins import LayerSync, TorchSyncBatchNorm
from pytorch_lightning.utilities.seed import isolate_rng

from tao_skill.errors import BadData
from tao_skill.io import encryption
from tao_skill.model import task_results_dir
from tao_skill.models.pose_classification.config import ExperimentConfig
from tao_skill.models.pose_classification.data.datamodule import SkeletonDataModule
from tao_skill.models.pose_classification.data.hold_out import is_validated, validation_size
from tao_skill.models.pose_classification.network import allocator
from tao_skill.models.pose_classification.network.layout_file import layout_of
from tao_skill.models.pose_classification.network.streams import Net
from tao_skill.models.pose_classification.training import checkpoint_file, checkpoint_index
from tao_skill.models.pose_classification.training.callbacks import CheckpointCallback, SafeCheckpointIO, StatusCallback
from tao_skill.models.pose_classification.training.devices import Devices, check_nodes, check_processes, plan_devices
from tao_skill.models.pose_classification.training.module import LEARNING_RATE, PoseClassifier
from tao_skill.models.pose_classification.training.parallel import SharedStatistics
from tao_skill.models.pose_classification.training.timing import (
    MEASURED_BATCHES,
    MEASURED_VALIDATION_BATCHES,
    Measurement,
    TimeIsUp,
    TimeLimit,
)
from tao_skill.models.pose_classification.training.tracking import finish_run, start_run
from tao_skill.outcome import Artifact, Outcome
from tao_skill.ranks import is_first
from tao_skill.status import StatusLog, drop_superseded, read_status, reporting

METRIC = "val_acc"

PRECISIONS: Final[Mapping[str, Literal["32-true", "bf16-mixed"]]] = MappingProxyType(
    {"fp32": "32-true", "bf16": "bf16-mixed"}
)
"""Lightning's name of each precision."""


def run(config: ExperimentConfig) -> Outcome:
    """Train a model; resume from pc_model_latest.pth in the results folder if it exists.

    With several processes, only the first one writes files; all return the same metrics.

    Raises:
        BadRequest: a launcher started a number of processes that differs from the spec.
        BadData: the checkpoint or the pretrained weights do not fit the network.
        MissingDependency: a GPU, a node launcher or the wandb extra is missing.
    """
    results_dir = task_results_dir(config, "train").absolute()
    with reporting(results_dir, "Training", silent=not is_first()) as status:
        metrics = _fit(config, results_dir, status)
        status.write("SUCCESS", "Training finished.", kpi=metrics)
    return Outcome(metrics=metrics, artifacts=_artifacts(results_dir))


def advance(config: ExperimentConfig, until: int, metric: str, deadline: float | None = None) -> list[dict[str, float]]:
    """Train the first `until` epochs of the training that `config` describes, resuming from its latest checkpoint.

    The latest checkpoint and the best by `metric` are kept.

    Args:
        deadline: time of `time.monotonic()` by which training ends, see `TimeLimit`; for a single process.

    Returns:
        Metrics of each finished epoch; those of the last epoch are not finite if training diverged.

    Raises:
        BadRequest: validation does not compute `metric`. Others as in `run`.
    """
    results_dir = task_results_dir(config, "train").absolute()
    with reporting(results_dir, "Training", silent=not is_first()) as status:
        saved = checkpoint_index.recover(results_dir, metric)
        epochs = history(results_dir, until)
        if min(saved, len(epochs)) < until:  # metrics are reported before the checkpoint is saved
            _fit(config, results_dir, status, until=until, metric=metric, deadline=deadline)
            epochs = history(results_dir, until)
        status.write("SUCCESS", f"Trained {len(epochs)} of {config.train.num_epochs} epochs.")
    return epochs


def epoch_seconds(config: ExperimentConfig) -> float:
    """Measure the time of a training epoch with its validation in a few batches of each; writes no files.

    Raises:
        BadData: the data do not fit the spec. MissingDependency: a GPU is missing.
    """
    allocator.keep_freed()
    _, most = MEASURED_BATCHES
    measured = Measurement()
    with isolate_rng(), tempfile.TemporaryDirectory() as folder:
        options = _trainer_options(config, StatusLog(Path(folder), silent=True))
        options |= {"limit_train_batches": most, "max_epochs": most, "check_val_every_n_epoch": 1}
        options |= {"limit_val_batches": MEASURED_VALIDATION_BATCHES} if is_validated(config.dataset) else {}
        trainer = pl.Trainer(
            **options, default_root_dir=folder, logger=False, enable_checkpointing=False, callbacks=[measured]
        )
        data = _run_trainer(trainer, PoseClassifier(config), config)
    training_s = len(data.training_set) * measured.training.seconds_per_sequence()
    sequences = validation_size(config.dataset, config.train.seed) or 0
    return training_s + sequences * measured.validation.seconds_per_sequence()


def history(results_dir: Path, until: int) -> list[dict[str, float]]:
    """Metrics of each epoch before `until`, from the status lines; NaN for values that were not finite."""
    epochs: dict[int, dict[str, float]] = {}
    for line in drop_superseded(read_status(results_dir)):
        if "epoch" in line and "kpi" in line and line["epoch"] < until:
            items = ((name, value) for name, value in line["kpi"].items() if name != LEARNING_RATE)
            metrics = {name: math.nan if value is None else float(value) for name, value in items}
            epochs[line["epoch"]] = epochs.get(line["epoch"], {}) | metrics
    return [epochs[epoch] for epoch in range(len(epochs)) if epoch in epochs]


def _fit(
    config: ExperimentConfig,
    results_dir: Path,
    status: StatusLog,
    *,
    until: int | None = None,
    metric: str = METRIC,
    deadline: float | None = None,
) -> dict[str, float]:
    allocator.keep_freed()
    pl.seed_everything(config.train.seed, workers=True)
    wandb_run = start_run(config, "train") if is_first() else None
    module = PoseClassifier(config)
    resume = _find_resumable(module.model, config, results_dir, status)
    if resume is None and config.model.pretrained_model_path:
        description = checkpoint_file.load_pretrained(
            module.model, Path(config.model.pretrained_model_path), config.encryption_key
        )
        _log(status, f"Starting from {description}.")
    trainer = build_trainer(config, results_dir, status, wandb_run, until=until, metric=metric, deadline=deadline)
    if resume is not None:
        _log(status, f"Resuming from {resume.name}.")
    with suppress(TimeIsUp):
        _run_trainer(trainer, module, config, resume)
    metrics = _final(module, trainer, metric)
    finish_run(wandb_run, metrics)
    return metrics


def _run_trainer(
    trainer: pl.Trainer, module: PoseClassifier, config: ExperimentConfig, resume: Path | None = None
) -> SkeletonDataModule:
    data = SkeletonDataModule(config.dataset, config.train.seed, layout_of(config.model.graph_layout))
    with warnings.catch_warnings():
        # SkeletonDataModule restores its own position, and a single worker is TAO's default.
        warnings.filterwarnings("ignore", message=".*dataloader is not resumable.*")
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        trainer.fit(module, data, ckpt_path=resume, weights_only=True)
    return data


def _log(status: StatusLog, message: str) -> None:
    """Write a message to status.json and to the log."""
    status.write("RUNNING", message)
    if not status.silent:
        print(message, file=sys.stderr)


def build_trainer(
    config: ExperimentConfig,
    results_dir: Path,
    status: StatusLog,
    wandb_run: Any = None,
    *,
    until: int | None = None,
    metric: str = METRIC,
    deadline: float | None = None,
) -> pl.Trainer:
    """Configure Lightning's trainer from the spec.

    Args:
        wandb_run: W&B run that receives the metrics of every epoch.
        until: number of epochs, instead of train.num_epochs. metric: metric that selects the best checkpoint.
        deadline: time of `time.monotonic()` by which training ends.
    """
    train = config.train
    options = _trainer_options(config, status)
    limits = [] if deadline is None else [TimeLimit(status, deadline)]
    return pl.Trainer(
        **options | {"plugins": [SafeCheckpointIO(config.encryption_key), *options["plugins"]]},
        max_epochs=until or train.num_epochs,
        check_val_every_n_epoch=train.validation_interval,
        default_root_dir=results_dir,
        logger=_loggers(results_dir, wandb_run),
        log_every_n_steps=1,
        callbacks=[CheckpointCallback(results_dir, train, metric), StatusCallback(status, train.num_epochs), *limits],
    )


def _trainer_options(config: ExperimentConfig, status: StatusLog) -> dict[str, Any]:
    """Options of Lightning's trainer that determine the time of a batch."""
    train = config.train
    check_nodes("train", train.num_nodes)
    devices = plan_devices(train.num_gpus, train.gpu_ids, torch.cuda.device_count())
    check_processes("train", devices, train.num_nodes)
    _log(status, f"{devices.note[0].upper()}{devices.note[1:]}.")
    # With deterministic algorithms, torch fills uninitialised memory, which takes a tenth of an epoch.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return {
        "strategy": "auto",
        "precision": PRECISIONS[choose_precision(train.precision, devices, status)],
        "accelerator": devices.accelerator,
        "devices": devices.devices,
        "num_nodes": train.num_nodes,
        "limit_val_batches": 1.0 if is_validated(config.dataset) else 0,
        "gradient_clip_val": train.grad_clip or None,
        "accumulate_grad_batches": train.optim.accumulate_batches,
        "benchmark": train.cudnn.benchmark,
        "deterministic": "warn" if train.cudnn.deterministic else False,
        "use_distributed_sampler": False,
        "plugins": _layer_sync(devices, train.num_nodes),
        "num_sanity_val_steps": 0,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }


def choose_precision(requested: str, devices: Devices, status: StatusLog) -> str:
    """fp32 or bf16; auto is bf16 if the devices have bf16 arithmetic, and the log says so."""
    is_available = has_bf16(devices)
    name = "CPU" if devices.accelerator == "cpu" else "GPU"
    if requested == "auto":
        chosen = "bf16" if is_available else "fp32"
        has = "has" if is_available else "has no"
        _log(status, f"train.precision=auto: training in {chosen}, because the {name} {has} bf16 arithmetic.")
        return chosen
    if requested == "bf16" and not is_available:
        _log(status, f"The {name} has no bf16 arithmetic: train.precision=fp32 is faster.")
    return requested


def has_bf16(devices: Devices) -> bool:
    """Whether the CPU, or every GPU of the training, computes in bfloat16, according to torch."""
    if isinstance(devices.devices, list):
        return all(_gpu_has_bf16(index) for index in devices.devices)
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def _gpu_has_bf16(index: int) -> bool:
    with torch.cuda.device(index):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def _layer_sync(devices: Devices, num_nodes: int) -> list[LayerSync]:
    """Plugins that share batch statistics among processes; none for a single process."""
    if devices.processes * num_nodes == 1:
        return []
    return [SharedStatistics() if devices.accelerator == "cpu" else TorchSyncBatchNorm()]


def _loggers(results_dir: Path, wandb_run: Any) -> list[Logger]:
    files = [TensorBoardLogger(results_dir, name="tensorboard"), CSVLogger(results_dir, name="csv")]
    return files if wandb_run is None else [*files, WandbLogger(experiment=wandb_run)]


def _find_resumable(net: Net, config: ExperimentConfig, results_dir: Path, status: StatusLog) -> Path | None:
    """The checkpoint to resume from: the given path, or else the newest readable checkpoint of the folder.

    Raises:
        CannotDecrypt: the key opens no checkpoint of the folder.
        BadData: the checkpoint does not fit the network.
    """
    key, resume_path = config.encryption_key, config.train.resume_training_checkpoint_path
    skipped: list[BadData] = []
    if not resume_path and checkpoint_index.latest(results_dir) is None and checkpoint_index.newest(results_dir):
        _log(
            status,
            f"{checkpoint_index.LATEST} is not in {results_dir}: training starts anew and keeps the checkpoints there.",
        )
    given = [checkpoint_index.actual(Path(resume_path))] if resume_path else None
    for path in given or checkpoint_index.newest_first(results_dir):
        try:
            checkpoint_file.check_resumable(net, path, key)
        except (checkpoint_file.Damaged, encryption.CannotDecrypt) as error:
            if given:
                raise
            skipped.append(error)
            continue
        for problem in skipped:
            _log(status, f"{problem.message}; it is skipped.")
        return path
    for problem in skipped:
        if isinstance(problem, encryption.CannotDecrypt):  # the file may be intact and must not be overwritten
            raise problem
        _log(status, f"{problem.message}; training starts anew.")
    return None


def _final(module: PoseClassifier, trainer: pl.Trainer, metric: str) -> dict[str, float]:
    """Metrics of the last epoch, and the best value of `metric` with its epoch."""
    metrics = dict(module.metrics)
    checkpoints = trainer.checkpoint_callback
    assert isinstance(checkpoints, CheckpointCallback)
    best = checkpoint_index.best(checkpoints.index, metric)
    if best is not None:
        metrics |= {f"best_{metric}": best.metrics[metric], "best_epoch": float(best.epoch)}
    return metrics


def _artifacts(results_dir: Path) -> list[Artifact]:
    kinds: dict[str, Any] = {
        "latest_checkpoint": checkpoint_index.latest(results_dir),
        "best_checkpoint": results_dir / checkpoint_index.BEST,
        "status": results_dir / "status.json",
        "tensorboard": results_dir / "tensorboard",
        "csv": results_dir / "csv",
    }
    return [
        Artifact(kind=kind, path=path.resolve()) for kind, path in kinds.items() if path is not None and path.exists()
    ]
