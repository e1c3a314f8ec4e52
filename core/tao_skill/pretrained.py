"""The registry of pretrained weights: a folder of weight files NAME.pth and folders NAME/ as trainings leave them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tao_skill.errors import BadRequest, NotFound

VARIABLE: Final = "TAO_SKILL_PRETRAINED"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def registry(environment: Mapping[str, str]) -> Path:
    """Where the weights lie: TAO_SKILL_PRETRAINED, else tao-skill/pretrained in the user's data folder."""
    if given := environment.get(VARIABLE):
        return Path(given).expanduser().absolute()
    data = environment.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "tao-skill" / "pretrained"


def find(name: str, environment: Mapping[str, str], suffix: str, choose: Callable[[Path], Path]) -> Path:
    """The weights of that name.

    Args:
        suffix: of weight files, e.g. `.pth`.
        choose: finds the file to use in a folder of several, as a training leaves it.

    Raises:
        BadRequest: the name could leave the registry.
        NotFound: there are no such weights; says which there are.
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
        raise _unknown(name, folder, suffix)
    return files[0] if len(files) == 1 else choose(folder / name)


def names(folder: Path, suffix: str) -> list[str]:
    """Every name in a registry; none where the folder does not exist."""
    if not folder.is_dir():
        return []
    found = {path.stem for path in folder.glob(f"*{suffix}")}
    found |= {path.name for path in folder.iterdir() if path.is_dir() and any(path.glob(f"*{suffix}"))}
    return sorted(found)


def _unknown(name: str, folder: Path, suffix: str) -> NotFound:
    there = names(folder, suffix)
    return NotFound(
        f"no pretrained weights {name!r} in {folder}, which has {', '.join(there) or 'none'}",
        fix=f"use one of these names, or put {name}{suffix} there" if there else f"put {name}{suffix} there",
        path=str(folder),
    )
