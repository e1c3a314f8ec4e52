"""Two real processes on the CPU train what one would with their joint batch."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from tao_skill.errors import BadData, BadRequest, MissingDependency
from tao_skill.models.pose_classification.actions import train
from tao_skill.models.pose_classification.data.datamodule import SkeletonDataModule
from tao_skill.models.pose_classification.data.dataset import BatchIndices, BatchSampler, SkeletonDataset, loader
from tao_skill.models.pose_classification.data.sample.sample import write_sample
from tao_skill.models.pose_classification.network.stgcn import STGCN
from tao_skill.models.pose_classification.training import checkpoint_file, checkpoint_index
from tao_skill.models.pose_classification.training.averaging import TRAINED
from tao_skill.models.pose_classification.training.devices import check_processes, plan_devices
from tao_skill.models.pose_classification.training.module import dropout_seed
from tao_skill.models.pose_classification.training.parallel import SharedBatchNorm2d
from tao_skill.ranks import is_first
from tao_skill.status import read_status
from tests.support.experiments import FRAMES, dataset_overrides, experiment
from tests.support.folders import PROCESSES, REPOSITORY
from tests.support.networks import weights
from tests.support.waiting import until

SCRIPT = PROCESSES / "training_process.py"
LIMIT_S = 240
CALM: dict[str, Any] = {
    "model__dropout": 0.0,
    "train__optim__lr": 0.001,
    "train__checkpoint_interval_unit": "step",
}
"""Settings under which a rounding error does not grow beyond the tolerance within two epochs."""


def environment(**more: str) -> dict[str, str]:
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "core")])
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, **more}


def pair(data: Path, folder: Path, **settings: Any) -> subprocess.Popen[str]:
    """Start a training in two processes."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    settings = {"dataset__batch_size": 3, **settings}
    return subprocess.Popen(
        [*launch, str(SCRIPT), str(data), str(folder), json.dumps(settings)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def train_pair(data: Path, folder: Path, **settings: Any) -> None:
    with ended(pair(data, folder, **settings)) as process:
        said, _ = process.communicate(timeout=LIMIT_S)
        assert process.returncode == 0, said


@contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """Whatever happens inside, nothing of the process is left."""
    family = []
    try:
        yield process
    finally:
        if process.poll() is None:
            family = psutil.Process(process.pid).children(recursive=True)
            process.kill()
        for child in family:
            if child.is_running():
                child.kill()
        process.communicate(timeout=LIMIT_S)


def losses(folder: Path) -> list[tuple[str, float]]:
    """Loss by stage, epoch after epoch."""
    kpis = [line["kpi"] for line in read_status(folder / "train")[:-1] if "kpi" in line]
    return [(name, value) for kpi in kpis for name, value in kpi.items() if name.endswith("loss")]


def assert_close(one: Path, other: Path, *, epochs: slice = slice(None)) -> None:
    left, right = losses(one)[epochs], losses(other)
    assert [name for name, _ in left] == [name for name, _ in right]
    # Each adds up in its own order, and every step widens the difference by what it divides by small deviations.
    assert [value for _, value in left] == pytest.approx([value for _, value in right], rel=1e-3)
    mine, theirs = weights(one / "train"), weights(other / "train")
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-2, atol=1e-3)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sets that leave one sequence over, so that a process goes without one in the last batch."""
    folder = tmp_path_factory.mktemp("odd")
    write_sample(folder, train=13, val=7, frames=FRAMES, seed=3)
    return folder


@pytest.fixture(scope="module")
def one(odd: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("one")
    train.run(experiment(odd, folder, dataset__batch_size=6, **CALM))
    return folder


@pytest.fixture(scope="module")
def two(odd: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    train_pair(odd, folder, **CALM)
    return folder


def test_two_processes_train_as_one_with_their_joint_batch(one: Path, two: Path) -> None:
    assert len(losses(one)) == 4
    assert_close(one, two)
    first = [[value for _, value in losses(folder)[:2]] for folder in (one, two)]
    assert first[0] == pytest.approx(first[1], rel=2e-5)


def test_two_processes_leave_one_set_of_files_and_the_same_metrics(one: Path, two: Path) -> None:
    names = [sorted(path.name for path in (folder / "train").iterdir()) for folder in (one, two)]
    assert names[0] == names[1]
    messages = [Counter(line["status"] for line in read_status(folder / "train")) for folder in (one, two)]
    assert messages[0] == messages[1]
    assert any("CPU in 2 processes" in line["message"] for line in read_status(two / "train"))
    assert len(list((two / "train" / "csv").rglob("metrics.csv"))) == 1
    assert len(list((two / "train" / "tensorboard").rglob("events*"))) == 1
    first, second = (json.loads((two / f"metrics_{rank}.json").read_text()) for rank in (0, 1))
    assert first == second == read_status(two / "train")[-1]["kpi"]
    index = [checkpoint_index.read_index(folder / "train") for folder in (one, two)]
    assert [(entry.file, entry.epoch) for entry in index[0]] == [(entry.file, entry.epoch) for entry in index[1]]


@pytest.mark.thorough
def test_two_processes_accumulate_average_and_warm_up_as_one(odd: Path, tmp_path: Path) -> None:
    """Thirteen sequences are groups of 6 + 6 and 1; a process has none in the last."""
    settings: dict[str, Any] = {**CALM, "train__optim__accumulate_batches": 2, "train__optim__ema_decay": 0.5}
    settings |= {"train__optim__warmup_epochs": 1, "train__optim__label_smoothing": 0.1}
    train.run(experiment(odd, tmp_path / "one", dataset__batch_size=6, **settings))
    train_pair(odd, tmp_path / "two", **settings)
    assert_close(tmp_path / "one", tmp_path / "two")
    index = [checkpoint_index.read_index(tmp_path / name / "train") for name in ("one", "two")]
    assert [entry.step for entry in index[0]] == [entry.step for entry in index[1]] == [1, 2, 3, 4]
    trained = [
        checkpoint_file.load(tmp_path / name / "train" / checkpoint_index.LATEST)[TRAINED] for name in ("one", "two")
    ]
    for name, value in trained[0].items():
        torch.testing.assert_close(trained[1][name], value, rtol=1e-2, atol=1e-3)


@pytest.mark.thorough
def test_a_killed_pair_goes_on_to_the_uninterrupted_result(odd: Path, two: Path, tmp_path: Path) -> None:
    inside = tmp_path / "train" / checkpoint_index.checkpoint_name(0, 2)
    with ended(pair(odd, tmp_path, **CALM)) as process:
        until(lambda: inside.exists() or process.poll() is not None, LIMIT_S)
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        assert process.wait(LIMIT_S) != 0
    train_pair(odd, tmp_path, **CALM)
    assert any(line["message"].startswith("Resuming") for line in read_status(tmp_path / "train"))
    whole, parts = weights(two / "train"), weights(tmp_path / "train")
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())
    assert [loss for _, loss in losses(tmp_path)][-4:] == pytest.approx([loss for _, loss in losses(two)], rel=1e-12)


@pytest.mark.thorough
def test_the_number_of_processes_may_change_between_epochs(odd: Path, one: Path, two: Path, tmp_path: Path) -> None:
    key = "train__resume_training_checkpoint_path"
    first = checkpoint_index.checkpoint_name(0, 3)
    alone = experiment(odd, tmp_path / "alone", dataset__batch_size=6, **CALM, **{key: str(two / "train" / first)})
    train.run(alone)
    train_pair(odd, tmp_path / "again", **CALM, **{key: str(one / "train" / first)})
    assert_close(one, tmp_path / "alone", epochs=slice(2, 4))
    assert_close(one, tmp_path / "again", epochs=slice(2, 4))


def test_inside_an_epoch_the_joint_batch_must_stay(odd: Path, tmp_path: Path) -> None:
    before = SkeletonDataModule(experiment(odd, tmp_path, dataset__batch_size=6).dataset, 0)
    before.batches_done = 1
    now = SkeletonDataModule(experiment(odd, tmp_path, dataset__batch_size=3).dataset, 0)
    with pytest.raises(BadData, match=r"with 6 sequences per step, but dataset\.batch_size is 3"):
        now.load_state_dict(before.state_dict())
    before.batches_done = 0
    now.load_state_dict(before.state_dict())


@pytest.mark.parametrize("seed", [None, 4])
@pytest.mark.parametrize("world", [1, 2, 3, 4])
@pytest.mark.parametrize("batch", [1, 3, 5])
@pytest.mark.parametrize("size", [1, 2, 7, 12, 15, 31, 200])
def test_together_the_batches_are_those_of_one_process(size: int, batch: int, world: int, seed: int | None) -> None:
    shared: dict[str, Any] = {"seed": seed, "epoch": 2}
    whole = list(BatchSampler(size, batch_size=batch * world, **shared))
    assert sorted(chain(*(one.indices for one in whole))) == list(range(size))
    for done in (0, 1):
        several = {**shared, "skip": done, "batch_size": batch, "world": world}
        orders = [BatchSampler(size, rank=rank, **several) for rank in range(world)]
        assert {len(order) for order in orders} == {len(whole)}
        for expected, *parts in zip(whole[done:], *orders, strict=True):
            assert tuple(chain(*(part.indices for part in parts))) == expected.indices
            sizes = [len(part.indices) for part in parts]
            assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("workers", [0, 1])
def test_a_process_may_get_an_empty_batch_that_the_network_takes(tiny: Path, workers: int) -> None:
    data = SkeletonDataset(tiny / "train_data.npy", tiny / "train_label.pkl")
    order = BatchSampler(1, batch_size=1, rank=1, world=2)
    assert list(order) == [BatchIndices(epoch=0, indices=())]
    ((x_NCTVM, ids_N),) = loader(data, order, num_workers=workers)
    assert x_NCTVM.shape == (0, 3, FRAMES, 34, 1)
    assert (ids_N.shape, ids_N.dtype) == ((0,), torch.int64)
    assert STGCN().eval()(x_NCTVM).shape == (0, 6)


def test_every_process_and_step_has_its_own_dropout() -> None:
    seeds = {dropout_seed(2**32 - 1, step, rank) & 0xFFFFFFFF for step in range(1000) for rank in range(16)}
    assert len(seeds) == 16_000
    assert dropout_seed(1234, 5, 0) == 1234 * 1_000_003 + 5


@pytest.mark.parametrize(
    ("num_gpus", "gpu_ids", "expected"),
    [
        (1, [0], [0]),
        (1, [0, 1], [0, 1]),
        (2, [0], [0, 1]),
        (2, [1, 3], [1, 3]),
        (3, [3], [0, 1, 2]),
        (1, [2, 2], [2]),
        (2, [0, 0], [0, 1]),
        (2, [3, 1, 3], [3, 1]),
        (1, [], [0]),
    ],
)
def test_the_one_that_implies_more_gpus_wins(num_gpus: int, gpu_ids: list[int], expected: list[int]) -> None:
    found = plan_devices(num_gpus, gpu_ids, 4, {})
    assert (found.accelerator, found.devices, found.processes) == ("gpu", expected, len(expected))
    assert str(expected) in found.note


def test_gpus_that_are_not_there_are_named() -> None:
    with pytest.raises(MissingDependency, match=r"GPUs \[2\] do not exist; this machine has 2"):
        plan_devices(3, [0], 2, {})


def test_without_gpus_the_cpu_is_used_in_as_many_processes_as_the_launcher_says(tiny: Path, tmp_path: Path) -> None:
    assert (plan_devices(2, [0], 0, {}).accelerator, plan_devices(2, [0], 0, {}).processes) == ("cpu", 1)
    assert plan_devices(1, [0], 0, {"LOCAL_WORLD_SIZE": "3"}).processes == 3
    if not torch.cuda.is_available():
        train.run(experiment(tiny, tmp_path, train__num_epochs=1, train__num_gpus=2))
        said = [line["message"] for line in read_status(tmp_path / "train")]
        assert "No GPU found: running on the CPU instead of GPUs [0, 1]." in said


def test_a_launcher_that_started_other_numbers_is_named() -> None:
    devices = plan_devices(1, [0], 0, {"LOCAL_WORLD_SIZE": "2"})
    check_processes("train", devices, 1, {})
    check_processes("train", devices, 2, {"WORLD_SIZE": "4"})
    with pytest.raises(BadRequest, match=r"started 4 processes, but train\.num_nodes is 1"):
        check_processes("train", devices, 1, {"WORLD_SIZE": "4"})


def test_only_one_of_all_processes_is_the_first() -> None:
    assert is_first({})
    assert is_first({"RANK": "0", "LOCAL_RANK": "0", "NODE_RANK": "0"})
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"):
        assert not is_first({"RANK": "0", name: "1"})


def tao_skill(odd: Path, root: Path, *more: str, **variables: str) -> subprocess.Popen[str]:
    """A train job from the command line."""
    settings = ["batch_size=3", "num_workers=0", "dropout=0", "lr=0.001", *more]
    settings += dataset_overrides(odd)
    return subprocess.Popen(
        [sys.executable, "-m", "tao_skill", *["run", "train", "--automl", "off", "--key", "k", "--json"], *settings],
        env=environment(TAO_SKILL_RESULTS=str(root), **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def job_of(root: Path) -> dict[str, Any]:
    (record,) = root.glob("*/job.json")
    job: dict[str, Any] = json.loads(record.read_text())
    return job


def test_a_job_in_two_processes_dies_whole_and_resumes_with_its_secret(odd: Path, one: Path, tmp_path: Path) -> None:
    secret = "correct-horse-battery"
    arguments = ["epochs=2", f"encryption_key={secret}"]
    with ended(tao_skill(odd, tmp_path, *arguments, LOCAL_WORLD_SIZE="2")) as first:
        until(lambda: list(tmp_path.glob("*/train/model_epoch_000_*")) or first.poll() is not None, LIMIT_S)
        worker = psutil.Process(job_of(tmp_path)["attempts"][0]["pid"])
        (peer,) = worker.children()
        assert os.getpgid(peer.pid) == worker.pid
        assert secret not in " ".join(peer.cmdline())
        worker.send_signal(signal.SIGKILL)
        until(lambda: not peer.is_running() or peer.status() == psutil.STATUS_ZOMBIE, LIMIT_S)
        first.communicate(timeout=LIMIT_S)
        assert first.returncode == 1
    with ended(tao_skill(odd, tmp_path, *arguments, LOCAL_WORLD_SIZE="2")) as second:
        output, said = second.communicate(timeout=LIMIT_S)
        assert second.returncode == 0, output + said
    job = job_of(tmp_path)
    assert [attempt["state"] for attempt in job["attempts"]] == ["ERROR", "COMPLETE"]
    assert job["metrics"]["train_loss"] == pytest.approx(losses(one)[-1][1], rel=1e-3)
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes(), path


@pytest.mark.thorough
def test_two_machines_run_one_job_by_the_same_command(odd: Path, one: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    arguments = ["epochs=1", "train.num_nodes=2"]
    with (
        ended(tao_skill(odd, tmp_path, *arguments, NODE_RANK="1", **meeting)) as helper,
        ended(tao_skill(odd, tmp_path, *arguments, NODE_RANK="0", **meeting)) as leader,
    ):
        output, said = leader.communicate(timeout=LIMIT_S)
        assert leader.returncode == 0, said
        _, said = helper.communicate(timeout=LIMIT_S)
        assert helper.returncode == 0, said
    metrics = json.loads(output)["metrics"]
    expected = dict(losses(one)[:2])
    assert {name: metrics[name] for name in expected} == pytest.approx(expected, rel=2e-5)
    assert len(job_of(tmp_path)["attempts"]) == 1


def test_launched_processes_need_a_key_to_find_their_job(odd: Path, tmp_path: Path) -> None:
    files = dataset_overrides(odd)
    done = subprocess.run(
        [sys.executable, "-m", "tao_skill", "run", "train", "--automl", "off", *files],
        env=environment(TAO_SKILL_RESULTS=str(tmp_path), RANK="1"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "--key" in done.stderr) == (2, True)
    assert not list(tmp_path.iterdir())


def test_shared_statistics_of_bf16_are_taken_in_fp32() -> None:
    torch.manual_seed(0)
    x = (50 + torch.randn(64, 4, 8, 5)).bfloat16()
    own, shared = torch.nn.BatchNorm2d(4), SharedBatchNorm2d(4)
    expected, found = own(x.float()), shared(x)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, atol=0.02, rtol=0.01)
    torch.testing.assert_close(shared.running_var, own.running_var, rtol=1e-4, atol=1e-5)
