"""Real processes of a search that stop at a named place, for a test to kill them there.

No line of the product knows of it: Python itself runs `sitecustomize` when it starts, and finds ours first.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from tests.support.command_line import TAO_SKILL

LIMIT_S = 120
VARIABLE = "HOLD_AT"

SITECUSTOMIZE = f"""
import functools, importlib, importlib.abc, importlib.machinery, json, os, re, sys, time

place = json.loads(os.environ[{VARIABLE!r}])
seen = 0


def hold(*called):
    global seen
    seen += bool(re.search(place["matching"], repr(called)))
    if seen != place["nth"]:
        return
    seen += 1
    try:
        marker = os.open(place["marker"], os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    except FileExistsError:
        return
    os.write(marker, str(os.getpid()).encode())
    while True:
        time.sleep(1)


def holding(function):
    @functools.wraps(function)
    def paused(*args, **kwargs):
        if place["when"] == "before":
            hold(args, kwargs)
        found = function(*args, **kwargs)
        if place["when"] == "after":
            hold(args, kwargs)
        return found

    return paused


def patch(module):
    *owners, name = place["function"].split(".")
    owner = functools.reduce(getattr, owners, module)
    setattr(owner, name, holding(getattr(owner, name)))


class Patching(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name != place["module"]:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        run = spec.loader.exec_module
        spec.loader.exec_module = lambda module: (run(module), patch(module))
        return spec


if any(word.startswith("tao_skill.automl") for word in sys.orig_argv):
    if place["module"].startswith("tao_skill"):
        sys.meta_path.insert(0, Patching())
    else:
        patch(importlib.import_module(place["module"]))
"""


@dataclass(frozen=True, kw_only=True)
class Breakpoint:
    """Where a process of a search stops: at the nth call of a function whose arguments, as printed, match."""

    module: str
    function: str
    when: Literal["before", "after"] = "before"
    matching: str = ""
    nth: int = 1


@dataclass(frozen=True, kw_only=True)
class PausedSearch:
    """A command and the process of its search that stands still."""

    command: subprocess.Popen[bytes]
    pid: int


@contextmanager
def paused_at(command: Sequence[str], root: Path, place: Breakpoint, folder: Path) -> Iterator[PausedSearch]:
    """Run a command until a process of its search stops at the place; one that ends without fails the test."""
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE)
    marker = folder / "held"
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ,
        "TAO_SKILL_RESULTS": str(root),
        "PYTHONPATH": os.pathsep.join(paths),
        VARIABLE: json.dumps(asdict(place) | {"marker": str(marker)}),
    }
    with (folder / "output").open("w") as output:
        running = subprocess.Popen([*TAO_SKILL, *command], env=environment, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + LIMIT_S
        while not (marker.exists() and marker.read_text()):
            assert running.poll() is None, f"it ended before {place}:\n{(folder / 'output').read_text()}"
            assert time.monotonic() < deadline, place
            time.sleep(0.05)
        yield PausedSearch(command=running, pid=int(marker.read_text()))
    finally:
        if running.poll() is None:  # the test failed
            _kill_jobs(root)
            running.kill()
        running.wait()


def kill_search(search: PausedSearch) -> None:
    """SIGKILL to all processes of a search."""
    os.killpg(os.getpgid(search.pid), signal.SIGKILL)


def _kill_jobs(root: Path) -> None:
    for record in root.glob("*/job.json"):
        with suppress(ProcessLookupError):
            os.killpg(json.loads(record.read_text())["attempts"][-1]["pid"], signal.SIGKILL)
