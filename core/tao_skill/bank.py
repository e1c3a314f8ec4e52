"""Finds the packaged data: schemas, references, runners and skills, in an installed wheel or in a checkout.

Every function takes the bank's folder as `folder`; without it TAO_SKILL_BANK, the wheel or the checkout is taken.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from tao_skill.errors import NotFound
from tao_skill.io.strict_json import RECORD_BYTES, parse_json, read_text

VARIABLE: Final = "TAO_SKILL_BANK"
_PACKAGE: Final = Path(__file__).resolve().parent


def root(folder: Path | None = None) -> Path:
    """The folder that holds schemas/, references/, runners/ and skills/.

    Raises:
        NotFound: there is none.
    """
    named = folder or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    candidates = [named] if named else [_PACKAGE / "bank", *_PACKAGE.parents[:2]]
    for candidate in candidates:
        if (candidate / "schemas").is_dir() and (candidate / "skills").is_dir():
            return candidate
    raise NotFound(
        f"no skill bank in {' or '.join(map(str, candidates))}: schemas/ and skills/ are missing",
        fix=f"reinstall tao-skill, or set {VARIABLE} to a folder that has them",
    )


def schema_path(model: str, action: str, folder: Path | None = None) -> Path:
    """The published schema of an action; the file may be missing."""
    return root(folder) / "schemas" / model / f"{action}.schema.json"


def template_path(model: str, action: str, folder: Path | None = None) -> Path:
    """The spec template of an action; the file may be missing."""
    return root(folder) / "references" / model / f"spec_template_{action}.yaml"


def runner_path(model: str, action: str, folder: Path | None = None) -> Path:
    """The generated runner of an action; the file may be missing."""
    return root(folder) / "runners" / model / f"{action}.py"


def skills_dir(folder: Path | None = None) -> Path:
    """The folder of skills, one folder each."""
    return root(folder) / "skills"


def load_schema(model: str, action: str, folder: Path | None = None) -> dict[str, Any]:
    """The published schema of an action.

    Raises:
        NotFound: it is missing, or is not strict JSON.
    """
    return _read(schema_path(model, action, folder), parse_json)


def load_template(model: str, action: str, folder: Path | None = None) -> dict[str, Any]:
    """The spec template of an action, as values.

    Raises:
        NotFound: it is missing, or is not a YAML mapping.
    """
    return _read(template_path(model, action, folder), _parse_yaml)


def manifest(model: str, folder: Path | None = None) -> dict[str, Any]:
    """The manifest of a model: its actions with files and hashes, and its AutoML facts.

    Raises:
        NotFound: it is missing, or is not strict JSON.
    """
    return _read(root(folder) / "schemas" / model / "manifest.json", parse_json)


def skill_info(model: str, folder: Path | None = None) -> dict[str, Any]:
    """What is written by hand about a model: aliases, shorthand keys, monitoring metric, whether AutoML is enabled.

    Raises:
        NotFound: it is missing, or is not a YAML mapping.
    """
    return _read(root(folder) / "references" / model / "skill_info.yaml", _parse_yaml)


@lru_cache
def _parse_yaml(text: str) -> Any:
    from tao_skill.io.strict_yaml import parse_yaml

    return parse_yaml(text, own=True)


def _read(path: Path, parse: Callable[[str], Any]) -> dict[str, Any]:
    try:
        value = parse(read_text(path, RECORD_BYTES))
    except (OSError, ValueError) as error:
        raise _unusable(path, "it is missing" if isinstance(error, FileNotFoundError) else str(error)) from error
    if not isinstance(value, dict):
        raise _unusable(path, "it holds no mapping")
    return value


def _unusable(path: Path, reason: str) -> NotFound:
    return NotFound(
        f"{path} cannot be used: {reason}",
        fix="run `python tools/generate.py` in a checkout, or reinstall tao-skill",
        path=str(path),
    )
