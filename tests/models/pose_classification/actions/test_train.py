from __future__ import annotations

import csv
import json
import math
import pickle
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tao_skill.errors import BadData
from tao_skill.io import encryption
from tao_skill.models.pose_classification.actions import evaluate, train
from tao_skill.models.pose_classification.config import Optim, TrainConfig
from tao_skill.models.pose_classification.data.dataset import BatchSampler
from tao_skill.models.pose_classification.data.sequences import read_labels
from tao_skill.models.pose_classification.network.registry import NETWORKS, build_net
from tao_skill.models.pose_classification.training import checkpoint_file, checkpoint_index
from tao_skill.models.pose_classification.training.devices import Devices
from tao_skill.models.pose_classification.training.module import SCHEDULERS
from tao_skill.status import StatusLog, drop_superseded, read_status
from tests.support.equations import reference_scores
from tests.support.experiments import experiment
from tests.support.networks import weights
from tests.support.small_networks.small_networks import SMALL_BLOCKS

pytestmark = pytest.mark.usefixtures("small_networks")


def assert_same(one: Path, other: Path) -> None:
    left, right = weights(one / "train"), weights(other / "train")
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_training_equals_a_plain_pytorch_loop(tiny: Path, tmp_path: Path) -> None:
    """Two epochs of SGD with momentum through an independent forward pass give the trainer's weights."""
    config = experiment(tiny, tmp_path, model__dropout=0.0, train__optim__lr_steps=[1], train__grad_clip=0.5)
    train.run(config)
    torch.manual_seed(config.train.seed)
    net = build_net(config.model, 6)
    data = torch.from_numpy(np.load(tiny / "train_data.npy"))
    ids = torch.tensor(read_labels(tiny / "train_label.pkl").ids)
    optim = config.train.optim
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    velocity = {name: torch.zeros_like(p) for name, p in net.named_parameters()}
    for epoch in range(2):
        rate = optim.lr * (optim.lr_decay if epoch >= 1 else 1.0)
        for batch in BatchSampler(12, batch_size=5, seed=config.train.seed, epoch=epoch):
            rows = list(batch.indices)
            state = {**dict(net.named_parameters()), "A": net.A}
            loss = F.cross_entropy(reference_scores(state, data[rows], training=True, blocks=SMALL_BLOCKS), ids[rows])
            grads = torch.autograd.grad(loss, list(net.parameters()))
            size = torch.cat([grad.flatten() for grad in grads]).norm()
            with torch.no_grad():
                for (name, p), grad in zip(net.named_parameters(), grads, strict=True):
                    step = grad * min(1.0, 0.5 / float(size)) + optim.weight_decay * p
                    velocity[name] = optim.momentum * velocity[name] + step
                    p -= rate * (step + optim.momentum * velocity[name])
    trained = weights(tmp_path / "train")
    # Rounding differs by processor, and training magnifies it in a channel that hardly varies: a few weights may stray.
    off = torch.cat([(trained[name] - p.detach()).flatten() for name, p in net.named_parameters()])
    gone = torch.cat([(p.detach() - before[name]).flatten() for name, p in net.named_parameters()])
    assert off.abs().sort().values[int(0.999 * len(off))] < 1e-5
    assert off.norm() < 0.1 * gone.norm()


def test_seeded_runs_repeat_exactly_whatever_the_workers(tiny: Path, tmp_path: Path) -> None:
    for name, workers in (("a", 0), ("b", 0), ("c", 1)):
        train.run(experiment(tiny, tmp_path / name, dataset__num_workers=workers, dataset__random_move=True))
    assert_same(tmp_path / "a", tmp_path / "b")
    assert_same(tmp_path / "a", tmp_path / "c")


def test_a_deterministic_training_does_not_fill_the_memory_it_asks_for(tiny: Path, tmp_path: Path) -> None:
    torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]
    train.run(experiment(tiny, tmp_path))
    assert torch.are_deterministic_algorithms_enabled()
    with torch.profiler.profile() as profile:
        torch.empty(8)
    assert [event.key for event in profile.key_averages()] == ["aten::empty"]


