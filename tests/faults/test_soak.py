"""Many jobs by one server: nothing is left of them but their folders."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from tests.support.recordings import recording
from tests.support.servers.mcp import SERVER, environment

FIRST = 3
"""Jobs after which a server has loaded all that it loads."""


@pytest.mark.parametrize(
    ("in_a_row", "at_once"), [pytest.param(5, 3, id="short"), pytest.param(200, 8, id="long", marks=pytest.mark.faults)]
)
def test_many_jobs(in_a_row: int, at_once: int, tmp_path: Path) -> None:
    root, temporary = tmp_path / "root", tmp_path / "temporary"
    root.mkdir()
    temporary.mkdir()
    recording(root / "people.json")
    command, *arguments = SERVER
    given = {**environment(), "TMPDIR": str(temporary)}
    server = StdioServerParameters(command=command, args=[*arguments, "--root", str(root)], env=given)

    async def talk() -> None:
        async with Client(stdio_client(server)) as client:
            process = served(root)
            for number in range(in_a_row):
                await convert(client, f"row-{number}")
                if number == FIRST:
                    before = held(process)
            async with anyio.create_task_group() as group:
                for number in range(at_once):
                    group.start_soon(convert, client, f"once-{number}")
            await gone(client, process)
            after = held(process)
            assert after["files"] <= before["files"] + 1
            assert after["bytes"] <= before["bytes"] + 20 * 2**20

    anyio.run(talk)
    assert list(temporary.iterdir()) == []
    assert list(root.rglob(".*.tmp*")) == list(root.rglob(".new-*")) == []
    assert len(list(root.rglob("job.json"))) == in_a_row + at_once
    assert not [one for one in psutil.process_iter(["cmdline"]) if str(root) in " ".join(one.info["cmdline"] or ())]


async def convert(client: Client, key: str) -> None:
    """A job from its start to its end."""
    overrides = [
        "dataset_convert.data=people.json",
        "dataset_convert.sequence_length=4",
        "dataset_convert.sequence_length_min=2",
    ]
    asked: dict[str, Any] = {"action": "dataset_convert", "overrides": overrides, "key": key, "wait_s": 120}
    found = (await client.call_tool("run_action", asked)).structured_content
    assert found["job"]["state"] == "COMPLETE", found


async def gone(client: Client, server: psutil.Process) -> None:
    """Until no process of a job is there; a server collects those that have ended with the next call."""
    with anyio.fail_after(60):
        while server.children(recursive=True):
            await client.call_tool("job_status", {"job": "latest"})
            await anyio.sleep(0.2)


def served(root: Path) -> psutil.Process:
    """The server that was started for a root by this process."""
    (found,) = (one for one in psutil.Process(os.getpid()).children() if str(root) in " ".join(one.cmdline()))
    return found


def held(process: psutil.Process) -> dict[str, int]:
    return {"files": process.num_fds(), "bytes": process.memory_info().rss}
