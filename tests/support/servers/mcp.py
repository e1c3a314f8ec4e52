"""The MCP server as clients start it: a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

SERVER = (sys.executable, "-m", "tao_skill", "mcp")


def environment(token: str | None = None) -> dict[str, str]:
    """That of a server; TAO_SKILL_RESULTS of the person who tests is left out."""
    kept = {name: value for name, value in os.environ.items() if name != "TAO_SKILL_RESULTS"}
    return kept | ({"TAO_SKILL_MCP_TOKEN": token} if token else {})


@contextmanager
def serving(
    root: Path, *, token: str | None = None, options: Sequence[str] = (), host: str = "127.0.0.1"
) -> Iterator[str]:
    """The address of a server over HTTP on a free port, while it runs."""
    process = subprocess.Popen(
        [*SERVER, "--root", str(root), "--http", f"{host}:0", *options],
        env=environment(token),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        said = process.stderr.readline()
        match = re.fullmatch(rf"serving on (http://{re.escape(host)}:\d+/mcp)\n", said)
        assert match, said + process.stderr.read()
        yield match[1]
    finally:
        process.terminate()
        process.communicate(timeout=30)


TOKEN = "correct-horse-battery-staple"
HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}
Headers = dict[str, str] | dict[str, bytes]
HEADERS = {"Accept": "application/json, text/event-stream", "Authorization": f"Bearer {TOKEN}"}


def post(address: str, headers: Headers | None = None, **more: Any) -> httpx2.Response:
    given: dict[str, Any] = {**HEADERS, **(headers or {})}
    kept = {name: value for name, value in given.items() if value}
    return httpx2.post(address, headers=kept, **({"json": HELLO} | more))
