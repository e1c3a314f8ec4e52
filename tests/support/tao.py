"""What a TAO user brings: spec files, the documents' commands and overrides, an environment."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tao_skill.cli import main as tao_skill
from tao_skill.cli.tao import main as pose_classification
from tests.support.folders import REPOSITORY

SEEDS = REPOSITORY / "tests" / "seeds"
SPECS = REPOSITORY / "tests" / "cli" / "specs"
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


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("TAO_SKILL_")}


def record(folder: Path, action: str) -> dict[str, Any]:
    """The newest job record of an action."""
    path = max((folder / "results").glob(f"{action}-*/job.json"), key=lambda path: path.stat().st_mtime)
    found = json.loads(path.read_text())
    assert isinstance(found, dict)
    return found
