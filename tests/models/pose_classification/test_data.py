from __future__ import annotations

import pickle
from itertools import chain, product
from pathlib import Path

import numpy as np
import pytest
import torch

from tao_skill.errors import NotFound
from tao_skill.models.pose_classification.config import DatasetConfig
from tao_skill.models.pose_classification.data import (
    Batch,
    Order,
    Skeletons,
    loader,
)
from tao_skill.models.pose_classification.lengths import used_frames
from tests.conftest import experiment
from tests.models.pose_classification.test_augment import sequence


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_any_float_type_is_read_as_float32(tmp_path: Path, dtype: type) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.stack([sequence(5, 8)] * 3).astype(dtype))
    x_NCTVM, ids_N = Skeletons(path, None)[Batch(0, (2, 0))]
    assert np.array_equal(x_NCTVM.numpy(), np.load(path)[[2, 0]].astype(np.float32))
    assert x_NCTVM.dtype == torch.float32
    assert ids_N.tolist() == [-1, -1]


def test_order_is_a_permutation_of_its_epoch_and_goes_on_after_a_skip() -> None:
    frames_N = np.full(10, 16)
    whole = list(Order(frames_N, batch_size=3, seed=4, epoch=2))
    assert sorted(chain(*(batch.indices for batch in whole))) == list(range(10))
    assert [(batch.epoch, len(batch.indices)) for batch in whole] == [(2, 3), (2, 3), (2, 3), (2, 1)]
    skipping = Order(frames_N, batch_size=3, seed=4, epoch=2, skip=2)
    assert (list(skipping), list(skipping)) == (whole[2:], whole)
    other = Order(frames_N, batch_size=3, seed=4, epoch=3)
    assert [batch.indices for batch in other] != [batch.indices for batch in whole]


@pytest.mark.parametrize("frames", [[16], [8, 12, 150]], ids=["same", "varied"])
def test_the_shuffled_order_is_a_plain_permutation_whatever_the_lengths(frames: list[int]) -> None:
    order = chain(*(batch.indices for batch in Order(np.resize(frames, 50), batch_size=4, seed=4, epoch=2)))
    assert list(order) == np.random.default_rng([4, 2]).permutation(50).tolist()


def test_in_evaluation_a_batch_has_one_length_only() -> None:
    frames_N = np.array([16, 8, 16, 12, 8, 16, 8])
    batches = [batch.indices for batch in Order(frames_N, batch_size=2)]
    assert batches == [(1, 4), (6,), (3,), (0, 2), (5,)]


@pytest.fixture
def ragged(tmp_path: Path) -> Path:
    """Sequences of 0, 3, 8, 9, 22 and 30 frames, zero to the end of 30; a frame inside the fifth is zero too."""
    x_NCTVM = np.stack([sequence(used, 30) for used in (0, 3, 8, 9, 22, 30)])
    x_NCTVM[4, :, 7] = 0
    np.save(tmp_path / "ragged.npy", x_NCTVM.astype(np.float16))
    return tmp_path / "ragged.npy"


def test_a_trimmed_sequence_is_its_used_frames_in_whole_strides(ragged: Path) -> None:
    data, whole_NCTVM = Skeletons(ragged, None, trim=True), np.load(ragged).astype(np.float32)
    assert data.frames_N.tolist() == [4, 4, 8, 12, 24, 32]
    padded_NCTVM = np.pad(whole_NCTVM, [(0, 0), (0, 0), (0, 2), (0, 0), (0, 0)])
    for batch in Order(data.frames_N, batch_size=2):
        x_NCTVM, _ = data[batch]
        assert isinstance(x_NCTVM, torch.Tensor)
        assert np.array_equal(x_NCTVM.numpy(), padded_NCTVM[list(batch.indices), :, : x_NCTVM.shape[2]])
        assert not padded_NCTVM[list(batch.indices), :, x_NCTVM.shape[2] :].any()


