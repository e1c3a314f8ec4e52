"""Calls of tools, and the length of their answers."""

from __future__ import annotations

import re
from collections.abc import Callable

from tao_skill.agent_tools.dispatch import Reply

Call = Callable[..., Reply]


def tokens(text: str) -> int:
    """More than common tokenizers count of JSON: words of at most six letters, digits by three, runs of signs."""
    return len(re.findall(r"[A-Za-z]{1,6}|\d{1,3}|[^\sA-Za-z\d]{1,3}|\s{2,}", text))
