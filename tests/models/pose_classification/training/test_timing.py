"""Trainings whose batches take known times by a clock that only reading a batch advances, and some in real time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tao_skill.models.pose_classification.actions import train
from tao_skill.models.pose_classification.config import ExperimentConfig
from tao_skill.models.pose_classification.data.dataset import BatchIndices, SkeletonDataset
from tao_skill.models.pose_classification.model import MODEL
from tao_skill.models.pose_classification.training import checkpoint_index, timing
from tao_skill.status import read_status
from tests.support.experiments import experiment
from tests.support.networks import weights

pytestmark = pytest.mark.usefixtures("small_networks")

EPOCH_S = 9.0
"""Six batches of training and three of validation."""

NO_VALIDATION = {"dataset__val_dataset__data_path": None, "dataset__val_dataset__label_path": None}

SecondsOf = Callable[[BatchIndices, int], float]
"""Seconds of a batch, and of the how manieth it is."""


class Clock:
    """A clock that stands still, except while a batch is read."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.seconds_of: SecondsOf = lambda batch, number: 1.0
        self.batches = 0

    def __call__(self) -> float:
        return self.time

    def read(self, batch: BatchIndices) -> None:
        self.batches += 1
        self.time += self.seconds_of(batch, self.batches)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock, read = Clock(), SkeletonDataset.__getitem__

    def timed(data: SkeletonDataset, batch: BatchIndices) -> Any:
        clock.read(batch)
        return read(data, batch)

    monkeypatch.setattr(timing, "monotonic", clock)
    monkeypatch.setattr(SkeletonDataset, "__getitem__", timed)
    return clock


def make_config(tiny: Path, folder: Path, **overrides: Any) -> ExperimentConfig:
    """Five epochs of six batches, without checkpoints but at the end and of the best epoch, as in a search."""
    search = {"dataset__batch_size": 2, "train__num_epochs": 5, "train__checkpoint_interval": 10**6}
    return experiment(tiny, folder, **search | overrides)


def messages(folder: Path) -> str:
    return "\n".join(line["message"] for line in read_status(folder / "train"))


def latest_epoch(folder: Path) -> int:
    path = checkpoint_index.latest(folder / "train")
    assert path is not None
    return int(path.name.split("_")[2])


def test_training_stops_before_the_epoch_that_would_be_late_and_resumes_as_if_it_had_not(
    tiny: Path, tmp_path: Path, clock: Clock
) -> None:
    settings = {"dataset__random_move": True, "train__optim__lr_scheduler": "Cosine"}
    whole = train.advance(make_config(tiny, tmp_path / "whole", **settings), 5, "val_loss")
    config = make_config(tiny, tmp_path / "parts", **settings)
    began = clock()
    part = train.advance(config, 5, "val_loss", began + 2.9 * EPOCH_S)
    assert clock() == began + 2 * EPOCH_S
    assert part == whole[:2]
    assert latest_epoch(tmp_path / "parts") == 1
    assert "next epoch would not end within the time limit" in messages(tmp_path / "parts")
    began = clock()
    assert train.advance(config, 5, "val_loss", began + 1.9 * EPOCH_S) == whole[:3]
    assert latest_epoch(tmp_path / "parts") == 2
    assert train.advance(config, 5, "val_loss") == whole
    ended = [weights(tmp_path / name / "train") for name in ("whole", "parts")]
    assert all(torch.equal(value, ended[1][name]) for name, value in ended[0].items())


@pytest.mark.parametrize(("seconds", "batches"), [(1.0, 3), (10.0, 2), (0.25, 5)])
def test_a_first_epoch_that_would_be_late_is_left_after_a_few_batches_without_a_trace(
    tiny: Path, tmp_path: Path, clock: Clock, seconds: float, batches: int
) -> None:
    """Validation is expected to take a third of the time: seven batches in all."""
    clock.seconds_of, began = (lambda batch, number: seconds), clock()
    assert train.advance(make_config(tiny, tmp_path), 5, "val_acc", began + 6.4 * seconds) == []
    assert clock() == began + batches * seconds
    assert not list((tmp_path / "train").glob("*.pth"))
    assert not (tmp_path / "train" / checkpoint_index.INDEX).exists()
    assert all("epoch" not in line for line in read_status(tmp_path / "train"))
    assert "The epoch would not end within the time limit" in messages(tmp_path)


def test_a_limit_that_has_passed_trains_nothing_and_keeps_what_there_is(
    tiny: Path, tmp_path: Path, clock: Clock
) -> None:
    config = make_config(tiny, tmp_path)
    assert train.advance(config, 5, "val_acc", clock()) == []
    before = train.advance(config, 1, "val_acc")
    read = clock.batches
    assert train.advance(config, 5, "val_acc", clock()) == before
    assert train.advance(config, 5, "val_acc", clock() + 5) == before
    assert clock.batches == read + 3
    assert latest_epoch(tmp_path) == 0


@pytest.mark.parametrize(("limit_s", "epochs"), [(8.0, 0), (8.2, 1), (9.0, 1), (17.9, 1), (18.0, 2)])
def test_an_epoch_is_trained_if_it_ends_in_time(
    tiny: Path, tmp_path: Path, clock: Clock, limit_s: float, epochs: int
) -> None:
    """The first may exceed the limit by a tenth once it is nearly complete."""
    assert len(train.advance(make_config(tiny, tmp_path), 5, "val_acc", clock() + limit_s)) == epochs


def test_the_first_batch_does_not_count(tiny: Path, tmp_path: Path, clock: Clock) -> None:
    """It takes twenty seconds: the first epoch would be late by it, and the second by the first."""
    clock.seconds_of = lambda batch, number: 20.0 if number == 1 else 1.0
    assert len(train.advance(make_config(tiny, tmp_path), 5, "val_acc", clock() + 19 + 2 * EPOCH_S)) == 2
    clock.batches = 1
    assert len(train.advance(make_config(tiny, tmp_path / "control"), 5, "val_acc", clock() + 3 * EPOCH_S)) == 3


