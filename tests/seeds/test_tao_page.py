"""TAO's page: its example spec and its commands, nothing changed but paths, on the direct and the default route."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tao_skill.cli import tao
from tao_skill.jobs.store import Store
from tao_skill.model import Model
from tao_skill.planning.plan import Plan, make_plan
from tao_skill.planning.request import Request
from tao_skill.runner import load_runner
from tests.support.tao import SEEDS, run

COMMANDS: list[str] = yaml.safe_load((SEEDS / "commands.yaml").read_text())
PLANNED = [command for command in COMMANDS if command.startswith("tao model")]


@pytest.fixture(scope="module")
def trained(folder: Path) -> Path:
    """The checkpoint of the example spec, trained by the page's own command."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("HOME", str(folder))
        assert run("pose_classification train -e spec.yaml") == 0
    return folder / "results" / "train" / "pc_model_latest.pth"


def test_the_example_trains_ten_epochs_and_validates_and_saves_every_fifth(trained: Path) -> None:
    assert sorted(path.name for path in trained.parent.glob("model_*")) == [
        "model_epoch_004_step_00005.pth",
        "model_epoch_009_step_00010.pth",
    ]
    assert trained.is_symlink()
    assert str(trained.readlink()) == "model_epoch_009_step_00010.pth"
    lines = [json.loads(line) for line in (trained.parent / "status.json").read_text().splitlines()]
    assert [line["epoch"] for line in lines if "epoch" in line and "val_acc" in line["kpi"]] == [4, 9]
    assert [line["epoch"] for line in lines if "epoch" in line and "train_loss" in line["kpi"]] == [*range(10)]
    assert lines[-1]["status"] == "SUCCESS"


def test_the_example_is_searched_on_the_default_route(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A rung ends before the fifth epoch, after which it would first validate."""
    assert run("tao-skill run train -e spec.yaml results_dir=searched --trials 2 --min-epochs 1 --json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["route"]["route"] == "automl"
    report = json.loads((inside / "results" / document["job"]["id"] / "report.json").read_text())
    assert report["curves"]["rungs"] == [3, 10]
    for curve in report["curves"]["trials"].values():
        assert all(value is not None for value in curve)
    assert document["metrics"]["best_val_acc"] >= document["metrics"]["default_val_acc"]


@pytest.mark.parametrize("command", PLANNED)
def test_a_command_of_the_page_is_understood(
    command: str, trained: Path, inside: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Up to the job: its plan has no problem, and sets what the command says."""
    planned = plan_of(command.replace("MODEL", str(trained)), monkeypatch)
    for word in command.split():
        key, equals, value = word.partition("=")
        if equals and not value.endswith((".npy", ".pkl", ".json", ".onnx", ".txt", "MODEL", "elsewhere")):
            assert value_at(planned.spec, key) == yaml.safe_load(value)
    if " -r " in command or "results_dir=" in command:
        assert "elsewhere" in str(planned.results_dir)


def plan_of(command: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The plan of a command of TAO's grammar, which has no dry run of its own."""
    plans: list[Plan] = []

    def only_plan(model: Model, action: str, request: Request, root: Path, **options: Any) -> int:
        runner, store = load_runner(model.name, action), Store(root.absolute())
        plans.append(make_plan(runner, request, store, environment={}, now=datetime.now(UTC), token="0000"))
        return 0

    monkeypatch.setattr(tao, "execute", only_plan)
    assert run(command) == 0
    (planned,) = plans
    return planned


def value_at(spec: Any, key: str) -> Any:
    for name in key.split("."):
        spec = spec[name]
    return spec


def test_evaluate_inference_export_and_conversion_run_from_the_checkpoint(trained: Path, inside: Path) -> None:
    spec = yaml.safe_load((inside / "spec.yaml").read_text())
    test_data = {"data_path": "val_data.npy", "label_path": "val_label.pkl"}
    sections = {
        "evaluate": {"checkpoint": str(trained), "test_dataset": test_data},
        "inference": {"checkpoint": str(trained), "test_dataset": {"data_path": "val_data.npy"}},
        "export": {"checkpoint": str(trained)},
    }
    for action, section in sections.items():
        (inside / f"{action}.yaml").write_text(yaml.safe_dump(spec | {action: section}))
    for command in COMMANDS:
        if command.startswith("pose_classification"):
            assert run(command) == 0
    names = (inside / "results" / "inference" / "results.txt").read_text().split()
    assert len(names) == 6
    assert set(names) <= spec["dataset"]["label_map"].keys()
    assert (inside / "results" / "export" / "model.onnx").is_file()
    assert json.loads((inside / "results" / "evaluate" / "evaluation.json").read_text())["accuracy"] >= 0
    assert list((inside / "converted").glob("**/*.npy"))
