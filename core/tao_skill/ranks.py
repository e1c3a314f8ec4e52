"""Which of several processes this one is, by the variables that launchers set."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

LOCAL_RANK: Final = "LOCAL_RANK"
LOCAL_WORLD_SIZE: Final = "LOCAL_WORLD_SIZE"
_RANKS: Final = ("RANK", "SLURM_PROCID", "NODE_RANK", LOCAL_RANK)
"""torchrun's and SLURM's number among all processes; number of the machine, and number on the machine."""


def is_first(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this is the process that reports and writes: the only one, or the first of those started together."""
    return all(environment.get(name) in (None, "", "0") for name in _RANKS)