def test_an_epoch_that_became_slow_is_left_when_it_would_be_late_by_more_than_a_usual_one(
    tiny: Path, tmp_path: Path, clock: Clock
) -> None:
    def slow(batch: BatchIndices, number: int) -> float:
        return 1.0 if number <= 18 else 30.0

    clock.seconds_of, began = slow, clock()
    epochs = train.advance(make_config(tiny, tmp_path, train__checkpoint_interval=1), 5, "val_acc", began + 60)
    assert clock() == began + 2 * EPOCH_S + 2 * 30
    assert len(epochs) == 2
    assert latest_epoch(tmp_path) == 1
    clock.batches, began = 0, clock()
    again = train.advance(make_config(tiny, tmp_path / "more"), 3, "val_acc", began + 2 * EPOCH_S + 9 * 30 - 5)
    assert clock() == began + 2 * EPOCH_S + 9 * 30
    assert len(again) == 3


def test_a_slow_validation_is_left_too(tiny: Path, tmp_path: Path, clock: Clock) -> None:
    clock.seconds_of, began = (lambda batch, number: 1.0 if number <= 6 else 10.0), clock()
    assert train.advance(make_config(tiny, tmp_path), 5, "val_acc", began + 20) == []
    assert clock() == began + 26


def test_a_training_that_diverges_ends_as_without_a_limit(tiny: Path, tmp_path: Path, clock: Clock) -> None:
    """Its last metrics are not finite, unlike those of one whose time is over."""
    config = make_config(tiny, tmp_path, train__optim__lr=1e30)
    epochs = train.advance(config, 5, "val_acc", clock() + 1.5 * EPOCH_S)
    assert len(epochs) < 5
    assert not math.isfinite(epochs[-1]["train_loss"])
    assert "time limit" not in messages(tmp_path)


def test_without_validation_the_limit_holds_too(tiny: Path, tmp_path: Path, clock: Clock) -> None:
    config, began = make_config(tiny, tmp_path, **NO_VALIDATION), clock()
    assert len(train.advance(config, 5, "train_acc", began + 15)) == 2
    assert clock() == began + 12
    assert latest_epoch(tmp_path) == 1


def test_the_limit_counts_real_seconds_from_the_call(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(MODEL.train_until(make_config(tiny, tmp_path / "long"), 2, "val_acc", limit_s=600.0)) == 2
    read = SkeletonDataset.__getitem__

    def slow(data: SkeletonDataset, batch: BatchIndices) -> Any:
        time.sleep(0.6)
        return read(data, batch)

    monkeypatch.setattr(SkeletonDataset, "__getitem__", slow)
    began = time.monotonic()
    assert MODEL.train_until(make_config(tiny, tmp_path / "short"), 2, "val_acc", limit_s=1.0) == []
    assert time.monotonic() - began >= 1.0
    assert not list((tmp_path / "short" / "train").glob("*.pth"))


@pytest.mark.parametrize(
    ("overrides", "sequences"),
    [
        ({"dataset__batch_size": 5}, 18),
        ({"dataset__batch_size": 64}, 18),
        ({"dataset__batch_size": 1}, 18),
        (NO_VALIDATION, 12),
        (NO_VALIDATION | {"dataset__validation_split": 0.5}, 12),
        ({"train__validation_interval": 3, "train__optim__accumulate_batches": 4}, 18),
    ],
)
def test_the_time_of_an_epoch_is_that_of_its_sequences(
    tiny: Path, tmp_path: Path, clock: Clock, overrides: dict[str, Any], sequences: int
) -> None:
    """A second each; a first batch that is slow, and a smaller last batch, do not count."""
    began = clock()
    clock.seconds_of = lambda batch, number: 50.0 if number == 1 else float(len(batch.indices))
    config = make_config(tiny, tmp_path, **overrides)
    assert MODEL.epoch_seconds(config) == pytest.approx(sequences)
    assert clock() < began + 50 + timing.MEASURED_BATCHES[1] * (12 + 6)
    assert not (tmp_path / "train").exists()


def test_a_measurement_trains_as_few_batches_as_it_can(tiny: Path, tmp_path: Path, clock: Clock) -> None:
    config, count = make_config(tiny, tmp_path, dataset__batch_size=1), timing.MEASURED_VALIDATION_BATCHES
    MODEL.epoch_seconds(config)
    assert clock.batches == timing.MEASURED_BATCHES[0] + count
    clock.batches, clock.seconds_of = 0, lambda batch, number: 0.01
    MODEL.epoch_seconds(config)
    assert clock.batches == timing.MEASURED_BATCHES[1] + count


def test_a_measurement_is_near_a_real_epoch_and_leaves_nothing(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading a sequence takes a twentieth of a second, which is long against its computation."""
    read = SkeletonDataset.__getitem__

    def slow(data: SkeletonDataset, batch: BatchIndices) -> Any:
        time.sleep(0.05 * len(batch.indices))
        return read(data, batch)

    config = make_config(tiny, tmp_path / "measured")
    before = train.advance(make_config(tiny, tmp_path / "before"), 1, "val_acc")
    monkeypatch.setattr(SkeletonDataset, "__getitem__", slow)
    state = torch.get_rng_state()
    measured_s = MODEL.epoch_seconds(config)
    assert torch.equal(torch.get_rng_state(), state)
    assert not (tmp_path / "measured").exists()
    began = time.monotonic()
    assert MODEL.train_until(config, 1, "val_acc") == before
    assert 1 / 3 < measured_s / (time.monotonic() - began) < 3
