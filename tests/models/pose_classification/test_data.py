from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tao_skill.models.pose_classification.config import DatasetConfig
from tao_skill.models.pose_classification.data import Order, Skeletons, loader, pad, random_choose, random_move
from tests.conftest import experiment


def sequence(used: int, frames: int) -> np.ndarray:
    x = np.zeros((3, frames, 4, 1), np.float32)
    x[:, :used] = np.random.default_rng(0).normal(size=(3, used, 4, 1)) + 5
    return x


def test_random_choose_takes_a_contiguous_fragment_inside_the_used_frames() -> None:
    x = sequence(40, 100)
    starts = set()
    for seed in range(60):
        part = random_choose(x, 16, np.random.default_rng(seed))
        begin = next(i for i in range(100) if np.array_equal(x[:, i : i + 16], part))
        starts.add(begin)
        assert part.any(axis=(0, 2, 3)).all()
    assert min(starts) < 5
    assert max(starts) > 19


def test_random_choose_pads_a_shorter_sequence_at_a_random_place() -> None:
    x = sequence(10, 10)
    places = {int(random_choose(x, 20, np.random.default_rng(s)).any(axis=(0, 2, 3)).argmax()) for s in range(40)}
    assert len(places) > 5
    assert random_choose(x, 20, np.random.default_rng(0)).shape == (3, 20, 4, 1)


def test_an_all_zero_sequence_is_no_trouble() -> None:
    assert random_choose(np.zeros((3, 30, 4, 1), np.float32), 8, np.random.default_rng(0)).shape[1] == 8


def test_pad_adds_zero_frames_and_leaves_longer_sequences_whole() -> None:
    x = sequence(10, 10)
    assert np.array_equal(pad(x, 15)[:, :10], x)
    assert not pad(x, 15)[:, 10:].any()
    assert pad(x, 5) is x


def test_random_move_is_one_similarity_a_frame_in_the_image_plane_and_spares_padding() -> None:
    x = sequence(20, 30)
    moved = random_move(x, np.random.default_rng(1))
    assert np.array_equal(moved[2], x[2])
    assert not moved[:, 20:].any()
    for t in range(20):
        plane, was = moved[:2, t, :, 0], x[:2, t, :, 0]
        a, b = plane - plane[:, :1], was - was[:, :1]
        scale = np.linalg.norm(a[:, 1:]) / np.linalg.norm(b[:, 1:])
        assert 0.89 < scale < 1.11
        np.testing.assert_allclose(a.T @ a, scale**2 * (b.T @ b), atol=1e-3)
    assert not np.allclose(moved, x)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_any_float_type_is_read_as_float32(tmp_path: Path, dtype: type) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.stack([sequence(5, 8)] * 3).astype(dtype))
    x, identity = Skeletons(path, None)[0, 2]
    assert x.dtype.is_floating_point
    assert str(x.dtype) == "torch.float32"
    assert identity == -1


def test_order_is_a_permutation_of_its_epoch_and_goes_on_after_a_skip() -> None:
    order = Order(10, seed=4, epoch=2)
    whole = list(order)
    assert sorted(index for _, index in whole) == list(range(10))
    assert {epoch for epoch, _ in whole} == {2}
    skipping = Order(10, seed=4, epoch=2, skip=6)
    assert (list(skipping), list(skipping)) == (whole[6:], whole)
    assert list(Order(10, seed=4, epoch=3)) != [(3, index) for _, index in whole]


@pytest.mark.parametrize("workers", [0, 2])
def test_augmentation_does_not_depend_on_workers(tiny: Path, tmp_path: Path, workers: int) -> None:
    augment: DatasetConfig = experiment(
        tiny, tmp_path, dataset__random_choose=True, dataset__window_size=8, dataset__random_move=True
    ).dataset

    def batches(count: int) -> list[np.ndarray]:
        data = Skeletons(tiny / "train_data.npy", tiny / "train_label.pkl", augment, seed=7)
        return [x.numpy() for x, _ in loader(data, Order(len(data), seed=1), batch_size=5, num_workers=count)]

    assert [len(batch) for batch in batches(workers)] == [5, 5, 2]
    for one, other in zip(batches(0), batches(workers), strict=True):
        assert np.array_equal(one, other)


def test_the_array_stays_on_disk(tiny: Path) -> None:
    assert isinstance(Skeletons(tiny / "train_data.npy", None).data_NCTVM, np.memmap)
