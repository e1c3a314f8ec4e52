"""Linux Landlock: restrict this process and its children to the files in some directories.

A path that is checked before it is opened may lead elsewhere when it is opened. Landlock checks the opened file in the
kernel, so swapping a directory for a symbolic link has no effect (Linux kernel documentation, userspace-api/landlock).
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
"""Numbers of the system calls, the same on every architecture."""

_QUERY_VERSION: Final = 1
_PATH_BENEATH: Final = 1
_NO_NEW_PRIVS: Final = 38

_EXECUTE, _WRITE, _READ, _LIST, _TRUNCATE = 1, 1 << 1, 1 << 2, 1 << 3, 1 << 14
_RIGHTS: Final = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1}
"""All file rights by version of the Landlock ABI; later versions add rights other than file access."""


def version() -> int:
    """Return the Landlock ABI version of the kernel; 0 without Landlock."""
    if not sys.platform.startswith("linux"):
        return 0
    return max(0, int(_libc().syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _QUERY_VERSION)))


def confine(*, read: Iterable[Path], write: Iterable[Path]) -> bool:
    """Restrict this thread and its children: `read` paths can be read and executed, `write` paths also changed.

    Returns:
        Whether access is restricted; without Landlock nothing changes.

    Raises:
        OSError: a path cannot be opened, or the kernel rejects the rules.
    """
    if not (abi := version()):
        return False
    rights = _RIGHTS[min(abi, max(_RIGHTS))]
    handled = struct.pack("=Q", rights)
    ruleset = _call(_CREATE_RULESET, handled, ctypes.c_size_t(len(handled)), 0)
    try:
        for path in read:
            _allow(ruleset, path, _EXECUTE | _READ | _LIST)
        for path in write:
            _allow(ruleset, path, rights)
        if _libc().prctl(_NO_NEW_PRIVS, 1, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl failed")
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return True


def _allow(ruleset: int, path: Path, rights: int) -> None:
    file_rights = _EXECUTE | _WRITE | _READ | _TRUNCATE
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = struct.pack("=Qi", rights if path.is_dir() else rights & file_rights, descriptor)
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
    finally:
        os.close(descriptor)


def _call(number: int, *arguments: object) -> int:
    result = int(_libc().syscall(number, *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"Landlock: {os.strerror(code)}")
    return result


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
