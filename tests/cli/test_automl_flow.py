"""A whole search by the command line: real trainings, real processes, killed and stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tao_skill.models.pose_classification.data.sample.sample import write_sample
from tests.support.command_line import TAO_SKILL, call, call_json
from tests.support.experiments import FRAMES, dataset
from tests.support.search_reports import report_of, results_of

pytestmark = pytest.mark.usefixtures("small_networks_in_processes")

BUDGET = ["--search-scope", "schema", "--trials", "4", "--max-epochs", "4", "--min-epochs", "1", "--eta", "2"]


@pytest.fixture(scope="module")
def train(searchable: list[str]) -> list[str]:
    return [*searchable, *BUDGET]


@pytest.fixture(scope="module")
def searched(train: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    root = tmp_path_factory.mktemp("search_results")
    return root, call_json([*train, "--key", "whole"], root)


def test_a_search_ends_with_a_model_that_is_never_worse_than_the_users_spec(
    searched: tuple[Path, dict[str, Any]],
) -> None:
    root, document = searched
    assert document["job"]["state"] == "COMPLETE"
    assert document["route"]["route"] == "automl"
    metrics = document["metrics"]
    assert metrics["best_val_acc"] >= metrics["default_val_acc"]
    report = report_of(root, document)
    assert [one["number"] for one in report["trials"]] == [0, 1, 2, 3]
    own, winner = report["trials"][0], report["trials"][report["winner"]["number"]]
    assert (own["full"], own["values"]["train.optim.lr"], own["values"]["model.dropout"]) == (4, 0.02, 0.1)
    assert winner["epochs"] == winner["full"] == 4
    assert report["winner"]["sentence"]
    assert "<svg" in (root / document["job"]["id"] / "report.html").read_text()
    shown = call_json(["automl", "show", document["job"]["id"]], root)
    assert results_of(shown) == results_of(report)


def test_the_last_lines_are_verdict_gain_model_and_report(searched: tuple[Path, dict[str, Any]]) -> None:
    root, document = searched
    lines = call(["jobs", "wait", document["job"]["id"]], root).stdout.splitlines()[-4:]
    texts = dict(line.split(maxsplit=1) for line in lines)
    assert list(texts) == ["winner", "gain", "model", "report"]
    report = report_of(root, document)
    assert texts["winner"] == report["winner"]["sentence"]
    own, best = report["baseline"], report["winner"]["metrics"]["val_acc"]
    part = "" if own["epochs"] == 4 else f" after {own['epochs']} of 4 epochs"
    more = f"val_acc {best:.1%}, your spec {own['metric']:.1%}{part}: {100 * (best - own['metric']):+.1f} points"
    none = f"none, your spec has the best val_acc: {best:.1%}"
    assert texts["gain"].replace(" %", "%") == (none if report["winner"]["number"] == 0 else more)
    assert (
        Path(texts["model"]).resolve() == Path(root / document["job"]["id"] / "train" / "pc_model_best.pth").resolve()
    )
    assert Path(texts["report"]).name == "report.html"


def test_a_review_tells_the_time_that_earlier_trainings_took(
    train: list[str], searched: tuple[Path, dict[str, Any]]
) -> None:
    root, document = searched
    before = call_json([*train, "--dry-run"], root)["automl"]["cost"]
    assert before["learnt_from"] == document["job"]["id"]
    assert before["full_s"] > 0
    assert before["expected_s"] is None


def test_what_follows_builds_on_the_winner(searched: tuple[Path, dict[str, Any]]) -> None:
    root, document = searched
    evaluated = call_json(["run", "evaluate", "--parent", document["job"]["id"]], root)
    assert evaluated["metrics"]["accuracy"] == pytest.approx(100 * document["metrics"]["best_val_acc"])


def test_the_best_spec_gives_the_same_result_again_without_a_search(searched: tuple[Path, dict[str, Any]]) -> None:
    root, document = searched
    best = root / document["job"]["id"] / "best_spec.yaml"
    chosen = report_of(root, document)["winner"]["values"]
    assert yaml.safe_load(best.read_text())["train"]["optim"]["lr"] == chosen["train.optim.lr"]
    again = call_json(["run", "train", "-e", str(best), "--automl", "off"], root)
    assert again["metrics"]["best_val_acc"] == document["metrics"]["best_val_acc"]


def test_a_loser_keeps_its_best_checkpoint_alone(searched: tuple[Path, dict[str, Any]]) -> None:
    root, document = searched
    trials = root / document["job"]["id"] / "automl" / "trials"
    kept = {int(path.name): len(list(path.glob("train/model_*.pth"))) for path in trials.iterdir()}
    assert set(kept) == {0, 1, 2, 3}
    assert {kept[number] for number in kept if number not in (0, int(document["metrics"]["winner"]))} == {1}


def test_every_trial_is_a_parent(searched: tuple[Path, dict[str, Any]]) -> None:
    root, document = searched
    job = document["job"]["id"]
    shown = call_json(["automl", "show", job], root)["trials"]
    assert [one["parent"] for one in shown] == [f"{job}/{number}" for number in range(4)]
    loser = max({1, 2, 3} - {int(document["metrics"]["winner"])})
    evaluated = call_json(["run", "evaluate", "--parent", f"{job}/{loser}"], root)
    assert evaluated["metrics"]["accuracy"] == pytest.approx(100 * shown[loser]["metric"])
    assert evaluated["next"][0].endswith(f"--parent {job}/{loser}")
    record = json.loads((root / evaluated["job"]["id"] / "job.json").read_text())
    assert record["parent"] == f"{job}/{loser}"
    planned = call_json(["run", "inference", "--parent", "latest:evaluate", "--dry-run"], root)["plan"]
    assert f"/automl/trials/{loser:04d}/train/" in planned["inferred"]["inference.checkpoint"]["value"]
    assert planned["spec"]["model"]["graph_layout"] == "nvidia"


def test_a_trial_that_is_not_there_is_said_to_be_none(searched: tuple[Path, dict[str, Any]]) -> None:
    root, document = searched
    job = document["job"]["id"]
    error = call_json(["run", "export", "--parent", f"{job}/9"], root, code=3)["error"]
    assert (error["code"], error["message"]) == ("not_found", f"search {job} has no trial 9")


def test_a_search_without_validation_data_holds_out_a_part_and_says_so(tmp_path: Path) -> None:
    """With the intervals of the documentation's example: no epoch of this search is a fifth one."""
    write_sample(tmp_path / "data", train=24, val=6, frames=FRAMES, seed=3)
    facts = [f"{key}={value}" for key, value in dataset(tmp_path / "data").items() if ".val_dataset." not in key]
    intervals = ["train.validation_interval=5", "train.checkpoint_interval=5"]
    command = ["run", "train", *facts, *intervals, "batch_size=8", "num_workers=0", "lr=0.02"]
    command += ["--trials", "1", "--max-epochs", "2"]
    planned = call_json([*command, "--dry-run"], tmp_path)
    assert planned["plan"]["inferred"]["dataset.validation_split"]["value"] == 0.2
    assert "20% of the training sequences" in planned["automl"]["validation"]
    document = call_json(command, tmp_path)
    report = report_of(tmp_path, document)
    assert "20% of the training sequences" in report["validation"]
    assert all(one is not None for one in report["curves"]["trials"]["0"])
    folder = tmp_path / document["job"]["id"]
    assert "20% of the training sequences" in (folder / "report.html").read_text()
    assert json.loads((folder / "job.json").read_text())["spec"]["dataset"]["validation_split"] == 0.2
    again = call_json(["run", "train", "-e", str(folder / "best_spec.yaml"), "--automl", "off"], tmp_path)
    assert again["metrics"]["best_val_acc"] == document["metrics"]["best_val_acc"]


