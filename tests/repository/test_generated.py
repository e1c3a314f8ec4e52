from __future__ import annotations

import hashlib
import importlib
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tao_skill import bank
from tao_skill.errors import NotFound
from tao_skill.models.pose_classification.model import MODEL
from tao_skill.planning.infer import inference_functions
from tao_skill.spec.param import REQUIRED
from tao_skill.spec.tree import iter_params
from tests.support.folders import REPOSITORY

SKILL = Path("skills") / MODEL.skill / "SKILL.md"
BANK = ("schemas", "references", "runners", "skills")

sys.path.insert(0, str(REPOSITORY / "tools"))
generate = importlib.import_module("generate")
skill_tables = importlib.import_module("skill_tables")
MANIFESTS = importlib.import_module("manifests").MANIFESTS


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of everything the generator reads and writes."""
    for folder in BANK:
        shutil.copytree(REPOSITORY / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", *MANIFESTS):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPOSITORY / name, tmp_path / name)
    return tmp_path


def check(root: Path) -> int:
    return int(generate.main(["--check", "--root", str(root)]))


def contents(root: Path) -> dict[Path, bytes]:
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_every_generated_file_of_this_checkout_is_current() -> None:
    assert check(REPOSITORY) == 0


def test_generating_again_and_from_nothing_gives_the_same_bytes(checkout: Path) -> None:
    before = contents(checkout)
    for folder in ("schemas", "runners", SKILL.parent / "schemas"):
        shutil.rmtree(checkout / folder)
    for path in [*checkout.glob(f"{SKILL.parent}/references/*.yaml"), *(checkout / name for name in MANIFESTS)]:
        path.unlink()
    assert check(checkout) == 1
    assert generate.main(["--root", str(checkout)]) == 0
    assert contents(checkout) == before


def test_check_names_a_stale_a_missing_and_an_extra_file_and_writes_nothing(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {
        "stale": "references/pose_classification/spec_template_train.yaml",
        "missing": "runners/pose_classification/export.py",
        "extra": f"skills/{MODEL.skill}/schemas/old.schema.json",
    }
    (checkout / names["stale"]).write_text("lr: 1\n", encoding="utf-8")
    (checkout / names["missing"]).unlink()
    (checkout / names["extra"]).write_text("{}\n", encoding="utf-8")
    before = contents(checkout)
    assert check(checkout) == 1
    shown = capsys.readouterr().err.splitlines()
    assert shown[:-1] == [f"{kind}: {names[kind]}" for kind in ("stale", "missing", "extra")]
    assert contents(checkout) == before


def test_a_file_stale_by_its_line_ends_only_is_stale(checkout: Path) -> None:
    path = checkout / "schemas/pose_classification/train.schema.json"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert check(checkout) == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "| train | dataset.val_dataset.data_path |",
            "| train | dataset.val_data |",
            "'dataset.val_data' is not a known spec key of",
        ),
        (
            "| evaluate | evaluate.checkpoint | parent_model |",
            "| evaluate | train.seed | key |",
            "'train.seed' is not a known spec",
        ),
        (
            "| export.onnx_file | create_onnx_file |",
            "| export.onnx_file | make_onnx |",
            "'make_onnx' is not a known inference",
        ),
        ("| export | export.onnx_file |", "| exprt | export.onnx_file |", "'exprt' is not a known action"),
        (
            "| yes | dataset.val_dataset.data_path |",
            "| yes | val.data |",
            "'val.data' is not a known spec key of a parent",
        ),
        ("| val_data.npy | no |", "| val_data.npy | maybe |", "'maybe' is not a known Required value"),
        ("| val_data.npy | no |", "| val_data.npy | yes |", "Required of dataset.val_dataset.data_path is yes"),
        ("| val_data.npy | no | - |", "| val_data.npy | no |", "4 cells, expected 5"),
        ("| test_label.pkl, val_label.pkl | yes |", "| test_label.pkl | yes |", "has a different number of files"),
        ("| Action | Spec key | Function |", "| Action | Key | Function |", "columns are"),
        ("## Spec Param / Parent Model Inference", "## Inference", "no section 'Spec Param / Parent Model Inference'"),
        ("| export | export.checkpoint | parent_model |\n", "", "export.checkpoint is required by export"),
    ],
)
def test_a_wrong_name_in_a_table_is_refused_by_name(
    checkout: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, message: str
) -> None:
    text = (checkout / SKILL).read_text("utf-8")
    assert old in text
    (checkout / SKILL).write_text(text.replace(old, new, 1), "utf-8")
    assert check(checkout) == 1
    shown = capsys.readouterr().err
    assert message in shown
    assert re.match(r"SKILL\.md(:\d+)?: ", shown)


def test_a_shorthand_for_a_key_that_does_not_exist_is_refused(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = checkout / "references/pose_classification/skill_info.yaml"
    path.write_text(path.read_text("utf-8").replace("lr: train.optim.lr\n", "lr: train.lr\n", 1), "utf-8")
    assert check(checkout) == 1
    assert "'lr' names 'train.lr'" in capsys.readouterr().err


def test_the_manifest_describes_the_files_that_are_there() -> None:
    manifest = bank.manifest(MODEL.name)
    assert list(manifest["actions"]) == list(MODEL.actions)
    for entry in manifest["actions"].values():
        for kind in ("schema", "template", "runner"):
            data = (REPOSITORY / entry[kind]["path"]).read_bytes()
            assert hashlib.sha256(data).hexdigest() == entry[kind]["sha256"]
    automl, info = manifest["automl"], bank.skill_info(MODEL.name)
    assert (automl["enabled"], automl["metric"], automl["direction"]) == (True, "val_acc", "maximize")
    assert automl["enabled"] == info["automl_enabled"]
    assert automl["default_parameters"] == bank.load_schema(MODEL.name, "train")["automl_default_parameters"]


def test_the_copies_inside_the_skill_are_byte_identical() -> None:
    """The manifest has paths of its own in each place."""
    for kind in ("schemas", "references"):
        copies, packaged = (
            {
                path.name: path.read_bytes()
                for path in folder.iterdir()
                if path.name not in ("manifest.json", "recipes.yaml")
            }
            for folder in (REPOSITORY / SKILL.parent / kind, REPOSITORY / kind / MODEL.name)
        )
        assert {name: data for name, data in copies.items() if not name.endswith(".md")} == packaged


@pytest.mark.parametrize("action", MODEL.actions)
def test_a_runner_holds_what_the_tables_say_and_covers_what_the_action_requires(action: str) -> None:
    table = skill_tables.read_tables(REPOSITORY / SKILL, MODEL, inference_functions(MODEL))[action]
    namespace: dict[str, Any] = {"__name__": "runner"}
    exec(bank.runner_path(MODEL.name, action).read_text("utf-8"), namespace)
    runner = namespace["RUNNER"]
    assert (runner.model, runner.action, dict(runner.inference)) == (MODEL.name, action, table.inference)
    assert [vars(need) for need in runner.data] == [vars(row) for row in table.data]
    covered = set(runner.inference) | {need.key for need in runner.data}
    assert {leaf.key for leaf in iter_params(MODEL.config, action) if leaf.default == REQUIRED} <= covered


class TestBank:
    def test_is_found_in_the_checkout_in_a_named_folder_and_through_the_environment(
        self, checkout: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert bank.root() == REPOSITORY
        assert bank.root(checkout) == checkout
        monkeypatch.setenv(bank.VARIABLE, str(checkout))
        assert bank.skills_dir() == checkout / "skills"

    def test_says_what_is_missing_and_how_to_get_it(self, checkout: Path, tmp_path_factory: Any) -> None:
        with pytest.raises(NotFound, match="no skill bank"):
            bank.root(tmp_path_factory.mktemp("empty"))
        with pytest.raises(NotFound, match="it is missing") as caught:
            bank.load_schema(MODEL.name, "fly", checkout)
        assert "tools/generate.py" in caught.value.fix

    @pytest.mark.parametrize("text", ["[1]", '{"a": NaN}', '{"a"', ""])
    def test_refuses_a_schema_that_is_not_strict_json(self, checkout: Path, text: str) -> None:
        bank.schema_path(MODEL.name, "train", checkout).write_text(text, "utf-8")
        with pytest.raises(NotFound, match="cannot be used"):
            bank.load_schema(MODEL.name, "train", checkout)

    @pytest.mark.parametrize("text", ["- 1", "a: [", ""])
    def test_refuses_skill_info_that_is_no_mapping(self, checkout: Path, text: str) -> None:
        (checkout / "references" / MODEL.name / "skill_info.yaml").write_text(text, "utf-8")
        with pytest.raises(NotFound, match="cannot be used"):
            bank.skill_info(MODEL.name, checkout)

    def test_holds_strict_json_only(self) -> None:
        for path in REPOSITORY.glob("schemas/**/*.json"):
            json.loads(path.read_text("utf-8"), parse_constant=pytest.fail)
