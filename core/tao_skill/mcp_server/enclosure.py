"""What a server and its jobs need of this machine beside the roots; everything else is closed to them."""

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
"""In /etc; nothing secret lies in any of them."""

_DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty", "shm", "nvidia*", "dri", "kfd")
_SEARCHED: Final = ("PYTHONPATH", "LD_LIBRARY_PATH")


def enclose(roots: Roots, environment: Mapping[str, str]) -> bool:
    """Close all but the roots and what programs need, for this process and every job that it starts.

    To be called before there is a second thread, which would stay free.

    Returns:
        Whether it is done: this takes Linux with Landlock.
    """
    read = {path for path in _read(roots, environment) if path.exists()}
    write = {path for path in _written(roots, environment) if path.exists()}
    return landlock.confine(read=sorted(read), write=sorted(write))


def _read(roots: Roots, environment: Mapping[str, str]) -> Iterator[Path]:
    yield from map(Path, _PROGRAMS)
    yield from (Path("/etc", name) for name in _SETTINGS)
    yield from map(Path, (sys.prefix, sys.exec_prefix, sys.base_prefix, site.getusersitepackages()))
    yield Path(__file__).resolve().parents[2]
    yield from (bank.root() / name for name in ("schemas", "references", "runners", "skills"))
    for name in _SEARCHED:
        yield from (Path(folder) for folder in environment.get(name, "").split(":") if folder)
    if roots.allow_remote:
        yield Path.home() / ".aws"


def _written(roots: Roots, environment: Mapping[str, str]) -> Iterator[Path]:
    yield from roots.folders
    yield Path(tempfile.gettempdir())
    for name in _DEVICES:
        yield from Path("/dev").glob(name)
    if roots.allow_remote:
        (folder := s3_cache.cache_root(environment)).mkdir(mode=0o700, parents=True, exist_ok=True)
        yield folder
