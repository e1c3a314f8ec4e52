"""How long the sequences of a file are."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tao_skill.models.pose_classification.architecture import FEWEST_FRAMES, STRIDE
from tao_skill.models.pose_classification.arrays import frames_used, open_sequences


def used_frames(data_path: Path) -> NDArray[np.int64]:
    """Frames of each sequence up to the end of its motion, at least one; shape (N,), read-only.

    The file is read once, a block at a time; what it gave is remembered while the file stays as it is.
    """
    stat = data_path.stat()
    return _used_frames(data_path.resolve(), stat.st_size, stat.st_mtime_ns)


def trimmed_frames(data_path: Path) -> NDArray[np.int64]:
    """The same in whole strides, FEWEST_FRAMES to T."""
    strides_N = -(-used_frames(data_path) // STRIDE)
    frames = open_sequences(data_path).shape[2]
    return (strides_N * STRIDE).clip(FEWEST_FRAMES).clip(max=frames)


@lru_cache(maxsize=16)
def _used_frames(data_path: Path, size: int, modified_ns: int) -> NDArray[np.int64]:
    frames_N = frames_used(open_sequences(data_path)).clip(1)
    frames_N.flags.writeable = False
    return frames_N
