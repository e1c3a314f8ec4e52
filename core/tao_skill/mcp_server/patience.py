"""How long, how many and how often: clients that are slow, too many or too busy do not keep others from the server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import ClassVar, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_S: Final = 10.0
"""A whole request, its body included, has to be here so long after the connection was made or last answered."""

WAITING: Final = 64
"""So many connections may be without a whole request; one more, and the one that has been so longest is cut."""


class Patience(H11Protocol):
    """A connection of uvicorn's, cut when it takes too long over a request."""

    waiting: ClassVar[dict[Patience, asyncio.TimerHandle]] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        self._look()
        if len(self.waiting) > WAITING:
            next(iter(self.waiting)).cut()

    def data_received(self, data: bytes) -> None:
        """A part of a request, or more than one, has come."""
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        """The request is answered, and another may come."""
        super().on_response_complete()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone, or was cut."""
        self._stop_waiting()
        super().connection_lost(exc)

    def cut(self) -> None:
        """Close without a word: who trickles requests may trickle answers, too."""
        self._stop_waiting()
        self.transport.abort()

    def _look(self) -> None:
        """Wait, unless a whole request is here."""
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY) or self.transport.is_closing():
            self._stop_waiting()
        elif self not in self.waiting:
            self.waiting[self] = self.loop.call_later(REQUEST_S, self.cut)

    def _stop_waiting(self) -> None:
        if timer := self.waiting.pop(self, None):
            timer.cancel()


class Allowance:
    """So many at once, and so many a second after that (a token bucket)."""

    def __init__(self, burst: int, per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst, self._per_s, self._clock = burst, per_s, clock
        self._left, self._seen = float(burst), clock()

    def take(self) -> bool:
        """Whether one more is within it."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._seen) * self._per_s)
        self._seen = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
