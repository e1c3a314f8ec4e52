from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from tao_skill.models.pose_classification.config import DatasetConfig
from tao_skill.models.pose_classification.data.augment import (
    augment_sequence,
    clip_interval,
    crop,
    pad,
    random_choose,
    random_interval,
    random_move,
    random_rotate,
    random_scale,
    random_warp,
    resample,
    time_warp,
    warped,
)
from tao_skill.models.pose_classification.data.augment_space import flip, joint_dropout, random_shear
from tao_skill.models.pose_classification.data.dataset import BatchIndices, SkeletonDataset
from tao_skill.models.pose_classification.data.label_map import mirrored_ids, mirrored_names, names_side
from tao_skill.models.pose_classification.network.layouts import LAYOUTS, Layout
from tests.support.recordings import sequence


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


def line(frames: int) -> np.ndarray:
    """Joints that move evenly, each in its direction, away from places that are not zero."""
    ways = np.random.default_rng(1).normal(size=(3, 1, 4, 1))
    return (9 + ways * np.arange(frames)[:, None, None]).astype(np.float32)


@pytest.mark.parametrize(("frames", "size"), [(12, 12), (12, 34), (34, 12), (1, 8)])
def test_an_even_motion_is_as_even_after_resampling(frames: int, size: int) -> None:
    x, found = line(frames), resample(line(frames), size)
    assert found.shape == (3, size, 4, 1)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:, [0, -1]], x[:, [0, -1]], rtol=1e-6)
    even = x[:, :1] + (x[:, -1:] - x[:, :1]) * np.linspace(0, 1, size)[:, None, None]
    np.testing.assert_allclose(found, even, rtol=1e-5)
    if size == frames:
        assert np.array_equal(found, x)


def test_a_joint_missing_in_one_frame_is_not_mixed_with_zeros() -> None:
    x = line(9)
    x[:, 4, 2] = 0
    found = resample(x, 33)
    assert np.array_equal(
        np.flatnonzero(~found[:, :, 2].any(axis=(0, 2))), [15, 16, 17, 18]
    )  # of equally near ones, the even
    kept = np.delete(np.arange(33), range(13, 20))
    np.testing.assert_allclose(found[:, kept], resample(line(9), 33)[:, kept], rtol=1e-6)


def test_a_part_lies_within_the_used_frames_and_has_at_least_its_share() -> None:
    x = sequence(41, 100)
    parts = np.array([random_interval(x, 0.5, np.random.default_rng(seed)) for seed in range(80)])
    first, last = parts.T
    assert 0 <= first.min() < 1
    assert 39 < last.max() <= 40
    assert 20 <= (last - first).min() < 21
    assert 39 < (last - first).max() <= 40
    assert first.max() > 10
    assert random_interval(np.zeros((3, 9, 4, 1), np.float32), 0.5, np.random.default_rng(0)) == (0, 0)
    assert np.array_equal(crop(x, 2.4, 7.6), x[:, 2:9])


@pytest.mark.parametrize(("frames", "clips"), [(41, 2), (41, 10), (2, 3), (1, 4)])
def test_clips_are_evenly_spaced_from_the_first_to_the_last_frame(frames: int, clips: int) -> None:
    first, last = np.array([clip_interval(frames, clip, clips) for clip in range(clips)]).T
    assert (first[0], last[-1]) == (0, frames - 1)
    np.testing.assert_allclose(last - first, 0.9 * (frames - 1))
    np.testing.assert_allclose(np.diff(first), 0.1 * (frames - 1) / (clips - 1))
    assert clip_interval(frames, 0, 1) == (0, frames - 1)


def test_a_part_is_resampled_at_its_own_times() -> None:
    times = np.linspace(1.5, 6.25, 20)
    ways = line(2)[:, 1:] - line(2)[:, :1]
    np.testing.assert_allclose(resample(line(9), 20, (1.5, 6.25)), 9 + ways * times[:, None, None], rtol=1e-5)


