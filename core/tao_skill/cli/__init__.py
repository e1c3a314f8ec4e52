"""The command line: parse, call one function, print."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line and exit with the documented code."""
    from tao_skill.cli import program

    sys.exit(program.run(sys.argv[1:] if words is None else words))
