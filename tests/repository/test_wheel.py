"""The wheel works without the checkout, and its light commands without torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.experiments import dataset_overrides
from tests.support.folders import REPOSITORY

LIGHT = ("click", "filelock", "jsonschema", "numpy", "psutil", "pyyaml")


def run(command: Sequence[str | Path], cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "TAO_SKILL"))}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, "."], REPOSITORY)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean environment with the wheel and what light commands need."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=False)
    install = [sys.executable, "-m", "pip", "--python", folder, "install", "--quiet", "--no-compile"]
    run([*install, "--no-deps", wheel], folder)
    run([*install, *LIGHT], folder)
    return folder / "bin" / "tao-skill"


def test_only_tao_skill_lands_in_site_packages(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"tao_skill"}
    for kind in ("schemas", "references", "skills", "runners"):
        assert [name for name in names if name.startswith(f"tao_skill/bank/{kind}/")]


def test_models_are_listed_from_another_folder(installed: Path, tmp_path: Path) -> None:
    listed = json.loads(run([installed, "models", "--json"], tmp_path))
    assert [model["name"] for model in listed["models"]] == ["pose_classification"]
    assert json.loads(run([installed, "schema", "train"], tmp_path))["type"] == "object"


def test_taos_own_command_is_installed(installed: Path, tmp_path: Path) -> None:
    assert "gen_trt_engine" in run([installed.with_name("pose_classification"), "-h"], tmp_path)


def test_a_dry_run_works_from_another_folder(installed: Path, tiny: Path, tmp_path: Path) -> None:
    pairs = dataset_overrides(tiny)
    planned = json.loads(run([installed, "run", "train", "--dry-run", "--json", *pairs], tmp_path))
    assert planned["route"]["route"] == "automl"
    assert list(tmp_path.iterdir()) == []


def test_sample_data_needs_no_checkout_either(installed: Path, tmp_path: Path) -> None:
    run([installed, "data", "sample", "--out", "data", "--json"], tmp_path)
    described = json.loads(run([installed, "data", "inspect", "data/train_data.npy", "--json"], tmp_path))
    assert described["layouts"] == ["nvidia"]


def test_the_skills_install_from_the_wheel_as_they_are_in_the_checkout(installed: Path, tmp_path: Path) -> None:
    document = json.loads(run([installed, "skills", "install", "--agent", "codex", "--json"], tmp_path))
    assert {one["state"] for one in document["skills"]} == {"installed"}
    for path in (REPOSITORY / "skills").rglob("*.*"):
        copy = tmp_path / ".agents" / path.relative_to(REPOSITORY)
        assert copy.read_bytes() == path.read_bytes()
