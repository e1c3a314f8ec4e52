"""Manifests by which the repository itself installs as a plugin of each agent, from pyproject.toml and one table."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from tao_skill import __version__

SERVER: Final = {"command": "tao-skill", "args": ["mcp"]}
"""The MCP server, speaking over stdio."""

AGENT_PLUGINS: Final = "https://agent-plugins.org/schemas/1.0.0"
SKILLS: Final = "./skills/"

Facts = Mapping[str, Any]
"""The `project` table of pyproject.toml."""


def manifests(root: Path) -> dict[str, Any]:
    """Content of every manifest, by path relative to `root`, in a fixed order."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    return {name: build(project) for name, build in MANIFESTS.items()}


def _described(project: Facts) -> dict[str, Any]:
    """The fields that all plugin manifests have in common."""
    return {
        "name": project["name"],
        "version": __version__,
        "description": project["description"],
        "author": {"name": project["authors"][0]["name"]},
        "license": project["license"],
        "keywords": project["keywords"],
    }


def _servers(project: Facts) -> dict[str, Any]:
    return {project["name"]: SERVER}


def _portable(project: Facts) -> dict[str, Any]:
    """Agent Plugins 1.0.0, sections 5 and 6: skills and servers are found at fixed places."""
    return {"$schema": f"{AGENT_PLUGINS}/plugin.schema.json"} | _described(project)


def _portable_servers(project: Facts) -> dict[str, Any]:
    """Agent Plugins 1.0.0, section 7.2."""
    servers = {name: {"type": "stdio"} | server for name, server in _servers(project).items()}
    return {"$schema": f"{AGENT_PLUGINS}/mcp.schema.json", "mcpServers": servers}


def _claude(project: Facts) -> dict[str, Any]:
    """Claude Code, plugins reference; it finds skills/ by itself."""
    return _described(project) | {"mcpServers": _servers(project)}


def _claude_marketplace(project: Facts) -> dict[str, Any]:
    """Claude Code, plugin marketplaces: the repository lists itself."""
    plugin = {"name": project["name"], "source": "./", "description": project["description"]}
    owner = {"name": project["authors"][0]["name"]}
    return {"name": project["name"], "description": project["description"], "owner": owner, "plugins": [plugin]}


def _codex(project: Facts) -> dict[str, Any]:
    """Codex, plugin manifest: camelCase fields, paths that start with `./`."""
    interface = {
        "displayName": project["name"],
        "shortDescription": project["description"],
        "category": "Developer Tools",
    }
    return _described(project) | {"skills": SKILLS, "mcpServers": _servers(project), "interface": interface}


def _codex_marketplace(project: Facts) -> dict[str, Any]:
    """Codex, marketplace: a local source may not be the root itself, so the repository is named as a Git source."""
    plugin = {
        "name": project["name"],
        "source": {"source": "url", "url": "./"},
        "policy": {"installation": "AVAILABLE", "authentication": "ON_INSTALL"},
        "category": "Developer Tools",
    }
    return {"name": project["name"], "interface": {"displayName": project["name"]}, "plugins": [plugin]}


def _gemini(project: Facts) -> dict[str, Any]:
    """Gemini CLI, extension reference; it finds skills/ by itself."""
    shared = {name: _described(project)[name] for name in ("name", "version", "description")}
    return shared | {"mcpServers": _servers(project)}


def _cursor(project: Facts) -> dict[str, Any]:
    """Cursor, schema of its plugin manifest; it takes the servers from mcp.json."""
    return _described(project) | {"skills": SKILLS, "mcpServers": "./mcp.json"}


MANIFESTS: Final[Mapping[str, Callable[[Facts], dict[str, Any]]]] = {
    "plugin.json": _portable,
    "mcp.json": _portable_servers,
    ".claude-plugin/plugin.json": _claude,
    ".claude-plugin/marketplace.json": _claude_marketplace,
    ".codex-plugin/plugin.json": _codex,
    ".agents/plugins/marketplace.json": _codex_marketplace,
    ".cursor-plugin/plugin.json": _cursor,
    "gemini-extension.json": _gemini,
}
