"""`tao-skill automl space` and `show` as an agent uses them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tao_skill.automl.document import to_json
from tao_skill.automl.report.html import render
from tao_skill.cli import main
from tao_skill.io import atomic
from tao_skill.jobs.record import Job, timestamp
from tao_skill.jobs.store import Store
from tao_skill.jobs.trials import trial_results
from tests.support.experiments import FRAMES, dataset_overrides
from tests.support.searches import make_setup, reported, trained


def answer(arguments: list[str], capsys: pytest.CaptureFixture[str], code: int = 0) -> tuple[str, str]:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    out, err = capsys.readouterr()
    assert caught.value.code == code, out + err
    return out, err


def answer_json(arguments: list[str], capsys: pytest.CaptureFixture[str], code: int = 0) -> dict[str, Any]:
    document = json.loads(answer([*arguments, "--json"], capsys, code)[0])
    assert isinstance(document, dict)
    return document


@pytest.fixture
def space(tiny: Path) -> list[str]:
    return ["automl", "space", *dataset_overrides(tiny)]


def test_without_a_spec_the_defaults_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    out, err = answer(["automl", "space"], capsys)
    assert "train.optim.lr " in out
    assert "(default 0.1)" in out
    assert "train.optim.patience      not searched: acts only while train.optim.lr_scheduler is AutoReduce" in out
    assert "no spec given" in err


def test_the_data_and_the_spec_shape_the_space(
    space: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = answer_json([*space, "epochs=2"], capsys)
    assert list(document) == ["model", "search", "left_out", "defaults", "next"]
    assert document["left_out"]["train.optim.lr_decay"].endswith("lies before train.num_epochs 2")
    assert "whole sequences" in document["left_out"]["dataset.window_size"]
    spec = tmp_path / "spec.yaml"
    spec.write_text("dataset: {random_choose: true, window_size: 4}\n")
    window = answer_json([*space, "-e", str(spec)], capsys)["search"]["dataset.window_size"]
    assert (window["low"], window["high"]) == (FRAMES / 4, FRAMES)
    batches = answer_json([*space, "--search", "batch_size=2:400"], capsys)["search"]["dataset.batch_size"]
    assert max(batches.get("choices", [batches.get("high")])) <= 12


def test_what_is_asked_for_is_searched_and_nothing_else(space: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["lr=0.02", "--search", "lr=0.001:0.1:log", "--search", "train.optim.optimizer_type", "--search", "dropout"]
    document = answer_json([*space, *asked, "--no-search", "dropout"], capsys)
    assert set(document["search"]) == {"train.optim.lr", "train.optim.optimizer_type"}
    assert document["search"]["train.optim.lr"] == {"kind": "float", "low": 0.001, "high": 0.1, "log": True}
    assert document["defaults"]["train.optim.lr"] == 0.02
    assert document["left_out"] == {"model.dropout": "excluded on request"}


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--search", "train.optim.rate"], "train.optim.rate"),
        (["--search", "lr=1:0.1"], "train.optim.lr"),
        (["--search", "train.num_epochs"], "train.num_epochs"),
        (["--no-search", "nothing"], "nothing"),
        (["lr=fast"], "train.optim.lr"),
    ],
)
def test_what_cannot_be_searched_is_named(
    space: list[str], words: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    error = answer_json([*space, *words], capsys, code=2)["error"]
    assert named in error["message"]
    assert error["fix"]


def test_remote_data_leave_the_space_as_it_is(space: list[str], tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tao_skill.models import get_model
    from tests.support.experiments import experiment

    config = experiment(tiny, tiny, dataset__train_dataset__data_path="s3://bucket/train_data.npy")
    limits = get_model(None).search_limits(config)
    assert "dataset.batch_size" not in limits
    assert all(limit.high is None for limit in limits.values())


def test_the_space_loads_nothing_heavy(space: list[str]) -> None:
    code = (
        "import sys\nfrom tao_skill.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as ended:\n    assert not ended.code, ended.code\n"
        "heavy = {'torch', 'pytorch_lightning', 'optuna', 'onnx', 'rich'} & set(sys.modules)\nassert not heavy, heavy\n"
    )
    for arguments in (space, ["automl", "--help"]):
        subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, timeout=120)


def opened(root: Path, route: str) -> Job:
    job = Job(
        id=f"train-20260101-000000-{route}",
        model="pose_classification",
        action="train",
        parent=None,
        key=None,
        upload=None,
        route={"policy": "on", "route": route, "reason": "asked for"},
        command=("tao-skill", "run", "train"),
        spec={},
        automl={} if route == "automl" else None,
        results_dir=str(root / "train"),
        created=timestamp(datetime(2026, 1, 1, tzinfo=UTC)),
    )
    return Store(root).open(job)[0]


def test_a_search_is_shown_as_its_report_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = opened(tmp_path, "automl")
    setup = make_setup(trials=6)
    report = reported(setup, trained(setup)[-1])
    written = to_json(report)
    folder = tmp_path / job.id
    where = ["--results-root", str(tmp_path)]
    error = answer_json(["automl", "show", job.id, *where], capsys, code=3)["error"]
    assert "has no report yet" in error["message"]
    atomic.write_json(folder / "report.json", written)
    atomic.write_text(folder / "report.html", render(report))
    shown = answer_json(["automl", "show", "latest", *where], capsys)
    assert shown.pop("next")
    assert shown == written
    out, err = answer(["automl", "show", job.id, *where], capsys)
    assert out.splitlines()[-1] == report.winner.sentence
    assert len(out.splitlines()) == 6 + 2
    assert str(folder / "report.html") in err
    results = trial_results(folder, 0, "train")
    results.mkdir(parents=True)
    (results / "pc_model_latest.pth").touch()
    shown = answer_json(["automl", "show", job.id, *where], capsys)
    assert [one.get("parent") for one in shown["trials"]] == [f"{job.id}/0", *[None] * 5]


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda report: report["trials"][1].update(state="paused"), "trials[1].state is 'paused'"),
        (lambda report: report["trials"][1].update(metric="high"), "trials[1].metric is 'high', accepted: float"),
        (lambda report: report["winner"].pop("sentence"), "winner has no sentence"),
        (lambda report: report.update(progress=None), "progress is None, accepted: an object"),
        (lambda report: report.update(verdict="good"), "has an unknown field verdict"),
        (lambda report: report.clear(), "it has no baseline"),
        (lambda report: report.pop("validation"), None),
    ],
    ids=["choice", "type", "missing", "object", "unknown", "empty", "older"],
)
def test_a_damaged_report_is_refused_with_the_key_that_is_wrong(
    damage: Callable[[dict[str, Any]], object],
    problem: str | None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    job = opened(tmp_path, "automl")
    setup = make_setup(trials=3)
    written = to_json(reported(setup, trained(setup)[-1]))
    damage(written)
    path = tmp_path / job.id / "report.json"
    atomic.write_json(path, written)
    command = ["automl", "show", job.id, "--results-root", str(tmp_path)]
    if problem is None:
        answer_json(command, capsys)
        return
    error = answer_json(command, capsys, code=2)["error"]
    assert error["message"].startswith(f"{path} is not a report of a search: ")
    assert problem in error["message"]
    assert error["path"] == str(path)
    path.write_text("{")
    assert "is not a report" in answer_json(command, capsys, code=2)["error"]["message"]


def test_a_job_that_is_no_search_is_said_to_be_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = opened(tmp_path, "direct")
    error = answer_json(["automl", "show", job.id, "--results-root", str(tmp_path)], capsys, code=3)["error"]
    assert error["code"] == "not_found"
    assert error["fix"] == f"tao-skill jobs show {job.id}"
