"""The command line as an agent uses it: real processes, real training, one JSON document at a time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import pytest
import torch

from tao_skill.cli.program import tao_skill
from tests.support.command_line import HEAVY, SMALL, TAO_SKILL, answer_here, call, call_json
from tests.support.experiments import dataset_overrides

pytestmark = pytest.mark.usefixtures("small_networks_in_processes")


@pytest.fixture(scope="module")
def train(tiny: Path) -> list[str]:
    return ["run", "train", "--automl", "off", *SMALL, *dataset_overrides(tiny)]


@pytest.fixture(scope="module")
def trained(train: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    root = tmp_path_factory.mktemp("results")
    return root, call_json([*train, "epochs=4", "--key", "once"], root)


def test_train_answers_with_the_documented_result(trained: tuple[Path, dict[str, Any]]) -> None:
    root, document = trained
    assert list(document) == ["job", "route", "metrics", "artifacts", "next"]
    job = document["job"]
    assert list(job) == [
        "id", "model", "action", "state", "parent", "results_dir", "created", "started", "ended",
    ]  # fmt: skip
    assert (job["state"], job["action"], job["model"]) == ("COMPLETE", "train", "pose_classification")
    assert document["route"] == {"policy": "off", "route": "direct", "reason": "automl_policy is off"}
    assert {"val_acc", "val_loss", "train_acc", "train_loss", "best_val_acc"} <= document["metrics"].keys()
    assert all(Path(artifact["path"]).exists() for artifact in document["artifacts"])
    assert document["next"][0] == f"tao-skill run evaluate --parent {job['id']}"
    assert {path.name for path in (root / job["id"]).iterdir()} >= {"job.json", "log.txt", "spec.yaml", "train"}
    again = call_json(["run", "train", "-e", str(root / job["id"] / "spec.yaml"), "--dry-run"], root)
    assert again["plan"]["results_dir"] == job["results_dir"]


def test_the_next_commands_run_as_printed_without_a_path_typed(trained: tuple[Path, dict[str, Any]]) -> None:
    root, document = trained
    waiting, done = list(document["next"]), []
    answers: dict[tuple[str, str], dict[str, Any]] = {}
    while waiting:
        done.append(waiting.pop(0))
        words = done[-1].split()
        assert words[0] == "tao-skill"
        if "gen_trt_engine" in words:  # needs TensorRT, and says so
            assert call_json(words[1:], root, code=4)["error"]["code"] == "missing_dependency"
            continue
        after = call_json(words[1:], root)
        assert after["job"]["state"] == "COMPLETE"
        answers[words[2], words[4].split("-")[0]] = after
        waiting += [command for command in after["next"] if command not in (*done, *waiting)]
    best = document["metrics"]["best_val_acc"]
    names = []
    for parent in ("train", "export"):
        evaluated, predicted = answers["evaluate", parent], answers["inference", parent]
        assert set(evaluated["metrics"]) == {"accuracy", "avg_accuracy"}
        assert evaluated["metrics"]["accuracy"] == pytest.approx(100 * best)
        names.append(Path(predicted["artifacts"][0]["path"]).read_text().splitlines())
    assert names[0] == names[1]
    assert len(names[0]) == 6


def test_a_parent_is_evaluated_on_several_clips(trained: tuple[Path, dict[str, Any]]) -> None:
    root, document = trained
    clips = ["evaluate.num_clips=3", "evaluate.batch_size=6"]
    done = call_json(["run", "evaluate", "--parent", document["job"]["id"], *clips], root)["job"]
    assert done["state"] == "COMPLETE"
    progress = json.loads((Path(done["results_dir"]) / "progress.json").read_text())
    assert progress["batches"] == 3, "six sequences, three clips each"


def test_jobs_are_listed_shown_and_logged(trained: tuple[Path, dict[str, Any]]) -> None:
    root, document = trained
    job_id = document["job"]["id"]
    assert job_id in [row["id"] for row in call_json(["jobs", "list"], root)["jobs"]]
    assert call_json(["jobs", "show", job_id], root) == document
    assert "attempt 1" in call_json(["jobs", "logs", job_id, "--lines", "500"], root)["log"]
    assert call_json(["jobs", "wait", job_id], root)["job"]["state"] == "COMPLETE"
    refused = call_json(["jobs", "cancel", job_id], root, code=2)
    assert refused["error"]["code"] == "bad_state"
    assert call_json(["jobs", "show", "nothing"], root, code=3)["error"]["code"] == "not_found"


def test_a_dry_run_leaves_nothing_behind(train: list[str], tmp_path: Path) -> None:
    document = call_json([*train, "--dry-run"], tmp_path)
    assert document["plan"]["inferred"]["results_dir"]["by"] == "output_dir"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["run", "train", "--automl", "off", "train.num_epoch=3"], 2, "bad_spec"),
        (["run", "fly"], 3, "not_found"),
        (["run", "train", "-m", "no-such-model"], 3, "not_found"),
        (["run", "train", "--no-such-option"], 2, "bad_request"),
        (["run", "evaluate", "--parent", "gone"], 3, "not_found"),
        (["run", "train", "-e", "/no/such/spec.yaml"], 3, "not_found"),
    ],
)
def test_bad_requests_have_codes_and_fixes(arguments: list[str], code: int, error: str, tmp_path: Path) -> None:
    document = call_json(arguments, tmp_path, code=code)
    assert document["error"]["code"] == error
    assert document["error"]["fix"]
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_said_in_one_line(train: list[str], tiny: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    document = call_json([*train, "--results-root", str(blocked / "results")], tmp_path, code=2)
    assert str(blocked) in document["error"]["message"]
    assert call_json(["data", "sample", "--out", str(blocked / "data")], tmp_path, code=2)["error"]["fix"]


def test_no_arguments_show_the_commands(tmp_path: Path) -> None:
    for arguments in (["jobs"], ["data"]):
        done = call(arguments, tmp_path)
        assert "Commands:" in done.stdout
        assert not done.stderr


def test_a_job_that_cannot_use_its_input_exits_with_two_and_says_why(train: list[str], tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pth"
    torch.save({"state_dict": {}}, wrong)
    document = call_json([*train, f"pretrained_model={wrong}"], tmp_path / "results", code=2)
    assert document["job"]["state"] == "ERROR"
    assert "it lacks 59 of 75" in document["error"]["message"]
    assert document["error"]["fix"]


def test_the_same_key_is_the_same_job(trained: tuple[Path, dict[str, Any]], train: list[str]) -> None:
    root, first = trained
    again = call_json([*train, "epochs=4", "--key", "once"], root)
    assert first == again
    assert len(json.loads((root / first["job"]["id"] / "job.json").read_text())["attempts"]) == 1
    other = call_json([*train, "epochs=2", "--key", "once"], root, code=2)
    assert other["error"]["code"] == "key_conflict"
    assert "train.num_epochs" in other["error"]["message"]


def worker_of(root: Path, *, epoch: int, timeout_s: float = 120) -> tuple[str, int]:
    """Id and process of the running job once it has a checkpoint of `epoch`."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        for record in root.glob("*/job.json"):
            job = json.loads(record.read_text())
            if job["state"] == "RUNNING" and list((record.parent / "train").glob(f"model_epoch_{epoch:03d}_*")):
                return job["id"], job["attempts"][-1]["pid"]
        time.sleep(0.02)
    raise TimeoutError(f"no checkpoint of epoch {epoch}")