def test_a_turned_skeleton_keeps_its_shape_and_mostly_its_uprightness() -> None:
    x, turns = sequence(20, 30), []
    for seed in range(50):
        turned = random_rotate(x, 30, np.random.default_rng(seed))
        lengths = [np.linalg.norm(one[:, :, 1:] - one[:, :, :1], axis=0) for one in (x, turned)]
        np.testing.assert_allclose(*lengths, rtol=1e-4, atol=1e-5)
        assert not turned[:, 20:].any()
        found, *_ = np.linalg.lstsq(x.reshape(3, -1).T, turned.reshape(3, -1).T, rcond=None)
        assert np.linalg.det(found) == pytest.approx(1, abs=1e-4)
        turns.append([np.degrees(np.arctan2(found[2, 0], found[0, 0])), np.degrees(np.arccos(found[1, 1]))])
    about_y, lean = np.abs(turns).max(axis=0)
    assert 25 < about_y < 31
    assert 5 < lean < 15


def test_scaling_stretches_each_axis_by_itself_and_all_frames_alike() -> None:
    x, seen = sequence(20, 30), []
    for seed in range(50):
        scaled = random_scale(x, 0.2, np.random.default_rng(seed))
        assert not scaled[:, 20:].any()
        ratio_CTVM = scaled[:, :20] / x[:, :20]
        np.testing.assert_allclose(ratio_CTVM, np.broadcast_to(ratio_CTVM[:, :1, :1], ratio_CTVM.shape), rtol=1e-5)
        seen.append(ratio_CTVM[:, 0, 0, 0])
    assert np.std(seen, axis=1).min() > 0
    assert (0.8 <= np.min(seen) < 0.83, 1.17 < np.max(seen) <= 1.2) == (True, True)


def test_resampled_sequences_are_read_without_padding_in_training_and_in_evaluation(tmp_path: Path) -> None:
    used = (0, 1, 8, 22, 30)
    x_NCTVM = np.stack([sequence(frames, 30) for frames in used]).astype(np.float16)
    np.save(tmp_path / "x.npy", x_NCTVM)
    config = DatasetConfig(resample_frames=12, temporal_crop=0.6, random_rotate=10, random_scale=0.1, random_move=True)
    for augment in (None, config):
        data = SkeletonDataset(tmp_path / "x.npy", None, resample_frames=12, augment=augment, seed=3)
        assert data.frames == 12
        found, _ = data[BatchIndices(1, (0, 1, 2, 3, 4))]
        assert found.shape == (5, 3, 12, 4, 1)
        assert found.numpy()[1:].any(axis=(1, 3, 4)).all()
        assert not found[0].any()
    plain, _ = SkeletonDataset(tmp_path / "x.npy", None, resample_frames=12)[BatchIndices(0, (3,))]
    np.testing.assert_allclose(plain[0], resample(x_NCTVM[3, :, :22].astype(np.float32), 12), rtol=1e-6)


def test_a_fragment_of_a_resampled_sequence_is_stretched_and_never_padded(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.stack([sequence(frames, 30) for frames in (5, 30)]))
    config = DatasetConfig(resample_frames=16, random_choose=True, window_size=10)
    data = SkeletonDataset(tmp_path / "x.npy", None, resample_frames=16, augment=config, seed=3)
    x_NCTVM, _ = data[BatchIndices(1, (0, 1))]
    assert x_NCTVM.numpy().any(axis=(1, 3, 4)).all()
    np.testing.assert_allclose(x_NCTVM[0], resample(sequence(5, 5), 16), rtol=1e-6)


def skeleton(layout: Layout, frames: int = 6, shift: float = 0.0) -> np.ndarray:
    """A random sequence around (`shift`, 0, 0), whose joint 2 is missing in frame 1 and whose last frame is padding."""
    x = np.random.default_rng(4).normal(size=(3, frames, layout.joints, 2)).astype(np.float32)
    x[0] += shift
    x[:, 1, 2] = 0
    x[:, -1] = 0
    return x


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("shift", [0.0, 50.0])
def test_a_sequence_mirrored_twice_is_the_sequence_and_bones_keep_their_lengths(name: str, shift: float) -> None:
    layout = LAYOUTS[name]
    x = skeleton(layout, shift=shift)
    mirrored = flip(x, layout)
    np.testing.assert_allclose(flip(mirrored, layout), x, atol=1e-4)
    assert not mirrored[:, -1].any()
    order = dict(layout.mirror) | {b: a for a, b in layout.mirror}
    assert np.array_equal(mirrored[1:], x[1:, :, [order.get(joint, joint) for joint in range(layout.joints)]])
    assert not mirrored[:, 1, order.get(2, 2)].any()
    for a, b in layout.edges:
        bones = [
            np.linalg.norm(one[:, 0, i] - one[:, 0, j], axis=0)
            for one, i, j in ((x, a, b), (mirrored, order.get(a, a), order.get(b, b)))
        ]
        np.testing.assert_allclose(*bones, rtol=1e-4)


