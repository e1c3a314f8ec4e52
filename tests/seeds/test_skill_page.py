"""The skill page: its overrides as it writes them, its tables and its policy, nothing changed but paths."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tao_skill import bank
from tao_skill.cli import main as tao_skill
from tao_skill.models import get_model
from tao_skill.runner import load_runner
from tests.support.folders import REPOSITORY
from tests.support.tao import overrides_of, run

MODEL = get_model(None)
ACTIONS = ("dataset_convert", "train", "evaluate", "export", "inference")
SKILL = REPOSITORY / "skills" / MODEL.skill

INFERENCE = (
    ("evaluate", "encryption_key", "key"),
    ("evaluate", "evaluate.checkpoint", "parent_model"),
    ("evaluate", "results_dir", "output_dir"),
    ("export", "encryption_key", "key"),
    ("export", "export.checkpoint", "parent_model"),
    ("export", "export.onnx_file", "create_onnx_file"),
    ("export", "results_dir", "output_dir"),
    ("inference", "encryption_key", "key"),
    ("inference", "inference.checkpoint", "parent_model"),
    ("inference", "inference.output_file", "create_inference_result_file_pose"),
    ("inference", "results_dir", "output_dir"),
    ("train", "encryption_key", "key"),
    ("train", "model.pretrained_model_path", "ptm_if_no_resume_model"),
    ("train", "results_dir", "output_dir"),
    ("train", "train.resume_training_checkpoint_path", "resume_model"),
)
"""The page's table of inferred keys; where dataset_convert writes is inferred by results_dir here."""

FILES = (
    ("evaluate", "evaluate.test_dataset.data_path", "val_data.npy"),
    ("evaluate", "evaluate.test_dataset.label_path", "val_label.pkl"),
    ("inference", "inference.test_dataset.data_path", "test_data.npy"),
    ("train", "dataset.train_dataset.data_path", "train_data.npy"),
    ("train", "dataset.train_dataset.label_path", "train_label.pkl"),
    ("train", "dataset.val_dataset.data_path", "val_data.npy"),
    ("train", "dataset.val_dataset.label_path", "val_label.pkl"),
)

OFF = ("turn off AutoML", "disable AutoML", "no HPO", "plain training")


@pytest.mark.parametrize(("action", "key", "function"), INFERENCE)
def test_a_key_is_inferred_by_the_function_of_the_page(action: str, key: str, function: str) -> None:
    assert load_runner(MODEL.name, action).inference[key] == function


@pytest.mark.parametrize(("action", "key", "file"), FILES)
def test_a_data_folder_is_read_under_the_names_of_the_page(action: str, key: str, file: str) -> None:
    (need,) = (need for need in load_runner(MODEL.name, action).data if need.key == key)
    assert file in need.files


@pytest.mark.parametrize("action", ACTIONS)
def test_schema_and_template_of_an_action_lie_in_the_skill_and_agree(action: str) -> None:
    schema = json.loads((SKILL / "schemas" / f"{action}.schema.json").read_text())
    template = yaml.safe_load((SKILL / "references" / f"spec_template_{action}.yaml").read_text())
    assert template.keys() == schema["default"].keys()
    manifest = json.loads((SKILL / "schemas" / "manifest.json").read_text())
    assert action in manifest["actions"]


def test_the_train_schema_has_what_a_search_needs() -> None:
    text = json.dumps(bank.load_schema(MODEL.name, "train"))
    for name in ("automl_default_parameters", "automl_disabled_parameters", "default", "minimum", "maximum", "enum"):
        assert f'"{name}"' in text
    assert bank.skill_info(MODEL.name)["automl_enabled"] is True


def route_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    with pytest.raises(SystemExit) as ended:
        tao_skill(["run", "train", *arguments, "--dry-run", "--json"])
    assert not ended.value.code
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


@pytest.fixture
def train_file(inside: Path) -> str:
    (inside / "train.json").write_text(json.dumps(overrides_of("train")))
    return "train.json"


@pytest.mark.parametrize("words", OFF)
def test_the_phrases_of_the_page_turn_automl_off_for_this_run(
    words: str, train_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert route_of(["-e", train_file, "--request", words], capsys)["route"]["route"] == "direct"
    assert route_of(["-e", train_file, "--request", words, "--automl", "auto"], capsys)["route"]["route"] == "direct"
    assert route_of(["-e", train_file], capsys)["route"]["route"] == "automl"


def test_the_overrides_of_the_page_are_in_the_plan(train_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    spec = route_of(["-e", train_file], capsys)["plan"]["spec"]
    assert spec["train"]["num_epochs"] == 30
    assert spec["train"]["validation_interval"] == spec["train"]["checkpoint_interval"] == 10
    assert spec["dataset"]["label_map"] == {f"class_{i}": i for i in range(6)}
    assert Path(spec["dataset"]["val_dataset"]["data_path"]).name == "val_data.npy"


def test_a_search_then_inference_and_a_resumed_training_run_from_the_overrides_of_the_page(
    train_file: str, inside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the 30 epochs two are trained, on the default route, whose rungs end before the tenth."""
    assert run(f"tao-skill run train -e {train_file} --trials 1 --max-epochs 2 --json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["route"]["route"] == "automl"
    results_dir = inside / "results" / document["job"]["id"] / "train"
    newest = max(path.name for path in results_dir.glob("model_epoch_*"))
    places = {
        "/results/{train_job_id}/results_dir/model_epoch_000_step_00007.pth": str(results_dir / newest),
        "/results/{export_job_id}/results_dir": str(inside / "exported"),
        "/results/pose_classification_inference.txt": str(inside / "names.txt"),
    }
    for action in ("evaluate", "export", "inference", "resume"):
        (inside / f"{action}.json").write_text(json.dumps(overrides_of(action, **places)))
    for action in ("evaluate", "export"):
        assert run(f"tao-skill run {action} -e {action}.json --dry-run") == 0
    assert run("tao-skill run inference -e inference.json") == 0
    assert len((inside / "names.txt").read_text().splitlines()) == 48
    capsys.readouterr()
    assert run("tao-skill run train -e resume.json train.num_epochs=3 --automl off --json") == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["train_loss"] > 0
