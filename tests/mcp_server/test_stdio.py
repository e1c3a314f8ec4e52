"""The official client against the server on standard input and output."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest
from mcp import Client, MCPError
from mcp.client.stdio import StdioServerParameters, stdio_client

from tao_skill.agent_tools.formats import definitions
from tests.support.folders import REPOSITORY
from tests.support.servers.mcp import SERVER, environment


@asynccontextmanager
async def connected(root: Path) -> AsyncIterator[Client]:
    """A client of a server that works in `root`."""
    command, *arguments = SERVER
    server = StdioServerParameters(command=command, args=[*arguments, "--root", str(root)], env=environment())
    async with Client(stdio_client(server)) as client:
        yield client


def with_client(root: Path, talk: Callable[[Client], Awaitable[None]]) -> None:
    async def run() -> None:
        with anyio.fail_after(240):
            async with connected(root) as client:
                await talk(client)

    anyio.run(run)


def train(*overrides: str) -> dict[str, Any]:
    """A training of the set in data/, its paths relative to the first root."""
    small = ["train_data=data", "num_workers=0", "batch_size=6"]
    return {"action": "train", "automl": "off", "overrides": [*small, *overrides]}


def test_what_is_listed_is_the_table(root: Path) -> None:
    async def talk(client: Client) -> None:
        listed = (await client.list_tools()).tools
        assert [one.model_dump(by_alias=True, exclude_none=True) for one in listed] == definitions("mcp")
        assert (await client.call_tool("list_models", {})).structured_content["models"]

    with_client(root, talk)


def test_errors_reach_the_model_with_code_message_and_fix(root: Path) -> None:
    async def talk(client: Client) -> None:
        for name, arguments, code in (
            ("plan", train("lrr=1"), "bad_spec"),
            ("plan", {"action": "train", "unknown": 1}, "bad_request"),
            ("inspect_data", {"data": "/etc/passwd"}, "outside_roots"),
            ("inspect_data", {"data": "data/../../x.npy"}, "outside_roots"),
            ("inspect_data", {"data": "data/none.npy"}, "not_found"),
            ("no_such_tool", {}, "not_found"),
        ):
            result = await client.call_tool(name, arguments)
            assert result.is_error
            assert json.loads(result.content[0].text) == result.structured_content
            error = result.structured_content["error"]
            assert (error["code"], bool(error["message"]), bool(error["fix"])) == (code, True, True)

    with_client(root, talk)


def test_skills_are_resources_with_digests(root: Path) -> None:
    async def talk(client: Client) -> None:
        listed = {one.uri: one for one in (await client.list_resources()).resources}
        index = json.loads((await client.read_resource("skill://index.json")).contents[0].text)["resources"]
        assert {one["uri"] for one in index} | {"skill://index.json"} == set(listed)
        for name in ("SKILL.md", "schemas/train.schema.json", "references/spec_template_train.yaml"):
            uri = f"skill://tao-train-pose-classification/{name}"
            found = (await client.read_resource(uri)).contents[0]
            digest = hashlib.sha256(found.text.encode()).hexdigest()
            assert digest == found.meta["sha256"] == listed[uri].meta["sha256"]
            assert digest == next(one["sha256"] for one in index if one["uri"] == uri)
        for uri in (
            "skill://../pyproject.toml",
            "skill://tao-train-pose-classification/../../pyproject.toml",
            "file:///etc/passwd",
        ):
            with pytest.raises(MCPError, match="no resource"):
                await client.read_resource(uri)

    with_client(root, talk)


def test_prompts_name_the_tools(root: Path) -> None:
    async def talk(client: Client) -> None:
        tools = {one.name for one in (await client.list_tools()).tools}
        for prompt in (await client.list_prompts()).prompts:
            arguments = {one.name: f"<{one.name}>" for one in prompt.arguments}
            text = (await client.get_prompt(prompt.name, arguments)).messages[0].content.text
            assert all(value in text for value in arguments.values())
            assert sum(tool in text for tool in tools) >= 4
            with pytest.raises(MCPError, match="needs data"):
                await client.get_prompt(prompt.name, {})

    with_client(root, talk)


def test_a_job_outlives_its_server_and_waiting_tells_of_progress(root: Path) -> None:
    started: dict[str, Any] = {}
    heard: list[tuple[float, str | None]] = []

    async def begin(client: Client) -> None:
        started.update((await client.call_tool("run_action", train("epochs=900"))).structured_content)

    async def follow(client: Client) -> None:
        async def hear(done: float, total: float | None, text: str | None) -> None:
            heard.append((done, text))

        job = started["job"]["id"]
        for _ in range(60):
            await client.call_tool("wait_for_job", {"job": job, "timeout_s": 2}, progress_callback=hear)
            if any("epoch" in (text or "") for _, text in heard):
                break
        waiting = anyio.current_time()
        with anyio.move_on_after(1):  # a client may lose patience, and the server goes on
            await client.call_tool("wait_for_job", {"job": job, "timeout_s": 3000})
        ended = await client.call_tool("cancel_job", {"job": job})
        assert ended.structured_content["job"]["state"] == "CANCELED"
        assert anyio.current_time() - waiting < 60

    with_client(root, begin)
    record = json.loads((root / "results" / started["job"]["id"] / "job.json").read_text())
    assert psutil.pid_exists(record["attempts"][-1]["pid"])
    with_client(root, follow)
    assert any("epoch" in (text or "") for _, text in heard)
    assert [done for done, _ in heard[:3]] == sorted(done for done, _ in heard[:3])


def test_a_start_is_light(root: Path) -> None:
    """CPU of initialize and tools/list; a quiet core takes less than one second for it."""
    process = subprocess.Popen(
        [*SERVER, "--root", str(root)], env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    for message in (
        {"id": 1, "method": "initialize", "params": hello},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/list", "params": {}},
    ):
        process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline() if "id" in message else ""
    assert len(json.loads(answer)["result"]["tools"]) == 11
    spent = psutil.Process(process.pid).cpu_times()
    process.communicate(timeout=30)  # the end of its input ends it
    assert process.returncode == 0
    assert spent.user + spent.system < 2


def test_a_start_imports_nothing_heavy() -> None:
    code = (
        "import sys, tao_skill.mcp_server.server, tao_skill.agent_tools.formats as f\nf.definitions('mcp')\n"
        "found = {'torch', 'pytorch_lightning', 'optuna', 'onnx', 'numpy', 'sqlalchemy'} & set(sys.modules)\n"
        "found |= {'filelock', 'jsonschema', 'psutil', 'yaml'} & set(sys.modules)\n"
        "found |= {'tao_skill.models.pose_classification.config', 'tao_skill.cli'} & set(sys.modules)\n"
        "assert not found, found\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["--root", "/no/such/folder"], 3, "--root"),
        (["--results-root", "/"], 2, "--root"),
        (["--http", "0.0.0.0:0"], 2, "TAO_SKILL_MCP_TOKEN"),
        (["--http", "8000"], 2, "HOST:PORT"),
    ],
)
def test_a_server_that_would_reach_too_far_does_not_start(
    arguments: list[str], code: int, word: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [*SERVER, *arguments], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == code
    assert word in done.stderr


def test_without_the_extra_the_fix_is_the_command_to_install_it(tmp_path: Path) -> None:
    code = (
        "import importlib.util as u, sys\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'mcp' else find(name, *rest)\n"
        "from tao_skill.cli import main\nmain(['mcp'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 4
    assert "pip install 'tao-skill[mcp]'" in done.stderr


def test_the_configuration_in_the_readme_starts_a_server(tmp_path: Path) -> None:
    block = re.search(r"```json\n(.*?)```", (REPOSITORY / "docs" / "agents.md").read_text(), re.DOTALL)
    assert block is not None
    entry = json.loads(block[1])["mcpServers"]["tao-skill"]
    assert entry["command"] == "tao-skill"
    arguments = [word.replace("/path/to/project", str(tmp_path)) for word in entry["args"]]
    server = StdioServerParameters(command=sys.executable, args=["-m", "tao_skill", *arguments], env=environment())

    async def talk() -> None:
        async with Client(stdio_client(server)) as client:
            assert (await client.call_tool("list_jobs", {})).structured_content["total"] == 0

    anyio.run(talk)
