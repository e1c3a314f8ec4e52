"""The skills as resources: `skill://NAME/SKILL.md` and every file beside it, and an index with digests."""

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
    """One text file of a skill."""

    uri: str
    mime_type: str
    text: str

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.text.encode("utf-8"))

    @property
    def sha256(self) -> str:
        """Digest of its bytes, in hexadecimal."""
        return hashlib.sha256(self.text.encode("utf-8")).hexdigest()


def resources() -> Iterator[Resource]:
    """The index, then every file of every skill."""
    found = [_read(uri, path) for uri, path in _files().items()]
    index = [{"uri": one.uri, "sha256": one.sha256, "size": one.size} for one in found]
    yield Resource(uri=INDEX, mime_type="application/json", text=json.dumps({"resources": index}, indent=1))
    yield from found


def read(uri: str) -> Resource:
    """A resource by its address.

    Raises:
        NotFound: there is none.
    """
    if uri == INDEX:
        return next(resources())
    files = _files()
    if uri not in files:
        raise NotFound(f"no resource {uri!r}", fix=f"read {INDEX}")
    return _read(uri, files[uri])


def _files() -> dict[str, Path]:
    """Files by address; links that leave the folder of skills are none of them."""
    root = bank.skills_dir()
    found = {}
    for skill in sorted(path.parent for path in root.glob("*/SKILL.md")):
        for path in sorted(skill.rglob("*")):
            if path.suffix in _TYPES and path.is_file() and path.resolve().is_relative_to(root.resolve()):
                found[f"skill://{path.relative_to(root).as_posix()}"] = path
    return found


def _read(uri: str, path: Path) -> Resource:
    return Resource(uri=uri, mime_type=_TYPES[path.suffix], text=path.read_bytes().decode("utf-8"))
