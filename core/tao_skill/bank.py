"""Access to the skill bank: the packaged schemas, references, runners and skills.

The bank is the directory `folder` if given, else TAO_SKILL_BANK, else the installed wheel or the checkout.
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
    """Return the directory that contains schemas/, references/, runners/ and skills/.

    Raises:
        NotFound: there is no bank in the places searched.
    """
    configured = folder or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    candidates = [configured] if configured else [_PACKAGE / "bank", *_PACKAGE.parents[:2]]
    for candidate in candidates:
        if (candidate / "schemas").is_dir() and (candidate / "skills").is_dir():
            return candidate
    raise NotFound(
        f"no skill bank in {' or '.join(map(str, candidates))}: schemas/ and skills/ are missing",
        fix=f"reinstall tao-skill, or set {VARIABLE} to a directory that contains them",
    )


def schema_path(model: str, action: str, folder: Path | None = None) -> Path:
    """Return the path of an action's schema; the file may not exist."""
    return root(folder) / "schemas" / model / f"{action}.schema.json"


def template_path(model: str, action: str, folder: Path | None = None) -> Path:
    """Return the path of an action's spec template; the file may not exist."""
    return root(folder) / "references" / model / f"spec_template_{action}.yaml"


def runner_path(model: str, action: str, folder: Path | None = None) -> Path:
    """Return the path of an action's generated runner; the file may not exist."""
    return root(folder) / "runners" / model / f"{action}.py"


def skills_dir(folder: Path | None = None) -> Path:
    """Return the directory that contains a subdirectory for each skill."""
    return root(folder) / "skills"


def load_schema(model: str, action: str, folder: Path | None = None) -> dict[str, Any]:
    """Read the schema of an action.

    Raises:
        NotFound: the file is missing or is not strict JSON.
    """
    return _read(schema_path(model, action, folder), parse_json)


def load_template(model: str, action: str, folder: Path | None = None) -> dict[str, Any]:
    """Read the spec template of an action.

    Raises:
        NotFound: the file is missing or is not a YAML mapping.
    """
    return _read(template_path(model, action, folder), _parse_yaml)


def manifest(model: str, folder: Path | None = None) -> dict[str, Any]:
    """Read the manifest of a model: its actions with files and checksums, and its AutoML settings.

    Raises:
        NotFound: the file is missing or is not strict JSON.
    """
    return _read(root(folder) / "schemas" / model / "manifest.json", parse_json)


def skill_info(model: str, folder: Path | None = None) -> dict[str, Any]:
    """Read skill_info.yaml of a model: aliases, short keys, monitored metric, whether AutoML is enabled.

    Raises:
        NotFound: the file is missing or is not a YAML mapping.
    """
    return _read(root(folder) / "references" / model / "skill_info.yaml", _parse_yaml)


def recipes(model: str, folder: Path | None = None) -> list[dict[str, Any]]:
    """Read the recipes of a model, the best known first; empty for a model without recipes.

    Raises:
        NotFound: the file is not a YAML mapping of recipes.
    """
    path = root(folder) / "references" / model / "recipes.yaml"
    return list(_read(path, _parse_yaml)["recipes"]) if path.is_file() else []


def short_keys(model: str, folder: Path | None = None) -> dict[str, str]:
    """Return the short name of each spec key that has one; of several, the first.

    Raises:
        NotFound: as `skill_info`.
    """
    return {key: name for name, key in reversed(skill_info(model, folder)["spec_shorthand"].items())}


@lru_cache
def _parse_yaml(text: str) -> Any:
    from tao_skill.io.strict_yaml import parse_yaml

    return parse_yaml(text, trusted=True)


def _read(path: Path, parse: Callable[[str], Any]) -> dict[str, Any]:
    try:
        value = parse(read_text(path, RECORD_BYTES))
    except (OSError, ValueError) as error:
        raise _unusable(path, "it is missing" if isinstance(error, FileNotFoundError) else str(error)) from error
    if not isinstance(value, dict):
        raise _unusable(path, "it is not a mapping")
    return value


def _unusable(path: Path, reason: str) -> NotFound:
    return NotFound(
        f"{path} cannot be used: {reason}",
        fix="run `python tools/generate.py` in a checkout, or reinstall tao-skill",
        path=str(path),
    )
