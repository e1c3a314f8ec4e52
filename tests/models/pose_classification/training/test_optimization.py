"""Warm-up, label smoothing, averaged weights and accumulated gradients: by formula, resumed, and in two processes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from tao_skill.errors import BadData
from tao_skill.models.pose_classification.actions import evaluate, train
from tao_skill.models.pose_classification.config import Optim
from tao_skill.models.pose_classification.data.datamodule import SkeletonDataModule
from tao_skill.models.pose_classification.data.sequences import read_labels
from tao_skill.models.pose_classification.network.registry import build_net
from tao_skill.models.pose_classification.training import checkpoint_file, checkpoint_index, module
from tao_skill.models.pose_classification.training.averaging import TRAINED
from tests.support.experiments import experiment
from tests.support.networks import weights

pytestmark = pytest.mark.usefixtures("small_networks")

EVERY_STEP = {"train__checkpoint_interval_unit": "step"}
ALL: dict[str, Any] = {
    "train__optim__warmup_epochs": 2,
    "train__optim__ema_decay": 0.9,
    "train__optim__accumulate_batches": 4,
    "train__optim__label_smoothing": 0.1,
}
"""With two sequences in a batch, the twelve of the set are a group of four batches and one of two."""


def assert_equal(one: Any, other: Any) -> None:
    """The same structure of the same values, tensors included."""
    if isinstance(one, Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key, value in one.items():
            assert_equal(value, other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            assert_equal(left, right)
    else:
        assert one == other


def newest(folder: Path) -> dict[str, Any]:
    return checkpoint_file.load(folder / "train" / checkpoint_index.LATEST)


def assert_same_end(one: Path, other: Path) -> None:
    left, right = newest(one), newest(other)
    for key in ("state_dict", TRAINED, "optimizer_states", "lr_schedulers", "tao_skill", "ema_updates", "global_step"):
        assert (key in left) == (key in right)
        assert_equal(left.get(key), right.get(key))


def saved(folder: Path) -> list[dict[str, Any]]:
    """The checkpoints of a training in order."""
    paths = [folder / "train" / one.file for one in checkpoint_index.read_index(folder / "train")]
    return [checkpoint_file.load(path) for path in paths]


FIVE_EPOCHS = [1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1.0, *[1.0] * 3]
SCHEDULES = {
    "MultiStep": ({"lr_steps": [2, 4], "lr_decay": 0.5}, 5, [*FIVE_EPOCHS[:6], *[0.5] * 6, *[0.25] * 3]),
    "Cosine": (
        {},
        5,
        [*FIVE_EPOCHS, *[(1 + math.cos(math.pi / 3)) / 2] * 3, *[(1 + math.cos(math.pi * 2 / 3)) / 2] * 3],
    ),
    # A rate this low hardly changes a weight: the loss stagnates from the first epoch, but counts from the third.
    "AutoReduce": (
        {"lr_monitor": "train_loss", "patience": 0, "lr_decay": 0.5, "lr": 1e-6, "min_lr": 0.0},
        5,
        [0.5, 1.0, 1.0, 1.0, 0.5],
    ),
}


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_rate_rises_in_every_step_of_the_warm_up_and_follows_the_schedule_after_it(
    schedule: str, tiny: Path, tmp_path: Path
) -> None:
    options, epochs, expected = SCHEDULES[schedule]
    options = {"lr": 0.02, "lr_scheduler": schedule, "warmup_epochs": 2, **options}
    rates: list[float] = []
    hook = register_optimizer_step_pre_hook(lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"]))
    try:
        batch = 12 if schedule == "AutoReduce" else 5
        settings = {"model__dropout": 0.0, "dataset__batch_size": batch, "train__num_epochs": epochs}
        train.run(
            experiment(tiny, tmp_path, **settings, **{f"train__optim__{key}": value for key, value in options.items()})
        )
    finally:
        hook.remove()
    assert rates == pytest.approx([options["lr"] * factor for factor in expected], rel=1e-6, abs=0.0)


OPTIONS: dict[str, dict[str, Any]] = {
    "warm-up, MultiStep": {"train__optim__warmup_epochs": 2, "train__optim__lr_steps": [2]},
    "warm-up, AutoReduce": {
        "train__optim__warmup_epochs": 1,
        "train__optim__lr_scheduler": "AutoReduce",
        "train__optim__patience": 0,
    },
    "average": {"train__optim__ema_decay": 0.9},
    "accumulation": {"train__optim__accumulate_batches": 4},
    "all": {**ALL, "train__optim__lr_scheduler": "Cosine", "train__optim__optimizer_type": "torch.optim.AdamW"},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_training_resumed_anywhere_is_the_uninterrupted_one(
    options: dict[str, Any], tiny: Path, tmp_path: Path
) -> None:
    """From the end of its first epoch and from within its second."""
    settings = {**EVERY_STEP, **options, "dataset__batch_size": 2, "train__num_epochs": 3}
    whole = train.run(experiment(tiny, tmp_path / "whole", **settings))
    steps = -(-6 // options.get("train__optim__accumulate_batches", 1))  # of an epoch of six batches
    for name, epoch, step in (("end", 0, steps), ("inside", 1, steps + 1)):
        start = tmp_path / "whole" / "train" / checkpoint_index.checkpoint_name(epoch, step)
        resumed = {"train__resume_training_checkpoint_path": str(start)}
        again = train.run(experiment(tiny, tmp_path / name, **settings, **resumed))
        for metric in ("val_loss", "val_acc", "train_loss", "train_acc"):
            assert again.metrics[metric] == whole.metrics[metric]
        assert_same_end(tmp_path / "whole", tmp_path / name)


def test_a_trial_trained_rung_by_rung_is_the_uninterrupted_one(tiny: Path, tmp_path: Path) -> None:
    settings = {**ALL, "dataset__batch_size": 2, "train__num_epochs": 4, "train__checkpoint_interval": 10**6}
    settings |= {"train__optim__lr_scheduler": "Cosine"}
    whole = train.advance(experiment(tiny, tmp_path / "whole", **settings), 3, "val_acc")
    for rung in (1, 2, 3):
        parts = train.advance(experiment(tiny, tmp_path / "parts", **settings), rung, "val_acc")
    assert parts == whole
    assert_same_end(tmp_path / "whole", tmp_path / "parts")


def test_the_saved_weights_are_the_average_over_steps_and_training_does_not_see_it(tiny: Path, tmp_path: Path) -> None:
    settings = {**EVERY_STEP, "dataset__batch_size": 3, "train__num_epochs": 4}
    train.run(experiment(tiny, tmp_path / "plain", **settings))
    ended = train.run(experiment(tiny, tmp_path / "averaged", train__optim__ema_decay=0.4, **settings))
    plain, averaged = saved(tmp_path / "plain"), saved(tmp_path / "averaged")
    assert len(averaged) == 16
    mean: dict[str, Tensor] = {}
    for step, (one, other) in enumerate(zip(plain, averaged, strict=True)):
        assert_equal(other[TRAINED], one["state_dict"])
        assert_equal(other["optimizer_states"], one["optimizer_states"])
        decay = min(0.4, (1 + step) / (10 + step))
        for name, value in one["state_dict"].items():
            if step and value.is_floating_point():
                value = decay * mean[name] + (1 - decay) * value
            mean[name] = value
            torch.testing.assert_close(other["state_dict"][name], value, rtol=1e-4, atol=1e-6)
    assert "model.data_bn.running_mean" in mean
    assert not torch.equal(mean["model.data_bn.running_mean"], plain[-1]["state_dict"]["model.data_bn.running_mean"])
    assert (1 + 15) / (10 + 15) > 0.4 > (1 + 3) / (10 + 3)  # both branches of the minimum
    task = {"checkpoint": str(tmp_path / "averaged" / "train" / checkpoint_index.LATEST)}
    task |= {"test_dataset__data_path": str(tiny / "val_data.npy")}
    task |= {"test_dataset__label_path": str(tiny / "val_label.pkl")}
    pairs = {f"evaluate__{key}": value for key, value in task.items()}
    accuracy = evaluate.run(experiment(tiny, tmp_path / "averaged", **pairs)).metrics["accuracy"]
    report = json.loads((tmp_path / "averaged" / "evaluate" / "evaluation.json").read_text())
    assert report["loss"] == pytest.approx(ended.metrics["val_loss"], rel=1e-4)
    assert accuracy == pytest.approx(100 * ended.metrics["val_acc"])


def test_averaging_may_begin_and_end_where_a_training_resumes(tiny: Path, tmp_path: Path) -> None:
    """It begins with the trained weights, and training without it goes on with the trained weights."""
    on, off = {"train__optim__ema_decay": 0.5}, {"train__optim__ema_decay": 0.0}
    train.run(experiment(tiny, tmp_path / "plain", train__num_epochs=2))
    for name, first, second in (("ended", on, off), ("begun", off, on)):
        train.run(experiment(tiny, tmp_path / name, train__num_epochs=1, **first))
        train.run(experiment(tiny, tmp_path / name, train__num_epochs=2, **second))
    assert TRAINED not in newest(tmp_path / "ended")
    assert_equal(newest(tmp_path / "ended")["state_dict"], newest(tmp_path / "plain")["state_dict"])
    assert_equal(newest(tmp_path / "begun")[TRAINED], newest(tmp_path / "plain")["state_dict"])
    assert newest(tmp_path / "begun")["ema_updates"] == 3


@pytest.fixture
def still_norms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batch norms use their running statistics also in training, so that sequences do not depend on their batch."""

    def forward(self: Any, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)

    monkeypatch.setattr(_BatchNorm, "forward", forward)


