"""The further processes of an attempt that works on several devices of this machine.

They are workers like the first one: its command, its environment with a rank added (as Lightning and torchrun set it),
its process group, its log. They read the job's record and never change it.
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

from tao_skill.jobs.launch import environment
from tao_skill.jobs.process import let_end
from tao_skill.jobs.secrets import spawn
from tao_skill.ranks import LOCAL_RANK

_POLL_S: Final = 0.5
_GRACE_S: Final = 10.0
"""How long the first process has to notice by itself that another one failed, and the others to end after it."""

Processes = Sequence["subprocess.Popen[bytes]"]


@contextmanager
def peers(count: int, secrets: Mapping[str, str]) -> Iterator[None]:
    """Make this process the first of `count` on this machine; none of the others outlives the block.

    Nothing is started if a launcher has done so already. If one of them fails, this process gets the chance to end by
    its own error and is killed otherwise, as it may wait for the lost one without end.
    """
    if count == 1 or LOCAL_RANK in os.environ:
        yield
        return
    _meet()
    started = [_start(rank, secrets) for rank in range(1, count)]
    ended = threading.Event()
    threading.Thread(target=_watch, args=(started, ended), daemon=True).start()
    try:
        yield
        ended.set()
        let_end(started, _GRACE_S)
    finally:
        ended.set()
        for process in started:
            process.kill()
            process.wait()


def end_with_parent(parent: int | None = None) -> None:
    """Let this process end as soon as the one that started it is gone; `parent`, if told, may be gone already."""
    parent = os.getppid() if parent is None else parent

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(_POLL_S)
        os._exit(1)

    threading.Thread(target=look, daemon=True).start()


def _meet() -> None:
    """Set where the processes find each other, unless a launcher of several machines has, and this one's rank."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", str(port))
    os.environ[LOCAL_RANK] = "0"


def _start(rank: int, secrets: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return spawn([sys.executable, *sys.orig_argv[1:]], environment(secrets) | {LOCAL_RANK: str(rank)})


def _watch(started: Processes, ended: threading.Event) -> None:
    while not ended.wait(_POLL_S):
        failed = [process.pid for process in started if process.poll() not in (None, 0)]
        if failed:
            print(f"process {failed[0]} of this attempt failed", file=sys.stderr)
            if not ended.wait(_GRACE_S):
                os.kill(os.getpid(), signal.SIGKILL)
