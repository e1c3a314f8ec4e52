"""The repository installs as a plugin: each manifest has only the fields its client knows, and one version."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tao_skill import __version__
from tests.support.folders import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "tools"))
manifests = importlib.import_module("manifests")

SHARED = {"name", "version", "description", "author", "license", "keywords"}
FIELDS = {
    "plugin.json": {"$schema", *SHARED, "homepage", "repository", "extensions"},
    "mcp.json": {"$schema", "mcpServers"},
    ".claude-plugin/plugin.json": {*SHARED, "mcpServers"},
    ".claude-plugin/marketplace.json": {"name", "description", "owner", "plugins"},
    ".codex-plugin/plugin.json": {*SHARED, "skills", "mcpServers", "interface"},
    ".agents/plugins/marketplace.json": {"name", "interface", "plugins"},
    ".cursor-plugin/plugin.json": {*SHARED, "skills", "mcpServers", "displayName", "category", "tags"},
    "gemini-extension.json": {"name", "version", "description", "mcpServers"},
}
"""Fields that the specification or documentation of each client lists, of those that this project may come to use."""

every_manifest = pytest.mark.parametrize("name", FIELDS)


def read(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((REPOSITORY / name).read_text("utf-8"))
    return loaded


def test_every_manifest_is_held_to_its_fields() -> None:
    assert set(FIELDS) == set(manifests.MANIFESTS)


@every_manifest
def test_a_manifest_has_no_field_its_client_does_not_know(name: str) -> None:
    assert set(read(name)) <= FIELDS[name]


@every_manifest
def test_the_version_is_the_packages(name: str) -> None:
    assert read(name).get("version", __version__) == __version__
    assert re.findall(r'"version": "([^"]+)"', (REPOSITORY / name).read_text("utf-8")) in ([], [__version__])


def test_the_version_follows_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shutil.copyfile(REPOSITORY / "pyproject.toml", tmp_path / "pyproject.toml")
    monkeypatch.setattr(manifests, "__version__", "9.8.7")
    built = manifests.manifests(tmp_path)
    assert {content["version"] for content in built.values() if "version" in content} == {"9.8.7"}


def test_every_client_starts_the_same_server_which_the_package_installs() -> None:
    servers = [read(name)["mcpServers"] for name in FIELDS if isinstance(read(name).get("mcpServers"), dict)]
    assert len(servers) == 4
    for server in servers:
        (one,) = server.values()
        assert (one["command"], one["args"]) == ("tao-skill", ["mcp"])
    assert read(".cursor-plugin/plugin.json")["mcpServers"] == "./mcp.json"
    assert 'tao-skill = "tao_skill.cli:main"' in (REPOSITORY / "pyproject.toml").read_text("utf-8")


@every_manifest
def test_a_path_in_a_manifest_leads_into_the_repository(name: str) -> None:
    for path in re.findall(r'"(\./[^"]*)"', (REPOSITORY / name).read_text("utf-8")):
        assert (REPOSITORY / path).exists()
