"""The root directories to which a server is confined."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tao_skill.errors import OutsideRoots
from tao_skill.io import s3


@dataclass(frozen=True, kw_only=True)
class Roots:
    """Directories that contain every accepted path, after symbolic links are resolved.

    Attributes:
        folders: absolute paths without symbolic links. allow_remote: whether s3:// URLs are accepted too.
    """

    folders: tuple[Path, ...]
    allow_remote: bool = False

    def contains(self, path: Path) -> bool:
        """Whether a local path, with symbolic links resolved, is inside a root."""
        try:
            real = path.resolve()
        except (OSError, RuntimeError, ValueError):  # a symlink loop, a null byte
            return False
        return any(real.is_relative_to(folder) for folder in self.folders)

    def confine(self, key: str, path: str) -> None:
        """Check that a path is inside the roots, or is an accepted URL.

        Raises:
            OutsideRoots: it is not; the message names `key`.
        """
        if s3.is_remote(path):
            if not (self.allow_remote and path.startswith("s3://")):
                raise OutsideRoots(
                    f"{key} is a URL, accepted: local files",
                    fix=f"set {key} to a path in {self._folder_list()}",
                    path=key,
                )
        elif not self.contains(Path(path)):
            raise OutsideRoots(
                f"{key} is {path!r}, outside the root directories of this server",
                fix=f"set {key} to a path in {self._folder_list()}",
                path=key,
            )

    def _folder_list(self) -> str:
        return " or ".join(map(str, self.folders))
