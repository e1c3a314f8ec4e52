"""The registry of pretrained weights: a folder of NAME.pth files and NAME/ folders."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tao_skill.errors import BadRequest, NotFound

VARIABLE: Final = "TAO_SKILL_PRETRAINED"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_ENDING: Final = ".pth"


def registry(environment: Mapping[str, str]) -> Path:
    """Where the weights lie: TAO_SKILL_PRETRAINED, else tao-skill/pretrained in the user's data folder."""
    if given := environment.get(VARIABLE):
        return Path(given).expanduser().absolute()
    data = environment.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "tao-skill" / "pretrained"


def find(name: str, environment: Mapping[str, str], choose: Callable[[Path], Path]) -> Path:
    """The weights of that name.

    Args:
        choose: finds the file to use in a folder of several, as a training leaves it.

    Raises:
        BadRequest: the name could leave the registry.
        NotFound: there are no such weights; says which there are.
    """
    if not _NAME.fullmatch(name):
        raise BadRequest(
            f"the name {name!r} of pretrained weights is not accepted",
            fix="use letters, digits, '.', '_' and '-', starting with a letter or digit; "
            "for a file elsewhere set model.pretrained_model_path",
        )
    folder = registry(environment)
    if (folder / f"{name}{_ENDING}").is_file():
        return folder / f"{name}{_ENDING}"
    files = sorted((folder / name).glob(f"*{_ENDING}"))
    if not files:
        raise _unknown(name, folder)
    return files[0] if len(files) == 1 else choose(folder / name)


def names(folder: Path) -> list[str]:
    """Every name in a registry; none where the folder does not exist."""
    if not folder.is_dir():
        return []
    found = {path.stem for path in folder.glob(f"*{_ENDING}")}
    found |= {path.name for path in folder.iterdir() if path.is_dir() and any(path.glob(f"*{_ENDING}"))}
    return sorted(found)


def _unknown(name: str, folder: Path) -> NotFound:
    there = names(folder)
    return NotFound(
        f"no pretrained weights {name!r} in {folder}, which has {', '.join(there) or 'none'}",
        fix=f"use one of these names, or put {name}{_ENDING} there" if there else f"put {name}{_ENDING} there",
        path=str(folder),
    )
