"""What the documents say is run, and what they point at is there."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import yaml

from tao_skill.models.pose_classification.config import ExperimentConfig
from tao_skill.models.pose_classification.data.sample.sample import write_sample
from tao_skill.models.pose_classification.network.layout_file import layout_of
from tao_skill.models.pose_classification.network.layouts import LAYOUTS
from tao_skill.models.pose_classification.network.registry import NETWORKS
from tao_skill.spec.tree import iter_params
from tests.support.folders import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "tools"))

import pictures

PAGES = sorted((REPOSITORY / "docs").glob("*.md"))
YOUR_DATA = REPOSITORY / "docs" / "your_data.md"
PLACEHOLDERS = {"key", "tao"}
"""Names before = that are not spec keys: in examples of Hydra's grammar, and a shell alias."""


def commands(document: str) -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", document, re.DOTALL)
    joined = "\n".join(blocks).replace("\\\n", " ")
    return [line for line in joined.splitlines() if line.strip() and not line.startswith("#")]


def run_all(page: Path, folder: Path) -> dict[str, str]:
    """Run every command of a page's bash blocks in a folder; their standard outputs."""
    environment = {name: value for name, value in os.environ.items() if name != "TAO_SKILL_RESULTS"}
    outputs = {}
    for command in commands(page.read_text()):
        words = shlex.split(command)
        assert words[0] == "tao-skill"
        done = subprocess.run(
            [sys.executable, "-m", "tao_skill", *words[1:]],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        outputs[command] = done.stdout
    return outputs


def test_the_readme_examples_run_as_written(tmp_path: Path) -> None:
    outputs = run_all(REPOSITORY / "README.md", tmp_path)
    assert len(outputs) >= 8
    shown = json.loads(outputs["tao-skill jobs show latest:inference --json"])
    evaluated = next((tmp_path / "results").glob("evaluate-*/job.json"))
    assert shown["job"]["state"] == "COMPLETE"
    assert json.loads(evaluated.read_text())["metrics"]["accuracy"] > 80


def test_the_readme_is_short() -> None:
    assert len((REPOSITORY / "README.md").read_text().split()) <= 900


def test_the_pictures_show_commands_of_the_readme() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    shown = {" ".join(command.replace(" --key first", "").split()) for command in commands(readme)}
    assert set(pictures.SESSION) <= shown
    assert pictures.SEARCH in re.sub(r"\s*\\\n\s*", " ", readme)
    session = "".join(ElementTree.parse(pictures.OUT / "session.svg").getroot().itertext())
    joined = "".join(session.split())  # commands are wrapped
    assert all("".join(command.split()) in joined for command in pictures.SESSION)


@pytest.mark.parametrize("name", ["session.svg", "report.svg"])
def test_a_picture_is_small_and_loads_nothing(name: str) -> None:
    path = pictures.OUT / name
    assert path.stat().st_size < 200_000
    text = path.read_text()
    assert set(re.findall(r"url\(([^#)][^)]*)\)|href=\"([^\"]+)", text)) == set()
    assert ElementTree.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page.read_text())], ids=lambda page: page.name)
def test_the_examples_of_a_page_run_beside_generated_data(page: Path, tmp_path: Path) -> None:
    write_sample(tmp_path, train=24, val=6, frames=12)
    assert run_all(page, tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_key_that_a_page_sets_exists(page: Path) -> None:
    info = yaml.safe_load((REPOSITORY / "references" / "pose_classification" / "skill_info.yaml").read_text())
    known = {leaf.key for leaf in iter_params(ExperimentConfig)} | set(info["spec_shorthand"])
    assert set(re.findall(r"(?<=[\s`'])([a-z][a-z_.]+)=", page.read_text())) <= known | PLACEHOLDERS


def test_the_tables_of_layouts_and_networks_are_those_of_the_code() -> None:
    page = YOUR_DATA.read_text()
    rows = re.findall(r"^\| (\S+) \| (\d+) \| (\d+) \| (\d+) \|", page, re.MULTILINE)
    facts = {name: (one.joints, one.coordinates, one.persons) for name, one in LAYOUTS.items()}
    assert {name: tuple(map(int, numbers)) for name, *numbers in rows} == facts
    assert re.findall(r"^\| (\S*GCN\S*) .*million", page, re.MULTILINE) == list(NETWORKS)


def test_the_layout_file_of_the_documents_is_valid(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(name: .*?)```", YOUR_DATA.read_text(), re.DOTALL)
    (tmp_path / "dog.yaml").write_text(example)
    layout = layout_of(str(tmp_path / "dog.yaml"))
    assert (layout.joints, layout.center, layout.mirror, layout.coordinates) == (5, 1, ((3, 4),), 2)


def test_links_of_the_documents_lead_somewhere() -> None:
    named = ("README.md", "AGENTS.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
    more = ("benchmarks/README.md", "evals/README.md")
    for page in [*(REPOSITORY / name for name in (*named, *more)), *PAGES]:
        for target in re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_page_is_linked_from_the_readme_or_another_page() -> None:
    texts = "".join(page.read_text() for page in (REPOSITORY / "README.md", *PAGES))
    assert [page.name for page in PAGES if f"{page.name})" not in texts and f"{page.name}#" not in texts] == []


def test_the_exit_codes_are_in_the_help() -> None:
    done = subprocess.run([sys.executable, "-m", "tao_skill", "--help"], capture_output=True, text=True, check=True)
    for code in ("0", "1", "2", "3", "4", "130"):
        assert re.search(rf"^\s+{code}\s+\w", done.stdout, re.MULTILINE)
