"""Processes of rank 1 and above, for an attempt that runs on several devices of this machine.

They share the command, the process group and the log of rank 0, and its environment except for the rank, which is set
as Lightning and torchrun do. They read the job record and never change it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from tao_skill.jobs.launch import worker_environment
from tao_skill.jobs.process import wait_for_exit
from tao_skill.jobs.secrets import spawn
from tao_skill.ranks import LOCAL_RANK

_POLL_S: Final = 0.5
_GRACE_S: Final = 10.0
"""Time for rank 0 to notice the failure of another rank, and for the other ranks to exit after rank 0."""

Processes = Sequence["subprocess.Popen[bytes]"]


@contextmanager
def peers(count: int, secrets: Mapping[str, str]) -> Iterator[None]:
    """Run the block as rank 0 of `count` processes on this machine; the others end with the block.

    If a launcher has started the processes, nothing is started here. If a process fails, this process has a grace
    period to exit with its own error and is killed afterwards, as it may wait for the failed process forever.
    """
    if count == 1 or LOCAL_RANK in os.environ:
        yield
        return
    _set_rendezvous()
    started = [_start(rank, secrets) for rank in range(1, count)]
    ended = threading.Event()
    threading.Thread(target=_watch, args=(started, ended), daemon=True).start()
    try:
        yield
        ended.set()
        wait_for_exit(started, _GRACE_S)
    finally:
        ended.set()
        for process in started:
            process.kill()
            process.wait()


def end_with_parent(parent: int | None = None) -> None:
    """Exit this process when its parent exits; pass `parent` if it may already be gone."""
    parent = os.getppid() if parent is None else parent

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_POLL_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _set_rendezvous() -> None:
    """Set the local rank and the rendezvous address, unless a launcher of several machines has set the latter."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", str(port))
    os.environ[LOCAL_RANK] = "0"


def _start(rank: int, secrets: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return spawn([sys.executable, *sys.orig_argv[1:]], worker_environment(secrets) | {LOCAL_RANK: str(rank)})


def _watch(started: Processes, ended: threading.Event) -> None:
    while not ended.wait(_POLL_S):
        failed = [process.pid for process in started if process.poll() not in (None, 0)]
        if failed:
            print(f"process {failed[0]} of this attempt failed", file=sys.stderr)
            if not ended.wait(_GRACE_S):
                os.kill(os.getpid(), signal.SIGKILL)