@pytest.mark.usefixtures("still_norms")
@pytest.mark.parametrize(("batch", "batches"), [(5, 3), (5, 2), (4, 5)])
def test_accumulated_batches_train_as_one_batch_of_all_their_sequences(
    batch: int, batches: int, tiny: Path, tmp_path: Path
) -> None:
    """Groups of 5 + 5 + 2; 5 + 5 and 2; 4 + 4 + 4 sequences."""
    settings = {"model__dropout": 0.0, **EVERY_STEP}
    parts = experiment(tiny, tmp_path / "parts", dataset__batch_size=batch, **settings, **accumulate(batches))
    one = train.run(experiment(tiny, tmp_path / "one", dataset__batch_size=batch * batches, **settings))
    several = train.run(parts)
    assert several.metrics == pytest.approx(one.metrics, rel=1e-4)
    left, right = saved(tmp_path / "one"), saved(tmp_path / "parts")
    assert [each["global_step"] for each in left] == [each["global_step"] for each in right]
    for name, value in left[-1]["state_dict"].items():
        torch.testing.assert_close(right[-1]["state_dict"][name], value, rtol=1e-3, atol=1e-6)


def accumulate(batches: int) -> dict[str, Any]:
    return {"train__optim__accumulate_batches": batches}


@pytest.mark.parametrize(("batches", "expected"), [(1, [5, 5, 2]), (2, [10, 10, 2]), (3, [12] * 3), (4, [12] * 3)])
def test_a_group_has_the_sequences_of_its_batches(
    batches: int, expected: list[int], tiny: Path, tmp_path: Path
) -> None:
    """Twelve sequences in batches of 5, 5 and 2."""
    data = SkeletonDataModule(experiment(tiny, tmp_path).dataset, 0)
    assert [data.group_size(batch, batches) for batch in range(3)] == expected


