"""A throttle: work that runs after every event while it is fast, and less often once it is slow."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

SHARE: Final = 0.05
"""Greatest share of the time that slow work takes."""

QUICK_S: Final = 0.05
"""Duration up to which work counts as fast."""


class Throttle:
    """Runs work after events, such as a report whose size grows with the search."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._is_pending = False
        self._not_before = 0.0

    def request(self) -> None:
        """Run the work after an event, or postpone it if it is slow and ran recently."""
        self._is_pending = True
        if time.monotonic() >= self._not_before:
            self.flush()

    def poll(self) -> None:
        """Run postponed work if it is due."""
        if self._is_pending:
            self.request()

    def flush(self) -> None:
        """Run postponed work now."""
        if not self._is_pending:
            return
        began = time.monotonic()
        self._work()
        took_s = time.monotonic() - began
        self._not_before = began + took_s / SHARE if took_s > QUICK_S else 0.0
        self._is_pending = False
