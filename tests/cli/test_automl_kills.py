"""A search that is killed in each of its states, at places with a name, and ends as if nothing had been."""

from __future__ import annotations

import hashlib
import json
import math
import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import yaml

from tao_skill.automl.execution.queue import Queue
from tao_skill.status import read_status
from tests.support.command_line import TAO_SKILL, call_json
from tests.support.processes.breakpoints import LIMIT_S, Breakpoint, kill_search, paused_at
from tests.support.search_reports import report_of, results_of
from tests.support.servers.postgresql import PostgreSQLServer

BUDGET = ["--search-scope", "schema", "--trials", "3", "--max-epochs", "4", "--min-epochs", "1", "--eta", "4"]
METRIC = ["--metric", "train_loss"]
"""By this metric trial 1 is promoted first."""

NET = "tao_skill.models.pose_classification"
STEP = Breakpoint(module=f"{NET}.training.module", function="PoseClassifier.training_step", nth=2)
MID_EPOCH = replace(STEP, nth=11)
"""In the second epoch of trial 1, after the first epochs of all three trials in the same worker."""

PLACES = {
    "training, in the middle of the first epoch of trial 0": STEP,
    "reporting, trial 0 is trained and the queue not told": Breakpoint(
        module="tao_skill.automl.execution.queue", function="Queue.finish"
    ),
    "reporting, the queue is told and the search does not know": Breakpoint(
        module="tao_skill.automl.search.search", function="Search.succeed"
    ),
    "reporting, the search knows and has not said so": Breakpoint(
        module="tao_skill.automl.execution.queue", function="Queue.acknowledge"
    ),
    "sampling, inside the draw": Breakpoint(
        module="tao_skill.automl.space.space", function="Space.suggest", when="after"
    ),
    "sampling, drawn and not saved": Breakpoint(
        module="tao_skill.automl.search.search", function="Search._new_trial", when="after"
    ),
    "sampling, saved and not handed out": Breakpoint(
        module="tao_skill.automl.execution.queue", function="Queue.put", matching="number=1.*target=1"
    ),
    "promoting, saved and not handed out": Breakpoint(
        module="tao_skill.automl.execution.queue", function="Queue.put", matching="number=1.*target=4"
    ),
    "promoting, handed out and not yet training": Breakpoint(
        module=f"{NET}.training.checkpoint_file", function="check_resumable", matching=r"trials/0001/"
    ),
    "training, in the middle of the second epoch of trial 1": STEP,
    "checkpointing, the last of trial 1 written and not yet renamed": Breakpoint(
        module="pathlib", function="Path.replace", matching=r"trials/0001/.*model_epoch_001.*\.tmp"
    ),
    "checkpointing, it is renamed and not yet in the index": Breakpoint(
        module="pathlib", function="Path.replace", when="after", matching=r"trials/0001/.*model_epoch_001.*\.tmp"
    ),
    "checkpointing, it is in the index and no link leads to it": Breakpoint(
        module=f"{NET}.training.checkpoint_index", function="write_index", when="after", matching="model_epoch_001"
    ),
    "retention, a superseded checkpoint is about to be deleted": Breakpoint(
        module="pathlib", function="Path.unlink", matching=r"trials/0001/.*model_epoch_002\S*\.pth'"
    ),
    "final, the last report half there": Breakpoint(
        module="pathlib", function="Path.replace", matching=r"report\.html", nth=2
    ),
    "final, one file of the winner in its place": Breakpoint(
        module="tao_skill.automl.execution.artifacts", function="_link_or_copy", when="after"
    ),
    "final, the best spec written and not yet renamed": Breakpoint(
        module="pathlib", function="Path.replace", matching=r"best_spec\.yaml.*\.tmp"
    ),
    "final, checkpoints of the others about to be deleted": Breakpoint(
        module="tao_skill.automl.execution.artifacts", function="SearchArtifacts.prune", matching="'over': True"
    ),
    "final, all is done but the record": Breakpoint(module="tao_skill.jobs.store", function="Store.close_attempt"),
}

QUICK = {
    "reporting, the queue is told and the search does not know",
    "sampling, drawn and not saved",
    "promoting, saved and not handed out",
    "training, in the middle of the second epoch of trial 1",
    "checkpointing, it is renamed and not yet in the index",
    "final, one file of the winner in its place",
}
"""One place for each state; `make faults` takes all."""


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def train(searchable: list[str]) -> list[str]:
    return [*searchable, *BUDGET, *METRIC, "--key", "killed"]