@pytest.mark.parametrize("scheduler", ["MultiStep", "AutoReduce"])
def test_a_run_in_two_parts_is_the_run_in_one(tiny: Path, tmp_path: Path, scheduler: str) -> None:
    settings = {
        "train__optim__lr_scheduler": scheduler,
        "train__optim__lr_steps": [1, 2],
        "train__optim__patience": 0,
        "dataset__random_move": True,
    }
    whole = train.run(experiment(tiny, tmp_path / "whole", train__num_epochs=4, **settings))
    train.run(experiment(tiny, tmp_path / "parts", train__num_epochs=2, **settings))
    parts = train.run(experiment(tiny, tmp_path / "parts", train__num_epochs=4, **settings))
    assert parts.metrics == whole.metrics
    assert_same(tmp_path / "whole", tmp_path / "parts")


def test_training_resumes_inside_an_epoch_without_a_trace(tiny: Path, tmp_path: Path) -> None:
    steps = {"train__checkpoint_interval_unit": "step", "train__checkpoint_interval": 1, "dataset__num_workers": 1}
    steps |= {"train__optim__lr_scheduler": "Cosine"}
    whole = train.run(experiment(tiny, tmp_path / "whole", **steps))
    inside = tmp_path / "whole" / "train" / checkpoint_index.checkpoint_name(1, 5)
    copied = shutil.copytree(inside.parent, tmp_path / "other", symlinks=True)
    (copied / checkpoint_index.checkpoint_name(1, 6)).unlink()
    inside = copied / "model_epoch_001.pth"
    again = train.run(experiment(tiny, tmp_path / "again", train__resume_training_checkpoint_path=str(inside), **steps))
    assert again.metrics["train_loss"] == whole.metrics["train_loss"]
    assert again.metrics["val_loss"] == whole.metrics["val_loss"]
    assert_same(tmp_path / "whole", tmp_path / "again")