def start(arguments: Sequence[str], root: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*TAO_SKILL, *arguments, "--json"],
        env={**os.environ, "TAO_SKILL_RESULTS": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def weights(document: dict[str, Any]) -> dict[str, torch.Tensor]:
    path = next(one["path"] for one in document["artifacts"] if one["kind"] == "latest_checkpoint")
    state: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["state_dict"]
    return state


def test_a_killed_training_is_an_error_and_resumes_to_the_uninterrupted_result(
    trained: tuple[Path, dict[str, Any]], train: list[str], tmp_path: Path
) -> None:
    whole, root = trained[1], tmp_path / "killed"
    running = start([*train, "epochs=4", "--key", "k"], root)
    job_id, pid = worker_of(root, epoch=0)
    os.kill(pid, signal.SIGKILL)
    output, _ = running.communicate(timeout=60)
    assert running.returncode == 1
    died = json.loads(output)
    assert died["job"]["state"] == "ERROR"
    assert died["error"]["code"] == "process_died"
    assert "--key k" in died["next"][-1]
    assert call_json(["jobs", "show", job_id], root)["job"]["state"] == "ERROR"
    resumed = call_json([*train, "epochs=4", "--key", "k"], root)
    assert resumed["job"]["id"] == job_id
    assert resumed["metrics"] == whole["metrics"]
    expected = weights(whole)
    assert all(torch.equal(value, expected[name]) for name, value in weights(resumed).items())
    attempts = json.loads((root / job_id / "job.json").read_text())["attempts"]
    assert [attempt["state"] for attempt in attempts] == ["ERROR", "COMPLETE"]


def test_ctrl_c_cancels_the_job_with_exit_130(train: list[str], tmp_path: Path) -> None:
    running = start([*train, "epochs=500"], tmp_path)
    job_id, _ = worker_of(tmp_path, epoch=0)
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=60)
    assert running.returncode == 130
    assert call_json(["jobs", "show", job_id], tmp_path)["job"]["state"] == "CANCELED"


