"""Skeletons as graphs: adjacency matrices by the three partition strategies of ST-GCN.

Source: Yan, Xiong, Lin, "Spatial Temporal Graph Convolutional Networks for Skeleton-Based Action Recognition",
AAAI 2018 (arXiv 1801.07455), "Partition Strategies".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from tao_skill.models.pose_classification.network.layouts import Layout

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]


def adjacency(skeleton: Layout, strategy: str) -> npt.NDArray[np.float32]:
    """Normalised adjacency, one matrix per neighbour subset.

    Returns:
        (K, V, V), K = 1 (uniform), 2 (distance) or 3 (spatial). The sum over K is A D^-1, self-loops included.

    Raises:
        KeyError: unknown strategy.
    """
    import numpy as np

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
