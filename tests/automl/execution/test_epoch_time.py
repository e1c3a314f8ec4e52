from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tao_skill.automl.execution.epoch_time import epoch_time
from tao_skill.errors import OutsideRoots
from tao_skill.jobs.record import Ending, Job, timestamp
from tao_skill.jobs.store import Store
from tao_skill.models import get_model
from tao_skill.models.pose_classification.network.architecture import forward_flop
from tao_skill.models.pose_classification.network.layouts import LAYOUTS
from tao_skill.models.pose_classification.network.stgcn import STGCN
from tests.support.experiments import FRAMES, experiment

MODEL = get_model(None)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(("layout", "strategy", "subsets"), [("nvidia", "spatial", 3), ("coco", "uniform", 1)])
def test_operations_are_those_that_torch_counts(layout: str, strategy: str, subsets: int) -> None:
    joints, net = LAYOUTS[layout].joints, STGCN(layout=LAYOUTS[layout], strategy=strategy).eval()

    def counted(sequences: int) -> int:
        counter = FlopCounterMode(display=False)
        with torch.no_grad(), counter:
            net(torch.zeros(sequences, 3, 21, joints, 1))
        return counter.get_total_flops()

    each = counted(2) - counted(1)  # without the biases of joints, which are made once for a batch
    assert forward_flop(21, joints, subsets) == pytest.approx(each, rel=1e-4)  # but for the head


def trained(root: Path, job_id: str, spec: dict[str, object], seconds: float, *, created: int = 0) -> None:
    """A training that took so long."""
    now = BEGIN + timedelta(days=created)
    job = Job(
        id=job_id,
        model=MODEL.name,
        action="train",
        spec=spec,
        results_dir=str(root / job_id / "train"),
        created=timestamp(now),
    )
    store = Store(root, clock=lambda: now)
    store.open(job)
    store.claim(job_id)
    store.begin_attempt(job_id, 1)
    store.close_attempt(
        job_id, 1, Ending(state="COMPLETE", exit_code=0, ended=timestamp(now + timedelta(seconds=seconds)))
    )


def test_an_epoch_takes_what_it_took_before_in_proportion_to_its_work(tiny: Path, tmp_path: Path) -> None:
    spec = asdict(experiment(tiny, tmp_path))
    shorter = asdict(experiment(tiny, tmp_path, dataset__resample_frames=FRAMES // 2))
    assert epoch_time(MODEL, spec, Store(tmp_path)) is None
    trained(tmp_path, "train-old", spec, 100.0)
    trained(tmp_path, "train-new", spec, 10.0, created=1)
    found = epoch_time(MODEL, spec, Store(tmp_path))
    assert found is not None
    assert (found.job, found.seconds) == ("train-new", pytest.approx(5.0))
    half = epoch_time(MODEL, shorter, Store(tmp_path))
    assert half is not None
    assert half.seconds == pytest.approx(2.5)


@pytest.mark.parametrize("spec", [{}, {"train": {"num_epochs": "many"}}])
def test_a_record_that_tells_no_epochs_is_passed_over(spec: dict[str, object], tiny: Path, tmp_path: Path) -> None:
    trained(tmp_path, "train-other", spec, 100.0)
    assert epoch_time(MODEL, asdict(experiment(tiny, tmp_path)), Store(tmp_path)) is None


@pytest.mark.parametrize(
    ("keys", "frames"),
    [
        ({"window_size": 4, "random_choose": True}, 4),
        ({"window_size": 4}, FRAMES),
        ({"window_size": 20}, 20),
    ],
)
def test_windows_are_of_training_alone(keys: dict[str, object], frames: int, tiny: Path, tmp_path: Path) -> None:
    """The generated set has twelve sequences of FRAMES frames to train on, and six to validate."""
    whole = MODEL.epoch_flop(experiment(tiny, tmp_path))
    windows = MODEL.epoch_flop(experiment(tiny, tmp_path, **{f"dataset__{key}": value for key, value in keys.items()}))
    assert whole is not None
    assert windows == pytest.approx(whole * (3 * 12 * frames + 6 * FRAMES) / ((3 * 12 + 6) * FRAMES))


def test_data_that_may_not_be_read_are_not(tiny: Path, tmp_path: Path) -> None:
    spec = asdict(experiment(tiny, tmp_path))
    trained(tmp_path, "train-outside", spec, 100.0)
    asked = []

    def confine(key: str, path: str) -> None:
        asked.append(key)
        raise OutsideRoots(f"{key} is {path}", fix="use another")

    assert epoch_time(MODEL, spec, Store(tmp_path), confine) is None
    assert asked


def test_a_training_whose_data_are_gone_teaches_nothing(tiny: Path, tmp_path: Path) -> None:
    spec = asdict(experiment(tiny, tmp_path))
    trained(tmp_path, "train-kept", spec, 6.0)
    gone = {**spec, "dataset": {**spec["dataset"], "train_dataset": {"data_path": "/gone.npy", "label_path": None}}}
    trained(tmp_path, "train-gone", gone, 1.0, created=1)
    found = epoch_time(MODEL, spec, Store(tmp_path))
    assert found is not None
    assert (found.job, found.seconds) == ("train-kept", pytest.approx(3.0))
