"""Cores and GPUs of this machine, and the share of each worker."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence


def share(i: int, count: int, environment: Mapping[str, str], gpus: Sequence[str]) -> dict[str, str]:
    """Environment variables that give worker `i` of `count` its share; OMP_NUM_THREADS stays if it is set."""
    threads = environment.get("OMP_NUM_THREADS") or str(max(1, cores() // count))
    return {"OMP_NUM_THREADS": threads} | ({"CUDA_VISIBLE_DEVICES": gpus[i % len(gpus)]} if gpus else {})


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def find_gpus(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Names of the GPUs for workers: those in CUDA_VISIBLE_DEVICES if it is set, else all that the driver lists."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return tuple(name.strip() for name in visible.split(",") if name.strip() not in ("", "-1"))
    import shutil
    import subprocess

    program = shutil.which("nvidia-smi", path=environment.get("PATH"))
    if program is None:
        return ()
    command = [program, "--query-gpu=uuid", "--format=csv,noheader"]
    listing = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - from the user's PATH
    return tuple(listing.stdout.split()) if listing.returncode == 0 else ()
