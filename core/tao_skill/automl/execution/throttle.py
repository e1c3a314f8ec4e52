"""Work that is done after every event while it is quick, and less often once it is slow."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

SHARE: Final = 0.05
"""Of the time, that slow work may take."""

QUICK_S: Final = 0.05
"""What work may take that is done at once."""


class Throttle:
    """Something to be done after events, such as a report that grows with all there is to report."""

    def __init__(self, do: Callable[[], object]) -> None:
        self._do = do
        self._missed = False
        self._again = 0.0

    def ask(self) -> None:
        """After an event: do it, unless it is slow and was just done."""
        self._missed = True
        if time.monotonic() >= self._again:
            self.settle()

    def catch_up(self) -> None:
        """Do what was put off, if it is time."""
        if self._missed:
            self.ask()

    def settle(self) -> None:
        """Do what was put off."""
        if not self._missed:
            return
        began = time.monotonic()
        self._do()
        took_s = time.monotonic() - began
        self._again = began + took_s / SHARE if took_s > QUICK_S else 0.0
        self._missed = False
