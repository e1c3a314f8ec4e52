"""Restrict AutoML search ranges to values that fit a spec and its data. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from tao_skill.io.s3 import is_remote
from tao_skill.models.pose_classification.checks.network import ALIGN, lacking_view
from tao_skill.models.pose_classification.config import ExperimentConfig
from tao_skill.models.pose_classification.data.hold_out import training_size
from tao_skill.models.pose_classification.data.npy_header import shape
from tao_skill.outcome import Limit

WINDOW: Final = "dataset.window_size"


def limits(config: ExperimentConfig) -> Mapping[str, Limit]:
    """Limits by spec key: batch_size up to the training set, window_size from a quarter of the frames to all of them.

    Parameters without effect under this spec are marked `inert`. Limits that need remote data are left out; the job
    computes them from its local copies.
    """
    window, random_choose = _whole_sequences(config)
    limits = {
        "dataset.random_choose": Limit(inert=random_choose, unless_ranged=WINDOW),
        WINDOW: Limit(inert=window, unless_ranged=WINDOW),
        "train.optim.lr_decay": Limit(inert=_no_decay(config)),
        ALIGN: Limit(inert=lacking_view(config.model)),
    }
    path = config.dataset.train_dataset.data_path
    if is_remote(path):
        return limits
    sequences, _, frames, _, _ = shape(path)
    n = sequences
    if not is_remote(config.dataset.train_dataset.label_path):
        n = training_size(config.dataset, sequences, config.train.seed)
    bounded = replace(limits[WINDOW], low=math.ceil(frames / 4), high=frames)
    return limits | {"dataset.batch_size": Limit(high=n), WINDOW: bounded}


def _whole_sequences(config: ExperimentConfig) -> tuple[str | None, str | None]:
    """The reasons why window_size and random_choose are not searched when the spec keeps whole sequences."""
    if config.dataset.window_size != -1:
        return None, None
    return "is -1 (whole sequences); give it a range to search it", f"needs a range for {WINDOW}, which is -1"


def _no_decay(config: ExperimentConfig) -> str | None:
    """The reason why lr_decay has no effect; None if it has an effect."""
    optim, epochs = config.train.optim, config.train.num_epochs
    if optim.lr_scheduler == "Cosine":
        return "train.optim.lr_scheduler=Cosine has no steps"
    if optim.lr_scheduler == "MultiStep" and not any(step < epochs for step in optim.lr_steps):
        return f"no step of train.optim.lr_steps {optim.lr_steps} lies before train.num_epochs {epochs}"
    return None
