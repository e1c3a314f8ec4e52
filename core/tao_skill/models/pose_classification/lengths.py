"""How long the sequences of a file are."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tao_skill.files import remembered
from tao_skill.models.pose_classification.architecture import STRIDE
from tao_skill.models.pose_classification.arrays import frames_used, open_sequences
from tao_skill.models.pose_classification.config import DatasetConfig

ANY: Final = -1
"""T of a network that takes sequences of any length, as one does that was trained on trimmed ones."""


@remembered(files=16)
def used_frames(data_path: Path) -> NDArray[np.int64]:
    """Frames of each sequence up to the end of its motion, at least one; shape (N,), read-only.

    The file is read once, a block at a time; what it gave is remembered while the file stays as it is.
    """
    frames_N = frames_used(open_sequences(data_path)).clip(1)
    frames_N.flags.writeable = False
    return frames_N


def trained_length(dataset: DatasetConfig, whole: int) -> int:
    """T of the network that is trained on sequences of `whole` frames."""
    return dataset.resample_frames or (ANY if is_trimmed(dataset) else whole)


def is_trimmed(dataset: DatasetConfig) -> bool:
    """Whether sequences are taken without the padding after them; resampled ones have none."""
    return dataset.trim_padding and dataset.resample_frames is None


def trimmed(frames_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """Frames that sequences of `frames_N` take as trimmed ones, whose lengths are multiples of STRIDE."""
    return -(-frames_N // STRIDE) * STRIDE
