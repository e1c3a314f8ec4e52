"""Local cache of S3 objects: downloaded once, verified by checksum at every use.

A copy is stored in `<root>/s3/<digest of server and URL>/<digest of version>/` with an entry file that has its size and
hash. Every version has its own directory, so the data of a running job never change.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from hashlib import blake2b, file_digest, md5
from pathlib import Path
from typing import Any, Final

from tao_skill.errors import BadData, CannotWrite, NotFound
from tao_skill.io import atomic
from tao_skill.io.s3 import S3, RemoteObject, Unreachable, damaged
from tao_skill.io.strict_json import read_json

VARIABLE: Final = "TAO_SKILL_CACHE"
_ENTRY: Final = "entry.json"
_LOCK: Final = ".lock"
_NAME_LENGTH: Final = 100

OnProgress = Callable[[int, int], None]
"""Called with the number of bytes transferred and the total."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Metadata of a cached copy: size in bytes and BLAKE2b hash at the time of the download."""

    uri: str
    file: str
    size: int
    version: str
    blake2b: str


@dataclass(frozen=True, kw_only=True)
class Staged:
    """A complete local copy, and a description of its origin."""

    path: Path
    origin: str


def cache_root(environment: Mapping[str, str]) -> Path:
    """Return `TAO_SKILL_CACHE`, or `tao-skill` in the user's cache directory (XDG Base Directory Specification)."""
    if configured := environment.get(VARIABLE):
        return Path(configured).absolute()
    base = environment.get("XDG_CACHE_HOME")
    return (Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache") / "tao-skill"


def describe(uri: str, root: Path, s3: S3) -> RemoteObject | None:
    """Return the metadata of an object, from the newest cached copy if the server does not answer.

    Raises:
        Unreachable: the server does not answer and the cache has no copy.
    """
    try:
        return s3.describe(uri)
    except Unreachable:
        newest = _newest(_object_dir(uri, root, s3))
        entry = _entry(newest.parent) if newest else None
        if entry is None:
            raise
        return RemoteObject(uri=uri, size=entry.size, version=entry.version, md5=None)


def stage(uri: str, root: Path, s3: S3, on_progress: OnProgress) -> Staged:
    """Return the local copy of an object; download it unless the cache has an intact copy of the current version.

    If the server does not answer, the newest intact copy is used, and `origin` says so. Processes that stage the same
    object wait for each other.

    Raises:
        NotFound: the object does not exist.
        BadData: the object was damaged in transfer or changed during the download; the partial copy is deleted.
        CannotWrite: the cache cannot be written.
        BadRequest: the server rejects the request.
        MissingDependency: the s3 extra, credentials, or the server and every copy are missing.
    """
    object_dir = _object_dir(uri, root, s3)
    try:
        remote = s3.describe(uri)
    except Unreachable:
        copy = _intact_copy(newest.parent) if (newest := _newest(object_dir)) else None
        if copy is None:
            raise
        return Staged(path=copy, origin="copy in the cache, which may be old: the S3 server does not answer")
    if remote is None:
        raise NotFound(f"{uri} does not exist", fix="check bucket and key", path=uri)
    try:
        return _stage_version(remote, object_dir, s3, on_progress)
    except OSError as error:
        raise CannotWrite(
            f"the cache {root} cannot be written: {error.strerror} ({error.filename})",
            fix=f"free disk space, or set {VARIABLE} to a writable directory",
            path=str(root),
        ) from error


def _stage_version(remote: RemoteObject, object_dir: Path, s3: S3, on_progress: OnProgress) -> Staged:
    from filelock import FileLock

    object_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = object_dir / _digest(remote.version)
    with FileLock(object_dir / _LOCK):
        if copy := _intact_copy(folder):
            (folder / _ENTRY).touch()  # `_newest` goes by modification time
            return Staged(path=copy, origin="copy in the cache, unchanged")
        for temporary in folder.glob(".*.tmp"):  # left by a killed process
            temporary.unlink()
        return Staged(path=_fetch(remote, folder, s3, on_progress), origin=f"fetched, {remote.size} bytes")


def _fetch(remote: RemoteObject, folder: Path, s3: S3, on_progress: OnProgress) -> Path:
    path = folder / _file_name(remote.uri)
    local_hash, remote_hash, done = blake2b(), md5(usedforsecurity=False), 0

    def receive(stream: Any) -> None:
        nonlocal done
        on_progress(0, remote.size)
        for chunk in s3.read(remote):
            stream.write(chunk)
            local_hash.update(chunk)
            remote_hash.update(chunk)
            done += len(chunk)
            on_progress(done, remote.size)
        if done != remote.size or remote.md5 not in (None, remote_hash.hexdigest()):
            raise damaged(remote.uri)

    atomic.write_with(path, receive)
    entry = Entry(uri=remote.uri, file=path.name, size=done, version=remote.version, blake2b=local_hash.hexdigest())
    atomic.write_json(folder / _ENTRY, asdict(entry))
    return path


def _object_dir(uri: str, root: Path, s3: S3) -> Path:
    return root / "s3" / _digest(s3.endpoint, uri)


def _newest(object_dir: Path) -> Path | None:
    return max(object_dir.glob(f"*/{_ENTRY}"), key=lambda path: path.stat().st_mtime, default=None)


def _intact_copy(folder: Path) -> Path | None:
    """Return the copy in a directory if its size and hash match its entry."""
    entry = _entry(folder)
    path = folder / entry.file if entry else None
    if entry is None or path is None or not path.is_file() or path.stat().st_size != entry.size:
        return None
    with path.open("rb") as stream:
        return path if file_digest(stream, blake2b).hexdigest() == entry.blake2b else None


def _entry(folder: Path) -> Entry | None:
    try:
        entry: Entry = read_json(folder / _ENTRY, Entry, what="a cache entry", fix="run again")
    except BadData:
        return None
    return entry if entry.file == _file_name(entry.file) else None


def _digest(*parts: str) -> str:
    return blake2b("\n".join(parts).encode("utf-8"), digest_size=10).hexdigest()


def _file_name(uri: str) -> str:
    """Return the name of the object without unsafe characters; the file extension is kept."""
    name = re.sub(r"[^A-Za-z0-9._-]", "_", uri.rsplit("/", 1)[-1])
    return name[-_NAME_LENGTH:].lstrip(".-") or "object"
