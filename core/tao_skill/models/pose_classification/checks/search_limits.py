"""What a spec and its data leave of the search ranges. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from tao_skill.io.s3 import is_remote
from tao_skill.models.pose_classification.config import ExperimentConfig
from tao_skill.models.pose_classification.data.hold_out import training_size
from tao_skill.models.pose_classification.data.npy_header import shape
from tao_skill.outcome import Limit

WINDOW: Final = "dataset.window_size"


def limits(config: ExperimentConfig) -> Mapping[str, Limit]:
    """Batches no larger than the set, windows from a quarter of the frames to all; and what would change nothing.

    Remote data are passed over; the job looks again when it has copies.
    """
    window, cut = _whole_sequences(config)
    limits = {
        "dataset.random_choose": Limit(inert=cut, unless_ranged=WINDOW),
        WINDOW: Limit(inert=window, unless_ranged=WINDOW),
        "train.optim.lr_decay": Limit(inert=_no_decay(config)),
    }
    path = config.dataset.train_dataset.data_path
    if is_remote(path):
        return limits
    sequences, _, frames, _, _ = shape(path)
    n = sequences
    if not is_remote(config.dataset.train_dataset.label_path):
        n = training_size(config.dataset, sequences, config.train.seed)
    served = replace(limits[WINDOW], low=math.ceil(frames / 4), high=frames)
    return limits | {"dataset.batch_size": Limit(high=n), WINDOW: served}


def _whole_sequences(config: ExperimentConfig) -> tuple[str | None, str | None]:
    """Why neither windows nor random fragments are searched where the spec keeps whole sequences."""
    if config.dataset.window_size != -1:
        return None, None
    return "is -1, whole sequences; give it a range to search it", f"needs a range for {WINDOW}, which is -1"


def _no_decay(config: ExperimentConfig) -> str | None:
    optim, epochs = config.train.optim, config.train.num_epochs
    if optim.lr_scheduler == "Cosine":
        return "train.optim.lr_scheduler=Cosine has no steps"
    if optim.lr_scheduler == "MultiStep" and not any(step < epochs for step in optim.lr_steps):
        return f"no step of train.optim.lr_steps {optim.lr_steps} lies before train.num_epochs {epochs}"
    return None