def test_a_skeleton_around_the_origin_is_mirrored_about_it_and_one_in_pixels_stays_in_its_place() -> None:
    layout = Layout(joints=3, center=0, edges=((0, 1), (0, 2)), mirror=((1, 2),), coordinates=2)
    x = np.array([[-1.0, 2.0, 5.0], [1.0, 1.0, 1.0], [0.5, 0.6, 0.7]], np.float32).reshape(3, 1, 3, 1)
    assert flip(x + 100, layout)[0].ravel().tolist() == [105, 99, 102]
    assert flip(x, layout)[0].ravel().tolist() == [5, -1, 2]
    assert flip(x - [[[[3.0]]], [[[0.0]]], [[[0.0]]]], layout)[0].ravel().tolist() == [4, -2, 1]
    assert flip(x, layout)[2].ravel().tolist() == pytest.approx([0.5, 0.7, 0.6])
    x[:2, :, 0] = 0  # centred, and stretched to one side
    assert flip(x, layout)[0].ravel().tolist() == [0, -5, -2]


def test_half_of_the_sequences_are_mirrored_with_the_class_that_names_the_other_side(tmp_path: Path) -> None:
    x_NCTVM = np.stack([sequence(8, 8) + n for n in range(60)])
    np.save(tmp_path / "x.npy", x_NCTVM)
    ids = [n % 3 for n in range(60)]
    (tmp_path / "y.pkl").write_bytes(pickle.dumps([[str(n) for n in range(60)], ids]))
    config = DatasetConfig(
        random_flip=True, label_map={"wave left": 0, "wave right": 1, "sit": 2}, flip_labels={"wave left": "wave right"}
    )
    layout = Layout(joints=4, center=0, edges=(), mirror=((1, 3),))
    data = SkeletonDataset(tmp_path / "x.npy", tmp_path / "y.pkl", augment=config, layout=layout, seed=2)
    found_NCTVM, ids_N = data[BatchIndices(0, tuple(range(60)))]
    flipped = 0
    for x_CTVM, found_CTVM, class_id, found_id in zip(x_NCTVM, found_NCTVM.numpy(), ids, ids_N.tolist(), strict=True):
        is_flipped = not np.array_equal(x_CTVM, found_CTVM)
        flipped += is_flipped
        assert np.array_equal(found_CTVM, flip(x_CTVM, layout) if is_flipped else x_CTVM)
        assert found_id == ((1, 0, 2)[class_id] if is_flipped else class_id)
    assert 20 <= flipped <= 40
    assert data.ids_N.tolist() == ids
    again_NCTVM, _ = data[BatchIndices(1, tuple(range(60)))]
    assert not np.array_equal(found_NCTVM, again_NCTVM)


@pytest.mark.parametrize("name", ["raise left arm", "swipeRight", "WAVE-L", "arm_r", "LEFT", "kick2left"])
def test_a_name_with_a_side_is_recognised(name: str) -> None:
    assert names_side(name)


@pytest.mark.parametrize("name", ["bright", "cleft", "walk", "Lifting", "upright position", "drink water"])
def test_a_name_without_a_side_is_not_taken_for_one(name: str) -> None:
    assert not names_side(name)


def test_mirrored_classes_are_given_in_both_directions() -> None:
    assert mirrored_names({"a": "b", "c": "c"}) == {"a": "b", "b": "a", "c": "c"}
    assert mirrored_ids({"a": 4, "b": 2, "c": 0}, {"a": "b", "c": "c"}) == {4: 2, 2: 4}
    with pytest.raises(ValueError, match="'b' is paired with 'a' and 'c'"):
        mirrored_names({"a": "b", "b": "c"})


def test_warped_time_is_monotone_keeps_its_ends_and_changes_speed_by_at_most_the_share() -> None:
    progress_T, changes = np.linspace(0, 1, 501), []
    for seed in range(80):
        warped_T = warped(progress_T, random_warp(0.6, np.random.default_rng(seed)))
        assert warped_T[0] == 0
        assert warped_T[-1] == pytest.approx(1, abs=1e-12)
        speed_T = np.diff(warped_T) / np.diff(progress_T)
        assert speed_T.min() > 0
        changes.append(np.abs(speed_T - 1).max())
    assert 0.5 < max(changes) <= 0.6
    assert min(changes) < 0.1
    np.testing.assert_allclose(warped(np.array([0.5]), np.array([0.3, 0.0, 0.0])), [0.5 + 0.3 / np.pi])


