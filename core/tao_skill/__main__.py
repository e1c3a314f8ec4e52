"""The program `tao-skill`, also as `python -m tao_skill`."""

from __future__ import annotations

import gc

from tao_skill.cli import main

KEPT = 100_000
"""Objects that a short call makes at most; nearly all of them stay to its end."""


def program() -> None:
    """Run the command line in a process of its own."""
    gc.set_threshold(KEPT)  # looking for garbage among them takes a tenth of a short call,
    try:
        main()
    finally:
        gc.freeze()  # and looking again on the way out another


if __name__ == "__main__":
    program()
