"""Processes that answer for attempts: which they are, whether they live, how to signal them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from tao_skill.jobs.record import Attempt

if TYPE_CHECKING:
    import signal
    import subprocess

_TOLERANCE_S: Final = 2.0


def this_host() -> str:
    """Name of this machine."""
    import socket

    return socket.gethostname()


def this_process() -> dict[str, Any]:
    """The fields of an attempt that name the calling process."""
    return {"pid": os.getpid(), "pid_created": process_created(os.getpid()), "host": this_host()}


def process_created(pid: int) -> float:
    """Seconds from boot to the start of a process: unlike the time of day, they stay when the clock is set.

    Raises:
        psutil.NoSuchProcess: there is none.
    """
    import psutil

    return psutil.Process(pid).create_time() - psutil.boot_time()


def is_mine(attempt: Attempt) -> bool:
    """Whether the calling process answers for the attempt."""
    return (attempt.pid, attempt.host) == (os.getpid(), this_host())


def is_alive(attempt: Attempt) -> bool:
    """Whether the process that answers for the attempt still runs; taken for granted on another machine."""
    if attempt.host != this_host():
        return True
    import psutil

    try:
        same = abs(process_created(attempt.pid) - attempt.pid_created) < _TOLERANCE_S
        return same and psutil.Process(attempt.pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def signal_group(attempt: Attempt, number: signal.Signals) -> None:
    """Signal the attempt's process and everything it started; nothing happens if all of them are gone.

    Raises:
        PermissionError: they belong to another user.
    """
    try:
        os.killpg(attempt.pid, number)
    except ProcessLookupError:
        if is_alive(attempt):  # it leads no group of its own
            os.kill(attempt.pid, number)


def signal_name(number: int) -> str:
    """Name of a signal, e.g. SIGKILL."""
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def let_end(processes: Iterable[subprocess.Popen[bytes]], seconds: float) -> None:
    """Wait until all have ended, and no longer than `seconds` for all of them together."""
    from subprocess import TimeoutExpired

    deadline = time.monotonic() + seconds
    for process in processes:
        with suppress(TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
