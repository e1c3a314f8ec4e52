from __future__ import annotations

import pickle
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch

from tao_skill.errors import NotFound
from tao_skill.models.pose_classification.config import DatasetConfig
from tao_skill.models.pose_classification.data.dataset import BatchIndices, BatchSampler, SkeletonDataset, loader
from tao_skill.models.pose_classification.data.sequences import read_unpadded_lengths
from tests.support.experiments import experiment
from tests.support.recordings import sequence


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_any_float_type_is_read_as_float32(tmp_path: Path, dtype: type) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.stack([sequence(5, 8)] * 3).astype(dtype))
    x_NCTVM, ids_N = SkeletonDataset(path, None)[BatchIndices(0, (2, 0))]
    assert np.array_equal(x_NCTVM.numpy(), np.load(path)[[2, 0]].astype(np.float32))
    assert x_NCTVM.dtype == torch.float32
    assert ids_N.tolist() == [-1, -1]


def test_order_is_a_permutation_of_its_epoch_and_goes_on_after_a_skip() -> None:
    count = 10
    whole = list(BatchSampler(count, batch_size=3, seed=4, epoch=2))
    assert sorted(chain(*(batch.indices for batch in whole))) == list(range(count))
    assert [(batch.epoch, len(batch.indices)) for batch in whole] == [(2, 3), (2, 3), (2, 3), (2, 1)]
    skipping = BatchSampler(count, batch_size=3, seed=4, epoch=2, skip=2)
    assert (list(skipping), list(skipping)) == (whole[2:], whole)
    other = BatchSampler(count, batch_size=3, seed=4, epoch=3)
    assert [batch.indices for batch in other] != [batch.indices for batch in whole]


def test_the_shuffled_order_is_a_plain_permutation() -> None:
    order = chain(*(batch.indices for batch in BatchSampler(50, batch_size=4, seed=4, epoch=2)))
    assert list(order) == np.random.default_rng([4, 2]).permutation(50).tolist()


def test_without_a_seed_sequences_come_in_order() -> None:
    assert [batch.indices for batch in BatchSampler(7, batch_size=3)] == [(0, 1, 2), (3, 4, 5), (6,)]


@pytest.fixture
def ragged(tmp_path: Path) -> Path:
    """Sequences of 0, 3, 8, 9, 22 and 30 frames, zero to the end of 30; a frame inside the fifth is zero too."""
    x_NCTVM = np.stack([sequence(used, 30) for used in (0, 3, 8, 9, 22, 30)])
    x_NCTVM[4, :, 7] = 0
    np.save(tmp_path / "ragged.npy", x_NCTVM.astype(np.float16))
    return tmp_path / "ragged.npy"


def test_lengths_are_found_once_for_a_file_and_anew_when_it_changes(ragged: Path) -> None:
    assert read_unpadded_lengths(ragged) is read_unpadded_lengths(ragged.parent / "." / ragged.name)
    np.save(ragged, np.load(ragged)[:3])
    assert read_unpadded_lengths(ragged).tolist() == [1, 3, 8]
    ragged.unlink()
    with pytest.raises(NotFound):
        read_unpadded_lengths(ragged)


@pytest.mark.parametrize(
    ("window", "random_choose", "expected"), [(-1, False, 30), (10, True, 10), (10, False, 30), (40, False, 40)]
)
def test_all_sequences_of_a_training_have_the_frames_of_its_window(
    ragged: Path, window: int, random_choose: bool, expected: int
) -> None:
    config = DatasetConfig(window_size=window, random_choose=random_choose)
    data = SkeletonDataset(ragged, None, augment=config, seed=1)
    x_NCTVM, _ = data[BatchIndices(3, (4, 0, 5))]
    assert data.frames == x_NCTVM.shape[2] == expected
    alone = [data[BatchIndices(3, (index,))][0] for index in (4, 0, 5)]
    assert torch.equal(x_NCTVM, torch.cat(alone))
    moving_N = x_NCTVM.numpy().any(axis=(1, 3, 4)).sum(axis=1)
    assert moving_N.tolist() == ([10, 0, 10] if random_choose else [21, 0, 30])


@pytest.mark.parametrize("workers", [0, 2])
def test_augmentation_does_not_depend_on_workers(tiny: Path, tmp_path: Path, workers: int) -> None:
    augment: DatasetConfig = experiment(
        tiny, tmp_path, dataset__random_choose=True, dataset__window_size=4, dataset__random_move=True
    ).dataset

    def batches(count: int) -> list[np.ndarray]:
        data = SkeletonDataset(tiny / "train_data.npy", tiny / "train_label.pkl", augment=augment, seed=7)
        order = BatchSampler(len(data), batch_size=5, seed=1)
        return [x_NCTVM.numpy() for x_NCTVM, _ in loader(data, order, num_workers=count)]

    assert list(map(len, batches(workers))) == [5, 5, 2]
    for one, other in zip(batches(0), batches(workers), strict=True):
        assert np.array_equal(one, other)


def test_the_array_stays_on_disk(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((64, 3, 96, 34, 1), np.float32))
    data = SkeletonDataset(tmp_path / "x.npy", None, resample_frames=16)
    assert isinstance(data.data_NCTVM, np.memmap)
    sent = pickle.dumps(data)
    assert len(sent) < 10_000
    batch = BatchIndices(0, (3, 1))
    assert torch.equal(pickle.loads(sent)[batch][0], data[batch][0])