@pytest.mark.thorough
@pytest.mark.parametrize("after", range(3))
def test_a_search_that_is_killed_goes_on_to_the_result_of_an_undisturbed_one(
    after: int, train: list[str], searched: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """SIGKILL to all its processes while trial `after` trains; the same command with the same key goes on."""
    command = [*train, "--key", "whole"]
    running = subprocess.Popen(
        [*TAO_SKILL, *command],
        env={**os.environ, "TAO_SKILL_RESULTS": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stderr is not None
    for line in running.stderr:
        if line.startswith(f"trial {after} ") and "  running to" in line:
            break
    time.sleep(1.5)
    (record,) = tmp_path.glob("train-*/job.json")
    os.killpg(json.loads(record.read_text())["attempts"][-1]["pid"], signal.SIGKILL)
    running.communicate()
    assert running.returncode == 1
    again = call_json(command, tmp_path)
    assert again["job"]["state"] == "COMPLETE"
    assert len(json.loads(record.read_text())["attempts"]) == 2
    root, document = searched
    assert results_of(report_of(tmp_path, again)) == results_of(report_of(root, document))


def test_ctrl_c_stops_at_the_rung_and_resume_finishes_the_search(
    train: list[str], searched: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    running = subprocess.Popen(
        [*TAO_SKILL, *train, "--key", "whole"],
        env={**os.environ, "TAO_SKILL_RESULTS": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stderr is not None
    for line in running.stderr:
        if line.startswith("trial 0 ") and "  running to" in line:  # later ones may end before they are seen to run
            break
    running.send_signal(signal.SIGINT)
    running.communicate()
    assert running.returncode == 130
    (folder,) = tmp_path.glob("train-*")
    stopped = json.loads((folder / "report.json").read_text())
    assert all(one["state"] != "running" for one in stopped["trials"])
    resumed = call_json(["automl", "resume", folder.name], tmp_path)
    assert resumed["job"]["state"] == "COMPLETE"
    root, document = searched
    assert results_of(report_of(tmp_path, resumed)) == results_of(report_of(root, document))


def test_a_metric_that_is_not_measured_stops_at_the_first_trial(train: list[str], tmp_path: Path) -> None:
    document = call_json([*train, "--metric", "val_f1"], tmp_path, code=2)
    assert (
        "metric is 'val_f1', accepted: avg_accuracy, train_acc, train_loss, val_acc, val_loss"
        in document["error"]["message"]
    )
    assert len(report_of(tmp_path, document)["trials"]) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--search", "num_classes"], "dataset.num_classes may not be searched"),
        (["--search", "lr=1:0.1"], "is not a range for train.optim.lr"),
        (["--sampler", "annealing"], "sampler is 'annealing', accepted: tpe, "),
        (["--pruner", "median"], "pruner is 'median', accepted: promotion, none"),
        (["--time-budget", "soon"], "is not a duration"),
    ],
)
def test_wrong_settings_are_refused_before_a_job_exists(
    arguments: list[str], said: str, train: list[str], tmp_path: Path
) -> None:
    document = call_json([*train, *arguments], tmp_path, code=2)
    assert said in document["error"]["message"]
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_is_the_launch_review_and_imports_nothing_heavy(train: list[str], tmp_path: Path) -> None:
    review = call_json([*train, "--dry-run"], tmp_path)["automl"]
    assert review["budget"]["shares"] == [0.5, 1]
    assert review["recipes"] == {}
    assert review["trial_0"]["train.optim.lr"] == 0.02
    assert "train.optim.patience" in review["space"]["left_out"]
    code = (
        "import sys; from tao_skill.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'pytorch_lightning', 'optuna', 'sqlalchemy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *train, "--dry-run"], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_epochs_of_a_search_that_do_not_fit_the_spec_are_refused(train: list[str], tmp_path: Path) -> None:
    wide = ["train.num_epochs=20", "train.optim.warmup_epochs=5", "train.optim.lr_steps=[8]"]
    document = call_json([*train, *wide, "--dry-run"], tmp_path, code=2)
    assert "train.optim.warmup_epochs is 5, but train.num_epochs is 4" in document["error"]["message"]


def test_a_direct_run_says_that_settings_of_a_search_have_no_effect(train: list[str], tmp_path: Path) -> None:
    done = call([*train, "--automl", "off", "--dry-run"], tmp_path)
    assert "trials, max_epochs" in done.stderr
    assert "no effect" in done.stderr
    assert "tao_compatible" not in done.stderr
    assert "tao_compatible" in call([*train, "--automl", "off", "--tao-compatible", "--dry-run"], tmp_path).stderr


def test_a_password_of_the_storage_is_in_nothing_that_is_left(train: list[str], tmp_path: Path) -> None:
    url = "postgresql://poses:hunter2@127.0.0.1:9/none"
    done = call([*train, "--storage", url, "--json"], tmp_path, code=2)
    document = json.loads(done.stdout)
    assert "postgresql://poses:***@127.0.0.1:9/none cannot be opened" in document["error"]["message"]
    assert "hunter2" not in done.stdout + done.stderr
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or b"hunter2" not in path.read_bytes(), path
    record = json.loads((tmp_path / document["job"]["id"] / "job.json").read_text())
    assert record["automl"]["storage"] == "postgresql://poses:***@127.0.0.1:9/none"


def test_settings_that_a_search_does_not_use_are_named(train: list[str], tmp_path: Path) -> None:
    ignored = ["train.validation_interval=5", "train.gpu_ids=[0,1]"]
    planned = call([*train, *ignored, "--dry-run"], tmp_path)
    assert "not used: train.validation_interval=5, train.gpu_ids=[0, 1]" in planned.stderr
    assert "not used" not in call([*train, "--dry-run"], tmp_path).stderr
