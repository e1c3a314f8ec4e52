"""What the documents say is run, and what they point at is there."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY


def commands(document: str) -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", document, re.DOTALL)
    joined = "\n".join(blocks).replace("\\\n", " ")
    return [line for line in joined.splitlines() if line.strip() and not line.startswith("#")]


def test_the_readme_examples_run_as_written(tmp_path: Path) -> None:
    found = commands((REPOSITORY / "README.md").read_text())
    assert len(found) >= 8
    environment = {name: value for name, value in os.environ.items() if name != "TAO_SKILL_RESULTS"}
    outputs = {}
    for command in found:
        words = shlex.split(command)
        assert words[0] == "tao-skill"
        done = subprocess.run(
            [sys.executable, "-m", "tao_skill", *words[1:]],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        outputs[command] = done.stdout
    shown = json.loads(outputs["tao-skill jobs show latest:inference --json"])
    evaluated = next((tmp_path / "results").glob("evaluate-*/job.json"))
    assert shown["job"]["state"] == "COMPLETE"
    assert json.loads(evaluated.read_text())["metrics"]["accuracy"] > 80


def test_links_of_the_documents_lead_somewhere() -> None:
    for name in (
        "README.md",
        "AGENTS.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "SECURITY.md",
        "benchmarks/README.md",
        "evals/README.md",
        "docs/automl_policy.md",
        "docs/performance.md",
        "docs/reliability.md",
    ):
        page = REPOSITORY / name
        for target in re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{name}: {target}"


def test_the_exit_codes_are_in_the_help() -> None:
    done = subprocess.run([sys.executable, "-m", "tao_skill", "--help"], capture_output=True, text=True, check=True)
    for code in ("0", "1", "2", "3", "4", "130"):
        assert re.search(rf"^\s+{code}\s+\w", done.stdout, re.MULTILINE)
