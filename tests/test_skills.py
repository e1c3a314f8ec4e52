"""Each skill is valid under the Agent Skills standard and works when its folder is copied alone."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import skills_ref
import yaml
from click.testing import CliRunner

from tao_skill.cli import tao_skill
from tests.conftest import REPOSITORY

SKILLS = sorted(path.parent for path in (REPOSITORY / "skills").glob("*/SKILL.md"))


@pytest.mark.parametrize("skill", SKILLS, ids=lambda skill: skill.name)
def test_the_reference_validator_finds_nothing_even_in_a_lone_copy(skill: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(skill, tmp_path / skill.name)
    assert skills_ref.validate(copy) == []
    for schema in copy.glob("schemas/*.schema.json"):
        assert json.loads(schema.read_text())["type"] == "object"


def test_every_model_has_a_skill_with_the_schemas_of_its_actions() -> None:
    from tao_skill.models import MODELS

    for model in MODELS.values():
        schemas = REPOSITORY / "skills" / model.skill / "schemas"
        assert {f"{action}.schema.json" for action in model.actions} <= {path.name for path in schemas.iterdir()}


@pytest.mark.parametrize("skill", SKILLS, ids=lambda skill: skill.name)
def test_a_skill_stays_small(skill: Path) -> None:
    """Words in pieces of at most seven letters, and every other sign: more than any common tokenizer counts."""
    text = (skill / "SKILL.md").read_text()
    assert len(re.findall(r"[A-Za-z]{1,7}|\d|[^\sA-Za-z\d]", text)) < 3000
    assert len(text) < 8000


@pytest.mark.parametrize("skill", SKILLS, ids=lambda skill: skill.name)
def test_every_command_a_skill_shows_exists_with_its_options(skill: Path) -> None:
    text = (skill / "SKILL.md").read_text()
    blocks = "\n".join(re.findall(r"```bash\n(.*?)```", text, re.DOTALL)).replace("\\\n", " ")
    shown = [line for line in blocks.splitlines() if line.startswith("tao-skill")]
    assert shown
    for line in shown:
        words = shlex.split(line, comments=True)[1:]
        options = [word for word in words if word.startswith("--")]
        command = [words[0]] if words[0] == "run" else words[:2]
        usage = CliRunner().invoke(tao_skill, [*command, "--help"])
        assert usage.exit_code == 0, line
        assert all(option in usage.output for option in options), line


def test_the_skills_facts_name_the_actions_of_the_model() -> None:
    from tao_skill.models import get_model

    info = yaml.safe_load((REPOSITORY / "references" / "pose_classification" / "skill_info.yaml").read_text())
    assert info["actions"] == list(get_model("pose_classification").actions)
    assert info["automl_enabled"] is True
    for alias in info["aliases"]:
        assert get_model(alias.upper()).name == "pose_classification"
