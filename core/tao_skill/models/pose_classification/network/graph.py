"""Skeletons as graphs: the six layouts and the three partition strategies of ST-GCN.

Source: Yan, Xiong, Lin, "Spatial Temporal Graph Convolutional Networks for Skeleton-Based Action Recognition",
AAAI 2018 (arXiv 1801.07455), "Partition Strategies"; layouts and centre joints as in NVIDIA TAO's
PoseClassificationNet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A skeleton.

    Attributes:
        joints: number of joints V. persons: persons M in a sequence. center: index of the centre joint.
        frames: sequence length of an exported model. coordinates: the first channels, before the confidence.
        edges: bones as pairs of joint indices, each pair once.
    """

    joints: int
    center: int
    edges: tuple[tuple[int, int], ...]
    persons: int = 1
    frames: int = 300
    coordinates: int = 3


def _edges(text: str) -> tuple[tuple[int, int], ...]:
    pairs = (pair.split("-") for pair in text.split())
    return tuple((int(a), int(b)) for a, b in pairs)


LAYOUTS: Final[Mapping[str, Layout]] = MappingProxyType(
    {
        "nvidia": Layout(
            joints=34,
            center=0,
            edges=_edges(
                "0-1 0-2 0-3 1-4 2-5 3-6 4-7 5-8 7-9 8-10 9-11 10-12 7-13 8-14 6-15 15-16 15-17 16-18 17-19 "
                "1-20 2-21 6-20 6-21 20-22 21-23 22-24 23-25 24-26 25-27 24-28 25-29 24-30 25-31 24-32 25-33"
            ),
        ),
        "openpose": Layout(
            joints=18,
            center=1,
            coordinates=2,
            edges=_edges("4-3 3-2 7-6 6-5 13-12 12-11 10-9 9-8 11-5 8-2 5-1 2-1 0-1 15-0 14-0 17-15 16-14"),
        ),
        "human3.6m": Layout(
            joints=17,
            center=8,
            frames=3163,
            edges=_edges("9-10 8-9 7-8 1-7 4-7 0-1 0-4 9-11 9-14 11-12 14-15 12-13 15-16 1-2 2-3 4-5 5-6"),
        ),
        "ntu-rgb+d": Layout(
            joints=25,
            center=20,
            persons=2,
            edges=_edges(
                "0-1 1-20 2-20 3-2 4-20 5-4 6-5 7-6 8-20 9-8 10-9 11-10 "
                "12-0 13-12 14-13 15-14 16-0 17-16 18-17 19-18 21-22 22-7 23-24 24-11"
            ),
        ),
        "ntu_edge": Layout(
            joints=24,
            center=2,
            persons=2,
            edges=_edges(
                "0-1 2-1 3-2 4-1 5-4 6-5 7-6 8-1 9-8 10-9 11-10 "
                "12-0 13-12 14-13 15-14 16-0 17-16 18-17 19-18 20-21 21-7 22-23 23-11"
            ),
        ),
        "coco": Layout(
            joints=17,
            center=0,
            coordinates=2,
            edges=_edges("15-13 13-11 16-14 14-12 11-12 5-11 6-12 5-6 7-5 8-6 9-7 10-8 1-2 1-0 2-0 3-1 4-2 3-5 4-6"),
        ),
    }
)


def adjacency(layout: str, strategy: str) -> npt.NDArray[np.float32]:
    """Normalised adjacency, one matrix per neighbour subset.

    Returns:
        (K, V, V), K = 1 (uniform), 2 (distance) or 3 (spatial). The sum over K is A D^-1, self-loops included.

    Raises:
        KeyError: unknown layout or strategy.
    """
    import numpy as np

    skeleton = LAYOUTS[layout]
    linked = np.eye(skeleton.joints)
    for a, b in skeleton.edges:
        linked[a, b] = linked[b, a] = 1.0
    normalised = linked / linked.sum(axis=0)
    return STRATEGIES[strategy].split(normalised, linked, skeleton.center).astype(np.float32)


def _uniform(normalised: Array, linked: Array, center: int) -> Array:
    return normalised[None]


def _distance(normalised: Array, linked: Array, center: int) -> Array:
    import numpy as np

    itself = np.eye(len(linked)) * normalised
    return np.stack([itself, normalised - itself])


def _spatial(normalised: Array, linked: Array, center: int) -> Array:
    """Subsets: root, centripetal and equidistant, centrifugal.

    As in TAO, distances to the centre beyond one hop are all equal.
    """
    import numpy as np

    hops = np.where(linked[:, center] > 0, 1.0, np.inf)
    hops[center] = 0.0
    itself = np.eye(len(linked)) * normalised
    neighbours = normalised - itself
    further = hops[:, None] < hops[None, :]
    return np.stack([itself, np.where(further, 0.0, neighbours), np.where(further, neighbours, 0.0)])


class Strategy(NamedTuple):
    """A function that splits the adjacency into subsets, and the number of subsets."""

    split: Callable[[Array, Array, int], Array]
    subsets: int


STRATEGIES: Final[Mapping[str, Strategy]] = MappingProxyType(
    {"uniform": Strategy(_uniform, 1), "distance": Strategy(_distance, 2), "spatial": Strategy(_spatial, 3)}
)
