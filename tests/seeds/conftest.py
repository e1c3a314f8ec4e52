"""A folder with the documents' files on a small generated set, and the job that both documents begin with."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tao_skill.cli import main as tao_skill
from tao_skill.cli.tao import main as pose_classification
from tao_skill.models.pose_classification.data.sample.sample import write_sample
from tests.cli.test_tao import bodypose3d

SEEDS = Path(__file__).parent
PLACEHOLDERS = {"/path/to/experiment_results": "results", "/path/to/": ""}
"""Paths of TAO's example as paths of the folder; nothing else of it is changed."""

S3 = "s3://bucket/data/purpose_built_models_pose_classification_train/nvidia/"
"""Where the skill page has its data."""

PROGRAMS: dict[str, Callable[[list[str]], Any]] = {
    "pose_classification": pose_classification,
    "tao-skill": tao_skill,
    "tao": lambda words: tao_skill(["tao", *words]),
}


def run(command: str) -> int:
    """The exit code of a command line of one of the programs, in this process; jobs are processes of their own."""
    program, *words = shlex.split(command)
    with pytest.raises(SystemExit) as ended:
        PROGRAMS[program](words)
    return int(ended.value.code or 0)


def overrides_of(action: str, **places: str) -> dict[str, Any]:
    """The skill page's overrides of an action; its S3 data lie in the working folder, `places` are other paths."""
    text = json.dumps(json.loads((SEEDS / "skill_overrides.json").read_text())[action]).replace(S3, "")
    for placeholder, path in places.items():
        text = text.replace(placeholder, path)
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the documents' commands run in."""
    made = tmp_path_factory.mktemp("documents")
    write_sample(made, train=12, val=6, frames=12, seed=3)
    text = (SEEDS / "tao_spec.yaml").read_text()
    for placeholder, path in PLACEHOLDERS.items():
        text = text.replace(placeholder, path)
    (made / "spec.yaml").write_text(text)
    bodypose3d(made / "bodypose3d.json")
    return made


@pytest.fixture
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same folder, as the working directory."""
    monkeypatch.chdir(folder)
    monkeypatch.delenv("TAO_SKILL_RESULTS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("HOME", str(folder))
    return folder