@pytest.mark.parametrize("augment", [None, DatasetConfig(trim_padding=True)])
def test_a_batch_of_several_lengths_has_a_tensor_of_each(ragged: Path, augment: DatasetConfig | None) -> None:
    data = Skeletons(ragged, None, trim=True, augment=augment)
    data.ids_N = np.arange(6) * 10
    groups, ids_N = data[Batch(0, (3, 0, 2))]
    expected = [([0], 4), ([2], 8), ([3], 12)]
    for x_NCTVM, (indices, frames) in zip(groups, expected, strict=True):
        assert np.array_equal(x_NCTVM.numpy(), np.load(ragged)[indices, :, :frames].astype(np.float32))
    assert ids_N.tolist() == [0, 20, 30]


def test_lengths_are_found_once_for_a_file_and_anew_when_it_changes(ragged: Path) -> None:
    assert used_frames(ragged) is used_frames(ragged.parent / "." / ragged.name)
    np.save(ragged, np.load(ragged)[:3])
    assert used_frames(ragged).tolist() == [1, 3, 8]
    ragged.unlink()
    with pytest.raises(NotFound):
        used_frames(ragged)


@pytest.mark.parametrize(
    ("window", "random_choose", "expected"),
    [
        (-1, False, [4, 4, 8, 12, 24, 32]),
        (10, True, [4, 4, 8, 12, 12, 12]),
        (40, False, [4, 4, 8, 12, 24, 32]),
    ],
)
def test_a_window_of_a_trimmed_sequence_has_its_used_part(
    ragged: Path, window: int, random_choose: bool, expected: list[int]
) -> None:
    config = DatasetConfig(trim_padding=True, window_size=window, random_choose=random_choose, random_move=True)
    data = Skeletons(ragged, None, trim=True, augment=config, seed=1)
    assert data.frames_N.tolist() == expected
    used = [0, 3, 8, 9, 22, 30]
    for epoch, index in product(range(5), range(6)):
        x_NCTVM, _ = data[Batch(epoch, (index,))]
        assert isinstance(x_NCTVM, torch.Tensor)
        moving_T = x_NCTVM[0].numpy().any(axis=(0, 2, 3))
        assert len(moving_T) == expected[index]
        assert not random_choose or not moving_T[window:].any()
        assert moving_T.sum() >= min(used[index], window if random_choose else 30) - 1


def test_what_happens_to_a_trimmed_sequence_does_not_depend_on_its_batch(ragged: Path) -> None:
    config = DatasetConfig(trim_padding=True, window_size=24, random_choose=True, random_move=True)
    data = Skeletons(ragged, None, trim=True, augment=config, seed=1)
    together, _ = data[Batch(3, (5, 1, 4))]
    assert [len(x_NCTVM) for x_NCTVM in together] == [1, 2]
    for x_CTVM, index in zip(chain(*together), (1, 5, 4), strict=True):
        assert torch.equal(x_CTVM, data[Batch(3, (index,))][0][0])


@pytest.mark.parametrize("trim", [False, True])
@pytest.mark.parametrize("workers", [0, 2])
def test_augmentation_does_not_depend_on_workers(tiny: Path, tmp_path: Path, workers: int, trim: bool) -> None:
    augment: DatasetConfig = experiment(
        tiny, tmp_path, dataset__random_choose=True, dataset__window_size=12, dataset__random_move=True
    ).dataset

    def batches(count: int) -> list[list[np.ndarray]]:
        data = Skeletons(tiny / "train_data.npy", tiny / "train_label.pkl", trim=trim, augment=augment, seed=7)
        order = Order(data.frames_N, batch_size=5, seed=1)
        read = (x for x, _ in loader(data, order, num_workers=count))
        return [[x.numpy()] if isinstance(x, torch.Tensor) else [part.numpy() for part in x] for x in read]

    assert [sum(map(len, parts)) for parts in batches(workers)] == [5, 5, 2]
    for one, other in zip(chain(*batches(0)), chain(*batches(workers)), strict=True):
        assert np.array_equal(one, other)


def test_the_array_stays_on_disk(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((64, 3, 96, 34, 1), np.float32))
    data = Skeletons(tmp_path / "x.npy", None, trim=True)
    assert isinstance(data.data_NCTVM, np.memmap)
    sent = pickle.dumps(data)
    assert len(sent) < 10_000
    batch = Batch(0, (3, 1))
    assert torch.equal(pickle.loads(sent)[batch][0], data[batch][0])
