"""What a spec and its data leave of the search ranges. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping

from tao_skill.action import Limit
from tao_skill.models.pose_classification.arrays import open_sequences
from tao_skill.models.pose_classification.config import ExperimentConfig
from tao_skill.remote import is_remote


def limits(config: ExperimentConfig) -> Mapping[str, Limit]:
    """Batches no larger than the set, windows from a quarter of the frames to all; and what would change nothing.

    Remote data are passed over; the job looks again when it has copies.
    """
    schedule = {"train.optim.lr_decay": Limit(inert=_no_decay(config))}
    path = config.dataset.train_dataset.data_path
    if is_remote(path):
        return schedule
    n, _, frames, _, _ = open_sequences(path).shape
    return {
        "dataset.batch_size": Limit(high=n),
        "dataset.window_size": _window(config, frames),
        **schedule,
    }


def _window(config: ExperimentConfig, frames: int) -> Limit:
    inert = None
    if not config.dataset.random_choose:
        inert = "shorter windows act only with dataset.random_choose=true"
    elif config.dataset.window_size == -1:
        inert = "is -1, whole sequences; give it a range to search it"
    unless_ranged = config.dataset.random_choose
    return Limit(low=max(1.0, frames // 4), high=float(frames), inert=inert, unless_ranged=unless_ranged)


def _no_decay(config: ExperimentConfig) -> str | None:
    optim, epochs = config.train.optim, config.train.num_epochs
    if optim.lr_scheduler == "MultiStep" and not any(step < epochs for step in optim.lr_steps):
        return f"no step of train.optim.lr_steps {optim.lr_steps} lies before train.num_epochs {epochs}"
    return None
