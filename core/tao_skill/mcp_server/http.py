"""The server over HTTP: who may call it, from where, and how much."""

from __future__ import annotations

import ipaddress
import json
import logging
import secrets
import socket
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import click

from tao_skill.errors import BadRequest
from tao_skill.mcp_server.patience import Allowance, Patience
from tao_skill.mcp_server.server import make_server
from tao_skill.records import dataclass
from tao_skill.tools.workplace import Workplace

TOKEN_VARIABLE: Final = "TAO_SKILL_MCP_TOKEN"  # noqa: S105 - a name
PATH: Final = "/mcp"
BODY_BYTES: Final = 1024 * 1024
HEAD_BYTES: Final = 16 * 1024
CONNECTIONS: Final = 128
SESSIONS: Final = 100
BURST: Final = 200
PER_S: Final = 50.0
SHORTEST_TOKEN: Final = 16

Scope = MutableMapping[str, Any]
Channel = Callable[..., Awaitable[Any]]
App = Callable[[Scope, Channel, Channel], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where to listen; a token is needed unless only this machine can connect."""

    host: str
    port: int
    token: str | None

    @property
    def is_loopback(self) -> bool:
        """Whether no other machine can connect."""
        return _is_loopback(self.host)


def parse_address(text: str, token: str | None) -> Address:
    """`HOST:PORT` with a token or None.

    Raises:
        BadRequest: it is no address, the token is short, or another machine could connect without one.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise BadRequest(f"--http {text!r} is no address, accepted: HOST:PORT", fix="use --http 127.0.0.1:8000")
    if token is not None and len(token) < SHORTEST_TOKEN:
        raise BadRequest(
            f"{TOKEN_VARIABLE} has fewer than {SHORTEST_TOKEN} characters", fix="use e.g. `openssl rand -hex 32`"
        )
    address = Address(host=host.strip("[]"), port=int(port), token=token or None)
    if not address.is_loopback and address.token is None:
        raise BadRequest(
            f"--http {text} lets other machines connect without a token",
            fix=f"set {TOKEN_VARIABLE}, or use --http 127.0.0.1:{port}",
        )
    return address


class Guard:
    """Lets a request pass if its token, its Host and its Origin are right, and if there are not too many of them."""

    def __init__(self, app: App, address: Address) -> None:
        self.app = app
        self.address = address
        self.allowance = Allowance(BURST, PER_S)

    async def __call__(self, scope: Scope, receive: Channel, send: Channel) -> None:
        """One request, or the life of the server."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value for name, value in scope["headers"]}
        if refused := self._refusal(headers):
            await _refuse(send, *refused)
        else:
            await self.app(scope, receive, send)

    def _refusal(self, headers: dict[str, bytes]) -> tuple[int, str, str] | None:
        """Status, message and fix; None where the request may pass."""
        host = headers.get("host", b"").decode("latin-1")
        if self.address.is_loopback and not _is_loopback(_parts(f"//{host}").hostname or ""):
            return 421, "Host names another machine", "use http://127.0.0.1 in the address"
        origin = headers.get("origin", b"").decode("latin-1")
        if origin and _parts(origin).netloc != host:
            return 403, "Origin is another site", "call from this server's own origin, or send no Origin"
        if not self._has_token(headers.get("authorization", b"")):
            return 401, "the token is missing or wrong", "send the header Authorization: Bearer TOKEN"
        if not self.allowance.take():  # last, so that only those who may call use it up
            return 429, f"more than {PER_S:.0f} requests a second", "wait a second, then send it again"
        return None

    def _has_token(self, authorization: bytes) -> bool:
        if self.address.token is None:
            return True
        scheme, _, given = authorization.partition(b" ")
        right = secrets.compare_digest(given.strip(), self.address.token.encode("utf-8"))
        return scheme.lower() == b"bearer" and right


def serve_http(here: Workplace, address: Address) -> None:
    """Serve many clients until interrupted; the address is said on standard error once it listens.

    Raises:
        BadRequest: the address cannot be listened on.
    """
    import uvicorn
    from mcp.server.transport_security import TransportSecuritySettings

    app = make_server(here).streamable_http_app(
        streamable_http_path=PATH,
        max_request_body_size=BODY_BYTES,
        max_sessions=SESSIONS,
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),  # the guard's work
    )
    config = uvicorn.Config(
        Guard(app, address),
        http=Patience,
        ws="none",
        log_level="error",  # a warning for each bad request would fill the disk of whoever keeps them
        limit_concurrency=CONNECTIONS,
        h11_max_incomplete_event_size=HEAD_BYTES,
        timeout_graceful_shutdown=3,
    )
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    with _listen(address) as listening:
        host = f"[{address.host}]" if ":" in address.host else address.host
        click.echo(f"serving on http://{host}:{listening.getsockname()[1]}{PATH}", err=True)
        uvicorn.Server(config).run(sockets=[listening])


def _listen(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address.host, address.port))
        listening.listen(CONNECTIONS)
    except OSError as error:
        listening.close()
        raise BadRequest(
            f"--http {address.host}:{address.port} cannot be used: {error.strerror or error}", fix="use another port"
        ) from error
    return listening


def _parts(address: str) -> SplitResult:
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _refuse(send: Channel, status: int, message: str, fix: str) -> None:
    error = {"code": "refused", "message": message, "fix": fix}
    body = json.dumps({"error": error}).encode("utf-8")
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode("ascii"))]
    headers += [(b"www-authenticate", b"Bearer")] if status == 401 else []
    headers += [(b"retry-after", b"1")] if status == 429 else []
    headers += [(b"connection", b"close")]  # what is left of the request is not waited for
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
