"""What other people's validators say of the skills and manifests; each is pinned, and none needs the network to check.

Those of npm are installed once into the cache folder of the user; without npm, its registry or a Node.js that is new
enough, a test skips and says so. The validators too large for that are run by hand: evals/README.md.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from tests.support.folders import REPOSITORY

INSTALL_S = 60
SKILLS = sorted(path.parent for path in (REPOSITORY / "skills").glob("*/SKILL.md"))


def run(words: list[str | Path], home: Path) -> str:
    """Output of a validator that must end well, with a home of its own so that it finds and leaves nothing."""
    done = subprocess.run(
        words,
        cwd=REPOSITORY,
        env={**os.environ, "HOME": str(home), "NO_COLOR": "1", "DO_NOT_TRACK": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def npm_command(package: str, version: str, command: str, node: tuple[int, int] = (18, 0)) -> Path:
    """The command of an npm package at exactly this version, installed where it is not yet."""
    if not shutil.which("npm") or not shutil.which("node"):
        pytest.skip(f"{package} needs npm")
    found = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if tuple(map(int, found.lstrip("v").split(".")[:2])) < node:
        pytest.skip(f"{package} needs Node.js {node[0]}.{node[1]}, found {found}")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tao-skill" / "validators"
    folder = cache / f"{package.replace('/', '_')}-{version}"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f"{folder.name}.lock"):
        if not folder.is_dir():
            _install(f"{package}@{version}", folder)
    return folder / "node_modules" / ".bin" / command


def _install(named: str, folder: Path) -> None:
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    words = ["npm", "install", "--prefix", str(partial), "--no-audit", "--no-fund", "--ignore-scripts", named]
    try:
        subprocess.run(words, capture_output=True, text=True, timeout=INSTALL_S, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"{named} could not be installed: {error}")
    partial.rename(folder)


@pytest.mark.parametrize("skill", SKILLS, ids=lambda skill: skill.name)
def test_agentskills_validate(skill: Path, tmp_path: Path) -> None:
    run([Path(sys.executable).with_name("agentskills"), "validate", skill], tmp_path)


def test_agentskills_ci_gives_every_skill_100(tmp_path: Path) -> None:
    words = [
        Path(sys.executable).with_name("agentskills-ci"),
        "check",
        "skills",
        "--min-score",
        "100",
        "--format",
        "json",
    ]
    report = json.loads(run(words, tmp_path))
    assert report["summary"]["overall_score"] == 100
    assert [one["issues"] for one in report["results"]] == [[]] * len(SKILLS)


def test_skill_check_gives_every_skill_100(tmp_path: Path) -> None:
    """Without its security scan, which fetches a scanner from the network."""
    command = npm_command("skill-check", "1.2.0", "skill-check")
    report = json.loads(run([command, "check", "skills", "--no-security-scan", "--format", "json"], tmp_path))
    assert (report["summary"]["skillCount"], report["diagnostics"]) == (len(SKILLS), [])
    assert {one["score"] for one in report["scores"]} == {100}


def test_skills_finds_every_skill(tmp_path: Path) -> None:
    command = npm_command("skills", "1.7.4", "skills", node=(22, 20))
    shown = run([command, "add", REPOSITORY, "--list"], tmp_path)
    assert f"Found {len(SKILLS)} skills" in shown
    assert all(skill.name in shown for skill in SKILLS)


def test_gemini_accepts_the_extension(tmp_path: Path) -> None:
    command = npm_command("@google/gemini-cli", "0.61.0", "gemini", node=(20, 0))
    assert "successfully validated" in run([command, "extensions", "validate", "."], tmp_path)
