"""The packaged Agent Skills: listing them and copying them to where an agent looks for skills."""

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
"""Folder of a project that each agent reads skills from."""

SKILL_FILE: Final = "SKILL.md"


@dataclass(frozen=True, kw_only=True)
class Skill:
    """One skill of the bank.

    Attributes:
        text: its SKILL.md. files: all of its files, relative to its folder `path`.
    """

    name: str
    description: str
    path: Path
    text: str
    files: Sequence[str]


def list_skills(folder: Path | None = None) -> list[Skill]:
    """Every skill of the bank, by name.

    Raises:
        NotFound: there is no bank, or a SKILL.md in it has no name and description.
    """
    return [_read(path.parent) for path in sorted(bank.skills_dir(folder).glob(f"*/{SKILL_FILE}"))]


def get_skills(names: Sequence[str], folder: Path | None = None) -> list[Skill]:
    """The skills of these names; all without any.

    Raises:
        NotFound: there is no such skill.
    """
    known = {skill.name: skill for skill in list_skills(folder)}
    for name in names:
        if name not in known:
            raise NotFound(f"no skill {name!r}", fix=f"use {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(names or known)]


def install_skills(skills: Sequence[Skill], to: Path, *, force: bool = False) -> list[dict[str, Any]]:
    """Copy each skill to `to`/<its name>, in one step each; a copy that is there already stays untouched.

    Returns:
        JSON-able, an entry a skill: `name`, `path` and `state`: installed, unchanged or replaced.

    Raises:
        BadRequest: a folder there differs and `force` is not given; nothing has been copied then.
        CannotWrite: `to` cannot be written.
    """
    differing = {skill.name: differences(skill, to / skill.name) for skill in skills}
    if any(differing.values()) and not force:
        shown = "; ".join(f"{to / name}: {', '.join(found)}" for name, found in differing.items() if found)
        raise BadRequest(f"installed skills differ from the packaged ones - {shown}", fix="--force replaces them")
    return [_place(skill, to / skill.name, bool(differing[skill.name])) for skill in skills]


def differences(skill: Skill, target: Path) -> list[str]:
    """What a folder has other than the skill, a phrase for each file; nothing where there is no such folder."""
    if not target.is_dir():
        return ["it is no folder"] if target.exists() or target.is_symlink() else []
    there = {path.relative_to(target).as_posix() for path in target.rglob("*") if not path.is_dir()}
    missing = [f"{name} is missing" for name in skill.files if name not in there]
    changed = [f"{name} is changed" for name in skill.files if name in there and not _same(skill, target, name)]
    return [*missing, *changed, *(f"{name} is extra" for name in sorted(there.difference(skill.files)))]


def _same(skill: Skill, target: Path, name: str) -> bool:
    return (target / name).is_file() and (target / name).read_bytes() == (skill.path / name).read_bytes()


def _place(skill: Skill, target: Path, differs: bool) -> dict[str, Any]:
    state = "replaced" if differs else "unchanged" if target.is_dir() else "installed"
    if state != "unchanged":
        replace_folder(target, skill.path)
    return {"name": skill.name, "path": str(target), "state": state}


def _read(folder: Path) -> Skill:
    from tao_skill.io.strict_yaml import parse_yaml

    path = folder / SKILL_FILE
    try:
        text = read_text(path, RECORD_BYTES)
        front = parse_yaml(text.split("---\n")[1])
        name, description = str(front["name"]), str(front["description"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise NotFound(f"{path} has no name and description", fix="reinstall tao-skill", path=str(path)) from error
    found = sorted(one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file())
    return Skill(name=name, description=description, path=folder, text=text, files=tuple(found))
