"""A second model beside the shipped one: shared code takes spec keys, files and metrics from the model alone."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tao_skill.models.pose_classification.model import MODEL
from tao_skill.spec.tree import iter_params
from tests.support.command_line import TAO_SKILL
from tests.support.folders import REPOSITORY

LINE = REPOSITORY / "tests" / "support" / "second_model"
PACKAGE = REPOSITORY / "core" / "tao_skill"
REPORT = """
import sys
from pathlib import Path
from tao_skill.agent_tools.context import ToolContext
from tao_skill.agent_tools.dispatch import reply
from tao_skill.agent_tools.roots import Roots
root = Path(sys.argv[2]).resolve()
context = ToolContext(roots=Roots(folders=(root,)), results_root=root, environment={})
print(reply("read_report", {"job": sys.argv[1]}, context).text)
"""


class Ground:
    """A bank with both models, points to fit, and a results root."""

    def __init__(self, folder: Path) -> None:
        self.points = folder / "points.json"
        self.root = folder / "results"
        self.environment = {
            **os.environ,
            "PYTHONPATH": f"{LINE}{os.pathsep}{REPOSITORY / 'core'}",
            "TAO_SKILL_BANK": str(folder / "bank"),
            "TAO_SKILL_RESULTS": str(self.root),
        }

    def start(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(words, env=self.environment, capture_output=True, text=True, check=False, timeout=120)

    def call(self, *words: str, code: int = 0) -> dict[str, Any]:
        done = self.start(*TAO_SKILL, *words, "--json")
        assert done.returncode == code, done.stdout + done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return document


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    folder = tmp_path_factory.mktemp("line")
    for source in (REPOSITORY, LINE / "bank_by_hand"):
        for name in ("skills", "references"):
            shutil.copytree(source / name, folder / "bank" / name, dirs_exist_ok=True)
    shutil.copy(REPOSITORY / "pyproject.toml", folder / "bank")
    made = Ground(folder)
    made.points.write_text(json.dumps([[x / 4, 3 * x / 4] for x in range(-4, 5)]))
    done = made.start(sys.executable, str(REPOSITORY / "tools" / "generate.py"), "--root", str(folder / "bank"))
    assert done.returncode == 0, done.stdout + done.stderr
    return made


@pytest.fixture(scope="module")
def trained(ground: Ground) -> dict[str, Any]:
    words = ("run", "train", "-m", "line", "--automl", "off", f"points.file={ground.points}", "rate=0.1")
    document = ground.call(*words)
    assert document["job"]["state"] == "COMPLETE"
    assert document["metrics"]["closeness"] > 0.1
    return document


@pytest.fixture(scope="module")
def searched(ground: Ground) -> dict[str, Any]:
    words = ("run", "train", "-m", "line", f"points.file={ground.points}", "--trials", "4", "--max-epochs", "3")
    document = ground.call(*words, "--min-epochs", "1", "--workers", "1")
    assert document["job"]["state"] == "COMPLETE"
    return document


def test_its_files_are_generated(ground: Ground) -> None:
    bank = Path(ground.environment["TAO_SKILL_BANK"])
    schema = json.loads((bank / "schemas/line/train.schema.json").read_text())
    assert schema["automl_default_parameters"] == ["train.rate"]
    assert "rounds: 4" in (bank / "references/line/spec_template_train.yaml").read_text()
    assert [model["name"] for model in ground.call("models")["models"]] == ["pose_classification", "line"]


@pytest.mark.parametrize("words", [("run", "train"), ("schema", "train"), ("template", "train"), ("automl", "space")])
def test_a_command_without_a_model_says_which_there_are(ground: Ground, words: tuple[str, ...]) -> None:
    error = ground.call(*words, code=2)["error"]
    assert error["message"] == "there are several models: pose_classification, line"
    assert error["fix"] == "give --model pose_classification|line"


def test_its_plan_infers_and_routes(ground: Ground) -> None:
    planned = ground.call("run", "train", "-m", "linear fit", f"points.file={ground.points}", "--dry-run")
    assert planned["route"]["route"] == "automl"
    assert list(planned["automl"]["space"]["search"]) == ["train.rate"]
    assert planned["automl"]["goal"] == {"metric": "closeness", "direction": "maximize"}
    assert planned["automl"]["validation"] == "after every epoch, on the validation set"
    assert planned["plan"]["inferred"].keys() == {"results_dir"}


def test_its_check_stops_a_run(ground: Ground, tmp_path: Path) -> None:
    (tmp_path / "points.json").write_text("[[1, 2]]")
    error = ground.call("run", "train", "-m", "line", f"points.file={tmp_path}", code=2)["error"]
    assert "fewer than two points" in error["message"]


def test_its_training_is_evaluated_by_its_parent(ground: Ground, trained: dict[str, Any]) -> None:
    job = trained["job"]["id"]
    document = ground.call("run", "evaluate", "-m", "line", "--parent", job)
    assert document["metrics"]["misfit"] == pytest.approx(trained["metrics"]["misfit"])
    spec = yaml.safe_load((ground.root / document["job"]["id"] / "spec.yaml").read_text())
    assert spec["points"]["file"] == str(ground.points)
    assert spec["evaluate"]["weights"].endswith("round_004.line")
    reported = ground.start(sys.executable, "-c", REPORT, document["job"]["id"], str(ground.root))
    assert json.loads(reported.stdout)["report"].keys() == {"slope"}, reported.stdout + reported.stderr


def test_its_search_leaves_the_winner_and_every_trial_as_parents(ground: Ground, searched: dict[str, Any]) -> None:
    job = searched["job"]["id"]
    report = ground.call("automl", "show", job)
    assert report["goal"] == {"metric": "closeness", "direction": "maximize", "tie": "misfit"}
    assert report["winner"]["values"]["train.rate"] > 0.01
    assert report["seeds"]["train"] == 0
    results = ground.root / job / "train"
    assert len(list(results.glob("*.line"))) >= 1
    assert all(trial["parent"] == f"{job}/{trial['number']}" for trial in report["trials"])
    of_winner = ground.call("run", "evaluate", "-m", "line", "--parent", job)
    of_trial = ground.call("run", "evaluate", "-m", "line", "--parent", f"{job}/{report['winner']['number']}")
    assert of_winner["metrics"] == of_trial["metrics"]


def test_its_jobs_are_listed_beside_others(ground: Ground, trained: dict[str, Any], searched: dict[str, Any]) -> None:
    listed = {job["id"] for job in ground.call("jobs", "list")["jobs"]}
    assert {trained["job"]["id"], searched["job"]["id"]} <= listed


def texts(source: str) -> Iterator[tuple[int, str]]:
    """String constants with their lines, docstrings left out."""
    tree = ast.parse(source)
    documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents:
            yield node.lineno, node.value


def test_shared_code_names_no_key_file_or_metric_of_the_shipped_model() -> None:
    keys = [leaf.key for leaf in iter_params(MODEL.config) if "." in leaf.key]
    metrics = ["val_acc", "val_loss", "train_loss", "train_acc", "batch_loss", "avg_accuracy"]
    files = ["checkpoints.json", "label_map.json", "results.txt", "model.onnx", ".pth"]
    own = re.compile("|".join(rf"(?<!\w){re.escape(name)}(?!\w)" for name in (*keys, *metrics, *files)))
    shared = [path for path in PACKAGE.rglob("*.py") if "pose_classification" not in path.parts]
    assert len(shared) > 100
    named = [
        f"{path}:{line}: {text}" for path in shared for line, text in texts(path.read_text("utf-8")) if own.search(text)
    ]
    assert named == []