@pytest.fixture(scope="module")
def undisturbed(train: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    root = tmp_path_factory.mktemp("undisturbed")
    return root, call_json(train, root)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where one search is, killed again and again; each test below finds it as the one before left it."""
    return tmp_path_factory.mktemp("killed")


@pytest.mark.parametrize(
    "place",
    [pytest.param(place, id=name, marks=() if name in QUICK else pytest.mark.faults) for name, place in PLACES.items()],
)
def test_all_processes_are_killed_while(place: Breakpoint, train: list[str], root: Path, tmp_path: Path) -> None:
    with paused_at(go_on(train, root, by_id=place.when == "after"), root, place, tmp_path) as search:
        kill_search(search)
        assert search.command.wait(LIMIT_S) == 1
    (folder,) = root.glob("train-*")
    document = call_json(["jobs", "show", folder.name], root)
    assert document["job"]["state"] == "ERROR"
    assert "without a result" in document["error"]["message"]


def test_the_search_then_ends_as_one_that_nothing_disturbed(
    train: list[str], root: Path, undisturbed: tuple[Path, dict[str, Any]]
) -> None:
    ended = call_json(train, root)
    quiet_root, quiet = undisturbed
    assert ended["job"]["state"] == "COMPLETE"
    assert results_of(report_of(root, ended)) == results_of(report_of(quiet_root, quiet))
    for part in ("curves", "finalists", "importances", "slices"):
        assert report_of(root, ended)[part] == report_of(quiet_root, quiet)[part]
    assert ended["metrics"] == quiet["metrics"]
    assert left_by(root, ended) == left_by(quiet_root, quiet)


def test_the_trial_of_a_killed_worker_is_taken_up_by_one_elsewhere(
    train: list[str], undisturbed: tuple[Path, dict[str, Any]], postgresql: PostgreSQLServer, tmp_path: Path
) -> None:
    url, root = postgresql.database("killed"), tmp_path / "results"
    with paused_at([*train, "--storage", url, "--workers", "1", "--json"], root, MID_EPOCH, tmp_path) as search:
        (folder,) = root.glob("train-*")
        with (tmp_path / "elsewhere").open("w") as output:
            words = ["automl", "worker", "--job", folder.name, "--storage", url, "--results-root", str(root)]
            elsewhere = subprocess.Popen([*TAO_SKILL, *words], stdout=output, stderr=output)
        wait_for_all_but_the_promoted(folder, Queue(url, folder.name))
        kill_and_hold_up_the_next(search.pid, Queue(url, folder.name))
        assert search.command.wait(LIMIT_S) == 0
        assert elsewhere.wait(LIMIT_S) == 0
    assert "trials/0001/train/model_epoch_000_step_00003.pth" in (tmp_path / "elsewhere").read_text()
    lines = read_status(folder / "automl" / "trials" / "0001" / "train")
    assert [line["epoch"] for line in lines if line["message"] == "Train metrics generated."] == [0, 1, 2, 3]

    report, quiet = json.loads((folder / "report.json").read_text()), report_of(*undisturbed)
    # The draw of trial 2 depends on what was known of trial 1; the others do not.
    assert [one["values"] for one in report["trials"][:2]] == [one["values"] for one in quiet["trials"][:2]]
    for number in ("0", "1"):
        assert report["curves"]["trials"][number] == quiet["curves"]["trials"][number]
    assert results_of(report)[:2] == results_of(quiet)[:2]
    full = [one for one in report["trials"] if one["epochs"] == 4]
    assert report["winner"]["number"] == min(full, key=lambda one: one["metric"])["number"]


def kill_and_hold_up_the_next(pid: int, queue: Queue) -> None:
    """Kill a worker; the one that is started in its place may go on once somebody else has its trial."""
    (lost,), deadline = queue.running(), time.monotonic() + LIMIT_S
    coordinator = psutil.Process(pid).parent()
    assert coordinator is not None
    os.kill(pid, signal.SIGKILL)
    while not (started := [one for one in coordinator.children() if one.pid != pid]):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    started[0].suspend()
    while lost.worker in [one.worker for one in queue.running()] or not queue.running():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    started[0].resume()
    queue.close()


def wait_for_all_but_the_promoted(folder: Path, queue: Queue) -> None:
    """Until trial 2 has its first epoch, and the search has given nobody work but on trial 1 for a while."""
    deadline, quiet_since = time.monotonic() + LIMIT_S, math.inf
    while time.monotonic() < quiet_since + 3.0:
        assert time.monotonic() < deadline
        trials = json.loads((folder / "report.json").read_text())["trials"]
        is_quiet = len(trials) == 3 and trials[2]["epochs"] > 0 and [one.number for one in queue.running()] == [1]
        quiet_since = min(quiet_since, time.monotonic()) if is_quiet else math.inf
        time.sleep(0.1)
    queue.close()


def go_on(train: list[str], root: Path, *, by_id: bool) -> list[str]:
    """The same command again, or, once there is a job, what names that."""
    folders = list(root.glob("train-*"))
    return ["automl", "resume", folders[0].name] if by_id and folders else train


def left_by(root: Path, document: dict[str, Any]) -> dict[str, Any]:
    """Every file that a search has left, with its content where that does not tell of time and place."""
    folder = root / document["job"]["id"]
    assert [path.name for path in root.iterdir() if path.name.startswith(".new-")] == []
    of_attempts = {"tensorboard", "csv", "progress.json"}
    paths = [path for path in folder.rglob("*") if not of_attempts & set(path.parts)]
    return {str(path.relative_to(folder)): content(path) for path in sorted(paths)}


def content(path: Path) -> Any:
    if path.is_symlink():
        return str(path.readlink())
    if path.suffix == ".pth":
        state = torch.load(path, weights_only=True)["state_dict"]
        return hashlib.sha256(b"".join(value.numpy().tobytes() for value in state.values())).hexdigest()
    if path.name == "checkpoints.json":
        return json.loads(path.read_text())
    if path.name == "best_spec.yaml":
        return {name: part for name, part in yaml.safe_load(path.read_text()).items() if name in ("train", "model")}
    return None
