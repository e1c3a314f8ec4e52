"""List the packaged Agent Skills and install them for an agent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tao_skill import bank
from tao_skill.errors import BadRequest, NotFound
from tao_skill.io.atomic import replace_folder
from tao_skill.io.strict_json import RECORD_BYTES, read_text

AGENT_FOLDERS: Final[Mapping[str, str]] = {
    "claude": ".claude/skills",  # code.claude.com/docs/en/skills
    "codex": ".agents/skills",  # developers.openai.com/codex/skills
    "gemini": ".gemini/skills",  # geminicli.com/docs/cli/skills
    "cursor": ".cursor/skills",  # cursor.com/docs/context/skills
}
"""Directory of a project from which each agent reads skills."""

SKILL_FILE: Final = "SKILL.md"


@dataclass(frozen=True, kw_only=True)
class Skill:
    """A skill of the bank.

    Attributes:
        path: its directory. text: content of SKILL.md. files: all files, relative to `path`.
    """

    name: str
    description: str
    path: Path
    text: str
    files: Sequence[str]


def list_skills(folder: Path | None = None) -> list[Skill]:
    """List all skills, sorted by name.

    Raises:
        NotFound: there is no bank, or a SKILL.md has no name and description.
    """
    return [_read(path.parent) for path in sorted(bank.skills_dir(folder).glob(f"*/{SKILL_FILE}"))]


def get_skills(names: Sequence[str], folder: Path | None = None) -> list[Skill]:
    """Return the named skills, or all skills if `names` is empty.

    Raises:
        NotFound: a skill does not exist.
    """
    known = {skill.name: skill for skill in list_skills(folder)}
    for name in names:
        if name not in known:
            raise NotFound(f"no skill {name!r}", fix=f"use {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(names or known)]


def install_skills(skills: Sequence[Skill], to: Path, *, force: bool = False) -> list[dict[str, Any]]:
    """Copy each skill to `to/<name>`, atomically; identical installed skills stay as they are.

    Returns:
        For each skill `name`, `path` and `state`: installed, unchanged or replaced.

    Raises:
        BadRequest: an installed skill differs and `force` is false; no skill is copied.
        CannotWrite: `to` cannot be written.
    """
    differing = {skill.name: differences(skill, to / skill.name) for skill in skills}
    if any(differing.values()) and not force:
        details = "; ".join(f"{to / name}: {', '.join(files)}" for name, files in differing.items() if files)
        raise BadRequest(
            f"installed skills differ from the packaged ones - {details}", fix="add --force to replace them"
        )
    return [_install(skill, to / skill.name, bool(differing[skill.name])) for skill in skills]


def differences(skill: Skill, target: Path) -> list[str]:
    """Describe each file of an installed skill that differs; empty if the directory does not exist."""
    if not target.is_dir():
        return ["it is not a directory"] if target.exists() or target.is_symlink() else []
    installed = {path.relative_to(target).as_posix() for path in target.rglob("*") if not path.is_dir()}
    missing = [f"{name} is missing" for name in skill.files if name not in installed]
    changed = [f"{name} is changed" for name in skill.files if name in installed and not _same(skill, target, name)]
    return [*missing, *changed, *(f"{name} is extra" for name in sorted(installed.difference(skill.files)))]


def _same(skill: Skill, target: Path, name: str) -> bool:
    return (target / name).is_file() and (target / name).read_bytes() == (skill.path / name).read_bytes()


def _install(skill: Skill, target: Path, differs: bool) -> dict[str, Any]:
    state = "replaced" if differs else "unchanged" if target.is_dir() else "installed"
    if state != "unchanged":
        replace_folder(target, skill.path)
    return {"name": skill.name, "path": str(target), "state": state}


def _read(folder: Path) -> Skill:
    from tao_skill.io.strict_yaml import parse_yaml

    path = folder / SKILL_FILE
    try:
        text = read_text(path, RECORD_BYTES)
        front_matter = parse_yaml(text.split("---\n")[1])
        name, description = str(front_matter["name"]), str(front_matter["description"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise NotFound(f"{path} has no name and description", fix="reinstall tao-skill", path=str(path)) from error
    files = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    return Skill(name=name, description=description, path=folder, text=text, files=tuple(files))
