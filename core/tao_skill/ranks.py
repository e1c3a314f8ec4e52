"""The rank of this process in distributed training, from the environment variables of launchers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

LOCAL_RANK: Final = "LOCAL_RANK"
LOCAL_WORLD_SIZE: Final = "LOCAL_WORLD_SIZE"
_RANKS: Final = ("RANK", "SLURM_PROCID", "NODE_RANK", LOCAL_RANK)
"""Global rank (torchrun, SLURM), rank of the machine, and local rank on the machine."""


def is_first(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process has rank 0, which writes files and reports; a single process has it too."""
    return all(environment.get(name) in (None, "", "0") for name in _RANKS)
