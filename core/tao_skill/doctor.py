"""What this machine has of what a run needs: each finding with its fix."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path
from typing import Any, Final, Literal

from packaging.requirements import Requirement

from tao_skill import __version__, bank
from tao_skill.errors import TaoSkillError
from tao_skill.io.s3_cache import cache_root
from tao_skill.models import MODELS

DISTRIBUTION: Final = "tao-skill"
LEAST_PYTHON: Final = (3, 11)
LEAST_MEMORY_GB: Final = 4.0
LEAST_DISK_GB: Final = 2.0

_SHARED: Final = ("nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p", "lustre")
_FOR_MAKERS: Final = ("test", "dev")

Level = Literal["ok", "note", "problem"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        level: ok; note: something cannot be done here; problem: nothing can be trained.
        fix: what to do about it, where it is not ok.
    """

    subject: str
    level: Level
    said: str
    fix: str | None = None


def examine(results_root: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """Every finding, as a document; `ok` is false if one of them is a problem."""
    found = [
        *_python(),
        *_packages(),
        *_devices(),
        *_memory(),
        *_folder("results root", results_root),
        *_folder("cache", cache_root(environment)),
        *_storage(results_root),
        *_bank(),
        *_extras(),
    ]
    problems = [one for one in found if one.level == "problem"]
    return {"ok": not problems, "version": __version__, "findings": [asdict(one) for one in found]}


def _python() -> Iterator[Finding]:
    said = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info < LEAST_PYTHON:
        wanted = ".".join(map(str, LEAST_PYTHON))
        yield Finding(subject="python", level="problem", said=said, fix=f"use Python {wanted} or newer")
    elif os.name != "posix":
        fix = "run on Linux or macOS (on Windows: in WSL), as jobs need process groups"
        yield Finding(subject="python", level="problem", said=said, fix=fix)
    else:
        yield Finding(subject="python", level="ok", said=said)


def _packages() -> Iterator[Finding]:
    """What every installation has to have."""
    required = _required("")
    misfits = {one: why for one in required if (why := _misfit(one))}
    for one, why in misfits.items():
        yield Finding(subject="packages", level="problem", said=why, fix=f"pip install '{one.name}{one.specifier}'")
    if not misfits:
        yield Finding(subject="packages", level="ok", said=f"{len(required)} required, all installed")


def _devices() -> Iterator[Finding]:
    """GPUs that the driver knows, and whether torch can use them; torch is asked in a process of its own."""
    asked = "import torch; print(torch.cuda.device_count(), torch.version.cuda or '-', torch.get_num_threads())"
    try:
        command = [sys.executable, "-P", "-c", asked]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)  # noqa: S603
        usable, cuda, threads = done.stdout.split()
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        said = getattr(error, "stderr", None) or str(error)
        last = (said.strip().splitlines() or ["it printed nothing"])[-1]
        fix = "pip install --force-reinstall torch"
        yield Finding(subject="devices", level="problem", said=f"torch cannot be imported: {last}", fix=fix)
        return
    if int(usable):
        yield Finding(subject="devices", level="ok", said=f"{usable} GPU, CUDA {cuda}")
    elif shutil.which("nvidia-smi"):
        fix = "install a torch built for this driver's CUDA, or unset CUDA_VISIBLE_DEVICES"
        said = f"there is an NVIDIA driver, and this torch (CUDA {cuda}) cannot use it"
        yield Finding(subject="devices", level="note", said=said, fix=fix)
    else:
        yield Finding(subject="devices", level="ok", said=f"CPU with {threads} threads; no GPU")


def _memory() -> Iterator[Finding]:
    import psutil

    free_gb = psutil.virtual_memory().available / 1e9
    said = f"{free_gb:.1f} GB free"
    if free_gb < LEAST_MEMORY_GB:
        fix = "end other programs, or lower dataset.batch_size"
        yield Finding(subject="memory", level="note", said=said, fix=fix)
    else:
        yield Finding(subject="memory", level="ok", said=said)


def _folder(subject: str, folder: Path) -> Iterator[Finding]:
    """Whether a folder, which need not exist yet, can be written and has room."""
    place = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    try:
        with tempfile.TemporaryFile(dir=place):
            free_gb = shutil.disk_usage(place).free / 1e9
    except OSError as error:
        said = f"{folder} cannot be written: {error.strerror}"
        fix = f"make {place} writable, or choose another folder"
        yield Finding(subject=subject, level="problem", said=said, fix=fix)
        return
    said = f"{folder}, {free_gb:.1f} GB free"
    if free_gb < LEAST_DISK_GB:
        yield Finding(subject=subject, level="note", said=said, fix="make room: a checkpoint has about 25 MB")
    else:
        yield Finding(subject=subject, level="ok", said=said)


def _storage(results_root: Path) -> Iterator[Finding]:
    """The embedded database of searches, which needs locks that file servers do not always keep."""
    import psutil

    place = str(results_root.absolute())
    mounts = [one for one in psutil.disk_partitions(all=True) if place.startswith(one.mountpoint)]
    kind = max(mounts, key=lambda one: len(one.mountpoint)).fstype if mounts else "unknown"
    said = f"SQLite {sqlite3.sqlite_version} on {kind}"
    if kind in _SHARED:
        fix = "give searches with several machines --storage postgresql://..., or keep results on a local disk"
        yield Finding(subject="storage", level="note", said=said, fix=fix)
    else:
        yield Finding(subject="storage", level="ok", said=said)


def _bank() -> Iterator[Finding]:
    """Whether the packaged schemas and templates are whole."""
    for model in MODELS.values():
        try:
            for action in model.actions:
                bank.load_schema(model.name, action)
                bank.template_path(model.name, action)
        except TaoSkillError as error:
            yield Finding(subject=model.name, level="problem", said=error.message, fix=error.fix)
        else:
            yield Finding(subject=model.name, level="ok", said=f"{len(model.actions)} actions with schema and template")


def _extras() -> Iterator[Finding]:
    """Optional packages, by the extra that brings them."""
    for extra in metadata(DISTRIBUTION).get_all("Provides-Extra") or ():
        if extra in _FOR_MAKERS:
            continue
        misfits = [why for one in _required(extra) if (why := _misfit(one))]
        if misfits:
            fix = f"pip install '{DISTRIBUTION}[{extra}]', if you need it"
            yield Finding(subject=f"extra {extra}", level="note", said="; ".join(misfits), fix=fix)
        else:
            yield Finding(subject=f"extra {extra}", level="ok", said="installed")


def _required(extra: str) -> list[Requirement]:
    """What this package requires for an extra; `""` for what it always requires."""
    every = map(Requirement, requires(DISTRIBUTION) or ())
    always, asked = [], []
    for one in every:
        if one.marker is None or one.marker.evaluate({"extra": ""}):
            always.append(one)
        elif one.marker.evaluate({"extra": extra}):
            asked.append(one)
    return asked if extra else always


def _misfit(requirement: Requirement) -> str | None:
    """Why what is installed does not meet a requirement; None if it does."""
    try:
        found = version(requirement.name)
    except PackageNotFoundError:
        return f"{requirement.name} is not installed"
    fits = requirement.specifier.contains(found, prereleases=True)
    return None if fits else f"{requirement.name} is {found}, and {requirement.specifier} is needed"
