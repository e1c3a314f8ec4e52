"""Build, check, audit and describe a release into a folder: `python tools/release.py [FOLDER]`; run by `make release`.

It leaves wheel and sdist, the versions they were tested with, what an audit found of those, a CycloneDX SBOM and
SHA256SUMS. It fails where the tree holds what no commit holds, a check fails, or a vulnerability is known.
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
"""What users may install beside; tools for development are no part of a release."""

TESTED, AUDIT, SBOM, SUMS = "tested-versions.txt", "audit.json", "sbom.cdx.json", "SHA256SUMS"


def main(arguments: Sequence[str]) -> int:
    """Make the release; 0 if all went well."""
    out = Path(arguments[0] if arguments else ROOT / "dist").absolute()
    if changed := run("git", "status", "--porcelain").strip():
        print(f"commit first, so that the release can be made again:\n{changed}", file=sys.stderr)
        return 1
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    build(ROOT, out)
    module("twine", "check", "--strict", *map(str, sorted(out.iterdir())))
    tested = closure(wanted(EXTRAS))
    lines = [f"{name}=={Version(version).public}" for name, version in sorted(tested.items())]
    (out / TESTED).write_text("\n".join(lines) + "\n")
    asked = ask(out)
    (out / AUDIT).write_text(json.dumps(asked, indent=1) + "\n")
    if not audited(asked, len(lines)):
        return 1
    described = ("--pyproject", str(ROOT / "pyproject.toml"), "--output-reproducible", "--of", "JSON")
    module("cyclonedx_py", "requirements", str(out / TESTED), *described, "-o", str(out / SBOM))
    (out / SUMS).write_text("".join(sums(out)))
    print("\n".join(str(path) for path in sorted(out.iterdir())))
    return 0


def build(source: Path, out: Path) -> None:
    """Wheel and sdist, the same bytes whenever and wherever they are made of the same files."""
    environment = os.environ | {"SOURCE_DATE_EPOCH": run("git", "log", "-1", "--format=%ct").strip()}
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own call


def wanted(extras: Iterable[str]) -> list[Requirement]:
    """What pyproject.toml asks for, with some extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    groups = [project["dependencies"], *(project["optional-dependencies"][extra] for extra in extras)]
    return [Requirement(one) for group in groups for one in group]


def closure(requirements: Iterable[Requirement]) -> dict[str, str]:
    """Installed version of every package that these bring; what is not installed is said."""
    found: dict[str, str] = {}
    pending, seen = list(requirements), set()
    while pending:
        one = pending.pop()
        name = canonicalize_name(one.name)
        if (name, frozenset(one.extras)) in seen:
            continue
        seen.add((name, frozenset(one.extras)))
        try:
            installed = distribution(name)
        except PackageNotFoundError:
            print(f"{name} is not installed here, so it is neither tested nor audited", file=sys.stderr)
            continue
        found[name] = installed.version
        pending += brought(installed.requires or (), one.extras or {""})
    return found


def brought(requirements: Sequence[str], extras: set[str]) -> Iterator[Requirement]:
    """What applies on this machine, for these extras."""
    for one in map(Requirement, requirements):
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in extras):
            yield one


def ask(out: Path) -> list[dict[str, Any]]:
    """What the vulnerability service says of each tested version; nothing where it cannot be asked at all."""
    options = ("--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json")
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(out / TESTED), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own call
    try:
        asked: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        print((done.stderr.strip().splitlines() or ["the audit printed nothing"])[-1], file=sys.stderr)
        return []
    return asked


def audited(asked: Sequence[Mapping[str, Any]], total: int) -> bool:
    """Whether no vulnerability is known of `total` packages; says of how many nothing could be learnt."""
    known = [one for one in asked if "vulns" in one]
    if len(known) < total:
        reason = next((f": {one['skip_reason']}" for one in asked if "skip_reason" in one), "")
        print(f"NOT AUDITED: {total - len(known)} of {total} packages{reason}", file=sys.stderr)
    findings = [(one, found) for one in known for found in one["vulns"]]
    for one, found in findings:
        print(f"{one['name']} {one['version']}: {found['id']}, fixed in {found['fix_versions']}", file=sys.stderr)
    return not findings


def sums(out: Path) -> Iterator[str]:
    """A line for each file, as sha256sum writes and checks them."""
    for path in sorted(out.iterdir()):
        yield f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"


def module(name: str, *arguments: str) -> None:
    """Run a module of the environment; its failure is that of the release."""
    subprocess.run([sys.executable, "-m", name, *arguments], check=True)  # noqa: S603 - our own call


def run(*command: str) -> str:
    """What a program prints, run in the repository."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603 - our own call
    return done.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
