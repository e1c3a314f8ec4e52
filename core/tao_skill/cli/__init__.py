"""The command line: commands parse arguments, call one function and print its result."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its exit code."""
    from tao_skill.cli import program

    sys.exit(program.run(sys.argv[1:] if arguments is None else arguments))
