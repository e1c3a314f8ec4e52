"""Build, check and audit a release: `python tools/release.py [FOLDER]`; run by `make release`.

The output is a wheel and an sdist, the dependency versions they were tested with, an audit of those versions, a
CycloneDX SBOM and SHA256SUMS. The release fails if there are uncommitted changes, a check fails, or a vulnerability is
known.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT: Final = Path(__file__).resolve().parents[1]
EXTRAS: Final = ("mcp", "postgresql", "s3", "samplers", "tensorrt", "wandb")
"""Extras for users; development tools are not part of a release."""

TESTED, AUDIT, SBOM, SUMS = "tested-versions.txt", "audit.json", "sbom.cdx.json", "SHA256SUMS"


def main(arguments: Sequence[str]) -> int:
    """Make the release; return 0 on success."""
    out = Path(arguments[0] if arguments else ROOT / "dist").absolute()
    if changed := run("git", "status", "--porcelain").strip():
        print(f"commit these changes first, so that the release can be reproduced:\n{changed}", file=sys.stderr)
        return 1
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    build(ROOT, out)
    module("twine", "check", "--strict", *map(str, sorted(out.iterdir())))
    tested = closure(declared_requirements(EXTRAS))
    lines = [f"{name}=={Version(version).public}" for name, version in sorted(tested.items())]
    (out / TESTED).write_text("\n".join(lines) + "\n")
    results = audit(out)
    (out / AUDIT).write_text(json.dumps(results, indent=1) + "\n")
    if not passes_audit(results, len(lines)):
        return 1
    options = ("--pyproject", str(ROOT / "pyproject.toml"), "--output-reproducible", "--of", "JSON")
    module("cyclonedx_py", "requirements", str(out / TESTED), *options, "-o", str(out / SBOM))
    (out / SUMS).write_text("".join(checksums(out)))
    print("\n".join(str(path) for path in sorted(out.iterdir())))
    return 0


def build(source: Path, out: Path) -> None:
    """Build wheel and sdist reproducibly: the same files give the same bytes."""
    environment = os.environ | {"SOURCE_DATE_EPOCH": run("git", "log", "-1", "--format=%ct").strip()}
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - fixed command


def declared_requirements(extras: Iterable[str]) -> list[Requirement]:
    """Return the requirements in pyproject.toml, including those of some extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    groups = [project["dependencies"], *(project["optional-dependencies"][extra] for extra in extras)]
    return [Requirement(text) for group in groups for text in group]


def closure(requirements: Iterable[Requirement]) -> dict[str, str]:
    """Return the installed version of every direct and indirect requirement; report those not installed."""
    versions: dict[str, str] = {}
    pending, seen = list(requirements), set()
    while pending:
        requirement = pending.pop()
        name = canonicalize_name(requirement.name)
        if (name, frozenset(requirement.extras)) in seen:
            continue
        seen.add((name, frozenset(requirement.extras)))
        try:
            installed = distribution(name)
        except PackageNotFoundError:
            print(f"{name} is not installed, so it is neither tested nor audited", file=sys.stderr)
            continue
        versions[name] = installed.version
        pending += applicable(installed.requires or (), requirement.extras or {""})
    return versions


def applicable(requirements: Sequence[str], extras: set[str]) -> Iterator[Requirement]:
    """Yield the requirements whose markers match this machine and some extras."""
    for requirement in map(Requirement, requirements):
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras):
            yield requirement


def audit(out: Path) -> list[dict[str, Any]]:
    """Run pip-audit on the tested versions and return its result for each; empty if the service is unreachable."""
    options = ("--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json")
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(out / TESTED), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - fixed command
    try:
        results: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        print((done.stderr.strip().splitlines() or ["pip-audit printed no error"])[-1], file=sys.stderr)
        return []
    return results


def passes_audit(results: Sequence[Mapping[str, Any]], total: int) -> bool:
    """Whether no vulnerability is known; prints the number of the `total` packages that were not audited."""
    audited = [package for package in results if "vulns" in package]
    if len(audited) < total:
        reason = next((f": {package['skip_reason']}" for package in results if "skip_reason" in package), "")
        print(f"NOT AUDITED: {total - len(audited)} of {total} packages{reason}", file=sys.stderr)
    findings = [(package, finding) for package in audited for finding in package["vulns"]]
    for package, finding in findings:
        fixed = f"fixed in {finding['fix_versions']}"
        print(f"{package['name']} {package['version']}: {finding['id']}, {fixed}", file=sys.stderr)
    return not findings


def checksums(out: Path) -> Iterator[str]:
    """Yield a line for each file in the format of sha256sum."""
    for path in sorted(out.iterdir()):
        yield f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"


def module(name: str, *arguments: str) -> None:
    """Run a Python module; raise if it fails."""
    subprocess.run([sys.executable, "-m", name, *arguments], check=True)  # noqa: S603 - fixed command


def run(*command: str) -> str:
    """Run a program in the repository and return its output."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603 - fixed command
    return done.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
