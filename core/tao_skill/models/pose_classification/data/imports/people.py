"""Rank the people of a clip, drop the lowest-ranked, and normalise image coordinates.

Source: the Kinetics preparation of ST-GCN (arXiv 1801.07455, "Kinetics", and its published feeder) for people from a
pose estimator; the NTU preparation of 2s-AGCN (arXiv 1805.07694) for tracked bodies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from tao_skill.models.pose_classification.data.imports.clip import Array

PEOPLE_KEPT: Final = 5
"""Largest number of people of a frame in an array."""


def rank_by_score(people_PV3: Array) -> Array:
    """People (x, y, score) of a frame, at most PEOPLE_KEPT, the highest sum of scores first."""
    order = np.argsort(-people_PV3[:, :, 2].sum(axis=1), kind="stable")
    return people_PV3[order[:PEOPLE_KEPT]]


def rank_by_motion(bodies_PTV3: Array) -> Array:
    """Bodies sorted by the spread of their joints over space and time, largest first.

    The spread is the sum of the standard deviations of x, y and z over the frames in which the body is detected.
    """
    spread_P = np.array([_spread(body_TV3[body_TV3.any(axis=(1, 2))]) for body_TV3 in bodies_PTV3])
    return bodies_PTV3[np.argsort(-spread_P, kind="stable")]


def _spread(body_TV3: Array) -> float:
    return float(body_TV3.std(axis=(0, 1)).sum()) if len(body_TV3) else 0.0


def stack_frames(frames: Mapping[int, Array], joints: int) -> Array:
    """Combine the ranked people of each frame into an array (C, T, V, P); frames without people are zero."""
    length = max(frames, default=-1) + 1
    persons = max((len(people_PV3) for people_PV3 in frames.values()), default=0)
    x_CTVP = np.zeros((3, length, joints, persons))
    for frame, people_PV3 in frames.items():
        x_CTVP[:, frame, :, : len(people_PV3)] = people_PV3.transpose(2, 1, 0)
    return x_CTVP


def normalise_to_image(x_CTVP: Array, width: float, height: float) -> Array:
    """Divide x and y of (x, y, score) by the image size and centre them at 0; joints of score 0 are at 0."""
    x, y, score = x_CTVP
    return np.stack([np.where(score == 0, 0.0, x / width - 0.5), np.where(score == 0, 0.0, y / height - 0.5), score])
