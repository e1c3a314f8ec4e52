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
    """List the Agent Skills, show one, install them for an agent."""


@skills.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the skills with their descriptions."""
    found = list_skills()
    described = [{"name": one.name, "description": one.description, "path": str(one.path)} for one in found]
    text = "\n\n".join(f"{one.name}\n  {one.description}" for one in found)
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
@click.option("--to", type=click.Path(file_okay=False, path_type=Path), help="Folder that gets a folder per skill.")
@click.option(
    "--agent",
    type=click.Choice(list(AGENT_FOLDERS)),
    help="The folder of this project that the agent reads: "
    + ", ".join(f"{folder} ({agent})" for agent, folder in AGENT_FOLDERS.items())
    + ".",
)
@click.option("--force", is_flag=True, help="Replace folders that differ.")
@json_option
def install(names: tuple[str, ...], to: Path | None, agent: str | None, force: bool, as_json: bool) -> None:
    """Copy the skills, or only those of each NAME, to where an agent finds them.

    What is installed already and the same stays untouched; what differs is refused, file by file, without --force.
    """
    if (to is None) == (agent is None):
        raise BadRequest("a skill is installed to one place", fix="give either --to DIR or --agent NAME")
    folder = to or Path(AGENT_FOLDERS[agent or ""])
    done = install_skills(get_skills(names), folder.absolute(), force=force)
    text = "\n".join(f"{one['state']:<10} {one['path']}" for one in done)
    emit({"folder": str(folder.absolute()), "skills": done}, text, as_json=as_json, then=[["doctor"]])
