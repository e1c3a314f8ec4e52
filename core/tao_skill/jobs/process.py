"""Worker processes of attempts: identify them, check that they are alive, send signals."""

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
    """Return the host name of this machine."""
    import socket

    return socket.gethostname()


def this_process() -> dict[str, Any]:
    """Return the fields of an attempt that identify the calling process."""
    return {"pid": os.getpid(), "pid_created": process_created(os.getpid()), "host": this_host()}


def process_created(pid: int) -> float:
    """Return the seconds from boot to the start of a process, which do not change when the clock is set.

    Raises:
        psutil.NoSuchProcess: the process does not exist.
    """
    import psutil

    return psutil.Process(pid).create_time() - psutil.boot_time()


def is_mine(attempt: Attempt) -> bool:
    """Whether the calling process is the process of the attempt."""
    return (attempt.pid, attempt.host) == (os.getpid(), this_host())


def is_alive(attempt: Attempt) -> bool:
    """Whether the process of the attempt is alive; assumed true on another machine."""
    if attempt.host != this_host():
        return True
    import psutil

    try:
        is_same = abs(process_created(attempt.pid) - attempt.pid_created) < _TOLERANCE_S
        return is_same and psutil.Process(attempt.pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def signal_group(attempt: Attempt, number: signal.Signals) -> None:
    """Send a signal to the process group of the attempt; does nothing if it is gone.

    Raises:
        PermissionError: they belong to another user.
    """
    try:
        os.killpg(attempt.pid, number)
    except ProcessLookupError:
        if is_alive(attempt):  # the process is not the leader of a group
            os.kill(attempt.pid, number)


def signal_name(number: int) -> str:
    """Return the name of a signal, e.g. SIGKILL."""
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def wait_for_exit(processes: Iterable[subprocess.Popen[bytes]], seconds: float) -> None:
    """Wait until all processes exit, for at most `seconds` in total."""
    from subprocess import TimeoutExpired

    deadline = time.monotonic() + seconds
    for process in processes:
        with suppress(TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
