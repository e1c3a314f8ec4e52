"""Each skill is valid under the Agent Skills standard, works in a lone copy of its folder, and states what runs."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import skills_ref
import yaml
from click.testing import CliRunner

from tao_skill.cli.program import tao_skill
from tao_skill.cli.terminal.options import run_command
from tao_skill.models.pose_classification.config import ExperimentConfig
from tao_skill.models.pose_classification.network.layouts import LAYOUTS
from tao_skill.spec.tree import iter_params
from tests.support.folders import REPOSITORY
from tests.support.recordings import clip

SKILLS = sorted(path.parent for path in (REPOSITORY / "skills").glob("*/SKILL.md"))
SECTIONS = (
    "Overview",
    "Prerequisites",
    "When to use",
    "Instructions",
    "Examples",
    "Common pitfalls",
    "Limitations",
    "Troubleshooting",
    "Verification checklist",
)
FIELDS = {"name", "description", "license", "compatibility", "metadata", "allowed-tools"}
DEEPSTREAM_OPTION = "--save-pose"
OFFERED_SKILL = re.compile(r"skill `?(tao-[a-z-]+)")

every_skill = pytest.mark.parametrize("skill", SKILLS, ids=lambda skill: skill.name)


def pages(skill: Path) -> list[str]:
    """SKILL.md and what is written by hand one level below."""
    return [path.read_text("utf-8") for path in (skill / "SKILL.md", *sorted(skill.glob("references/*.md")))]


def front(skill: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((skill / "SKILL.md").read_text("utf-8").split("---\n")[1])
    return loaded


def example_commands(text: str) -> list[str]:
    blocks = "\n".join(re.findall(r"```bash\n(.*?)```", text, re.DOTALL)).replace("\\\n", " ")
    return [line for line in blocks.splitlines() if line.startswith("tao-skill")]


def stated_commands(text: str) -> Iterator[str]:
    """The commands of example blocks and those inside sentences."""
    yield from example_commands(text)
    yield from re.findall(r"`(tao-skill [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


@every_skill
def test_the_reference_validator_finds_nothing_even_in_a_lone_copy(skill: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(skill, tmp_path / skill.name)
    assert skills_ref.validate(copy) == []
    for schema in copy.glob("schemas/*.schema.json"):
        assert json.loads(schema.read_text())["type"] == "object"


@every_skill
def test_the_front_matter_has_the_fields_of_the_standard_and_says_when_and_when_not(skill: Path) -> None:
    assert set(front(skill)) <= FIELDS
    assert front(skill)["name"] == skill.name
    assert front(skill)["description"].startswith("Use when ")
    assert " Not for " in front(skill)["description"]


@every_skill
def test_the_sections_are_there_and_the_checklist_can_be_ticked(skill: Path) -> None:
    found = re.findall(r"^## (.+)$", (skill / "SKILL.md").read_text("utf-8"), re.MULTILINE)
    assert [name for name in found if name in SECTIONS] == list(SECTIONS)
    assert (skill / "SKILL.md").read_text("utf-8").count("- [ ] ") >= 4


@every_skill
def test_nothing_is_spent_or_replaced_before_a_yes(skill: Path) -> None:
    (gate,) = re.findall(r"\d\. \*\*Approval gate\*\*: ((?:.|\n)+?)\n\d\.", (skill / "SKILL.md").read_text("utf-8"))
    assert re.search(r"wait for\s+a yes", gate)


@every_skill
def test_a_skill_is_under_two_thousand_tokens(skill: Path) -> None:
    """Words in pieces of at most seven letters, and every other run of signs: more than o200k_base counts."""
    pieces = re.findall(r"[A-Za-z]{1,7}|\d{1,3}|[^\w\s]+|_|\n+", (skill / "SKILL.md").read_text("utf-8"))
    assert len(pieces) < 2000


@every_skill
def test_a_skill_names_only_files_of_its_own_and_skills_that_exist(skill: Path) -> None:
    for text in pages(skill):
        for target in re.findall(r"\]\((?!https?://)([^)#]+)", text):
            assert ".." not in target
            assert (skill / target).is_file(), target
        assert set(OFFERED_SKILL.findall(text)) <= {one.name for one in SKILLS}
    for page in skill.glob("references/*.md"):
        assert f"(references/{page.name})" in pages(skill)[0], f"nothing leads to {page.name}"


@every_skill
def test_every_command_a_skill_states_exists_with_its_options(skill: Path) -> None:
    shown = [line for text in pages(skill) for line in stated_commands(text)]
    assert shown
    for line in shown:
        words = shlex.split(line, comments=True)[1:]
        options = [word for word in words if word.startswith("--")]
        plain = [word for word in words if re.fullmatch(r"[a-z_|]+", word)][:2]
        for verb in plain[-1].split("|") if len(plain) == 2 and plain[0] != "run" else [None]:
            command = plain[:1] + ([verb] if verb and plain[0] not in ("schema", "template") else [])
            usage = CliRunner().invoke(tao_skill, [*command, "--help"])
            assert usage.exit_code == 0, line
            assert all(option in usage.output for option in options), line


@every_skill
def test_every_key_and_option_a_skill_names_exists(skill: Path) -> None:
    info = yaml.safe_load((REPOSITORY / "references" / "pose_classification" / "skill_info.yaml").read_text("utf-8"))
    known = {leaf.key for leaf in iter_params(ExperimentConfig)} | set(info["spec_shorthand"])
    text = "\n".join(pages(skill))
    assert set(re.findall(r"(?<=[\s`])([a-z][a-z_.]+)=", text)) <= known
    sections = {key.split(".")[0] for key in known if "." in key}
    dotted = set(re.findall(rf"`((?:{'|'.join(sections)})\.[a-z_.]+)`", text))
    assert {key for key in dotted if not any(one == key or one.startswith(f"{key}.") for one in known)} == set()
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)) <= set(options(tao_skill)) | {DEEPSTREAM_OPTION}


def options(command: click.Command) -> Iterator[str]:
    """Every option of a command and of those below it."""
    yield "--help"
    for parameter in command.params:
        yield from parameter.opts
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from options(below)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything the examples name."""
    folder = tmp_path_factory.mktemp("project")
    rng = np.random.default_rng(5)
    for split in ("a", "b"):
        np.save(folder / f"{split}.npy", rng.random((18, 3, 8, 17, 1)).astype("float32"))
        (folder / f"{split}.pkl").write_bytes(
            pickle.dumps([[f"{split}{n}" for n in range(18)], [n % 9 for n in range(18)]])
        )
    for split in ("train", "val"):
        (folder / "recordings" / split).mkdir(parents=True)
        for number in range(4):
            path = folder / "recordings" / split / f"{split}{number}.json"
            path.write_text(json.dumps(clip(number, number % 2)))
    poses = [{"object_id": 3, "pose25d": [0.5] * 136, "pose3d": [0.5] * 136}]
    frames = [
        {"batch_id": 0, "frame_num": n, "ntp_timestamp": n, "num_obj_meta": 1, "objects": poses} for n in range(120)
    ]
    recording = [{"num_frames_in_batch": 1, "batches": [frame]} for frame in frames]
    (folder / "bodypose3d.json").write_text(json.dumps(recording))
    call(folder, ["tao-skill", "data", "sample", "--out", "data"])
    return folder


