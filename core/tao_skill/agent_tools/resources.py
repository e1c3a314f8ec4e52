"""Skill files as resources, `skill://NAME/PATH`, and an index with checksums."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tao_skill import bank
from tao_skill.errors import NotFound

INDEX: Final = "skill://index.json"
_TYPES: Final[Mapping[str, str]] = {".md": "text/markdown", ".json": "application/json", ".yaml": "application/yaml"}


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A text file of a skill."""

    uri: str
    mime_type: str
    text: str

    @property
    def size(self) -> int:
        """Size in bytes."""
        return len(self.text.encode("utf-8"))

    @property
    def sha256(self) -> str:
        """SHA-256 digest, in hexadecimal."""
        return hashlib.sha256(self.text.encode("utf-8")).hexdigest()


def resources() -> Iterator[Resource]:
    """Yield the index, then the files of all skills."""
    files = [_read(uri, path) for uri, path in _files().items()]
    index = [{"uri": file.uri, "sha256": file.sha256, "size": file.size} for file in files]
    yield Resource(uri=INDEX, mime_type="application/json", text=json.dumps({"resources": index}, indent=1))
    yield from files


def read(uri: str) -> Resource:
    """Return a resource by its URI.

    Raises:
        NotFound: the resource does not exist.
    """
    if uri == INDEX:
        return next(resources())
    files = _files()
    if uri not in files:
        raise NotFound(f"no resource {uri!r}", fix=f"read {INDEX}")
    return _read(uri, files[uri])


def _files() -> dict[str, Path]:
    """Return the files by URI, without symbolic links that leave the skills directory."""
    root = bank.skills_dir()
    files = {}
    for skill in sorted(path.parent for path in root.glob("*/SKILL.md")):
        for path in sorted(skill.rglob("*")):
            if path.suffix in _TYPES and path.is_file() and path.resolve().is_relative_to(root.resolve()):
                files[f"skill://{path.relative_to(root).as_posix()}"] = path
    return files


def _read(uri: str, path: Path) -> Resource:
    return Resource(uri=uri, mime_type=_TYPES[path.suffix], text=path.read_bytes().decode("utf-8"))
