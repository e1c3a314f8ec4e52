"""Who of a frame is kept, in what order, and where in the picture.

Source: the Kinetics preparation of ST-GCN (arXiv 1801.07455, "Kinetics", and its published feeder) for people seen by a
pose estimator; the NTU preparation of 2s-AGCN (arXiv 1805.07694) for tracked bodies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from tao_skill.models.pose_classification.data.imports.clip import Array

PEOPLE_KEPT: Final = 5
"""Most people of a frame that an array can have."""


def by_score(people_PV3: Array) -> Array:
    """People (x, y, score) of one frame by the sum of their scores, highest first, at most PEOPLE_KEPT."""
    order = np.argsort(-people_PV3[:, :, 2].sum(axis=1), kind="stable")
    return people_PV3[order[:PEOPLE_KEPT]]


def by_motion(bodies_PTV3: Array) -> Array:
    """Bodies by how far their joints spread over space and time, widest first.

    The measure is the sum of the standard deviations of x, y and z over the frames in which the body is seen.
    """
    spread_P = np.array([_spread(body_TV3[body_TV3.any(axis=(1, 2))]) for body_TV3 in bodies_PTV3])
    return bodies_PTV3[np.argsort(-spread_P, kind="stable")]


def _spread(body_TV3: Array) -> float:
    return float(body_TV3.std(axis=(0, 1)).sum()) if len(body_TV3) else 0.0


def sequence(frames: Mapping[int, Array], joints: int) -> Array:
    """Ranked people by frame number as (C, T, V, P); frames without people are zero."""
    length = max(frames, default=-1) + 1
    most = max((len(people_PV3) for people_PV3 in frames.values()), default=0)
    x_CTVP = np.zeros((3, length, joints, most))
    for frame, people_PV3 in frames.items():
        x_CTVP[:, frame, :, : len(people_PV3)] = people_PV3.transpose(2, 1, 0)
    return x_CTVP


def in_picture(x_CTVP: Array, width: float, height: float) -> Array:
    """(x, y, score) with x and y as shares of the picture, its middle at 0; joints of score 0 are at 0."""
    x, y, score = x_CTVP
    return np.stack([np.where(score == 0, 0.0, x / width - 0.5), np.where(score == 0, 0.0, y / height - 0.5), score])
