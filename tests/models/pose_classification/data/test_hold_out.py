"""Held-out training sequences: which ones, and that training and validation share none."""

from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tao_skill.models.pose_classification.actions import train
from tao_skill.models.pose_classification.checks.check import check
from tao_skill.models.pose_classification.checks.search_limits import limits
from tao_skill.models.pose_classification.data.datamodule import SkeletonDataModule
from tao_skill.models.pose_classification.data.dataset import BatchIndices
from tao_skill.models.pose_classification.data.hold_out import split
from tao_skill.models.pose_classification.model import MODEL
from tao_skill.models.pose_classification.network.architecture import epoch_flop
from tests.support.experiments import experiment

NONE = {"dataset__val_dataset__data_path": None, "dataset__val_dataset__label_path": None}
FIFTH = {**NONE, "dataset__validation_split": 0.2}


@given(ids=st.lists(st.integers(0, 5), min_size=1, max_size=60), share=st.floats(0.01, 0.5), seed=st.integers(0, 9))
def test_every_sequence_is_in_one_part_and_every_class_of_two_or_more_in_both(
    ids: list[int], share: float, seed: int
) -> None:
    parts = split(ids, share, seed)
    assert sorted(parts.training + parts.validation) == list(range(len(ids)))
    held = Counter(ids[index] for index in parts.validation)
    for identity, count in Counter(ids).items():
        assert held[identity] == min(max(1, round(share * count)), count - 1)


def test_the_seed_alone_says_which_are_held_out() -> None:
    ids = [0, 1, 2] * 20
    assert split(ids, 0.2, 7) == split(ids, 0.2, 7)
    assert split(ids, 0.2, 7) != split(ids, 0.2, 8)


def test_many_classes_are_split_in_one_pass() -> None:
    parts = split((np.arange(120_000) % 400).tolist(), 0.2, 1)
    assert len(parts.validation) == 400 * 60


def test_training_reads_none_of_the_sequences_that_validate(tiny: Path, tmp_path: Path) -> None:
    config = experiment(tiny, tmp_path, **FIFTH, dataset__num_workers=0)
    data = SkeletonDataModule(config.dataset, config.train.seed)
    whole_NCTVM = np.load(tiny / "train_data.npy").astype(np.float32)
    _, ids = pickle.loads((tiny / "train_label.pkl").read_bytes())
    parts = split(ids, 0.2, config.train.seed)
    assert len(data.training_set) == len(parts.training)
    validation = data.val_dataloader().dataset
    for part, indices in ((data.training_set, parts.training), (validation, parts.validation)):
        x_NCTVM, ids_N = part[BatchIndices(0, tuple(range(len(indices))))]
        assert np.array_equal(x_NCTVM.numpy(), whole_NCTVM[list(indices)])
        assert ids_N.tolist() == [ids[index] for index in indices]


def test_a_training_without_a_validation_set_is_validated_on_the_part_held_out(tiny: Path, tmp_path: Path) -> None:
    outcome = train.run(experiment(tiny, tmp_path, **FIFTH))
    assert 0 <= outcome.metrics["val_acc"] <= 1
    assert "best_val_acc" in outcome.metrics


def test_what_depends_on_the_number_of_training_sequences_counts_those_alone(tiny: Path, tmp_path: Path) -> None:
    held, whole = (experiment(tiny, tmp_path, **changes) for changes in (FIFTH, NONE))
    _, ids = pickle.loads((tiny / "train_label.pkl").read_bytes())
    parts = split(ids, 0.2, held.train.seed)
    assert limits(held)["dataset.batch_size"].high == len(parts.training)
    assert limits(whole)["dataset.batch_size"].high == len(ids)
    ratio = epoch_flop(held) / epoch_flop(whole)
    assert abs(ratio - (0.8 * 3 + 0.2) / 3) < 1e-9


def test_the_size_of_validation_is_the_number_of_sequences_it_scores(tiny: Path, tmp_path: Path) -> None:
    held = experiment(tiny, tmp_path, **FIFTH)
    scored = SkeletonDataModule(held.dataset, held.train.seed).val_dataloader().dataset
    assert MODEL.validation_size(held) == len(scored) > 0
    assert MODEL.validation_size(experiment(tiny, tmp_path)) == len(np.load(tiny / "val_data.npy"))
    assert MODEL.validation_size(experiment(tiny, tmp_path, **NONE)) == 0
    remote = {"dataset__val_dataset__data_path": "s3://bucket/val.npy"}
    assert MODEL.validation_size(experiment(tiny, tmp_path, **remote)) is None
    remote = {"dataset__train_dataset__label_path": "s3://bucket/train.pkl"}
    assert MODEL.validation_size(experiment(tiny, tmp_path, **FIFTH, **remote)) is None


def test_the_plan_says_how_many_are_held_out(tiny: Path, tmp_path: Path) -> None:
    warnings = "\n".join(check(experiment(tiny, tmp_path, **FIFTH), "train").warnings)
    _, ids = pickle.loads((tiny / "train_label.pkl").read_bytes())
    held = len(split(ids, 0.2, 1234).validation)
    assert f"{held} of {len(ids)} training sequences" in warnings
    assert "no validation runs" not in warnings
    beside = check(experiment(tiny, tmp_path, dataset__validation_split=0.2), "train").warnings
    assert "dataset.validation_split has no effect beside dataset.val_dataset" in beside


def test_a_set_of_which_nothing_can_be_held_out_is_refused(tiny: Path, tmp_path: Path) -> None:
    names, ids = pickle.loads((tiny / "train_label.pkl").read_bytes())
    first = [ids.index(identity) for identity in sorted(set(ids))]
    np.save(tmp_path / "x.npy", np.load(tiny / "train_data.npy")[first])
    (tmp_path / "y.pkl").write_bytes(pickle.dumps([[names[i] for i in first], [ids[i] for i in first]]))
    own = {
        "dataset__train_dataset__data_path": str(tmp_path / "x.npy"),
        "dataset__train_dataset__label_path": str(tmp_path / "y.pkl"),
    }
    (problem,) = check(experiment(tiny, tmp_path, **FIFTH, **own), "train").problems
    assert problem.key == "dataset.val_dataset.data_path"
    assert "no class has two training sequences" in problem.message