def test_accumulated_batches_are_counted_by_steps_and_each_has_its_own_dropout(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: list[int] = []
    drawn = module.dropout_seed
    monkeypatch.setattr(module, "dropout_seed", lambda *args: seeds.append(drawn(*args)) or seeds[-1])
    interval = {**EVERY_STEP, "train__checkpoint_interval": 2}
    train.run(experiment(tiny, tmp_path, dataset__batch_size=2, train__num_epochs=3, **interval, **accumulate(4)))
    entries = checkpoint_index.read_index(tmp_path / "train")
    assert [(one.epoch, one.step) for one in entries] == [(0, 2), (1, 4), (2, 6)]
    assert len(set(seeds)) == len(seeds) == 18


def test_within_an_epoch_accumulated_batches_must_end_where_the_checkpoint_was_saved(
    tiny: Path, tmp_path: Path
) -> None:
    settings = {**EVERY_STEP, "dataset__batch_size": 2, "train__num_epochs": 1}
    train.run(experiment(tiny, tmp_path / "first", **settings))
    key = "train__resume_training_checkpoint_path"
    inside = {key: str(tmp_path / "first" / "train" / checkpoint_index.checkpoint_name(0, 3))}
    with pytest.raises(BadData, match=r"after 3 batches, but train\.optim\.accumulate_batches is 2"):
        train.run(experiment(tiny, tmp_path / "second", **settings, **inside, **accumulate(2)))
    train.run(experiment(tiny, tmp_path / "third", **settings, **inside, **accumulate(3)))
    assert newest(tmp_path / "third")["global_step"] == 4


def test_label_smoothing_changes_the_gradient_by_its_formula_and_no_reported_loss(tiny: Path, tmp_path: Path) -> None:
    settings = {"model__dropout": 0.0, "dataset__batch_size": 12, "train__num_epochs": 1}
    settings |= {"train__optim__momentum": 0.0, "train__optim__nesterov": False, "train__optim__weight_decay": 0.0}
    config = experiment(tiny, tmp_path, train__optim__label_smoothing=0.3, **settings)
    outcome = train.run(config)
    torch.manual_seed(config.train.seed)
    net = build_net(config.model, 6)
    ids = torch.tensor(read_labels(tiny / "train_label.pkl").ids)
    logs_NK = net(torch.from_numpy(np.load(tiny / "train_data.npy"))).log_softmax(1)
    target_NK = 0.7 * F.one_hot(ids, 6) + 0.3 / 6
    plain = -logs_NK[torch.arange(12), ids].mean()
    grads = torch.autograd.grad(-(target_NK * logs_NK).sum(1).mean(), list(net.parameters()))
    trained = weights(tmp_path / "train")
    for (name, p), grad in zip(net.named_parameters(), grads, strict=True):
        torch.testing.assert_close(trained[name], p.detach() - 0.02 * grad, rtol=1e-4, atol=1e-6)
    assert outcome.metrics["train_loss"] == pytest.approx(float(plain.detach()), rel=1e-4)


def test_adamw_decays_weights_apart_from_the_gradient() -> None:
    """The first step of Adam has the size of the rate, whatever the gradient; AdamW also takes lr * weight_decay."""
    grad = torch.tensor([0.5, -2.0])
    stepped = {}
    for name in ("torch.optim.Adam", "torch.optim.AdamW"):
        weight = torch.nn.Parameter(torch.tensor([3.0, 3.0]))
        optimizer = module.OPTIMIZERS[name]([weight], Optim(lr=0.1, weight_decay=0.2))
        weight.grad = grad.clone()
        optimizer.step()
        stepped[name] = weight.detach()
    torch.testing.assert_close(stepped["torch.optim.AdamW"], 3.0 * (1 - 0.1 * 0.2) - 0.1 * grad.sign())
    torch.testing.assert_close(stepped["torch.optim.Adam"], 3.0 - 0.1 * (grad + 0.2 * 3.0).sign())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
def test_gradients_are_clipped_to_their_norm_in_every_precision(
    precision: str, optimizer: str, tiny: Path, tmp_path: Path
) -> None:
    norms: list[float] = []

    def record(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        gradients = [p.grad.flatten() for group in optimizer.param_groups for p in group["params"]]
        norms.append(float(torch.cat(gradients).norm()))

    hook = register_optimizer_step_post_hook(record)
    settings = {"train__precision": precision, "train__num_epochs": 1, "train__grad_clip": 0.25}
    settings |= {"train__optim__optimizer_type": f"torch.optim.{optimizer}"}
    try:
        train.run(experiment(tiny, tmp_path, **settings))
    finally:
        hook.remove()
    assert norms == pytest.approx([0.25] * 3, rel=1e-3)
