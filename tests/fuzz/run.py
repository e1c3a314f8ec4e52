"""Feed parsers hostile files and count what becomes of them.

`python -m tests.fuzz.run --inputs 2000` tries every parser in a process of its own, prints a table, and ends with 1 if
anything but a TaoSkillError came out, a process died, or one input took too long; that input is kept. With `--guided`
the inputs are not drawn by hypothesis: atheris mutates valid files and goes on with those that reach new lines.
"""

from __future__ import annotations

import argparse
import importlib.util
import inspect
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, NoReturn

from hypothesis import HealthCheck, Phase, given, seed, settings

from tao_skill.errors import TaoSkillError
from tests.fuzz.inputs import hostile
from tests.fuzz.parsers import PARSERS, Parser

SECONDS: Final = 15.0
"""Longest that one input may take."""

MEMORY_BYTES: Final = 12 * 2**30
"""Address space of a process, torch's and onnxruntime's libraries included."""

MAX_BYTES: Final = 1 << 16
"""Longest input that atheris makes."""


@dataclass(kw_only=True)
class Tally:
    """What became of the inputs of one parser.

    Attributes:
        crash: type and place of the first error that is no TaoSkillError.
    """

    refused: int = 0
    accepted: int = 0
    slowest_s: float = 0.0
    crash: str = ""


def tally(parser: Parser, folder: Path, inputs: int, begin: int | None = None) -> Tally:
    """Try so many inputs on a parser; with `begin` None always the same ones. The input that breaks it stays there."""
    path = folder / parser.file
    path.parent.mkdir(parents=True, exist_ok=True)
    counts = Tally()

    @settings(
        max_examples=inputs,
        derandomize=begin is None,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(hostile(parser.seeds(), parser.tokens))
    def attempt(data: bytes) -> None:
        if not counts.crash:
            path.write_bytes(parser.wrap(data))
            _try(parser, path, counts)

    (attempt if begin is None else seed(begin)(attempt))()
    return counts


def guided(parser: Parser, folder: Path, inputs: int) -> NoReturn:
    """Print the tally of so many inputs that atheris finds, and end the process, as atheris does."""
    import atheris

    path, corpus, counts = folder / parser.file, folder / "corpus", Tally()
    path.parent.mkdir(parents=True, exist_ok=True)
    corpus.mkdir()
    for number, whole in enumerate(parser.seeds()):
        (corpus / str(number)).write_bytes(whole)
    for module in [module for name, module in sys.modules.items() if name.startswith("tao_skill")]:
        for function in vars(module).values():
            if inspect.isfunction(function) and function.__module__ == module.__name__:
                atheris.instrument_func(function)

    def attempt(data: bytes) -> None:
        path.write_bytes(parser.wrap(data))
        _try(parser, path, counts)
        if counts.crash or counts.refused + counts.accepted >= inputs:
            print(json.dumps(asdict(counts)), flush=True)
            os._exit(0)

    limits = [
        f"-rss_limit_mb={MEMORY_BYTES >> 20}",
        f"-timeout={int(SECONDS)}",
        f"-max_len={MAX_BYTES}",
        "-close_fd_mask=2",
    ]
    atheris.Setup([sys.argv[0], str(corpus), *limits], attempt)
    atheris.Fuzz()
    raise AssertionError("atheris ends the process")


def _try(parser: Parser, path: Path, counts: Tally) -> None:
    started = time.perf_counter()
    try:
        parser.read(path)
        counts.accepted += 1
    except TaoSkillError as error:
        counts.refused += 1
        json.dumps(error.as_dict(), ensure_ascii=False).encode()  # an agent is told of it
        if not error.fix:
            counts.crash = f"no fix for: {error.message}"
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        counts.crash = f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}: {str(error)[:120]}"
    counts.slowest_s = max(counts.slowest_s, took := time.perf_counter() - started)
    if took > SECONDS:
        counts.crash = counts.crash or f"took {took:.1f} s"


def alone(name: str, inputs: int, begin: int | None, kept: Path, *, is_guided: bool) -> Tally:
    """The tally of a parser, made in a process of its own, which may die; the input that broke it goes to `kept`."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.fuzz.run", "--inputs", str(inputs), "--one", name, "--folder", folder]
        command += ["--guided"] if is_guided else [] if begin is None else ["--seed", str(begin)]
        chatter = subprocess.DEVNULL if is_guided else None
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=chatter, check=False)
        tail = done.stdout.decode().splitlines()
        found = Tally(**json.loads(tail[-1])) if done.returncode == 0 and tail else Tally()
        found.crash = found.crash or (f"the process died with {done.returncode}" if done.returncode else "")
        if found.crash:
            kept.mkdir(parents=True, exist_ok=True)
            culprit = Path(folder, PARSERS[name].file)
            culprit.rename(kept / f"{name.replace(' ', '_').replace(',', '')}-{culprit.name}")
    return found


def main() -> int:
    """Print the table; 1 if a parser broke."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--inputs", type=int, default=1000)
    options.add_argument("--seed", type=int)
    options.add_argument("--guided", action="store_true", help="by atheris, where that is installed")
    options.add_argument("--kept", type=Path, default=Path("fuzz-crashes"))
    options.add_argument("--one", choices=PARSERS)
    options.add_argument("--folder", type=Path)
    asked = options.parse_args()
    if asked.folder is not None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        if asked.guided:
            guided(PARSERS[asked.one], asked.folder, asked.inputs)
        print(json.dumps(asdict(tally(PARSERS[asked.one], asked.folder, asked.inputs, asked.seed))))
        return 0
    if asked.guided and not importlib.util.find_spec("atheris"):
        print("atheris is not installed here: nothing is guided")
        return 0
    crashes = 0
    print(f"{'parser':<24}{'tried':>8}{'refused':>9}{'accepted':>10}{'slowest':>10}  crashes")
    for name in [asked.one] if asked.one else PARSERS:
        count = max(1, int(asked.inputs * PARSERS[name].weight))
        found = alone(name, count, asked.seed, asked.kept, is_guided=asked.guided)
        crashes += bool(found.crash)
        tried = found.refused + found.accepted + bool(found.crash)
        row = f"{name:<24}{tried:>8}{found.refused:>9}{found.accepted:>10}{found.slowest_s:>8.2f} s"
        print(f"{row}  {found.crash or 0}", flush=True)
    return int(crashes > 0)


if __name__ == "__main__":
    sys.exit(main())