@pytest.mark.parametrize("padding", [0, 7])
def test_a_warped_sequence_has_its_frames_at_warped_times_and_its_padding(padding: int) -> None:
    warp_K = np.array([0.2, -0.1, 0.3])
    x = np.pad(line(9), ((0, 0), (0, padding), (0, 0), (0, 0)))
    found = time_warp(x, warp_K)
    assert found.shape == x.shape
    assert not found[:, 9:].any()
    times = 8 * warped(np.linspace(0, 1, 9), warp_K)
    ways = line(2)[:, 1:] - line(2)[:, :1]
    np.testing.assert_allclose(found[:, :9], 9 + ways * times[:, None, None], rtol=1e-5)
    np.testing.assert_allclose(resample(line(9), 9, warp_K=warp_K), found[:, :9], rtol=1e-6)
    part = resample(line(9), 20, (2.0, 6.0), warp_K)
    times = 2 + 4 * warped(np.linspace(0, 1, 20), warp_K)
    np.testing.assert_allclose(part, 9 + ways * times[:, None, None], rtol=1e-5)


@pytest.mark.parametrize("frames", [0, 1])
def test_a_sequence_without_motion_is_not_warped(frames: int) -> None:
    x = sequence(frames, 5)
    assert np.array_equal(time_warp(x, np.array([0.5, 0.0, 0.0])), x)


@pytest.mark.parametrize("coordinates", [2, 3])
def test_shear_adds_shares_of_the_other_coordinates_alone(coordinates: int) -> None:
    layout = Layout(joints=4, center=0, edges=(), coordinates=coordinates)
    x, shares = sequence(20, 30), []
    x[:, 3, 1] = 0
    for seed in range(40):
        sheared = random_shear(x, 0.4, layout, np.random.default_rng(seed))
        assert np.array_equal(sheared[coordinates:], x[coordinates:])
        assert not sheared[:, 20:].any()
        assert not sheared[:, 3, 1].any()
        found, *_ = np.linalg.lstsq(
            x[:coordinates].reshape(coordinates, -1).T, sheared[:coordinates].reshape(coordinates, -1).T, rcond=None
        )
        np.testing.assert_allclose(np.diag(found), 1, atol=1e-4)
        assert np.linalg.det(found) > 0
        shares.append(found[~np.eye(coordinates, dtype=bool)])
    assert 0.35 < np.max(shares) < 0.4001
    assert -0.4001 < np.min(shares) < -0.35


def test_a_share_of_each_persons_joints_is_missing_in_the_whole_sequence_and_never_the_centre() -> None:
    layout = LAYOUTS["ntu-rgb+d"]
    x = skeleton(layout, frames=8) + 3
    missing = []
    for seed in range(40):
        found = joint_dropout(x, 0.2, layout, np.random.default_rng(seed))
        is_missing_VM = ~found.any(axis=(0, 1))
        assert is_missing_VM.sum(axis=0).tolist() == [5, 5]
        assert np.array_equal(found, np.where(is_missing_VM, 0, x))
        missing.append(is_missing_VM)
    assert not np.any(missing, axis=0)[layout.center].any()
    assert np.any(missing, axis=0).sum() == 48
    assert any(not np.array_equal(one[:, 0], one[:, 1]) for one in missing)
    assert (~joint_dropout(x, 0.9, layout, np.random.default_rng(0)).any(axis=(0, 1))).sum() == 44


def test_options_that_are_off_leave_the_random_numbers_of_others_alone() -> None:
    config = DatasetConfig(random_choose=True, window_size=16, random_rotate=20, random_scale=0.1, temporal_crop=0.7)
    x, rng = sequence(30, 30), np.random.default_rng(7)
    layout = Layout(joints=4, center=0, edges=())
    found = augment_sequence(x, config, 16, layout, np.random.default_rng(7))
    expected = random_choose(crop(x, *random_interval(x, 0.7, rng)), 16, rng)
    expected = random_scale(random_rotate(expected, 20, rng), 0.1, rng)
    assert np.array_equal(found, expected)