@pytest.fixture(scope="module", params=[None, "a secret"], ids=["plain", "encrypted"])
def three_epochs(request: pytest.FixtureRequest, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The folder of a training, and the key of its checkpoints."""
    root = tmp_path_factory.mktemp("three_epochs")
    train.run(experiment(tiny, root, train__num_epochs=3, encryption_key=request.param))
    return root / "train", request.param


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied"])
@pytest.mark.parametrize("damaged", [1, 3], ids=["the newest", "all"])
def test_a_damaged_checkpoint_is_passed_over(
    tiny: Path,
    three_epochs: tuple[Path, str | None],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    damage: str,
    damaged: int,
) -> None:
    trained, key = three_epochs
    config = experiment(tiny, tmp_path, train__num_epochs=3, encryption_key=key)
    folder = shutil.copytree(trained, tmp_path / "train", symlinks=True)
    whole = checkpoint_file.load(folder / checkpoint_index.LATEST, key)["state_dict"]
    paths = checkpoint_index.newest_first(folder)
    assert [path.name[:15] for path in paths] == ["model_epoch_002", "model_epoch_001", "model_epoch_000"]
    for path in paths[:damaged]:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes({"cut": content[:-100], "flipped": content, "emptied": b""}[damage])
    if key and damaged == 3 and damage != "emptied":  # they may be whole, and the key another one
        with pytest.raises(encryption.CannotDecrypt):
            train.run(config)
        return
    train.run(config)
    said = capfd.readouterr().err
    assert said.count(f"{paths[0].name} is ") == 1
    assert ("training starts anew" if damaged == 3 else "Resuming from model_epoch_001") in said
    assert all(
        torch.equal(value, whole[name]) for name, value in checkpoint_file.load(paths[0], key)["state_dict"].items()
    )


def test_without_the_latest_link_training_begins_anew_and_nothing_of_the_old_one_is_taken_for_it(
    tiny: Path, three_epochs: tuple[Path, str | None], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    trained, key = three_epochs
    folder = shutil.copytree(trained, tmp_path / "again" / "train", symlinks=True)
    (folder / checkpoint_index.LATEST).unlink()
    short = {"encryption_key": key, "train__num_epochs": 2, "train__validation_interval": 5, "train__optim__lr": 0.01}
    train.run(experiment(tiny, tmp_path / "new", **short))
    fresh = train.run(experiment(tiny, tmp_path / "again", **short))
    assert "training starts anew and keeps the checkpoints there" in capfd.readouterr().err
    left, right = (
        checkpoint_file.load(at / checkpoint_index.LATEST, key)["state_dict"] for at in (folder, tmp_path / "new/train")
    )
    assert all(torch.equal(left[name], right[name]) for name in left)
    assert (folder / "model_epoch_002_step_00009.pth").exists()
    assert [one.epoch for one in checkpoint_index.read_index(folder)] == [0, 1]
    assert checkpoint_index.select("train", folder, "val_acc", {}).path.name == "model_epoch_001_step_00006.pth"
    assert "best_checkpoint" not in {artifact.kind for artifact in fresh.artifacts}
    assert [set(epoch) for epoch in train.history(folder, 3)] == [{"train_loss", "train_acc"}] * 2


def test_an_epoch_trained_again_replaces_what_was_told_of_it_and_of_those_after_it() -> None:
    told = [{"status": "STARTED"}, *({"epoch": n, "kpi": {"val_acc": 0.1}} for n in range(3)), {"status": "SUCCESS"}]
    again = [{"status": "STARTED"}, {"epoch": 1, "kpi": {"train_acc": 0.2}}, {"epoch": 1, "kpi": {"val_acc": 0.3}}]
    assert drop_superseded([*told, *again]) == [told[1], *again[1:]]
    assert drop_superseded([*told, again[0]]) == [*told[1:], again[0]]


def test_a_damaged_index_is_named(tiny: Path, tmp_path: Path) -> None:
    train.run(experiment(tiny, tmp_path))
    index = tmp_path / "train" / checkpoint_index.INDEX
    index.write_text(index.read_text()[:-20])
    with pytest.raises(BadData, match="checkpoints.json"):
        checkpoint_index.read_index(index.parent)
    index.unlink()
    assert checkpoint_index.latest(index.parent)


def test_a_finished_run_leaves_taos_files(tiny: Path, tmp_path: Path) -> None:
    outcome = train.run(experiment(tiny, tmp_path))
    folder = tmp_path / "train"
    names = sorted(path.name for path in folder.glob("*.pth"))
    assert names == [
        "model_epoch_000_step_00003.pth",
        "model_epoch_001_step_00006.pth",
        "pc_model_best.pth",
        "pc_model_latest.pth",
    ]
    assert (folder / "pc_model_latest.pth").readlink() == Path("model_epoch_001_step_00006.pth")
    saved = checkpoint_file.load(folder / "pc_model_latest.pth")
    assert {"state_dict", "pytorch-lightning_version", "epoch", "global_step", "optimizer_states"} <= saved.keys()
    assert all(name.startswith("model.") for name in saved["state_dict"])
    lines = read_status(folder)
    assert [lines[0]["status"], lines[-1]["status"]] == ["STARTED", "SUCCESS"]
    kpis = [set(line["kpi"]) for line in lines[:-1] if "kpi" in line]
    assert kpis == [{"val_loss", "val_acc", "avg_accuracy"}, {"train_loss", "train_acc", "lr"}] * 2
    assert all({"date", "time", "status", "verbosity", "message"} <= line.keys() for line in lines)
    assert {artifact.kind for artifact in outcome.artifacts} >= {"latest_checkpoint", "best_checkpoint", "tensorboard"}
    assert list((folder / "tensorboard").rglob("events*"))
    assert list((folder / "csv").rglob("metrics.csv"))
    assert not list(folder.glob(".*"))


def test_the_learning_rate_that_each_epoch_trained_with_is_in_its_lines_and_table(tiny: Path, tmp_path: Path) -> None:
    """Whole and in two parts, as the schedule goes on from a checkpoint."""
    for epochs in (2, 4):
        settings = {"train__num_epochs": epochs, "train__optim__lr": 0.1, "train__optim__lr_decay": 0.5}
        train.run(experiment(tiny, tmp_path, train__optim__lr_steps=[1, 3], **settings))
    told = [line["kpi"]["lr"] for line in read_status(tmp_path / "train") if "lr" in line.get("kpi", {})]
    assert told == [0.1, 0.05, 0.05, 0.025]
    tables = [csv.DictReader(path.open()) for path in sorted((tmp_path / "train" / "csv").rglob("metrics.csv"))]
    assert [float(row["lr"]) for table in tables for row in table if row.get("lr")] == told
    assert all("lr" not in epoch for epoch in train.history(tmp_path / "train", 4))


def test_the_best_checkpoint_is_kept_also_beyond_the_interval(tiny: Path, tmp_path: Path) -> None:
    train.run(experiment(tiny, tmp_path, train__num_epochs=4, train__checkpoint_interval=4, train__optim__lr=0.05))
    index = checkpoint_index.read_index(tmp_path / "train")
    lines = [line["kpi"] for line in read_status(tmp_path / "train")[:-1] if "val_acc" in line.get("kpi", {})]
    best = max(lines, key=lambda kpi: (kpi["val_acc"], -kpi["val_loss"]))
    winner = checkpoint_index.best(index, "val_acc")
    assert winner is not None
    assert winner.metrics["val_acc"] == best["val_acc"]
    assert winner.metrics["val_loss"] == best["val_loss"]
    assert {one.epoch for one in index} == {winner.epoch, 3}
    assert len(list((tmp_path / "train").glob("model_epoch_*"))) == len(index)


def test_more_sequences_in_a_batch_than_there_are_is_fine(tiny: Path, tmp_path: Path) -> None:
    outcome = train.run(experiment(tiny, tmp_path, dataset__batch_size=64, train__num_epochs=1))
    assert np.isfinite(outcome.metrics["train_loss"])


def test_without_a_validation_set_the_latest_checkpoint_is_chosen_and_said(tiny: Path, tmp_path: Path) -> None:
    train.run(experiment(tiny, tmp_path, dataset__val_dataset__data_path=None, dataset__val_dataset__label_path=None))
    chosen = checkpoint_index.select("train", tmp_path / "train", "val_acc", {})
    assert chosen.path.name == "model_epoch_001_step_00006.pth"
    assert "no validation" in chosen.reason


def test_pretrained_weights_start_training_and_another_head_is_made_anew(tiny: Path, tmp_path: Path) -> None:
    train.run(experiment(tiny, tmp_path / "first"))
    start = str(tmp_path / "first" / "train" / checkpoint_index.LATEST)
    still = {"train__num_epochs": 1, "train__optim__lr": 1e-12, "model__pretrained_model_path": start}
    train.run(experiment(tiny, tmp_path / "second", **still))
    before, after = weights(tmp_path / "first" / "train"), weights(tmp_path / "second" / "train")
    torch.testing.assert_close(after["fcn.weight"], before["fcn.weight"])
    train.run(experiment(tiny, tmp_path / "third", dataset__num_classes=8, **still))
    assert weights(tmp_path / "third" / "train")["fcn.weight"].shape[0] == 8
    said = [line["message"] for line in read_status(tmp_path / "third" / "train")]
    assert any("head newly initialised" in message for message in said)
    with pytest.raises(BadData, match="graph_strategy|does not fit"):
        train.run(experiment(tiny, tmp_path / "fourth", model__graph_strategy="uniform", **still))
    assert read_status(tmp_path / "fourth" / "train")[-1]["status"] == "FAILURE"


def test_auto_reduce_counts_less_than_a_thousandth_as_no_improvement() -> None:
    optim = Optim(lr=1.0, lr_scheduler="AutoReduce", patience=1, lr_decay=0.5, min_lr=0.2)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=optim.lr)
    schedule = SCHEDULERS["AutoReduce"](optimizer, TrainConfig(optim=optim))
    rates = []
    for loss in (1.0, 0.9995, 0.9992, 0.99, 0.9895, 0.9892, 0.98, 0.9795, 0.9793):
        schedule.step(loss)  # type: ignore[arg-type]
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == [1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.2]


def test_cosine_falls_from_the_whole_rate_to_nothing_over_the_epochs() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
    schedule = SCHEDULERS["Cosine"](optimizer, TrainConfig(num_epochs=4))
    rates = []
    for _ in range(5):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([0.2 * (1 + math.cos(math.pi * epoch / 4)) for epoch in range(5)])


def test_a_diverged_training_ends_in_order_and_says_so(tiny: Path, tmp_path: Path) -> None:
    outcome = train.run(experiment(tiny, tmp_path, train__optim__lr=1e30))
    assert not np.isfinite(outcome.metrics["train_loss"])
    assert "val_loss" not in checkpoint_index.read_index(tmp_path / "train")[-1].metrics
    lines = read_status(tmp_path / "train")
    assert any("lower train.optim.lr" in line["message"] for line in lines)
    assert lines[-1]["kpi"]["train_loss"] is None
    newest = checkpoint_index.latest(tmp_path / "train")
    task = {"evaluate__checkpoint": str(newest), "evaluate__test_dataset__data_path": str(tiny / "val_data.npy")}
    labels = {"evaluate__test_dataset__label_path": str(tiny / "val_label.pkl")}
    with pytest.raises(BadData, match="that are not finite"):
        evaluate.run(experiment(tiny, tmp_path, **task, **labels))


@pytest.mark.parametrize(("available", "expected"), [(True, "bf16-mixed"), (False, "32-true")])
def test_precision_auto_is_bf16_where_the_cpu_computes_in_it_and_says_why(
    available: bool, expected: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512": True, "avx512_bf16": available})
    status = StatusLog(tmp_path)
    assert train.build_trainer(experiment(tiny, tmp_path), tmp_path, status).precision == "32-true"
    assert (
        train.build_trainer(experiment(tiny, tmp_path, train__precision="AUTO"), tmp_path, status).precision == expected
    )
    (said,) = (line["message"] for line in read_status(tmp_path) if "auto" in line["message"])
    assert ("bf16, because the CPU has bf16" in said) == available
    assert ("fp32, because the CPU has no bf16" in said) != available


@pytest.mark.parametrize(("second", "expected"), [(True, "bf16"), (False, "fp32")])
def test_precision_auto_is_bf16_where_all_gpus_compute_in_it(
    second: bool, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every GPU of the training is asked, and emulation does not count."""
    computes, current = {1: True, 3: second}, [0]

    @contextmanager
    def device(index: int) -> Iterator[None]:
        current[0] = index
        yield

    def is_supported(*, including_emulation: bool) -> bool:
        return including_emulation or computes[current[0]]

    monkeypatch.setattr(torch.cuda, "device", device)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_supported)
    devices = Devices(accelerator="gpu", devices=[1, 3], note="two GPUs")
    assert train.choose_precision("auto", devices, StatusLog(tmp_path)) == expected
    assert train.choose_precision("fp32", devices, StatusLog(tmp_path)) == "fp32"


