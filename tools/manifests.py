"""Manifests with which agents install the repository as a plugin, built from pyproject.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from tao_skill import __version__

SERVER: Final = {"command": "tao-skill", "args": ["mcp"]}
"""Command of the MCP server over stdio."""

AGENT_PLUGINS: Final = "https://agent-plugins.org/schemas/1.0.0"
SKILLS: Final = "./skills/"

Project = Mapping[str, Any]
"""The `project` table of pyproject.toml."""


def manifests(root: Path) -> dict[str, Any]:
    """Return the content of every manifest by path relative to `root`, in a fixed order."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    return {name: build(project) for name, build in MANIFESTS.items()}


def _common_fields(project: Project) -> dict[str, Any]:
    """Return the fields that all plugin manifests share."""
    return {
        "name": project["name"],
        "version": __version__,
        "description": project["description"],
        "author": {"name": project["authors"][0]["name"]},
        "license": project["license"],
        "keywords": project["keywords"],
    }


def _servers(project: Project) -> dict[str, Any]:
    return {project["name"]: SERVER}


def _portable(project: Project) -> dict[str, Any]:
    """Agent Plugins 1.0.0, sections 5 and 6; skills and servers have fixed paths."""
    return {"$schema": f"{AGENT_PLUGINS}/plugin.schema.json"} | _common_fields(project)


def _portable_servers(project: Project) -> dict[str, Any]:
    """Agent Plugins 1.0.0, section 7.2."""
    servers = {name: {"type": "stdio"} | server for name, server in _servers(project).items()}
    return {"$schema": f"{AGENT_PLUGINS}/mcp.schema.json", "mcpServers": servers}


def _claude(project: Project) -> dict[str, Any]:
    """Claude Code, plugins reference; skills/ is found automatically."""
    return _common_fields(project) | {"mcpServers": _servers(project)}


def _claude_marketplace(project: Project) -> dict[str, Any]:
    """Claude Code, plugin marketplaces: the repository lists itself."""
    plugin = {"name": project["name"], "source": "./", "description": project["description"]}
    owner = {"name": project["authors"][0]["name"]}
    return {"name": project["name"], "description": project["description"], "owner": owner, "plugins": [plugin]}


def _codex(project: Project) -> dict[str, Any]:
    """Codex, plugin manifest: camelCase fields, paths that start with `./`."""
    interface = {
        "displayName": project["name"],
        "shortDescription": project["description"],
        "category": "Developer Tools",
    }
    return _common_fields(project) | {"skills": SKILLS, "mcpServers": _servers(project), "interface": interface}


def _codex_marketplace(project: Project) -> dict[str, Any]:
    """Codex, marketplace: a local source cannot be the root directory, so the repository is a Git source."""
    plugin = {
        "name": project["name"],
        "source": {"source": "url", "url": "./"},
        "policy": {"installation": "AVAILABLE", "authentication": "ON_INSTALL"},
        "category": "Developer Tools",
    }
    return {"name": project["name"], "interface": {"displayName": project["name"]}, "plugins": [plugin]}


def _gemini(project: Project) -> dict[str, Any]:
    """Gemini CLI, extension reference; skills/ is found automatically."""
    fields = {name: _common_fields(project)[name] for name in ("name", "version", "description")}
    return fields | {"mcpServers": _servers(project)}


def _cursor(project: Project) -> dict[str, Any]:
    """Cursor, schema of the plugin manifest; the servers are in mcp.json."""
    return _common_fields(project) | {"skills": SKILLS, "mcpServers": "./mcp.json"}


MANIFESTS: Final[Mapping[str, Callable[[Project], dict[str, Any]]]] = {
    "plugin.json": _portable,
    "mcp.json": _portable_servers,
    ".claude-plugin/plugin.json": _claude,
    ".claude-plugin/marketplace.json": _claude_marketplace,
    ".codex-plugin/plugin.json": _codex,
    ".agents/plugins/marketplace.json": _codex_marketplace,
    ".cursor-plugin/plugin.json": _cursor,
    "gemini-extension.json": _gemini,
}
