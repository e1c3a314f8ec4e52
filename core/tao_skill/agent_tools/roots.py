"""The folders that a server may touch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tao_skill.errors import OutsideRoots
from tao_skill.io import s3


@dataclass(frozen=True, kw_only=True)
class Roots:
    """Folders within which every path must lie once symbolic links are followed.

    Attributes:
        folders: absolute, without links. allow_remote: whether s3:// is accepted as well.
    """

    folders: tuple[Path, ...]
    allow_remote: bool = False

    def holds(self, path: Path) -> bool:
        """Whether a local path lies in a root, links followed as far as it exists."""
        try:
            real = path.resolve()
        except (OSError, RuntimeError, ValueError):  # a loop of links, a zero byte
            return False
        return any(real.is_relative_to(folder) for folder in self.folders)

    def confine(self, key: str, path: str) -> None:
        """Let a path or address pass.

        Raises:
            OutsideRoots: it is none of what this server may touch; `key` is named.
        """
        if s3.is_remote(path):
            if not (self.allow_remote and path.startswith("s3://")):
                raise OutsideRoots(
                    f"{key} is an address, and this server reads local files only",
                    fix=f"set {key} to a path in {self._named()}",
                    path=key,
                )
        elif not self.holds(Path(path)):
            raise OutsideRoots(
                f"{key} is {path!r}, outside the folders of this server",
                fix=f"set {key} to a path in {self._named()}",
                path=key,
            )

    def _named(self) -> str:
        return " or ".join(map(str, self.folders))