@pytest.mark.parametrize("model_type", NETWORKS)
def test_a_last_batch_of_one_sequence_of_one_frame_trains(model_type: str, tiny: Path, tmp_path: Path) -> None:
    """T = 1, M = 1 and six sequences in batches of five."""
    for split in ("train", "val"):
        np.save(tmp_path / f"{split}_data.npy", np.load(tiny / f"{split}_data.npy")[:6, :, :1])
        labels = read_labels(tiny / f"{split}_label.pkl")
        (tmp_path / f"{split}_label.pkl").write_bytes(pickle.dumps([list(labels.names[:6]), list(labels.ids[:6])]))
    outcome = train.run(experiment(tmp_path, tmp_path / "out", model__model_type=model_type))
    assert read_status(tmp_path / "out" / "train")[-1]["status"] == "SUCCESS"
    assert np.isfinite([outcome.metrics["train_loss"], outcome.metrics["val_loss"]]).all()


def test_the_index_is_plain_json(tiny: Path, tmp_path: Path) -> None:
    train.run(experiment(tiny, tmp_path, train__num_epochs=1))
    (entry,) = json.loads((tmp_path / "train" / checkpoint_index.INDEX).read_text())
    assert entry["file"] == "model_epoch_000_step_00003.pth"
    assert set(entry["metrics"]) == {"val_loss", "val_acc", "avg_accuracy", "train_loss", "train_acc"}
