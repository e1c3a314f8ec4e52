"""What a process does with memory that it has used."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
"""Options of glibc's mallopt(3)."""

_NEVER: Final = (1 << 31) - 1


def keep_freed() -> None:
    """Use freed memory again instead of returning it to the system and asking for it anew.

    A step of training takes and frees gigabytes; the system clears each page of them before it hands it out. Without
    glibc nothing is done.
    """
    if not sys.platform.startswith("linux"):
        return
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            libc.mallopt(option, _NEVER)
