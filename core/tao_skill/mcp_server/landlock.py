"""Linux's Landlock: this process, and all it starts, can open nothing outside some folders from now on.

A path that is judged before it is opened can lead elsewhere by then. Here the kernel judges what is opened, however it
was reached, so links and folders may be swapped at any moment (Linux kernel documentation, userspace-api/landlock).
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_CREATE_RULESET: Final = 444
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446
"""System calls, whose numbers are the same on every architecture."""

_ASK_VERSION: Final = 1
_PATH_BENEATH: Final = 1
_NO_NEW_PRIVS: Final = 38

_EXECUTE, _WRITE, _READ, _LIST, _TRUNCATE = 1, 1 << 1, 1 << 2, 1 << 3, 1 << 14
_RIGHTS: Final = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1}
"""All rights to use, change, make and remove files by version of Landlock; later ones add other things."""


def version() -> int:
    """Version of Landlock of this kernel; 0 where there is none."""
    if not sys.platform.startswith("linux"):
        return 0
    return max(0, int(_libc().syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _ASK_VERSION)))


def confine(*, read: Iterable[Path], write: Iterable[Path]) -> bool:
    """Leave this thread, and all it starts, the rights to read and run what is in `read` and to change `write`.

    Returns:
        Whether the kernel does so; where it has no Landlock nothing changes.

    Raises:
        OSError: one of the paths cannot be opened, or the kernel refuses.
    """
    if not (known := version()):
        return False
    rights = _RIGHTS[min(known, max(_RIGHTS))]
    handled = struct.pack("=Q", rights)
    ruleset = _call(_CREATE_RULESET, handled, ctypes.c_size_t(len(handled)), 0)
    try:
        for path in read:
            _allow(ruleset, path, _EXECUTE | _READ | _LIST)
        for path in write:
            _allow(ruleset, path, rights)
        if _libc().prctl(_NO_NEW_PRIVS, 1, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl refused")
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return True


def _allow(ruleset: int, path: Path, rights: int) -> None:
    of_files = _EXECUTE | _WRITE | _READ | _TRUNCATE
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = struct.pack("=Qi", rights if path.is_dir() else rights & of_files, descriptor)
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
    finally:
        os.close(descriptor)


def _call(number: int, *arguments: object) -> int:
    given = int(_libc().syscall(number, *arguments))
    if given < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"Landlock: {os.strerror(code)}")
    return given


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
