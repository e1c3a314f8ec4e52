"""Settings of the memory allocator."""

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
    """Keep freed memory in the process instead of returning it to the operating system. No effect without glibc.

    A training step allocates and frees gigabytes, and the operating system clears every page that it hands out.
    """
    if not sys.platform.startswith("linux"):
        return
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            libc.mallopt(option, _NEVER)
