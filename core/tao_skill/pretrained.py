"""The registry of pretrained weights: a folder with weight files NAME.pth and output folders NAME/ of trainings."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tao_skill.errors import BadRequest, NotFound

VARIABLE: Final = "TAO_SKILL_PRETRAINED"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def registry(environment: Mapping[str, str]) -> Path:
    """The folder of the registry: TAO_SKILL_PRETRAINED, else tao-skill/pretrained in the user's data folder."""
    if configured := environment.get(VARIABLE):
        return Path(configured).expanduser().absolute()
    data = environment.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "tao-skill" / "pretrained"


def find(name: str, environment: Mapping[str, str], suffix: str, choose: Callable[[Path], Path]) -> Path:
    """Find weights by name.

    Args:
        suffix: suffix of weight files, e.g. `.pth`.
        choose: chooses a file in the output folder of a training that has several.

    Raises:
        BadRequest: the name is not a plain file name, which could lead out of the registry.
        NotFound: there are no such weights; the message lists the available names.
    """
    if not _NAME.fullmatch(name):
        raise BadRequest(
            f"the name {name!r} of pretrained weights is not accepted",
            fix="use letters, digits, '.', '_' and '-', starting with a letter or digit; "
            "for a file elsewhere set its path in the spec",
        )
    folder = registry(environment)
    if (folder / f"{name}{suffix}").is_file():
        return folder / f"{name}{suffix}"
    files = sorted((folder / name).glob(f"*{suffix}"))
    if not files:
        raise _not_found(name, folder, suffix)
    return files[0] if len(files) == 1 else choose(folder / name)


def names(folder: Path, suffix: str) -> list[str]:
    """The names in a registry; empty if the folder does not exist."""
    if not folder.is_dir():
        return []
    files = {path.stem for path in folder.glob(f"*{suffix}")}
    folders = {path.name for path in folder.iterdir() if path.is_dir() and any(path.glob(f"*{suffix}"))}
    return sorted(files | folders)


def _not_found(name: str, folder: Path, suffix: str) -> NotFound:
    available = names(folder, suffix)
    return NotFound(
        f"no pretrained weights {name!r} in {folder}, which contains {', '.join(available) or 'none'}",
        fix=f"use one of these names, or add {name}{suffix} to it" if available else f"add {name}{suffix} to it",
        path=str(folder),
    )
