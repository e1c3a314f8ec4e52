from __future__ import annotations

import pickle
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch

from tao_skill.models.pose_classification.config import DatasetConfig
from tao_skill.models.pose_classification.data import (
    Batch,
    Order,
    Skeletons,
    loader,
)
from tao_skill.models.pose_classification.lengths import trimmed_frames, used_frames
from tests.conftest import experiment
from tests.models.pose_classification.test_augment import sequence


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_any_float_type_is_read_as_float32(tmp_path: Path, dtype: type) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.stack([sequence(5, 8)] * 3).astype(dtype))
    x_NCTVM, ids_N = Skeletons(path, None)[Batch(0, (2, 0), 8)]
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


def test_without_padding_the_shuffled_order_is_the_plain_permutation() -> None:
    order = chain(*(batch.indices for batch in Order(np.full(50, 16), batch_size=4, seed=4, epoch=2)))
    assert list(order) == np.random.default_rng([4, 2]).permutation(50).tolist()


def test_the_longest_sequences_share_batches_and_all_others_stay_mixed() -> None:
    frames_N = np.random.default_rng(0).choice([8, 12, 16, 20, 24, 150], 1003)
    frames_N[frames_N == 150] = np.where(np.arange((frames_N == 150).sum()) % 2, 150, 24)
    epochs = [list(Order(frames_N, batch_size=8, seed=4, epoch=epoch)) for epoch in (0, 0, 1)]
    assert epochs[0] == epochs[1]
    companies = [{frozenset(batch.indices) for batch in epoch} for epoch in (epochs[0], epochs[2])]
    assert not companies[0] & companies[1]
    for epoch in epochs[1:]:
        assert sorted(chain(*(batch.indices for batch in epoch))) == list(range(1003))
        assert [len(batch.indices) for batch in epoch] == [8] * 125 + [3]
        long = [i for i, batch in enumerate(epoch) if batch.frames == 150]
        assert len(long) < 30
        assert max(np.diff(long)) < 30
        others = [frames_N[list(batch.indices)] for batch in epoch if batch.frames < 150]
        assert np.mean([len(set(lengths)) for lengths in others]) > 3
    plain = list(Order(frames_N, batch_size=8, seed=None))
    assert max(len(set(frames_N[list(batch.indices)])) for batch in plain) == 1


def test_in_evaluation_a_batch_has_one_length_only() -> None:
    frames_N = np.array([16, 8, 16, 12, 8, 16, 8])
    batches = [(batch.indices, batch.frames) for batch in Order(frames_N, batch_size=2)]
    assert batches == [((1, 4), 8), ((6,), 8), ((3,), 12), ((0, 2), 16), ((5,), 16)]


@pytest.fixture
def ragged(tmp_path: Path) -> Path:
    """Sequences of 0, 3, 8, 9, 22 and 30 frames, zero to the end of 30; a frame inside the fifth is zero too."""
    x_NCTVM = np.stack([sequence(used, 30) for used in (0, 3, 8, 9, 22, 30)])
    x_NCTVM[4, :, 7] = 0
    np.save(tmp_path / "ragged.npy", x_NCTVM.astype(np.float16))
    return tmp_path / "ragged.npy"


def test_a_trimmed_sequence_is_its_used_frames_in_whole_strides(ragged: Path) -> None:
    data, whole_NCTVM = Skeletons(ragged, None, trim=True), np.load(ragged).astype(np.float32)
    assert data.frames_N.tolist() == [16, 16, 16, 20, 30, 30]
    for batch in Order(data.frames_N, batch_size=2):
        x_NCTVM, _ = data[batch]
        assert np.array_equal(x_NCTVM.numpy(), whole_NCTVM[list(batch.indices), :, : batch.frames])
        assert not whole_NCTVM[list(batch.indices), :, batch.frames :].any()


def test_a_training_batch_is_as_long_as_its_longest_sequence(ragged: Path) -> None:
    data = Skeletons(ragged, None, trim=True, augment=DatasetConfig(trim_padding=True))
    x_NCTVM, _ = data[Batch(0, (3, 0, 4), 24)]
    assert np.array_equal(x_NCTVM.numpy(), np.load(ragged)[[3, 0, 4], :, :24].astype(np.float32))


def test_lengths_are_found_once_for_a_file_and_anew_when_it_changes(ragged: Path) -> None:
    assert used_frames(ragged) is used_frames(ragged.parent / "." / ragged.name)
    np.save(ragged, np.load(ragged)[:3])
    assert trimmed_frames(ragged).tolist() == [8, 8, 8]


@pytest.mark.parametrize(
    ("window", "random_choose", "expected"),
    [(-1, False, [8, 8, 8, 12, 24, 30]), (10, True, [8, 8, 8, 10, 10, 10]), (40, False, [8, 8, 8, 12, 24, 30])],
)
def test_a_window_of_a_trimmed_sequence_has_its_used_part(
    ragged: Path, window: int, random_choose: bool, expected: list[int]
) -> None:
    config = DatasetConfig(trim_padding=True, window_size=window, random_choose=random_choose, random_move=True)
    data = Skeletons(ragged, None, trim=True, augment=config, seed=1)
    assert data.frames_N.tolist() == expected
    used = [0, 3, 8, 9, 22, 30]
    for epoch in range(5):
        x_NCTVM, _ = data[Batch(epoch, tuple(range(6)), 32)]
        moving_NT = x_NCTVM.numpy().any(axis=(1, 3, 4))
        assert not any(moving_NT[i, frames:].any() for i, frames in enumerate(expected))
        assert all(moving_NT[i].sum() >= min(used[i], expected[i]) - 1 for i in range(6))


def test_what_happens_to_a_trimmed_sequence_does_not_depend_on_its_batch(ragged: Path) -> None:
    config = DatasetConfig(trim_padding=True, window_size=12, random_choose=True, random_move=True)
    data = Skeletons(ragged, None, trim=True, augment=config, seed=1)
    together, _ = data[Batch(3, (5, 1, 4), 12)]
    for place, index in enumerate((5, 1, 4)):
        frames = int(data.frames_N[index])
        alone, _ = data[Batch(3, (index,), frames)]
        assert torch.equal(together[place, :, :frames], alone[0])
        assert not together[place, :, frames:].any()


@pytest.mark.parametrize("trim", [False, True])
@pytest.mark.parametrize("workers", [0, 2])
def test_augmentation_does_not_depend_on_workers(tiny: Path, tmp_path: Path, workers: int, trim: bool) -> None:
    augment: DatasetConfig = experiment(
        tiny, tmp_path, dataset__random_choose=True, dataset__window_size=12, dataset__random_move=True
    ).dataset

    def batches(count: int) -> list[np.ndarray]:
        data = Skeletons(tiny / "train_data.npy", tiny / "train_label.pkl", trim=trim, augment=augment, seed=7)
        order = Order(data.frames_N, batch_size=5, seed=1)
        return [x.numpy() for x, _ in loader(data, order, num_workers=count)]

    assert [len(batch) for batch in batches(workers)] == [5, 5, 2]
    for one, other in zip(batches(0), batches(workers), strict=True):
        assert np.array_equal(one, other)


def test_the_array_stays_on_disk(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((64, 3, 96, 34, 1), np.float32))
    data = Skeletons(tmp_path / "x.npy", None, trim=True)
    assert isinstance(data.data_NCTVM, np.memmap)
    sent = pickle.dumps(data)
    assert len(sent) < 10_000
    batch = Batch(0, (3, 1), 96)
    assert torch.equal(pickle.loads(sent)[batch][0], data[batch][0])
