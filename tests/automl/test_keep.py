from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest

from tao_skill.automl.keep import Kept
from tao_skill.automl.ladder import Trial, winner
from tao_skill.automl.objective import trial_folder
from tao_skill.jobs.record import Job
from tao_skill.models import get_model
from tests.automl.searches import make_setup

FINAL = {0: 0.5, 1: 0.9, 2: 0.7, 3: 0.3}
"""What each trial reaches in its last epoch."""

ORDERS = list(permutations(FINAL))


def make_kept(folder: Path) -> Kept:
    job = Job(
        id="train-1",
        model="pose_classification",
        action="train",
        results_dir=str(folder / "train"),
        created="2026-01-01",
    )
    return Kept(folder=folder, model=get_model(None), job=job, setup=make_setup())


def checkpoint(folder: Path, number: int) -> Path:
    return trial_folder(folder, number) / "train" / "model_epoch_008_step_00009.pth"


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: "".join(map(str, order)))
def test_the_winner_keeps_its_checkpoints_whoever_ends_first(order: tuple[int, ...], tmp_path: Path) -> None:
    """With several workers the default may be the last to end."""
    kept = make_kept(tmp_path)
    goal, epochs = kept.setup.goal, kept.setup.ladder.rungs[-1]
    trials = [Trial(number=number, values={}, target=epochs, state="running") for number in FINAL]
    for number in FINAL:
        checkpoint(tmp_path, number).parent.mkdir(parents=True)
        checkpoint(tmp_path, number).touch()
    for number in order:
        history = tuple({"val_acc": FINAL[number] * (i + 1) / epochs, "val_loss": 1.0} for i in range(epochs))
        trials[number] = replace(trials[number], state="done", history=history)
        kept.prune(trials)
    assert winner(trials, goal, epochs).number == 1
    assert [number for number in FINAL if checkpoint(tmp_path, number).exists()] == [0, 1]
    kept.prune(trials, over=True)
    assert [number for number in FINAL if checkpoint(tmp_path, number).exists()] == [0, 1]


def test_a_default_that_ships_is_all_that_stays(tmp_path: Path) -> None:
    kept = make_kept(tmp_path)
    epochs = kept.setup.ladder.rungs[-1]
    trials = []
    for number, accuracy in enumerate((0.8, 0.6)):
        checkpoint(tmp_path, number).parent.mkdir(parents=True)
        checkpoint(tmp_path, number).touch()
        history = ({"val_acc": accuracy, "val_loss": 1.0},) * epochs
        trials.append(Trial(number=number, values={}, target=epochs, state="done", history=history))
    kept.prune(trials)
    assert checkpoint(tmp_path, 1).exists()
    kept.prune(trials, over=True)
    assert [number for number in (0, 1) if checkpoint(tmp_path, number).exists()] == [0]
