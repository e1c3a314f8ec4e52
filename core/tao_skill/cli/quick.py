"""What is asked for most, the help and jobs, answered before click is loaded; click answers all that is not plain."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

COMPLETION_VARIABLE: Final = "_TAO_SKILL_COMPLETE"
"""Tells the program, as click has it, that a shell asks."""

HELP_FILE: Final = "help.txt"
"""Beside this file: the help as click prints it, in lines as long as click makes them at most."""

HELP_COLUMNS: Final = 80


def answer(words: Sequence[str]) -> int | None:
    """Answer a call and say its exit code; None, and nothing done, for one that is left to click."""
    if os.environ.get(COMPLETION_VARIABLE):
        return None
    match list(words):
        case ["--help" | "-h"] if _is_wide():
            return _help()
        case ["jobs", "list", *options]:
            return _jobs(None, options, words)
        case ["jobs", "show", job, *options] if not job.startswith("-"):
            return _jobs(job, options, words)
    return None


def _is_wide() -> bool:
    """Whether click would break no line for the terminal's sake; where there is none, it takes 80 columns."""
    out = sys.__stdout__
    if "COLUMNS" not in os.environ and (out is None or not out.isatty()):
        return True
    import shutil

    return shutil.get_terminal_size().columns >= HELP_COLUMNS


def _help() -> int | None:
    try:
        print(Path(__file__).with_name(HELP_FILE).read_text("utf-8"), end="", flush=True)
    except BrokenPipeError:  # click knows how to leave quietly
        return None
    return 0


def _jobs(job: str | None, options: Sequence[str], words: Sequence[str]) -> int | None:
    """`jobs show` of a job or `jobs list`, with no other options than --json and a root that can be read."""
    from tao_skill.cli import listing, output

    match options:
        case [] | ["--json"]:
            root = output.default_results_root()
        case ["--results-root", given] | ["--results-root", given, "--json"] | ["--json", "--results-root", given]:
            root = Path(given)
        case _:
            return None
    if os.access(root, os.F_OK) and not (root.is_dir() and os.access(root, os.R_OK)):
        return None
    as_json = "--json" in options
    if job is None:
        return output.exit_code(lambda: listing.list_jobs(root, as_json=as_json), words)
    return output.exit_code(lambda: listing.show_job(job, root, as_json=as_json), words)
