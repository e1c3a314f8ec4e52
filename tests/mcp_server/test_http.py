"""The server over HTTP: the official client, and requests that must not pass."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import httpx2
import psutil
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tao_skill.agent_tools.formats import definitions
from tests.support.servers.mcp import HELLO, SERVER, TOKEN, Headers, environment, post, serving


def test_the_official_client_lists_and_calls(address: str) -> None:
    async def talk() -> None:
        async with (
            httpx2.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}) as http,
            Client(streamable_http_client(address, http_client=http)) as client,
        ):
            listed = (await client.list_tools()).tools
            assert [one.name for one in listed] == [one["name"] for one in definitions("mcp")]
            result = await client.call_tool(
                "inspect_data", {"data": "data/train_data.npy", "labels": "data/train_label.pkl"}
            )
            assert result.structured_content["labels"]["classes"] == 6
            refused = await client.call_tool("inspect_data", {"data": "../x.npy"})
            assert refused.structured_content["error"]["code"] == "outside_roots"

    anyio.run(talk)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Authorization": ""}, 401),
        ({"Authorization": f"Bearer {TOKEN}x"}, 401),
        ({"Authorization": f"Basic {TOKEN}"}, 401),
        ({"Authorization": b"Bearer \xc3\xa9"}, 401),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1.evil.example:80"}, 421),
        ({"Host": "localhost"}, 200),
        ({"Host": "[::1]:9000"}, 200),
        ({"Origin": "http://localhost"}, 403),
    ],
)
def test_token_origin_and_host_must_be_right(address: str, headers: Headers, status: int) -> None:
    answer = post(address, headers)
    assert answer.status_code == status
    assert TOKEN not in answer.text
    if status == 401:
        assert set(answer.json()["error"]) == {"code", "message", "fix"}
        assert answer.headers["www-authenticate"] == "Bearer"


def test_the_servers_own_origin_passes(address: str) -> None:
    assert post(address, {"Origin": f"http://{urlsplit(address).netloc}"}).status_code == 200


def test_a_request_that_is_too_long_is_refused(address: str) -> None:
    long = json.dumps(HELLO | {"padding": "x" * 2**21}).encode()
    headers = {"Content-Type": "application/json"}
    assert post(address, headers, json=None, content=long).status_code == 413
    assert post(address, headers, json=None, content=iter([long])).status_code == 413  # its length not said before


def test_no_token_is_needed_where_only_this_machine_can_connect(root: Path) -> None:
    with serving(root) as url:
        assert post(url, {"Authorization": ""}).status_code == 200
        assert post(url, {"Authorization": "", "Host": "evil.example"}).status_code == 421


def test_other_machines_call_it_by_any_name_with_the_token_which_web_pages_may_not_send(root: Path) -> None:
    with serving(root, token=TOKEN, host="0.0.0.0") as url:
        assert post(url, {"Host": "gpu.example:8000"}).status_code == 200
        assert post(url, {"Host": "gpu.example:8000", "Authorization": ""}).status_code == 401
        asked = {"Origin": "http://evil.example", "Access-Control-Request-Headers": "authorization"}
        preflight = httpx2.options(url, headers={**asked, "Access-Control-Request-Method": "POST"})
        assert preflight.status_code == 401
        assert not {name for name in preflight.headers if name.startswith("access-control-")}


def test_a_port_that_is_taken_is_said(root: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        words = [*SERVER, "--root", str(root), "--http", f"127.0.0.1:{other.getsockname()[1]}"]
        done = subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "use another port" in done.stderr


def test_the_token_is_not_handed_on_to_jobs(root: Path) -> None:
    """A job is a process of its own, and may tell its environment to whoever reads its log."""
    asked = {"action": "train", "automl": "off", "overrides": ["epochs=900", "train_data=data", "num_workers=0"]}

    async def talk(url: str) -> str:
        async with (
            httpx2.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}) as http,
            Client(streamable_http_client(url, http_client=http)) as client,
        ):
            job = (await client.call_tool("run_action", asked)).structured_content["job"]["id"]
            record = json.loads((root / "results" / job / "job.json").read_text())
            handed = " ".join(psutil.Process(record["attempts"][-1]["pid"]).environ().values())
            await client.call_tool("cancel_job", {"job": job})
            return handed

    with serving(root, token=TOKEN) as url:
        assert TOKEN not in anyio.run(talk, url)
