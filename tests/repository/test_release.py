"""What is released: the same bytes from the same files, on dependencies that are named, bounded and tested."""

from __future__ import annotations

import hashlib
import os
import runpy
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from tests.support.folders import REPOSITORY

HARDWARE = {"tensorrt"}
"""Installed where there is hardware for it."""

TOOLS = {"dev", "fuzz", "release"}
"""Extras that running the tests does not take."""

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))


def requirements() -> dict[str, list[Requirement]]:
    """By extra; the runtime's own under no name."""
    project = PROJECT["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    return {name: [Requirement(one) for one in group] for name, group in groups.items()}


@pytest.fixture(scope="module")
def release() -> dict[str, Any]:
    return runpy.run_path(str(REPOSITORY / "tools" / "release.py"))


@pytest.fixture
def tracked() -> list[str]:
    if not (REPOSITORY / ".git").exists():
        pytest.skip("no checkout")
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    return subprocess.run(listed, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.splitlines()


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_two_builds_are_the_same_bytes(release: dict[str, Any], tracked: list[str], tmp_path: Path) -> None:
    """From folders of other names, files of other dates and rights, in another order on disk."""
    build: Callable[[Path, Path], None] = release["build"]
    built = []
    for name, order, mask, date in (("one", 1, 0o022, 1.0e9), ("another", -1, 0o077, 1.7e9)):
        source, before = tmp_path / name, os.umask(mask)
        try:
            for file in sorted(tracked)[::order]:
                (source / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(REPOSITORY / file, source / file)
                os.utime(source / file, (date, date))
            build(source, tmp_path / f"{name}-dist")
        finally:
            os.umask(before)
        built.append(digests(tmp_path / f"{name}-dist"))
    assert len(built[0]) == 2
    assert built[0] == built[1]


def test_every_dependency_has_a_range_that_what_is_tested_lies_in() -> None:
    for extra, group in requirements().items():
        for one in group:
            if one.name == PROJECT["project"]["name"]:
                continue
            assert {"<", ">=", "==", "~="} & {part.operator for part in one.specifier}, f"{extra}: {one}"
            try:
                installed = version(one.name)
            except PackageNotFoundError:
                assert one.name in HARDWARE or extra in TOOLS, f"{extra}: {one} is not installed"
                continue
            assert one.specifier.contains(installed, prereleases=True), f"{extra}: {one}, installed {installed}"


def test_every_constraint_is_of_a_dependency_and_is_what_is_installed() -> None:
    lines = (REPOSITORY / "constraints.txt").read_text("utf-8").splitlines()
    pinned = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert pinned
    named = {one.name: one for group in requirements().values() for one in group}
    for one in pinned:
        (pin,) = one.specifier
        assert pin.operator == "=="
        assert named[one.name].specifier.contains(pin.version)
        assert one.specifier.contains(version(one.name))


def test_tools_of_the_release_and_of_tests_are_no_runtime_dependencies() -> None:
    groups = requirements()
    tools = {one.name for extra in ("test", *TOOLS) for one in groups[extra]} - {"tao-skill"}
    assert not tools & {one.name for one in groups[""]}


def test_the_closure_of_the_project_is_what_it_brings(release: dict[str, Any]) -> None:
    found = release["closure"](release["declared_requirements"](["mcp"]))
    assert {"torch", "click", "mcp", "uvicorn", "typing-extensions"} <= set(found)
    assert not {"pytest", "ruff", "moto", "tao-skill"} & set(found)
    assert found["torch"] == version("torch")


def test_an_audit_fails_for_a_finding_and_says_what_it_could_not_ask(
    release: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """Answers as pip-audit gives them."""
    audited: Callable[[list[dict[str, Any]], int], bool] = release["passes_audit"]
    good = {"name": "click", "version": "8.1.7", "vulns": []}
    skipped = {"name": "torch", "skip_reason": "Dependency not found on PyPI and could not be audited: torch (2.13.0)"}
    bad = {"name": "jinja2", "version": "3.1.2", "vulns": [{"id": "PYSEC-2024-1", "fix_versions": ["3.1.3"]}]}
    assert audited([good], 1)
    assert capsys.readouterr().err == ""
    assert audited([good, skipped], 2)
    assert "NOT AUDITED: 1 of 2 packages: Dependency not found" in capsys.readouterr().err
    assert audited([], 97)
    assert "NOT AUDITED: 97 of 97" in capsys.readouterr().err
    assert not audited([good, bad], 2)
    assert "jinja2 3.1.2: PYSEC-2024-1, fixed in ['3.1.3']" in capsys.readouterr().err
