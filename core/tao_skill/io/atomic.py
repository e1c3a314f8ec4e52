"""Atomic file writes: a reader sees the old content or the new content, never a part of either.

Also a cache of parsed files and suggestions for misspelt file names.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from functools import cache, lru_cache, wraps
from pathlib import Path
from typing import IO, Any, Final, TypeVar

from tao_skill.errors import CannotWrite

Read = TypeVar("Read")

_SIMILARITY: Final = 0.9
"""Least similarity of a misspelt name to the intended one; `val_data.npy` and `train_data.npy` are below it."""


def write_with(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Call `write` on a temporary file beside `path`, fsync it and rename it over `path`.

    Raises:
        CannotWrite: the directory cannot be written or the disk is full; `path` is unchanged, without leftovers.
    """
    try:
        _replace(path, write)
    except OSError as error:
        raise CannotWrite.because(error, str(path)) from error


def cached_by_file(files: int) -> Callable[[Callable[[Path], Read]], Callable[[Path], Read]]:
    """Cache what a function reads from the last `files` files, until their size or modification time changes."""

    def decorate(read: Callable[[Path], Read]) -> Callable[[Path], Read]:
        cached = lru_cache(files)(lambda file, *_: read(file))

        @wraps(read)
        def cached_read(file: Path) -> Read:
            try:
                stat = file.stat()
            except OSError:
                return read(file)  # raises the error of the reader
            value: Read = cached(file, file.resolve(), stat.st_size, stat.st_mtime_ns)
            return value

        return cached_read

    return decorate


@cache
def _host() -> str:
    """Return a digest of the host name for the names of temporary files: directories may be shared by machines."""
    import socket
    import zlib

    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


def _replace(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    import tempfile

    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(path)
    prefix = f".{path.name}.{_host()}-{os.getpid()}-"
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _remove_stale(path: Path) -> None:
    """Delete temporary files of `path` that killed processes of this machine left behind."""
    import glob

    for temporary in path.parent.glob(f".{glob.escape(path.name)}.{_host()}-*-*.tmp"):
        import psutil

        if not psutil.pid_exists(int(temporary.name.rsplit("-", 2)[1])):
            temporary.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """Return the SHA-256 digest of a file, in hexadecimal."""
    import hashlib

    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def open_to_append(path: Path) -> IO[bytes]:
    """Open a file for appending and create it if it does not exist.

    Raises:
        OSError: the file cannot be opened, or is a symbolic link, which could redirect the output.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    return os.fdopen(os.open(path, flags, 0o644), "ab", buffering=0)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_with(path, lambda stream: stream.write(text.encode("utf-8")))


def write_json(path: Path, value: Any) -> None:
    """Write strict JSON (no NaN, no Infinity) atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def replace_folder(target: Path, source: Path) -> None:
    """Replace the directory `target` by a copy of `source`; the old one is deleted after the copy is complete.

    Raises:
        CannotWrite: the directory cannot be written or the disk is full; `target` is unchanged, without leftovers.
    """
    try:
        _copy_and_swap(target, source)
    except OSError as error:
        raise CannotWrite.because(error, str(target)) from error


def _copy_and_swap(target: Path, source: Path) -> None:
    import shutil
    import tempfile

    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp") as temporary:
        new, old = Path(temporary, "new"), Path(temporary, "old")
        shutil.copytree(source, new, copy_function=shutil.copyfile)
        if not (target.exists() or target.is_symlink()):
            new.rename(target)
        else:
            target.rename(old)
            try:
                new.rename(target)
            except BaseException:
                old.rename(target)
                raise
    sync_folder(target.parent)


def replace_link(link: Path, target: str) -> None:
    """Point the symbolic link `link` at the relative path `target`, atomically."""
    _remove_stale(link)
    temporary = link.with_name(f".{link.name}.{_host()}-{os.getpid()}-.tmp")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(link)
    sync_folder(link.parent)


def similar_file(missing: Path) -> Path | None:
    """Return the file in the same directory whose name is most similar to a missing one, with the same digits in it."""
    try:
        names = [path.name for path in missing.parent.iterdir() if path.is_file()]
    except OSError:
        return None
    import difflib

    digits = re.sub(r"\D", "", missing.name)
    candidates = [name for name in names if re.sub(r"\D", "", name) == digits]
    close = difflib.get_close_matches(missing.name, candidates, n=1, cutoff=_SIMILARITY)
    return missing.with_name(close[0]) if close else None


def sync_folder(folder: Path) -> None:
    """Flush a directory to disk, so that a rename in it survives a power failure, where the platform can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
