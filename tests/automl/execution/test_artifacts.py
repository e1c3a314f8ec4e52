from __future__ import annotations

import json
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest

from tao_skill.automl.execution.artifacts import SearchArtifacts
from tao_skill.automl.search.asha import Trial, winner
from tao_skill.jobs.record import Job
from tao_skill.jobs.trials import trial_folder
from tao_skill.models import get_model
from tests.support.searches import make_setup

FINAL = {0: 0.5, 1: 0.9, 2: 0.7, 3: 0.3}
"""What each trial reaches in its last epoch."""

ORDERS = list(permutations(FINAL))


def make_kept(folder: Path) -> SearchArtifacts:
    job = Job(
        id="train-1",
        model="pose_classification",
        action="train",
        results_dir=str(folder / "train"),
        created="2026-01-01",
    )
    return SearchArtifacts(folder=folder, model=get_model(None), job=job, setup=make_setup())


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
    goal, epochs = kept.setup.goal, kept.setup.schedule.rungs[-1]
    trials = [Trial(number=number, values={}, target=epochs, state="running") for number in FINAL]
    for number in FINAL:
        write_checkpoints(tmp_path, number)
    for number in order:
        history = tuple({"val_acc": FINAL[number] * (i + 1) / epochs, "val_loss": 1.0} for i in range(epochs))
        trials[number] = replace(trials[number], state="done", history=history)
        kept.prune(trials)
    assert winner(trials, goal, epochs).number == 1
    expected = {0: {BEST, LAST}, 1: {BEST, LAST}, 2: {BEST}, 3: {BEST}}
    assert remaining(tmp_path) == expected
    kept.prune(trials, over=True)
    assert remaining(tmp_path) == expected


def test_a_rival_of_a_default_that_ships_keeps_its_best_checkpoint_alone(tmp_path: Path) -> None:
    kept = make_kept(tmp_path)
    epochs = kept.setup.schedule.rungs[-1]
    trials = []
    for number, accuracy in enumerate((0.8, 0.6)):
        write_checkpoints(tmp_path, number)
        history = ({"val_acc": accuracy, "val_loss": 1.0},) * epochs
        trials.append(Trial(number=number, values={}, target=epochs, state="done", history=history))
    kept.prune(trials)
    assert remaining(tmp_path)[1] == {BEST, LAST}
    kept.prune(trials, over=True)
    assert remaining(tmp_path) == {0: {BEST, LAST}, 1: {BEST}}
