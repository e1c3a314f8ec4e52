"""The server over HTTP under attack by many kinds of bad request; a real client is served."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import anyio
import httpx2
import psutil
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tao_skill.mcp_server.http import SESSIONS
from tests.support.servers.mcp import HELLO, TOKEN, post

Where = tuple[str, int]
NAME = "127.0.0.1"


@pytest.fixture
def where(address: str) -> Where:
    parts = urlsplit(address)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


def request(body: bytes = b"", *, head: str = "", method: str = "POST", host: str = NAME, token: str = TOKEN) -> bytes:
    lines = [f"{method} /mcp HTTP/1.1", f"Host: {host}", f"Authorization: Bearer {token}"]
    lines += ["Accept: application/json, text/event-stream"]
    lines += [] if "Content-Type" in head else ["Content-Type: application/json"]
    lines += [] if "Transfer-Encoding" in head or "Content-Length" in head else [f"Content-Length: {len(body)}"]
    return ("\r\n".join([*lines, *([head] if head else [])]) + "\r\n\r\n").encode("latin-1") + body


def answer(where: Where, sent: bytes, *, half_closed: bool = False) -> int:
    """The status that the bytes are answered with; 0 for a connection that is closed without one."""
    with socket.create_connection(where, timeout=20) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(sent)
        if half_closed:
            connection.shutdown(socket.SHUT_WR)
        said = connection.recv(65536)
        return int(said.split()[1]) if said else 0
    return 0


HELLO_BYTES = json.dumps(HELLO).encode()
CHUNKED = "Transfer-Encoding: chunked"
ATTACKS: dict[str, tuple[bytes, bool, set[int]]] = {
    "oversized body": (request(b"[" + b"1," * 2**20 + b"1]"), False, {413, 0}),
    "length that is not sent": (request(head="Content-Length: 99999999999"), True, {413, 400, 0}),
    "negative length": (request(head="Content-Length: -1"), False, {400}),
    "two lengths": (request(head="Content-Length: 1\r\nContent-Length: 2"), False, {400}),
    "malformed JSON": (request(b'{"jsonrpc": "2.0", "id": 1, "method"'), False, {400}),
    "deep JSON": (request(b"[" * 200_000), False, {400}),
    "deep arguments": (request(json.dumps(HELLO)[:-1].encode() + b', "x": ' + b'{"a":' * 50_000), False, {400}),
    "no UTF-8": (request(b'{"id": "\xff\xfe"}'), False, {400}),
    "JSON of another kind": (request(b"[1, null, {}]"), False, {400}),
    "wrong content type": (request(HELLO_BYTES, head="Content-Type: text/xml"), False, {400, 415}),
    "wrong method": (request(method="PROPFIND"), False, {405}),
    "no method": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", False, {400}),
    "bad origin": (request(HELLO_BYTES, head="Origin: http://evil.example"), False, {403}),
    "bad host": (request(HELLO_BYTES, host="evil.example"), False, {421}),
    "no host": (b"POST /mcp HTTP/1.1\r\n\r\n", False, {400}),
    "wrong token": (request(HELLO_BYTES, token="guess" * 5), False, {401}),
    "long token": (request(HELLO_BYTES, token="x" * 15_000), False, {401}),
    "huge header": (request(HELLO_BYTES, head="X-Long: " + "x" * 2**20), False, {400, 431, 0}),
    "many headers": (request(head="\r\n".join(f"X-{i}: 1" for i in range(20_000))), False, {400, 431, 0}),
    "endless header": (b"POST /mcp HTTP/1.1\r\nX: " + b"x" * 2**21, False, {400, 431, 0}),
    "chunked nonsense": (request(b"zz\r\nnonsense\r\n", head=CHUNKED), False, {400}),
    "chunk too large": (request(b"fffffffffffffffff\r\n", head=CHUNKED), True, {400, 0}),
    "chunked and length": (request(b"0\r\n\r\n", head=f"{CHUNKED}\r\nContent-Length: 5"), False, {400}),
    "half-closed": (request(HELLO_BYTES)[:80], True, {400, 0}),
    "path that climbs": (request(HELLO_BYTES).replace(b"/mcp", b"/mcp/../../etc/passwd"), False, {404}),
    "header injection": (request(HELLO_BYTES, head="Mcp-Session-Id: a\nX: b"), False, {400, 404}),
    "unknown session": (request(HELLO_BYTES, head="Mcp-Session-Id: " + "f" * 32), False, {400, 404}),
    "upgrade": (request(head="Connection: Upgrade\r\nUpgrade: websocket", method="GET"), False, {400, 406, 426}),
}


def alive(address: str) -> None:
    """A real client lists and calls."""

    async def talk() -> None:
        async with (
            httpx2.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}) as http,
            Client(streamable_http_client(address, http_client=http)) as client,
        ):
            assert (await client.call_tool("list_models", {})).structured_content["models"]

    anyio.run(talk)


def server_of(where: Where) -> psutil.Process:
    found = [one.pid for one in psutil.net_connections("tcp") if one.laddr == where and one.status == "LISTEN"]
    return psutil.Process(found[0])


@pytest.mark.parametrize("kind", ATTACKS)
def test_a_bad_request_is_refused(kind: str, where: Where) -> None:
    sent, half_closed, accepted = ATTACKS[kind]
    assert answer(where, sent, half_closed=half_closed) in accepted


def test_hundreds_of_bad_requests_leave_the_server_as_it_was(address: str, where: Where) -> None:
    def attack() -> None:
        for sent, half_closed, _ in random.Random(1).sample(list(ATTACKS.values()), len(ATTACKS)):
            with contextlib.suppress(OSError):
                answer(where, sent, half_closed=half_closed)

    process = server_of(where)
    attack()
    alive(address)
    before = process.memory_info().rss
    for _ in range(3):
        with_threads(attack, 4)
        time.sleep(1.0)
    alive(address)
    assert process.memory_info().rss < before + 16 * 2**20
    assert process.num_fds() < 60


def with_threads(function: Callable[[], None], count: int) -> None:
    threads = [threading.Thread(target=function) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_requests_from_another_site_open_no_sessions(address: str) -> None:
    for _ in range(SESSIONS + 10):
        assert post(address, {"Origin": "http://evil.example"}).status_code == 403
    alive(address)
