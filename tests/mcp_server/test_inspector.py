"""A client that is not ours and not of the SDK we use: the command line of MCP's inspector, on Node."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tests.support.servers.mcp import SERVER, environment, serving

PACKAGE = "@modelcontextprotocol/inspector"
VERSION = "0.21.2"  # of those that run on Node 20, the last
INSTALL = ("install", "--no-audit", "--no-fund", "--silent", "--ignore-scripts")
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tao-skill-tests"


@pytest.fixture(scope="module")
def inspector() -> list[str]:
    """The command, installed once into a cache."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not installed")
    folder = CACHE / f"inspector-{VERSION}"
    script = folder / "node_modules" / PACKAGE / "cli" / "build" / "cli.js"
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(CACHE / ".lock"):
        if not script.is_file():
            words = [npm, *INSTALL, "--prefix", str(folder), f"{PACKAGE}@{VERSION}"]
            done = subprocess.run(words, capture_output=True, text=True, timeout=300)
            if done.returncode:
                pytest.skip(f"the inspector could not be installed: {done.stderr[-200:]}")
    return [node, str(script), "--cli"]


def inspect(inspector: list[str], *words: str, env: dict[str, str] | None = None) -> dict[str, Any]:
    done = subprocess.run([*inspector, *words], env=env or environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_it_lists_tools_and_reads_a_skill_over_stdio(inspector: list[str], root: Path) -> None:
    server = [*SERVER, "--root", str(root)]
    tools = inspect(inspector, *server, "--method", "tools/list")["tools"]
    assert {"run_action", "read_report"} <= {tool["name"] for tool in tools}
    assert all(tool["inputSchema"]["additionalProperties"] is False for tool in tools)
    uri = "skill://tao-run-automl/SKILL.md"
    read = inspect(inspector, *server, "--method", "resources/read", "--uri", uri)
    assert read["contents"][0]["text"].startswith("---\nname: tao-run-automl")


def test_it_calls_tools_over_http_and_is_told_errors(inspector: list[str], root: Path) -> None:
    token = "correct-horse-battery-staple"
    with serving(root, token=token) as url:
        words = [url, "--transport", "http", "--header", f"Authorization: Bearer {token}", "--method", "tools/call"]
        good = inspect(inspector, *words, "--tool-name", "inspect_data", "--tool-arg", "data=data/train_data.npy")
        assert good["structuredContent"]["layouts"] == ["nvidia"]
        bad = inspect(inspector, *words, "--tool-name", "inspect_data", "--tool-arg", "data=/etc/passwd")
        assert bad["isError"] is True
        assert json.loads(bad["content"][0]["text"])["error"]["code"] == "outside_roots"
