"""Durable writes: a reader sees the old file or the new one, never a part; what was read; names that were misspelt."""

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

_MISSPELT: Final = 0.9
"""How alike two names are, of which one is the other misspelt: `val_data.npy` and `train_data.npy` are less."""


def write_with(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Call `write` on a temporary file beside `path`, fsync it and rename it over `path`.

    Raises:
        CannotWrite: the folder cannot be written or the disk is full; `path` is unchanged and nothing is left behind.
    """
    try:
        _replace(path, write)
    except OSError as error:
        raise CannotWrite.because(error, str(path)) from error


def remembered(files: int) -> Callable[[Callable[[Path], Read]], Callable[[Path], Read]]:
    """Keep what a function read of the last so many files, each for as long as its size and time stay the same."""

    def decorate(read: Callable[[Path], Read]) -> Callable[[Path], Read]:
        kept = lru_cache(files)(lambda file, *_: read(file))

        @wraps(read)
        def ask(file: Path) -> Read:
            try:
                stat = file.stat()
            except OSError:
                return read(file)  # and say what is wrong
            found: Read = kept(file, file.resolve(), stat.st_size, stat.st_mtime_ns)
            return found

        return ask

    return decorate


@cache
def _host() -> str:
    """This machine in the names of temporary files, as folders may be shared."""
    import socket
    import zlib

    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


def _replace(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    import tempfile

    path.parent.mkdir(parents=True, exist_ok=True)
    _clear(path)
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


def _clear(path: Path) -> None:
    """Delete what processes of this machine that were killed while they wrote `path` have left beside it."""
    import glob

    for left in path.parent.glob(f".{glob.escape(path.name)}.{_host()}-*-*.tmp"):
        import psutil

        if not psutil.pid_exists(int(left.name.rsplit("-", 2)[1])):
            left.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """Digest of a file's content, in hexadecimal."""
    import hashlib

    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def open_to_append(path: Path) -> IO[bytes]:
    """A file to append to, made if it is not there.

    Raises:
        OSError: it cannot be opened, or it is a link: what is appended must not land elsewhere.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    return os.fdopen(os.open(path, flags, 0o644), "ab", buffering=0)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text durably."""
    write_with(path, lambda stream: stream.write(text.encode("utf-8")))


def write_json(path: Path, value: Any) -> None:
    """Write strict JSON durably (no NaN, no Infinity)."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def replace_folder(target: Path, source: Path) -> None:
    """Put a copy of the folder `source` at `target`; what was there goes only after the copy is complete.

    Raises:
        CannotWrite: the place cannot be written or the disk is full; `target` is unchanged and nothing is left behind.
    """
    try:
        _swap(target, source)
    except OSError as error:
        raise CannotWrite.because(error, str(target)) from error


def _swap(target: Path, source: Path) -> None:
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
    """Point the symbolic link `link` at the relative `target` in one step."""
    _clear(link)
    temporary = link.with_name(f".{link.name}.{_host()}-{os.getpid()}-.tmp")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(link)
    sync_folder(link.parent)


def nearest(missing: Path) -> Path | None:
    """The file beside a missing one whose name is a misspelling away; another number in it is another file."""
    try:
        names = [one.name for one in missing.parent.iterdir() if one.is_file()]
    except OSError:
        return None
    import difflib

    digits = re.sub(r"\D", "", missing.name)
    alike = [name for name in names if re.sub(r"\D", "", name) == digits]
    close = difflib.get_close_matches(missing.name, alike, n=1, cutoff=_MISSPELT)
    return missing.with_name(close[0]) if close else None


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut, where the platform can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
