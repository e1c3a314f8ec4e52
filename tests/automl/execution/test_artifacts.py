from __future__ import annotations

import json
from dataclasses import asdict, replace
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from tao_skill.automl.execution.artifacts import BEST_SPEC, TEST_FOLDER, SearchArtifacts
from tao_skill.automl.search.asha import State, Trial, candidates
from tao_skill.automl.search.setup import make_setup as make_search
from tao_skill.automl.settings import Settings
from tao_skill.errors import BadData, JobFailed
from tao_skill.io.strict_yaml import parse_yaml
from tao_skill.jobs.record import Job
from tao_skill.jobs.trials import trial_folder
from tao_skill.models import get_model
from tao_skill.models.pose_classification.model import PoseClassification
from tao_skill.outcome import Outcome
from tao_skill.spec.tree import lookup
from tests.support.experiments import experiment
from tests.support.searches import make_setup

FINAL = {0: 0.5, 1: 0.9, 2: 0.7, 3: 0.3}
"""What each trial reaches in its last epoch."""

ORDERS = list(permutations(FINAL))


def make_kept(folder: Path, **settings: Any) -> SearchArtifacts:
    job = Job(
        id="train-1",
        model="pose_classification",
        action="train",
        results_dir=str(folder / "train"),
        created="2026-01-01",
    )
    return SearchArtifacts(
        folder=folder, model=get_model(None), job=job, setup=make_setup(), settings=Settings(**settings)
    )


BEST, LAST = "model_epoch_002_step_00003.pth", "model_epoch_008_step_00009.pth"


def write_checkpoints(folder: Path, number: int) -> None:
    results_dir = trial_folder(folder, number) / "train"
    results_dir.mkdir(parents=True)
    for name in (BEST, LAST):
        (results_dir / name).touch()
    rows = [(BEST, 2, 3, 0.9), (LAST, 8, 9, 0.1)]
    index = [
        {"file": file, "epoch": epoch, "step": step, "metrics": {"val_acc": accuracy}}
        for file, epoch, step, accuracy in rows
    ]
    (results_dir / "checkpoints.json").write_text(json.dumps(index))


def remaining(folder: Path) -> dict[int, set[str]]:
    trials = (folder / "automl" / "trials").iterdir()
    return {int(trial.name): {path.name for path in trial.glob("train/*.pth")} for trial in trials}


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: "".join(map(str, order)))
def test_the_winner_keeps_its_checkpoints_whoever_ends_first(order: tuple[int, ...], tmp_path: Path) -> None:
    """With several workers the default may be the last to end."""
    kept = make_kept(tmp_path)
    epochs = 9
    trials = [Trial(number=number, full=epochs, values={}, target=epochs, state="running") for number in FINAL]
    for number in FINAL:
        write_checkpoints(tmp_path, number)
    for number in order:
        history = tuple({"val_acc": FINAL[number] * (i + 1) / epochs, "val_loss": 1.0} for i in range(epochs))
        trials[number] = replace(trials[number], state="done", history=history)
        kept.prune(trials)
    assert candidates(trials, kept.setup.goal)[0].number == 1
    expected = {0: {BEST, LAST}, 1: {BEST, LAST}, 2: {BEST}, 3: {BEST}}
    assert remaining(tmp_path) == expected
    kept.prune(trials, over=True)
    assert remaining(tmp_path) == expected


def finished(number: int, accuracy: float, *, epochs: int = 9) -> Trial:
    history = ({"val_acc": accuracy, "val_loss": 1.0},) * epochs
    state: State = "done" if epochs == 9 else "waiting"
    return Trial(number=number, full=9, values={}, target=epochs, state=state, history=history)


def test_a_trial_that_waits_keeps_its_checkpoints_until_the_search_is_over(tmp_path: Path) -> None:
    kept = make_kept(tmp_path)
    trials = [finished(0, 0.8), finished(1, 0.6, epochs=3), finished(2, 0.5)]
    for one in trials:
        write_checkpoints(tmp_path, one.number)
    kept.prune(trials)
    assert remaining(tmp_path) == {0: {BEST, LAST}, 1: {BEST, LAST}, 2: {BEST}}
    kept.prune(trials, over=True)
    assert remaining(tmp_path) == {0: {BEST, LAST}, 1: {BEST}, 2: {BEST}}


def test_a_winner_trained_in_part_keeps_its_checkpoints(tmp_path: Path) -> None:
    kept = make_kept(tmp_path)
    trials = [finished(0, 0.5), finished(1, 0.9, epochs=3)]
    for one in trials:
        write_checkpoints(tmp_path, one.number)
    kept.prune(trials, over=True)
    assert remaining(tmp_path) == {0: {BEST, LAST}, 1: {BEST, LAST}}


