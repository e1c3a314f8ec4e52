"""The command line: parse, call one function, print."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line and exit with the documented code."""
    from tao_skill.cli import quick

    given = sys.argv[1:] if words is None else words
    code = quick.answer(given)
    if code is None:
        from tao_skill.cli import program

        code = program.run(given)
    sys.exit(code)
