"""Networks of few blocks, for tests that do not depend on their number. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tao_skill.models.pose_classification.network.blocks import Block
from tao_skill.models.pose_classification.network.registry import Network

SMALL_BLOCKS = (Block(16), Block(16), Block(32, 2), Block(32))
"""A network of them trains in a fifth of the time."""


def small(networks: Mapping[str, Network]) -> dict[str, Network]:
    """The same networks, of small blocks."""
    return {name: replace(network, blocks=SMALL_BLOCKS) for name, network in networks.items()}
