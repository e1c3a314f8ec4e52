from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from tao_skill.models.pose_classification.data.class_weights import balanced_weights
from tao_skill.models.pose_classification.data.datamodule import SkeletonDataModule
from tests.support.experiments import experiment


def test_weights_are_inverse_to_the_counts_and_their_mean_over_the_sequences_is_one() -> None:
    ids_N = np.repeat([0, 1, 3], [6, 3, 1])
    weights_K = balanced_weights(ids_N, 5, {})
    assert weights_K.tolist() == pytest.approx([10 / 18, 10 / 9, 0, 10 / 3, 0])
    assert weights_K[ids_N].mean() == pytest.approx(1)


def test_classes_that_a_reflection_exchanges_share_their_sequences() -> None:
    assert balanced_weights(np.repeat([0, 2], [6, 2]), 3, {0: 1, 1: 0}).tolist() == pytest.approx([8 / 9, 8 / 9, 8 / 6])


def test_held_out_sequences_are_not_counted(tiny: Path, tmp_path: Path) -> None:
    ids = [0] * 8 + [1] * 4
    (tmp_path / "y.pkl").write_bytes(pickle.dumps([[str(n) for n in range(12)], ids]))
    changes = {
        "dataset__train_dataset__label_path": str(tmp_path / "y.pkl"),
        "dataset__val_dataset__data_path": None,
        "dataset__val_dataset__label_path": None,
        "dataset__validation_split": 0.25,
    }
    plain, balanced = (
        SkeletonDataModule(experiment(tiny, tmp_path, **changes, dataset__class_weights=kind).dataset, 0)
        for kind in ("none", "balanced")
    )
    assert plain.class_weights is None
    assert balanced.class_weights is not None
    assert balanced.class_weights.tolist() == pytest.approx([9 / 12, 9 / 6, 0, 0, 0, 0])
