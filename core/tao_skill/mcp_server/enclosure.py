"""Confine the server and its jobs to the roots and to the system paths they need."""

from __future__ import annotations

import site
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from tao_skill import bank
from tao_skill.agent_tools.roots import Roots
from tao_skill.io import s3_cache
from tao_skill.mcp_server import landlock

_PROGRAMS: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store", "/proc", "/sys")
_SETTINGS: Final = (
    *("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime", "timezone", "os-release", "machine-id"),
    *("resolv.conf", "hosts", "host.conf", "gai.conf", "nsswitch.conf", "services", "protocols", "passwd", "group"),
    *("ssl/openssl.cnf", "ssl/certs", "ca-certificates", "pki/tls/certs", "pki/ca-trust", "mime.types", "nvidia"),
)
"""Readable entries of /etc; none contains secrets."""

_DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty", "shm", "nvidia*", "dri", "kfd")
_PATH_VARIABLES: Final = ("PYTHONPATH", "LD_LIBRARY_PATH")


def enclose(roots: Roots, environment: Mapping[str, str]) -> bool:
    """Restrict file access of this process, and of every job it starts, to the roots and system paths.

    Call it before starting a second thread: the restriction applies to the calling thread and its children.

    Returns:
        Whether access is restricted, which requires Linux with Landlock.
    """
    read = {path for path in _readable(roots, environment) if path.exists()}
    write = {path for path in _writable(roots, environment) if path.exists()}
    return landlock.confine(read=sorted(read), write=sorted(write))


def _readable(roots: Roots, environment: Mapping[str, str]) -> Iterator[Path]:
    yield from map(Path, _PROGRAMS)
    yield from (Path("/etc", name) for name in _SETTINGS)
    yield from map(Path, (sys.prefix, sys.exec_prefix, sys.base_prefix, site.getusersitepackages()))
    yield Path(__file__).resolve().parents[2]
    yield from (bank.root() / name for name in ("schemas", "references", "runners", "skills"))
    for name in _PATH_VARIABLES:
        yield from (Path(folder) for folder in environment.get(name, "").split(":") if folder)
    if roots.allow_remote:
        yield Path.home() / ".aws"


def _writable(roots: Roots, environment: Mapping[str, str]) -> Iterator[Path]:
    yield from roots.folders
    yield Path(tempfile.gettempdir())
    for name in _DEVICES:
        yield from Path("/dev").glob(name)
    if roots.allow_remote:
        (folder := s3_cache.cache_root(environment)).mkdir(mode=0o700, parents=True, exist_ok=True)
        yield folder
