"""`tao-skill mcp` and `tao-skill tools`: the tools for agents."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Final

import click

from tao_skill.cli.terminal.output import RESULTS_VARIABLE, note
from tao_skill.errors import BadRequest, MissingDependency, NotFound

FORMATS: Final = ("mcp", "anthropic", "openai")

EPILOG: Final = """\b
Environment:
  TAO_SKILL_MCP_TOKEN   bearer token that clients of --http must send
  TAO_SKILL_RESULTS     results root
"""

_FOLDER: Final = click.Path(file_okay=False, path_type=Path)


@click.command(epilog=EPILOG)
@click.option(
    "--root",
    "roots",
    multiple=True,
    type=_FOLDER,
    help="Folder that tools may read and write; repeatable. Default: the working directory.",
)
@click.option(
    "--results-root", type=_FOLDER, help="Folder of the jobs, inside a root. Default: results in the first root."
)
@click.option("--http", "address", metavar="HOST:PORT", help="Serve HTTP instead of stdin and stdout.")
@click.option("--allow-remote", is_flag=True, help="Accept s3:// URLs too.")
def mcp(roots: tuple[Path, ...], results_root: Path | None, address: str | None, allow_remote: bool) -> None:
    """Serve the tools to an agent over the Model Context Protocol."""
    if importlib.util.find_spec("mcp") is None:
        raise MissingDependency("the package mcp is not installed", fix="pip install 'tao-skill[mcp]'")
    from tao_skill.agent_tools.context import ToolContext
    from tao_skill.agent_tools.roots import Roots
    from tao_skill.mcp_server.enclosure import enclose
    from tao_skill.mcp_server.server import serve_stdio

    folders = tuple(_existing(folder) for folder in roots or (Path(),))
    configured = results_root or (Path(variable) if (variable := os.environ.get(RESULTS_VARIABLE)) else None)
    results = configured.absolute() if configured else folders[0] / "results"
    allowed = Roots(folders=folders, allow_remote=allow_remote)
    if not allowed.contains(results):
        raise BadRequest(f"the results root {results} is not in a --root", fix=f"add --root {results}")
    os.chdir(folders[0])
    context = ToolContext(roots=allowed, results_root=results, environment=os.environ)
    if not enclose(allowed, os.environ):
        note("warning: this kernel lacks Landlock: a process that replaces folders of a --root by links can escape it")
    if address is None:
        serve_stdio(context)
    else:
        from tao_skill.mcp_server.http import TOKEN_VARIABLE, parse_address, serve_http

        serve_http(context, parse_address(address, os.environ.pop(TOKEN_VARIABLE, None)))


@click.command()
@click.option("--format", "format_", type=click.Choice(FORMATS), default="mcp", show_default=True, help="Format.")
@click.option("--json", "as_json", is_flag=True, help="Accepted as by every command; the output is always JSON.")
def tools(format_: str, as_json: bool) -> None:
    """Print the tool definitions for function calling."""
    from tao_skill.agent_tools.formats import definitions

    click.echo(json.dumps(definitions(format_), indent=2))


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        raise NotFound(f"--root {folder} is not a directory", fix="give an existing directory", path=str(folder))
    return folder.resolve()
