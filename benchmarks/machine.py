"""What a figure was measured on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path


def machine() -> str:
    """CPU, cores, Python and torch of this process, as they stand under a table."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{_cpu()}, {cores} cores, Python {platform.python_version()}, torch {version('torch')}"


def _cpu() -> str:
    """A virtual machine's CPU may be called by its family alone, so that its numbers are said as well."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return platform.processor() or platform.machine()
    parts = (line.partition(":") for line in path.read_text().splitlines())
    known = {name.strip(): value.strip() for name, _, value in parts}
    numbers = f" (family {known['cpu family']}, model {known['model']})" if "cpu family" in known else ""
    return known.get("model name", platform.machine()) + numbers