def call(folder: Path, words: list[str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tao_skill", *words[1:]], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}{done.stderr}"
    return done.stdout


@every_skill
def test_the_examples_run_as_written_and_trainings_as_plans(skill: Path, project: Path) -> None:
    """What starts from a job needs a training: those commands run in tests/repository/test_docs.py and tests/cli."""
    ran = 0
    for line in [line for page in pages(skill) for line in example_commands(page)]:
        words = shlex.split(line, comments=True)
        if "latest:train" in words:
            continue
        plan = ["--dry-run"] if words[1:3] == ["run", "train"] and "--dry-run" not in words else []
        shown = call(project, [*words, *plan])
        assert json.loads(shown) if "--json" in words else shown
        ran += 1
    assert ran >= 3


def test_every_model_has_a_skill_with_the_schemas_of_its_actions() -> None:
    from tao_skill.models import MODELS

    for model in MODELS.values():
        schemas = REPOSITORY / "skills" / model.skill / "schemas"
        assert {f"{action}.schema.json" for action in model.actions} <= {path.name for path in schemas.iterdir()}


def test_the_manifest_of_a_skill_names_files_of_its_own_folder(tmp_path: Path) -> None:
    """In a lone copy, as it is installed."""
    from tao_skill.models import MODELS

    for model in MODELS.values():
        copy = shutil.copytree(REPOSITORY / "skills" / model.skill, tmp_path / model.skill)
        manifest = json.loads((copy / "schemas" / "manifest.json").read_text("utf-8"))
        assert list(manifest["actions"]) == list(model.actions)
        for entry in manifest["actions"].values():
            named = {kind: one for kind, one in entry.items() if isinstance(one, dict)}
            assert set(named) == {"schema", "template"}
            for one in named.values():
                assert hashlib.sha256((copy / one["path"]).read_bytes()).hexdigest() == one["sha256"]
                assert (copy / one["path"]).resolve().is_relative_to(copy.resolve())


def test_the_skills_facts_name_the_actions_of_the_model() -> None:
    from tao_skill.models import get_model

    info = yaml.safe_load((REPOSITORY / "references" / "pose_classification" / "skill_info.yaml").read_text())
    assert info["actions"] == list(get_model("pose_classification").actions)
    assert info["automl_enabled"] is True
    for alias in info["aliases"]:
        assert get_model(alias.upper()).name == "pose_classification"


def test_the_formats_of_the_reference_are_those_that_can_be_imported() -> None:
    from tao_skill.models.pose_classification.data.imports.formats import FORMATS

    page = (REPOSITORY / "skills" / "tao-prepare-pose-data" / "references" / "formats.md").read_text("utf-8")
    assert set(re.findall(r"^\| ([a-z]+) \|", page, re.MULTILINE)) == set(FORMATS)


def test_the_parameters_of_the_training_page_have_their_defaults_and_all_keys_of_gpus_are_there() -> None:
    page = (REPOSITORY / "skills" / "tao-train-pose-classification" / "references" / "training.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `([a-z_.]+)` \| (.+?) \|", page, re.MULTILINE))
    defaults = {leaf.key: leaf.default for leaf in iter_params(ExperimentConfig, "train")}
    assert {key: yaml.safe_load(value) for key, value in rows.items()} == {key: defaults[key] for key in rows}
    assert {"train.num_gpus", "train.gpu_ids", "train.num_nodes"} <= set(rows)
    data = (REPOSITORY / "skills" / "tao-prepare-pose-data" / "SKILL.md").read_text("utf-8")
    for name, layout in LAYOUTS.items():
        assert f"{name} {layout.joints}" in page
        assert f"{name} {layout.joints}" in data


ERROR_PATTERNS = {
    "train model.graph_layout=coco": "model.graph_layout is",
    "train num_classes=4 label_map=null": "dataset.num_classes is",
    "train num_classes=4": "dataset.label_map has the ids",
    "train train_labels=data/val_label.pkl": "... has",
    "train train_data=data/absent.npy": "there is no such file",
    "inference evaluate.test_dataset.data_path=data/test_data.npy": "evaluate.test_dataset.data_path is not read",
    "evaluate": "evaluate.checkpoint is required",
}
"""Requests, on generated data, and the start of the pattern that references/errors.md has for each."""


@pytest.mark.parametrize(("request_text", "start"), ERROR_PATTERNS.items())
def test_an_error_pattern_is_what_a_plan_prints(
    request_text: str, start: str, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (REPOSITORY / "skills" / "tao-train-pose-classification" / "references" / "errors.md").read_text("utf-8")
    ((pattern, code),) = re.findall(rf'^\| "({re.escape(start)}[^"]*)" \| (\d) \|', page, re.MULTILINE)
    monkeypatch.chdir(project)
    action, *overrides = request_text.split()
    spec = ["-e", "data/spec.yaml"] if action == "train" else []
    words = ["run", action, *spec, *overrides, "--dry-run", "--json"]
    assert run_command(tao_skill, "tao-skill", words) == int(code)
    message = json.loads(capsys.readouterr().out)["error"]["message"]
    assert re.search(re.escape(pattern).replace(r"\.\.\.", ".*"), message), message


def test_the_defaults_of_the_reference_are_those_of_the_config() -> None:
    page = (REPOSITORY / "skills" / "tao-prepare-pose-data" / "references" / "formats.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `(dataset_convert\.\w+)` \| (\S+) \|", page, re.MULTILINE))
    defaults = {leaf.key: leaf.default for leaf in iter_params(ExperimentConfig, "dataset_convert")}
    assert rows
    assert rows == {key: yaml.safe_dump(defaults[key]).split("\n")[0] for key in rows}
