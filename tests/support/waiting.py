"""Waiting for other processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import psutil

T = TypeVar("T")


def until(condition: Callable[[], T | None], seconds: float = 60, *, meanwhile: Callable[[], Any] = lambda: None) -> T:
    """What a condition gives once that is true; the test fails when it is not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        meanwhile()
        time.sleep(0.02)
    return found


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
