"""Diagnose the installation and the machine: each finding has a fix."""

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
MIN_PYTHON: Final = (3, 11)
MIN_MEMORY_GB: Final = 4.0
MIN_DISK_GB: Final = 2.0

_NETWORK_FILE_SYSTEMS: Final = ("nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p", "lustre")
_DEVELOPMENT_EXTRAS: Final = ("test", "dev")

Level = Literal["ok", "note", "problem"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of a check.

    Attributes:
        level: ok; note: a feature is not available; problem: training is not possible.
        said: the result in words, e.g. `1.2 GB free`. fix: the correction, unless the level is ok.
    """

    subject: str
    level: Level
    said: str
    fix: str | None = None


def examine(results_root: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """Run all checks and return their findings as JSON; `ok` is false if a finding has level problem."""
    findings = [
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
    is_ok = all(finding.level != "problem" for finding in findings)
    return {"ok": is_ok, "version": __version__, "findings": [asdict(finding) for finding in findings]}


def _python() -> Iterator[Finding]:
    version_text = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info < MIN_PYTHON:
        required = ".".join(map(str, MIN_PYTHON))
        yield Finding(subject="python", level="problem", said=version_text, fix=f"use Python {required} or newer")
    elif os.name != "posix":
        fix = "use Linux or macOS (on Windows: WSL), as jobs need process groups"
        yield Finding(subject="python", level="problem", said=version_text, fix=fix)
    else:
        yield Finding(subject="python", level="ok", said=version_text)


def _packages() -> Iterator[Finding]:
    """Check the required packages."""
    required = _required("")
    problems = {package: problem for package in required if (problem := _mismatch(package))}
    for package, problem in problems.items():
        fix = f"pip install '{package.name}{package.specifier}'"
        yield Finding(subject="packages", level="problem", said=problem, fix=fix)
    if not problems:
        yield Finding(subject="packages", level="ok", said=f"{len(required)} required, all installed")


def _devices() -> Iterator[Finding]:
    """Check the GPUs that torch can use; torch is imported in a subprocess, as a broken one may crash."""
    code = "import torch; print(torch.cuda.device_count(), torch.version.cuda or '-', torch.get_num_threads())"
    try:
        command = [sys.executable, "-P", "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)  # noqa: S603
        usable, cuda, threads = done.stdout.split()
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        output = getattr(error, "stderr", None) or str(error)
        reason = (output.strip().splitlines() or ["no error message"])[-1]
        fix = "pip install --force-reinstall torch"
        yield Finding(subject="devices", level="problem", said=f"torch cannot be imported: {reason}", fix=fix)
        return
    if int(usable):
        yield Finding(subject="devices", level="ok", said=f"{usable} GPU, CUDA {cuda}")
    elif shutil.which("nvidia-smi"):
        fix = "install a torch built for this driver's CUDA, or unset CUDA_VISIBLE_DEVICES"
        problem = f"an NVIDIA driver is installed, but this torch (CUDA {cuda}) cannot use it"
        yield Finding(subject="devices", level="note", said=problem, fix=fix)
    else:
        yield Finding(subject="devices", level="ok", said=f"CPU with {threads} threads; no GPU")


def _memory() -> Iterator[Finding]:
    import psutil

    free_gb = psutil.virtual_memory().available / 1e9
    free = f"{free_gb:.1f} GB free"
    if free_gb < MIN_MEMORY_GB:
        fix = "close other programs, or use smaller batches"
        yield Finding(subject="memory", level="note", said=free, fix=fix)
    else:
        yield Finding(subject="memory", level="ok", said=free)


def _folder(subject: str, folder: Path) -> Iterator[Finding]:
    """Check that a directory, which may not exist yet, is writable and has free space."""
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            free_gb = shutil.disk_usage(existing).free / 1e9
    except OSError as error:
        problem = f"{folder} cannot be written: {error.strerror}"
        fix = f"make {existing} writable, or use another directory"
        yield Finding(subject=subject, level="problem", said=problem, fix=fix)
        return
    free = f"{folder}, {free_gb:.1f} GB free"
    if free_gb < MIN_DISK_GB:
        fix = "free disk space: a checkpoint takes about 25 MB"
        yield Finding(subject=subject, level="note", said=free, fix=fix)
    else:
        yield Finding(subject=subject, level="ok", said=free)


def _storage(results_root: Path) -> Iterator[Finding]:
    """Check the file system of the search database: SQLite needs file locks, which network file systems may lack."""
    import psutil

    path = str(results_root.absolute())
    mounts = [mount for mount in psutil.disk_partitions(all=True) if path.startswith(mount.mountpoint)]
    file_system = max(mounts, key=lambda mount: len(mount.mountpoint)).fstype if mounts else "unknown"
    storage = f"SQLite {sqlite3.sqlite_version} on {file_system}"
    if file_system in _NETWORK_FILE_SYSTEMS:
        fix = "use --storage postgresql://... for searches on several machines, or keep results on a local disk"
        yield Finding(subject="storage", level="note", said=storage, fix=fix)
    else:
        yield Finding(subject="storage", level="ok", said=storage)


def _bank() -> Iterator[Finding]:
    """Check the packaged schemas and templates of every model."""
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
    """Check the optional packages, by extra."""
    for extra in metadata(DISTRIBUTION).get_all("Provides-Extra") or ():
        if extra in _DEVELOPMENT_EXTRAS:
            continue
        problems = [problem for package in _required(extra) if (problem := _mismatch(package))]
        if problems:
            fix = f"pip install '{DISTRIBUTION}[{extra}]', if you need it"
            yield Finding(subject=f"extra {extra}", level="note", said="; ".join(problems), fix=fix)
        else:
            yield Finding(subject=f"extra {extra}", level="ok", said="installed")


def _required(extra: str) -> list[Requirement]:
    """Return the requirements that an extra adds; with an empty `extra`, those of every installation."""
    base, added = [], []
    for requirement in map(Requirement, requires(DISTRIBUTION) or ()):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            base.append(requirement)
        elif requirement.marker.evaluate({"extra": extra}):
            added.append(requirement)
    return added if extra else base


def _mismatch(requirement: Requirement) -> str | None:
    """Describe how the installed version misses a requirement; None if it meets it."""
    try:
        installed = version(requirement.name)
    except PackageNotFoundError:
        return f"{requirement.name} is not installed"
    fits = requirement.specifier.contains(installed, prereleases=True)
    return None if fits else f"{requirement.name} is {installed}, required: {requirement.specifier}"