def test_all_checkpoints_are_kept_on_request_and_before_the_first_trial(tmp_path: Path) -> None:
    kept = make_kept(tmp_path, keep_all=True)
    trials = [finished(0, 0.9), finished(1, 0.5)]
    for one in trials:
        write_checkpoints(tmp_path, one.number)
    kept.prune(trials, over=True)
    make_kept(tmp_path).prune([])
    assert remaining(tmp_path) == {0: {BEST, LAST}, 1: {BEST, LAST}}


def published(folder: Path, tiny: Path, trials: list[Trial], **spec: Any) -> tuple[SearchArtifacts, Outcome]:
    """The result of a search on the generated set with these trials, whose checkpoints are empty files."""
    config = asdict(experiment(tiny, folder, **spec))
    job = replace(make_kept(folder).job, spec=config, automl={"trials": len(trials)})
    model = get_model(None)
    setup = make_search(model, config, Settings(search_scope="schema", trials=len(trials)))
    artifacts = SearchArtifacts(folder=folder, model=model, job=job, setup=setup, settings=Settings())
    for one in trials:
        write_checkpoints(folder, one.number)
    return artifacts, artifacts.publish(trials, config, elapsed_s=12.0)


def test_the_winner_is_published_with_its_spec_report_and_metrics(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PoseClassification, "test_set", lambda self, config: None)
    values = {"train.optim.lr": 0.5, "model.center": "group"}
    trials = [finished(0, 0.25, epochs=3), replace(finished(1, 0.75), values=values)]
    artifacts, outcome = published(tmp_path, tiny, trials)
    assert outcome.chosen == values
    assert outcome.metrics == {
        "val_acc": 0.75, "val_loss": 1.0, "best_val_acc": 0.75, "winner": 1.0, "default_val_acc": 0.25, "trials": 2.0,
        "epochs": 12.0,
    }  # fmt: skip
    assert {path.name for path in (tmp_path / "train").glob("*.pth")} == {BEST, LAST}
    spec = parse_yaml((tmp_path / BEST_SPEC).read_text())
    assert (lookup(spec, "train.optim.lr"), lookup(spec, "model.center")) == (0.5, "group")
    report = artifacts.last_report()
    assert report is not None
    assert report.winner.number == 1
    assert report.progress.ended == "all 2 configurations were tried"
    assert report.winner.not_in_tao == ("model.center",)
    assert report.winner.test == {}
    assert {one.kind for one in outcome.artifacts} >= {"best_checkpoint", "best_spec", "report", "report_data"}
    assert all(one.path.is_file() for one in outcome.artifacts)


def test_a_search_without_a_model_fails_and_leaves_its_report(tiny: Path, tmp_path: Path) -> None:
    failed = replace(finished(0, 0.5, epochs=3), state="failed", reason="no memory", history=())
    with pytest.raises(JobFailed, match="no memory") as caught:
        published(tmp_path, tiny, [failed])
    assert "train.optim.lr" in str(caught.value.fix)
    assert (tmp_path / "report.html").is_file()
    assert not (tmp_path / BEST_SPEC).exists()


def test_a_test_set_beside_the_training_data_is_scored_once_at_the_end(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[tuple[Any, ...]] = []
    files = (tiny / "val_data.npy", tiny / "val_label.pkl")

    def score(self: Any, config: Any, checkpoint: Path, *rest: Any) -> dict[str, float]:
        scored.append((config.train.optim.lr, checkpoint.name, *rest))
        return {"accuracy": 87.5}

    monkeypatch.setattr(PoseClassification, "test_set", lambda self, config: files)
    monkeypatch.setattr(PoseClassification, "score", score)
    trials = [finished(0, 0.25), replace(finished(1, 0.75), values={"train.optim.lr": 0.5})]
    artifacts, outcome = published(tmp_path, tiny, trials)
    assert scored == [(0.5, BEST, *files, tmp_path / TEST_FOLDER)]
    assert outcome.metrics["test_accuracy"] == 87.5
    report = artifacts.last_report()
    assert report is not None
    assert report.winner.sentence.endswith("On the test set, which chose nothing: 87.5 %.")


def test_a_test_set_that_does_not_fit_is_named_and_the_winner_ships(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def score(*args: Any) -> dict[str, float]:
        raise BadData("it has 25 joints", fix="use another")

    monkeypatch.setattr(PoseClassification, "test_set", lambda self, config: (tiny / "x.npy", tiny / "y.pkl"))
    monkeypatch.setattr(PoseClassification, "score", score)
    _, outcome = published(tmp_path, tiny, [finished(0, 0.25)])
    assert "x.npy was not scored: it has 25 joints" in capsys.readouterr().err
    assert not [name for name in outcome.metrics if name.startswith("test_")]
