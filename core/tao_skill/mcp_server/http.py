"""MCP over HTTP: address, token and size limits. Protection from slow clients and request floods is left to a proxy."""

from __future__ import annotations

import ipaddress
import logging
import secrets
import socket
import sys
from dataclasses import dataclass
from typing import Final

import click
import uvicorn
from mcp.server.transport_security import TransportSecuritySettings
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from tao_skill.agent_tools.context import ToolContext
from tao_skill.errors import BadRequest
from tao_skill.mcp_server.server import make_server

TOKEN_VARIABLE: Final = "TAO_SKILL_MCP_TOKEN"  # noqa: S105 - a name
PATH: Final = "/mcp"
BODY_BYTES: Final = 1024 * 1024
HEAD_BYTES: Final = 16 * 1024
CONNECTIONS: Final = 128
SESSIONS: Final = 100
MIN_TOKEN_LENGTH: Final = 16
LOOPBACK_NAMES: Final = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True, kw_only=True)
class Address:
    """The address to listen on, and the token; addresses other than loopback require a token."""

    host: str
    port: int
    token: str | None

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return _is_loopback(self.host)


def parse_address(text: str, token: str | None) -> Address:
    """Parse `HOST:PORT`.

    Raises:
        BadRequest: the text is not an address, the token is too short, or the address requires a token.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise BadRequest(f"--http {text!r} is not an address, accepted: HOST:PORT", fix="use --http 127.0.0.1:8000")
    if token is not None and len(token) < MIN_TOKEN_LENGTH:
        raise BadRequest(
            f"{TOKEN_VARIABLE} has fewer than {MIN_TOKEN_LENGTH} characters", fix="use e.g. `openssl rand -hex 32`"
        )
    address = Address(host=host.strip("[]"), port=int(port), token=token or None)
    if not address.is_loopback and address.token is None:
        raise BadRequest(
            f"--http {text} lets other machines connect without a token",
            fix=f"set {TOKEN_VARIABLE}, or use --http 127.0.0.1:{port}",
        )
    return address


class TokenCheck:
    """ASGI middleware that answers 401 to a request without the token."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app = app
        self.token = token.encode("utf-8")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, or the lifespan of the server."""
        app = self.app if scope["type"] != "http" or self._has_token(scope) else _UNAUTHORIZED
        await app(scope, receive, send)

    def _has_token(self, scope: Scope) -> bool:
        header = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        scheme, _, given = header.partition(b" ")
        matches = secrets.compare_digest(given.strip(), self.token)  # constant time
        return bool(scheme.lower() == b"bearer") and matches


_UNAUTHORIZED: Final = JSONResponse(
    {
        "error": {
            "code": "refused",
            "message": "the token is missing or wrong",
            "fix": "send the header Authorization: Bearer TOKEN",
        }
    },
    status_code=401,
    headers={"WWW-Authenticate": "Bearer", "Connection": "close"},  # the request body is not read
)


def serve_http(context: ToolContext, address: Address) -> None:
    """Serve HTTP clients until interrupted; the URL is printed to standard error.

    Raises:
        BadRequest: the address cannot be used.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.ERROR)  # warnings about invalid requests could fill the disk
    with _listen(address) as listener:
        port = listener.getsockname()[1]
        config = uvicorn.Config(
            _application(context, address, port),
            http="h11",  # h11_max_incomplete_event_size has no effect on httptools
            ws="none",
            log_level="error",
            limit_concurrency=CONNECTIONS,
            h11_max_incomplete_event_size=HEAD_BYTES,
            timeout_graceful_shutdown=3,
        )
        click.echo(f"serving on http://{_in_url(address.host)}:{port}{PATH}", err=True)
        uvicorn.Server(config).run(sockets=[listener])


def _application(context: ToolContext, address: Address, port: int) -> ASGIApp:
    app = make_server(context).streamable_http_app(
        streamable_http_path=PATH,
        max_request_body_size=BODY_BYTES,
        max_sessions=SESSIONS,
        transport_security=_transport_security(address, port),
    )
    return TokenCheck(app, address.token) if address.token else app


def _transport_security(address: Address, port: int) -> TransportSecuritySettings:
    """Return the checks of Host and Origin headers that prevent DNS rebinding.

    They are only possible for loopback: the host names of other addresses are not known. Those are protected by the
    token, which a web page does not have.
    """
    if not address.is_loopback:
        return TransportSecuritySettings(enable_dns_rebinding_protection=False)
    names = sorted({*LOOPBACK_NAMES, _in_url(address.host)})
    return TransportSecuritySettings(
        allowed_hosts=[*names, *(f"{name}:*" for name in names)],  # any port: a tunnel may use a different one
        allowed_origins=[f"http://{name}:{port}" for name in names],
    )


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _listen(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address.host, address.port))
        listener.listen(CONNECTIONS)
    except OSError as error:
        listener.close()
        raise BadRequest(
            f"--http {address.host}:{address.port} cannot be used: {error.strerror or error}", fix="use another port"
        ) from error
    return listener


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
