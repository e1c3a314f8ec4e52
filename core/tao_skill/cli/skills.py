"""`tao-skill skills`."""

from __future__ import annotations

from pathlib import Path

import click

from tao_skill.cli.terminal.options import json_option
from tao_skill.cli.terminal.output import emit
from tao_skill.errors import BadRequest
from tao_skill.skills import AGENT_FOLDERS, get_skills, install_skills, list_skills


@click.group()
def skills() -> None:
    """List, show and install the Agent Skills."""


@skills.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the skills with their descriptions."""
    found = list_skills()
    described = [{"name": skill.name, "description": skill.description, "path": str(skill.path)} for skill in found]
    text = "\n\n".join(f"{skill.name}\n  {skill.description}" for skill in found)
    emit({"skills": described}, text, as_json=as_json, then=[["skills", "install", "--help"]])


@skills.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Print the SKILL.md of NAME."""
    (skill,) = get_skills([name])
    document = {
        "name": skill.name,
        "description": skill.description,
        "path": str(skill.path),
        "files": list(skill.files),
        "text": skill.text,
    }
    emit(document, skill.text.rstrip("\n"), as_json=as_json, then=[["skills", "install", skill.name, "--help"]])


@skills.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option(
    "--to", type=click.Path(file_okay=False, path_type=Path), help="Folder to install to; each skill gets a subfolder."
)
@click.option(
    "--agent",
    type=click.Choice(list(AGENT_FOLDERS)),
    help="Install to the folder of this project that the agent reads: "
    + ", ".join(f"{folder} ({agent})" for agent, folder in AGENT_FOLDERS.items())
    + ".",
)
@click.option("--force", is_flag=True, help="Replace installed skills that differ.")
@json_option
def install(names: tuple[str, ...], to: Path | None, agent: str | None, force: bool, as_json: bool) -> None:
    """Install all skills, or each NAME, for an agent.

    Identical installed skills are left alone. Without --force, a skill that differs is an error that names the files.
    """
    if (to is None) == (agent is None):
        raise BadRequest("skills are installed to a single folder", fix="give either --to DIRECTORY or --agent NAME")
    folder = to or Path(AGENT_FOLDERS[agent or ""])
    installed = install_skills(get_skills(names), folder.absolute(), force=force)
    text = "\n".join(f"{skill['state']:<10} {skill['path']}" for skill in installed)
    emit({"folder": str(folder.absolute()), "skills": installed}, text, as_json=as_json, then=[["doctor"]])
