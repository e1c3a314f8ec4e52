"""Train ST-GCN, or go on training it."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from pytorch_lightning.plugins import LayerSync, TorchSyncBatchNorm

from tao_skill.errors import BadData
from tao_skill.io import encryption
from tao_skill.model import task_results_dir
from tao_skill.models.pose_classification.config import ExperimentConfig
from tao_skill.models.pose_classification.data.datamodule import SkeletonDataModule
from tao_skill.models.pose_classification.data.hold_out import is_validated
from tao_skill.models.pose_classification.network import allocator
from tao_skill.models.pose_classification.network.stgcn import STGCN
from tao_skill.models.pose_classification.training import checkpoint_file, checkpoint_index
from tao_skill.models.pose_classification.training.callbacks import CheckpointFiles, Checkpoints, Report
from tao_skill.models.pose_classification.training.devices import Devices, check_nodes, check_processes, plan_devices
from tao_skill.models.pose_classification.training.module import LEARNING_RATE, PoseClassifier
from tao_skill.models.pose_classification.training.parallel import SharedStatistics
from tao_skill.models.pose_classification.training.tracking import finish_run, start_run
from tao_skill.outcome import Artifact, Outcome
from tao_skill.ranks import is_first
from tao_skill.status import StatusLog, of_present_training, read_status, reporting

METRIC = "val_acc"

PRECISIONS: Final[Mapping[str, Literal["32-true", "bf16-mixed"]]] = MappingProxyType(
    {"fp32": "32-true", "bf16": "bf16-mixed"}
)
"""What Lightning calls each precision."""


def run(config: ExperimentConfig) -> Outcome:
    """Train as `config` says; continues from pc_model_latest.pth of the results folder, if it is there.

    In several processes, the first one alone writes; all give back the same metrics.

    Raises:
        BadRequest: a launcher started other numbers of processes than the spec says.
        BadData: the checkpoint or the pretrained weights do not fit.
        MissingDependency: a GPU, a node launcher or the wandb extra is missing.
    """
    results_dir = task_results_dir(config, "train").absolute()
    with reporting(results_dir, "Training", silent=not is_first()) as status:
        metrics = _fit(config, results_dir, status)
        status.write("SUCCESS", "Training finished.", kpi=metrics)
    return Outcome(metrics=metrics, artifacts=_artifacts(results_dir))


def advance(config: ExperimentConfig, until: int, metric: str) -> list[dict[str, float]]:
    """Train the first `until` epochs of the whole training that `config` describes, going on where it stopped.

    The checkpoint that is best by `metric` is kept, and the latest.

    Returns:
        Metrics of each epoch trained so far; the last one has values that are no numbers if training diverged.

    Raises:
        BadRequest: validation does not measure `metric`. Others as in `run`.
    """
    results_dir = task_results_dir(config, "train").absolute()
    with reporting(results_dir, "Training", silent=not is_first()) as status:
        saved = checkpoint_index.settle(results_dir, metric)
        epochs = history(results_dir, until)
        if min(saved, len(epochs)) < until:  # an epoch is told of before its checkpoint is there
            _fit(config, results_dir, status, until=until, metric=metric)
            epochs = history(results_dir, until)
        status.write("SUCCESS", f"Trained {len(epochs)} of {config.train.num_epochs} epochs.")
    return epochs


def history(results_dir: Path, until: int) -> list[dict[str, float]]:
    """What was measured of each epoch before `until`, by the status lines; NaN where there is no number."""
    found: dict[int, dict[str, float]] = {}
    for line in of_present_training(read_status(results_dir)):
        if "epoch" in line and "kpi" in line and line["epoch"] < until:
            measured = ((name, value) for name, value in line["kpi"].items() if name != LEARNING_RATE)
            known = {name: math.nan if value is None else float(value) for name, value in measured}
            found[line["epoch"]] = found.get(line["epoch"], {}) | known
    return [found[epoch] for epoch in range(len(found)) if epoch in found]


def _fit(
    config: ExperimentConfig, results_dir: Path, status: StatusLog, *, until: int | None = None, metric: str = METRIC
) -> dict[str, float]:
    allocator.keep_freed()
    pl.seed_everything(config.train.seed, workers=True)
    run = start_run(config, "train") if is_first() else None
    module = PoseClassifier(config)
    resume = _find_resumable(module.model, config, results_dir, status)
    if resume is None and config.model.pretrained_model_path:
        said = checkpoint_file.load_pretrained(
            module.model, Path(config.model.pretrained_model_path), config.encryption_key
        )
        _say(status, f"Starting from {said}.")
    trainer = build_trainer(config, results_dir, status, run, until=until, metric=metric)
    if resume is not None:
        _say(status, f"Resuming from {resume.name}.")
    with warnings.catch_warnings():
        # The data module restores its place itself, and one worker is TAO's default.
        warnings.filterwarnings("ignore", message=".*dataloader is not resumable.*")
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        data = SkeletonDataModule(config.dataset, config.train.seed)
        trainer.fit(module, data, ckpt_path=resume, weights_only=True)
    metrics = _final(module, trainer, metric)
    finish_run(run, metrics)
    return metrics


def _say(status: StatusLog, message: str) -> None:
    """A status line that a reader of the log sees as well."""
    status.write("RUNNING", message)
    if not status.silent:
        print(message, file=sys.stderr)


def build_trainer(
    config: ExperimentConfig,
    results_dir: Path,
    status: StatusLog,
    run: Any = None,
    *,
    until: int | None = None,
    metric: str = METRIC,
) -> pl.Trainer:
    """Lightning's trainer, set as the spec says.

    Args:
        run: a W&B run that gets every epoch's metrics.
        until: epochs to stop after, if not those of the spec. metric: what the best checkpoint is told by.
    """
    train = config.train
    check_nodes("train", train.num_nodes)
    devices = plan_devices(train.num_gpus, train.gpu_ids, torch.cuda.device_count())
    check_processes("train", devices, train.num_nodes)
    _say(status, f"{devices.note[0].upper()}{devices.note[1:]}.")
    if train.precision == "bf16" and devices.accelerator == "cpu" and not has_bf16():
        _say(status, "This CPU does not compute in bf16: train.precision=fp32 is quicker.")
    # With deterministic algorithms torch would fill all new memory, to show who reads it unset: a tenth of an epoch.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return pl.Trainer(
        strategy="auto",
        precision=PRECISIONS[train.precision],
        accelerator=devices.accelerator,
        devices=devices.devices,
        num_nodes=train.num_nodes,
        max_epochs=until or train.num_epochs,
        check_val_every_n_epoch=train.validation_interval,
        limit_val_batches=1.0 if is_validated(config.dataset) else 0,
        gradient_clip_val=train.grad_clip or None,
        benchmark=train.cudnn.benchmark,
        deterministic="warn" if train.cudnn.deterministic else False,
        default_root_dir=results_dir,
        logger=_loggers(results_dir, run),
        log_every_n_steps=1,
        callbacks=[Checkpoints(results_dir, train, metric), Report(status, train.num_epochs)],
        use_distributed_sampler=False,
        plugins=[CheckpointFiles(config.encryption_key), *_layer_sync(devices, train.num_nodes)],
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def has_bf16() -> bool:
    """Whether the CPU has matrix or vector instructions for bfloat16, as far as torch can tell."""
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def _layer_sync(devices: Devices, num_nodes: int) -> list[LayerSync]:
    """What makes several processes normalise as one would that had all their batches."""
    if devices.processes * num_nodes == 1:
        return []
    return [SharedStatistics() if devices.accelerator == "cpu" else TorchSyncBatchNorm()]


def _loggers(results_dir: Path, run: Any) -> list[Logger]:
    files = [TensorBoardLogger(results_dir, name="tensorboard"), CSVLogger(results_dir, name="csv")]
    return files if run is None else [*files, WandbLogger(experiment=run)]


def _find_resumable(net: STGCN, config: ExperimentConfig, results_dir: Path, status: StatusLog) -> Path | None:
    """The checkpoint to go on from: the one given, else the newest of the folder that can be read.

    Raises:
        CannotOpen: none of the folder's opens with the key.
        BadData: what was given, or can be read, does not fit.
    """
    key, given = config.encryption_key, config.train.resume_training_checkpoint_path
    passed_over: list[BadData] = []
    if not given and checkpoint_index.latest(results_dir) is None and checkpoint_index.newest(results_dir):
        _say(
            status,
            f"{checkpoint_index.LATEST} is not in {results_dir}: training begins anew, beside the checkpoints there.",
        )
    for path in [checkpoint_index.actual(Path(given))] if given else checkpoint_index.newest_first(results_dir):
        try:
            checkpoint_file.check_resumable(net, path, key)
        except (checkpoint_file.Damaged, encryption.CannotOpen) as error:
            if given:
                raise
            passed_over.append(error)
            continue
        for one in passed_over:
            _say(status, f"{one.message}; it is passed over.")
        return path
    for one in passed_over:
        if isinstance(one, encryption.CannotOpen):  # it may be whole, and must not be written over
            raise one
        _say(status, f"{one.message}; training begins anew.")
    return None


def _final(module: PoseClassifier, trainer: pl.Trainer, metric: str) -> dict[str, float]:
    """The last epoch's metrics, and the best one's."""
    metrics = dict(module.metrics)
    checkpoints = trainer.checkpoint_callback
    assert isinstance(checkpoints, Checkpoints)
    winner = checkpoint_index.best(checkpoints.index, metric)
    if winner is not None:
        metrics |= {f"best_{metric}": winner.metrics[metric], "best_epoch": float(winner.epoch)}
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
