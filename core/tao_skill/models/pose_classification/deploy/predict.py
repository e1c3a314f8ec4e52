"""Class scores of a test set by a trained model."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from tao_skill.errors import BadData
from tao_skill.models.pose_classification.config import DatasetConfig, EvaluateConfig, ExperimentConfig, InferenceConfig
from tao_skill.models.pose_classification.data.dataset import BatchSampler, SkeletonDataset, loader
from tao_skill.models.pose_classification.data.label_map import checked
from tao_skill.models.pose_classification.deploy.scorers import open_scorer
from tao_skill.models.pose_classification.trained_facts import trimming_warning
from tao_skill.models.pose_classification.training.devices import Devices, check_nodes, one_device, plan_devices
from tao_skill.progress import Progress
from tao_skill.status import StatusLog


def class_names(dataset: DatasetConfig, own: Any, status: StatusLog) -> list[str]:
    """Name of each class id, from the label map of the spec, else from that of the model; `class_<id>` without one.

    Args:
        own: the label map in the file of the model, not checked.
    """
    label_map = dataset.label_map or own_label_map(dataset, own, status) or {}
    names = {identity: name for name, identity in label_map.items()}
    return [names.get(identity, f"class_{identity}") for identity in range(dataset.num_classes)]


def own_label_map(dataset: DatasetConfig, own: Any, status: StatusLog) -> dict[str, int] | None:
    """The label map of the model if it fits the spec; otherwise None, with a warning."""
    if own is None:
        return None
    try:
        found = checked(own)
        if len(found) != dataset.num_classes:
            raise ValueError(f"it names {len(found)} classes, dataset.num_classes is {dataset.num_classes}")
    except ValueError as error:
        status.write("RUNNING", f"The label map of the model is not used: {error}.", verbosity="WARNING")
        return None
    status.write("RUNNING", "Class names are taken from the model.")
    return found


def gpus(task: EvaluateConfig | InferenceConfig, available: int) -> Devices:
    """The requested devices; the first of several is used.

    Raises:
        MissingDependency: there are GPUs, but not the requested ones.
    """
    if task.gpu_id is not None:
        return plan_devices(1, [task.gpu_id], available)
    return plan_devices(task.num_gpus, task.gpu_ids, available)


def _padded(dataset: DatasetConfig, checkpoint: str, frames: int | None) -> str | None:
    """A warning if resampled sequences are padded to the fixed length of a model."""
    if dataset.resample_frames is None or frames in (None, dataset.resample_frames):
        return None
    return (
        f"{checkpoint} takes {frames} frames: sequences are resampled to {dataset.resample_frames} and padded, "
        "which is less accurate, because the network was trained without padding. Export it with "
        f"export.sequence_length={dataset.resample_frames}."
    )


def probabilities(
    config: ExperimentConfig, task: EvaluateConfig | InferenceConfig, action: str, status: StatusLog
) -> tuple[npt.NDArray[np.float32], list[str]]:
    """Softmax scores of every sequence of the task's test set, in order, and the class names.

    With several clips, the mean over the clips of a sequence.

    Returns:
        (N, num_classes) float32, and a name for each column.

    Raises:
        BadData: the model does not fit the spec or the data, or a score is not finite.
        MissingDependency: requested GPUs or nodes do not exist.
    """
    check_nodes(action, task.num_nodes)
    device = one_device(gpus(task, torch.cuda.device_count()), status)
    score = open_scorer(Path(task.checkpoint), config, device)
    dataset = config.dataset
    trimmed = trimming_warning(Path(task.checkpoint), score.facts)
    for warning in filter(None, (trimmed, _padded(dataset, task.checkpoint, score.frames))):
        status.write("RUNNING", warning, verbosity="WARNING")
    data = SkeletonDataset(
        Path(task.test_dataset.data_path), None, resample_frames=dataset.resample_frames, clips=task.num_clips
    )
    size = dataset.batch_size if task.batch_size == -1 else task.batch_size
    sampler = BatchSampler(len(data), batch_size=size)
    batches = loader(data, sampler, num_workers=dataset.num_workers)
    scores_NK = np.zeros((len(data) // data.clips, dataset.num_classes), np.float32)
    began, count = time.monotonic(), len(batches)
    for done, (batch, (x_NCTVM, _)) in enumerate(zip(sampler, batches, strict=True), start=1):
        clips_nK = torch.from_numpy(score(x_NCTVM.numpy())).softmax(1).numpy()
        _check_classes(clips_nK.shape[1], dataset, task.checkpoint)
        np.add.at(scores_NK, np.array(batch.indices) // data.clips, clips_nK)
        left_s = (time.monotonic() - began) / done * (count - done)
        status.progress(Progress(batch=done, batches=count, eta_s=round(left_s, 1)))
    scores_NK /= data.clips
    if invalid := int((~np.isfinite(scores_NK).all(axis=1)).sum()):
        raise BadData(
            f"{invalid} of {len(scores_NK)} sequences have scores from {task.checkpoint} that are not finite",
            fix="inspect the data for NaN; if there are none, train again with a lower train.optim.lr",
            path=task.checkpoint,
        )
    return scores_NK, class_names(dataset, score.facts.label_map, status)


def _check_classes(classes: int, dataset: DatasetConfig, checkpoint: str) -> None:
    if classes != dataset.num_classes:
        raise BadData(
            f"{checkpoint} has {classes} classes, dataset.num_classes is {dataset.num_classes}",
            fix=f"set dataset.num_classes={classes}",
            path=checkpoint,
        )
