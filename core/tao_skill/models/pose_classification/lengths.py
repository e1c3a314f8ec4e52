"""How long the sequences of a file are."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tao_skill.models.pose_classification.architecture import FEWEST_FRAMES, STRIDE
from tao_skill.models.pose_classification.arrays import frames_used, open_sequences


def trimmed_frames(data_path: Path) -> NDArray[np.int64]:
    """Frames of each sequence up to the end of its motion, in whole strides, FEWEST_FRAMES to T; shape (N,), read-only.

    The file is read once, a block at a time; what it gave is remembered while the file stays as it is.
    """
    stat = data_path.stat()
    return _trimmed_frames(data_path.resolve(), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=16)
def _trimmed_frames(data_path: Path, size: int, modified_ns: int) -> NDArray[np.int64]:
    data_NCTVM = open_sequences(data_path)
    strides_N = -(-frames_used(data_NCTVM) // STRIDE)
    frames_N = (strides_N * STRIDE).clip(FEWEST_FRAMES).clip(max=data_NCTVM.shape[2])
    frames_N.flags.writeable = False
    return frames_N
