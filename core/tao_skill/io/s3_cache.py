"""Local copies of remote objects: fetched once, checked by content at every use.

A copy lies in `<root>/s3/<server and address>/<version>/`, beside an entry with its size and hash. A new version of an
object gets a folder of its own, so a running job never sees its data change.
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
"""Called with the bytes done and the bytes in all."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is known of a copy: size in bytes and BLAKE2b hash as it was fetched."""

    uri: str
    file: str
    size: int
    version: str
    blake2b: str


@dataclass(frozen=True, kw_only=True)
class Staged:
    """A complete local copy, and where it comes from in words."""

    path: Path
    origin: str


def cache_root(environment: Mapping[str, str]) -> Path:
    """`TAO_SKILL_CACHE`, else `tao-skill` in the user's cache folder (XDG Base Directory Specification)."""
    if own := environment.get(VARIABLE):
        return Path(own).absolute()
    base = environment.get("XDG_CACHE_HOME")
    return (Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache") / "tao-skill"


def describe(uri: str, root: Path, s3: S3) -> RemoteObject | None:
    """What the server says of an object; where it does not answer, what it said when the newest copy was made.

    Raises:
        Unreachable: and there is no copy.
    """
    try:
        return s3.describe(uri)
    except Unreachable:
        newest = _newest(_place(uri, root, s3))
        entry = _entry(newest.parent) if newest else None
        if entry is None:
            raise
        return RemoteObject(uri=uri, size=entry.size, version=entry.version, md5=None)


def stage(uri: str, root: Path, s3: S3, on_progress: OnProgress) -> Staged:
    """The local copy of an object, fetched unless a whole one of its present version is there.

    Where the server does not answer, the newest whole copy is taken, and `origin` says so. Processes that stage the
    same object wait for each other.

    Raises:
        NotFound: there is no such object.
        BadData: it arrived damaged or changed meanwhile; nothing of it is kept.
        CannotWrite: the cache cannot be written.
        BadRequest: the server refuses.
        MissingDependency: the s3 extra, credentials, or the server and every copy are missing.
    """
    place = _place(uri, root, s3)
    try:
        found = s3.describe(uri)
    except Unreachable:
        copy = _whole(newest.parent) if (newest := _newest(place)) else None
        if copy is None:
            raise
        return Staged(path=copy, origin="copy in the cache, which may be old: the S3 server does not answer")
    if found is None:
        raise NotFound(f"there is no {uri}", fix="check bucket and key", path=uri)
    try:
        return _present(found, place, s3, on_progress)
    except OSError as error:
        raise CannotWrite(
            f"the cache {root} cannot be written: {error.strerror} ({error.filename})",
            fix=f"free space, or set {VARIABLE} to a folder that can be written",
            path=str(root),
        ) from error


def _present(found: RemoteObject, place: Path, s3: S3, on_progress: OnProgress) -> Staged:
    from filelock import FileLock

    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = place / _digest(found.version)
    with FileLock(place / _LOCK):
        if copy := _whole(folder):
            (folder / _ENTRY).touch()  # now it is the newest
            return Staged(path=copy, origin="copy in the cache, unchanged")
        for left in folder.glob(".*.tmp"):  # of a process that was killed
            left.unlink()
        return Staged(path=_fetch(found, folder, s3, on_progress), origin=f"fetched, {found.size} bytes")


def _fetch(found: RemoteObject, folder: Path, s3: S3, on_progress: OnProgress) -> Path:
    path = folder / _file_name(found.uri)
    own, theirs, done = blake2b(), md5(usedforsecurity=False), 0

    def receive(stream: Any) -> None:
        nonlocal done
        on_progress(0, found.size)
        for chunk in s3.read(found):
            stream.write(chunk)
            own.update(chunk)
            theirs.update(chunk)
            done += len(chunk)
            on_progress(done, found.size)
        if done != found.size or found.md5 not in (None, theirs.hexdigest()):
            raise damaged(found.uri)

    atomic.write_with(path, receive)
    entry = Entry(uri=found.uri, file=path.name, size=done, version=found.version, blake2b=own.hexdigest())
    atomic.write_json(folder / _ENTRY, asdict(entry))
    return path


def _place(uri: str, root: Path, s3: S3) -> Path:
    return root / "s3" / _digest(s3.endpoint, uri)


def _newest(place: Path) -> Path | None:
    return max(place.glob(f"*/{_ENTRY}"), key=lambda path: path.stat().st_mtime, default=None)


def _whole(folder: Path) -> Path | None:
    """The copy in a folder, if size and hash are those it was fetched with."""
    entry = _entry(folder)
    path = folder / entry.file if entry else None
    if entry is None or path is None or not path.is_file() or path.stat().st_size != entry.size:
        return None
    with path.open("rb") as stream:
        return path if file_digest(stream, blake2b).hexdigest() == entry.blake2b else None


def _entry(folder: Path) -> Entry | None:
    try:
        entry: Entry = read_json(folder / _ENTRY, Entry, what="a cache entry", fix="it is fetched again")
    except BadData:
        return None
    return entry if entry.file == _file_name(entry.file) else None


def _digest(*parts: str) -> str:
    return blake2b("\n".join(parts).encode("utf-8"), digest_size=10).hexdigest()


def _file_name(uri: str) -> str:
    """The object's own name, made harmless; its ending stays."""
    name = re.sub(r"[^A-Za-z0-9._-]", "_", uri.rsplit("/", 1)[-1])
    return name[-_NAME_LENGTH:].lstrip(".-") or "object"
