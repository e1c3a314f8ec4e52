from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tao_skill.cli.completion import SHELLS
from tests.support.command_line import TAO_SKILL, answer_here, call, call_json


def test_the_doctor_finds_nothing_wrong_here(tmp_path: Path) -> None:
    document = answer_here(["doctor"], tmp_path)
    assert document["ok"]
    found = {one["subject"]: one for one in document["findings"]}
    assert {"python", "packages", "devices", "memory", "results root", "cache", "storage"} <= set(found)
    assert found["extra s3"]["level"] == "ok"
    assert all(one["fix"] for one in found.values() if one["level"] != "ok")


def test_a_results_root_that_cannot_be_written_is_a_problem_with_its_fix(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    document = answer_here(["doctor"], tmp_path / "file" / "results", code=4)
    (problem,) = [one for one in document["findings"] if one["level"] == "problem"]
    assert problem["subject"] == "results root"
    assert str(tmp_path / "file") in problem["fix"]


def test_a_package_that_is_absent_is_named_with_the_command_that_brings_it(tmp_path: Path) -> None:
    """A metadata folder that comes first claims a newer rich than there is, and a package that no one has."""
    claimed = tmp_path / "tao_skill-9.dist-info"
    claimed.mkdir()
    needs = ["rich>=999", "absent-package", "absent-too; extra == 'absent'"]
    lines = ["Metadata-Version: 2.4", "Name: tao-skill", "Version: 9", "Provides-Extra: absent"]
    (claimed / "METADATA").write_text("\n".join([*lines, *(f"Requires-Dist: {one}" for one in needs), ""]))
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [*TAO_SKILL, "doctor"], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 4
    assert "fix: pip install 'rich>=999'" in done.stdout
    assert "absent-package is not installed" in done.stdout
    assert "fix: pip install 'tao-skill[absent]'" in done.stdout


def test_without_arguments_five_commands_are_shown_and_nothing_heavy_is_loaded(tmp_path: Path) -> None:
    assert len(call_json([], tmp_path)["commands"]) == 5
    code = (
        "import sys; from tao_skill.cli import main\n"
        "try: main([])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'numpy', 'optuna', 'rich', 'yaml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "tao-skill jobs list" in done.stdout


def test_json_before_the_command_is_refused_with_where_it_belongs(tmp_path: Path) -> None:
    done = call(["--json", "jobs", "list"], tmp_path, code=2)
    assert "jobs ... --json" in done.stdout


@pytest.mark.parametrize("shell", SHELLS)
def test_a_completion_script_is_printed_for(shell: str, tmp_path: Path) -> None:
    assert "_TAO_SKILL_COMPLETE" in call_json(["completion", shell], tmp_path)["script"]


@pytest.mark.parametrize(
    ("typed", "completed"), [("tao-skill run gen", "gen_trt_engine"), ("tao-skill jobs show tr", "train-broken")]
)
def test_actions_and_jobs_are_completed(typed: str, completed: str, tmp_path: Path) -> None:
    from tao_skill.jobs.record import Job
    from tao_skill.jobs.store import Store

    job = Job(id="train-broken", model="pose_classification", action="train", results_dir="x", created="2026-01-01")
    Store(tmp_path).open(job)
    asked = {"COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1), "_TAO_SKILL_COMPLETE": "bash_complete"}
    code = "import sys; sys.argv[0] = 'tao-skill'; from tao_skill.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **asked, "TAO_SKILL_RESULTS": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert completed in done.stdout