def test_a_detached_job_is_followed_and_canceled_from_elsewhere(train: list[str], tmp_path: Path) -> None:
    detached = call_json([*train, "epochs=500", "--detach", "--key", "d"], tmp_path)
    job_id = detached["job"]["id"]
    assert worker_of(tmp_path, epoch=0)[0] == job_id
    attached = call_json([*train, "epochs=500", "--detach", "--key", "d"], tmp_path)
    assert attached["job"]["id"] == job_id
    follower = start(["jobs", "wait", job_id], tmp_path)
    assert call_json(["jobs", "cancel", job_id], tmp_path)["job"]["state"] == "CANCELED"
    output, _ = follower.communicate(timeout=60)
    assert json.loads(output)["job"]["state"] == "CANCELED"


def test_a_secret_key_is_in_nothing_a_flow_leaves_behind(train: list[str], tmp_path: Path) -> None:
    secret = ["encryption_key=correct-horse-battery"]
    done = call([*train, "epochs=1", *secret, "--json"], tmp_path)
    call(["run", "evaluate", "--parent", "latest:train", *secret], tmp_path)
    wrong = call(["run", "evaluate", "--parent", "latest:train"], tmp_path, code=2)
    assert "encrypted" in wrong.stdout + wrong.stderr
    assert "correct-horse" not in done.stdout + done.stderr
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert b"correct-horse" not in path.read_bytes(), path


def test_only_training_pays_for_lightning() -> None:
    modules = [
        f"tao_skill.models.pose_classification.actions.{action}" for action in ("evaluate", "inference", "export")
    ]
    code = f"import sys, {', '.join(modules)}; sys.exit('pytorch_lightning' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["models"], ["jobs", "list"], "dry run"])
def test_light_commands_import_nothing_heavy(arguments: list[str] | str, train: list[str], tmp_path: Path) -> None:
    words = [*train, "--dry-run"] if isinstance(arguments, str) else arguments
    code = (
        "import sys\nfrom tao_skill.cli import main\n"
        f"try:\n    main({words!r})\nexcept SystemExit as end:\n    assert not end.code\n"
        f"found = [name for name in {HEAVY!r} if name in sys.modules]\nassert not found, found\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TAO_SKILL_RESULTS": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


FOREIGN = ("schema", "tools", "completion")
"""Documents of a form that others have set, or that end in a file."""


def test_every_command_takes_json_and_its_answers_say_what_comes_next(
    trained: tuple[Path, dict[str, Any]], train: list[str], tmp_path: Path
) -> None:
    root, document = trained
    job = document["job"]["id"]
    data, labels = (word.partition("=")[2] for word in train if "train_dataset" in word)
    calls: dict[str, list[str]] = {
        "models": [],
        "template": ["train"],
        "schema": ["train"],
        "tools": [],
        "completion": ["bash"],
        "doctor": [],
        "run": [*train[1:], "--dry-run"],
        "jobs list": [],
        "jobs show": [job],
        "jobs logs": [job],
        "jobs wait": [job],
        "data inspect": [data, labels],
        "data sample": ["--out", str(tmp_path / "out")],
        "automl space": train[4:],
        "skills list": [],
        "skills show": ["tao-run-automl"],
        "skills install": ["--to", str(tmp_path / "skills")],
    }
    for name, arguments in calls.items():
        answer = answer_here([*name.split(), *arguments], root)
        if name.split()[0] not in FOREIGN:
            assert answer["next"], name
            assert all(command.startswith("tao-skill ") for command in answer["next"])


def test_every_command_has_the_json_option() -> None:
    def leaves(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            if isinstance(command, click.Group):
                yield from leaves(command, f"{path} {name}")
            else:
                yield f"{path} {name}".strip(), command

    without = {name for name, command in leaves(tao_skill) if "as_json" not in {one.name for one in command.params}}
    own = {name for name in without if not name.startswith("tao ")}  # TAO's commands have no --json
    assert own == {"mcp"}  # its stdout is the protocol's
