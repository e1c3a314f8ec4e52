"""Recordings become sequences: the same numbers as computed by hand, all files or none, and memory that stays."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tao_skill.errors import BadData, SpecError
from tao_skill.models.pose_classification.actions import dataset_convert, train
from tao_skill.models.pose_classification.checks.check import check
from tao_skill.models.pose_classification.config import DatasetConvertConfig, ExperimentConfig
from tao_skill.models.pose_classification.data import deepstream
from tao_skill.models.pose_classification.data.sequences import open_sequences, unpadded_lengths
from tao_skill.models.pose_classification.data.windows import consecutive_ranges, starts
from tao_skill.models.pose_classification.training import checkpoint_index
from tao_skill.progress import Progress
from tao_skill.spec import load
from tao_skill.status import read_status
from tests.support.command_line import call_json
from tests.support.experiments import experiment
from tests.support.recordings import batch, frame, person, pose, recording

SAMPLE = "deepstream_bodypose3d/bodypose3d_from_irds.json"
POSE_TYPES = ("3dbp", "25dbp", "2dbp")


def spec(data: Path, out: Path, /, **changes: Any) -> ExperimentConfig:
    pairs = {"data": str(data), "results_dir": str(out), **changes}
    keyed = [(f"dataset_convert.{key}", value) for key, value in pairs.items()]
    config = load.build(ExperimentConfig, load.override(ExperimentConfig, {}, keyed))
    assert isinstance(config, ExperimentConfig)
    return config


def by_hand(found: list[Any], object_id: int, config: DatasetConvertConfig) -> np.ndarray:
    """The array of a person, joint by joint in plain loops."""
    key = "pose3d" if config.pose_type == "3dbp" else "pose25d"
    objects = [one for element in found for view in element["batches"] for one in view["objects"]]
    poses = [np.array(one[key]).reshape(-1, 4) for one in objects if one["object_id"] == object_id]
    rows, start = [], 0
    while len(poses) - start >= config.sequence_length_min:
        row = np.zeros((2 if config.pose_type == "2dbp" else 3, config.sequence_length_max, config.num_joints, 1))
        for t, joints in enumerate(poses[start : start + config.sequence_length]):
            for v, (x, y, z, confidence) in enumerate(joints):
                if config.pose_type == "3dbp":
                    value = [(x - joints[0, 0]), (y - joints[0, 1]), (z - joints[0, 2])]
                    value = [one / config.focal_length for one in value]
                else:
                    value = [x / config.input_width - 0.5, y / config.input_height - 0.5, z]
                row[:, t, v, 0] = value[: len(row)] if confidence else 0.0
        rows.append(row)
        start += int(config.sequence_length * config.sequence_overlap)
    return np.array(rows).astype(np.float32)


def left(folder: Path) -> set[str]:
    """What a conversion left, besides its log."""
    return {path.name for path in folder.iterdir()} - {"status.json", "progress.json"}


@pytest.mark.parametrize("pose_type", POSE_TYPES)
def test_the_real_recording_becomes_what_is_computed_by_hand(real_data: Path, tmp_path: Path, pose_type: str) -> None:
    changes = {"sequence_length": 20, "sequence_length_max": 30, "sequence_length_min": 7, "sequence_overlap": 0.3}
    config = spec(real_data / SAMPLE, tmp_path, pose_type=pose_type, combine=True, **changes)
    outcome = dataset_convert.run(config)
    found = json.loads((real_data / SAMPLE).read_text())
    arrays = []
    for object_id, windows in ((0, 10), (1, 6), (5, 7)):
        array = open_sequences(tmp_path / f"object_{object_id}.npy")
        assert array.shape == (windows, 2 if pose_type == "2dbp" else 3, 30, 34, 1)
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, by_hand(found, object_id, config.dataset_convert))
        arrays.append(array)
    np.testing.assert_array_equal(open_sequences(tmp_path / "combined.npy"), np.concatenate(arrays))
    assert outcome.metrics == {"persons": 3, "persons_too_short": 0, "windows": 23, "frames": 146}
    kinds = [artifact.kind for artifact in outcome.artifacts]
    assert kinds == ["sequences"] * 3 + ["combined_sequences", "manifest"]
    assert {artifact.path.name for artifact in outcome.artifacts} == left(tmp_path)


@pytest.mark.parametrize("pose_type", POSE_TYPES)
def test_joints_without_confidence_are_zero(tmp_path: Path, pose_type: str) -> None:
    found = recording(tmp_path / "r.json")
    changes = {"pose_type": pose_type, "sequence_length_max": 12, "sequence_length": 12, "input_width": 640}
    config = spec(tmp_path / "r.json", tmp_path / "out", **changes)
    dataset_convert.run(config)
    for object_id in (3, 2**63 + 5):
        array = np.load(tmp_path / "out" / f"object_{object_id}.npy")
        np.testing.assert_array_equal(array, by_hand(found, object_id, config.dataset_convert))
        assert (array[:, :, :, 1:] == 0).all(axis=1).any()


def test_other_joint_counts_are_read_when_the_spec_says_so(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    found = [batch(frame(i, {"object_id": 0, "pose3d": pose(rng, 17)})) for i in range(10)]
    (tmp_path / "r.json").write_text(json.dumps(found))
    config = spec(tmp_path / "r.json", tmp_path / "out", num_joints=17)
    dataset_convert.run(config)
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "object_0.npy"), by_hand(found, 0, config.dataset_convert))


@settings(max_examples=300, deadline=None)
@given(frames=st.integers(0, 120), length=st.integers(1, 40), share=st.floats(0.01, 1.0), minimum=st.integers(1, 40))
def test_windows_are_those_of_the_rule(frames: int, length: int, share: float, minimum: int) -> None:
    step = int(length * share)
    if step == 0 or minimum > length:
        return
    config = DatasetConvertConfig(sequence_length=length, sequence_overlap=share, sequence_length_min=minimum)
    rule, start = [], 0
    while frames - start >= minimum:
        rule.append(start)
        start += step
    assert list(starts(frames, config)) == rule


@given(st.sets(st.integers(0, 60)))
def test_runs_are_the_same_numbers(numbers: set[int]) -> None:
    found = consecutive_ranges(sorted(numbers))
    assert [n for first, last in found for n in range(first, last + 1)] == sorted(numbers)
    assert all(later[0] > earlier[1] + 1 for earlier, later in pairwise(found))


def test_the_manifest_says_which_frames_a_window_came_from(tmp_path: Path) -> None:
    """Object 7 is away for three frames, object 8 too short; the list is in the order of the combined array."""
    numbers = {7: [*range(2, 12), *range(15, 25)], 8: [4, 5], 9: [*range(10, 22)]}
    found = [batch(frame(n, *(person(one, n) for one, seen in numbers.items() if n in seen))) for n in range(2, 25)]
    (tmp_path / "r.json").write_text(json.dumps(found, indent=1))
    out = tmp_path / "out"
    changes = {"sequence_length": 12, "sequence_length_min": 5, "sequence_length_max": 16, "combine": True}
    metrics = dataset_convert.run(spec(tmp_path / "r.json", out, **changes)).metrics
    manifest = json.loads((out / "windows.json").read_text())
    assert manifest["too_short"] == {"8": 2}
    assert manifest["combined"] == "combined.npy"
    assert manifest["dataset_convert"]["pose_type"] == "3dbp"
    assert metrics == {"persons": 2, "persons_too_short": 1, "windows": 5, "frames": 34}
    assert not (out / "object_8.npy").exists()
    rows = [(one["object_id"], one["index"], one["frames"], one["source_frames"]) for one in manifest["windows"]]
    assert rows == [
        (7, 0, 12, [[2, 11], [15, 16]]),
        (7, 1, 12, [[8, 11], [15, 22]]),
        (7, 2, 8, [[17, 24]]),
        (9, 0, 12, [[10, 21]]),
        (9, 1, 6, [[16, 21]]),
    ]
    combined = open_sequences(out / "combined.npy")
    assert unpadded_lengths(combined).tolist() == [one["frames"] for one in manifest["windows"]]
    for row, one in zip(combined, manifest["windows"], strict=True):
        np.testing.assert_array_equal(row, np.load(out / one["file"])[one["index"]])
        nums = [n for first, last in one["source_frames"] for n in range(first, last + 1)]
        shown = np.array([person(one["object_id"], n)["pose3d"] for n in nums]).reshape(-1, 34, 4)
        expected = np.where(shown[..., 3] == 0, 0, (shown[..., 0] - shown[:, :1, 0]) / 1200.0).astype(np.float32)
        np.testing.assert_array_equal(row[0, : len(nums), :, 0], expected)


def set_at(*path: Any, value: Any) -> Callable[[list[Any]], None]:
    def change(found: list[Any]) -> None:
        holder: Any = found
        for step in path[:-1]:
            holder = holder[step]
        if value is None:
            del holder[path[-1]]
        else:
            holder[path[-1]] = value

    return change


FRAME = (4, "batches", 0)
OBJECT = (*FRAME, "objects", 1)
THERE = r"batch 4 \(byte \d+\), frame 0"
OBJECT_THERE = rf"{THERE}, frame_num 4, object 1 \(object_id {2**63 + 5}\)"


@pytest.mark.parametrize(
    ("change", "said", "fix"),
    [
        (set_at(*OBJECT, "pose3d", value=None), f"{OBJECT_THERE}: there is no pose3d, only pose25d", "pose_type=25dbp"),
        (
            set_at(*OBJECT, "pose3d", value=[0.5] * 72),
            f"{OBJECT_THERE}: pose3d has 72 .* accepted: 136",
            "num_joints=18",
        ),
        (set_at(*OBJECT, "pose3d", value=[0.5] * 135), f"{OBJECT_THERE}: pose3d has 135 numbers", "record it again"),
        (set_at(*OBJECT, "pose3d", value=[]), f"{OBJECT_THERE}: pose3d has 0 numbers", "record it again"),
        (set_at(*OBJECT, "pose3d", value="x"), f"{OBJECT_THERE}: pose3d is 'x', accepted: a list", "again"),
        (set_at(*OBJECT, "pose3d", 7, value="1.5"), rf"{OBJECT_THERE}: pose3d\[7\] is '1.5'", "remove the object"),
        (set_at(*OBJECT, "pose3d", 8, value=True), rf"{OBJECT_THERE}: pose3d\[8\] is True", "remove"),
        (set_at(*OBJECT, "pose3d", 9, value=float("nan")), rf"{OBJECT_THERE}: pose3d\[9\] is nan", "remove"),
        (set_at(*OBJECT, "pose3d", 9, value=float("inf")), rf"{OBJECT_THERE}: pose3d\[9\] is inf", "remove"),
        (set_at(*OBJECT, "pose3d", 9, value=10**400), rf"{OBJECT_THERE}: pose3d\[9\] is 1000", "remove"),
        (set_at(*OBJECT, value=person(3)), rf"{THERE}, frame_num 4, object 1 \(object_id 3\): .* twice", "one of"),
        (set_at(*OBJECT, "object_id", value=2**64 - 1), rf"{THERE}, .*, object 1: object_id is {2**64 - 1}", "tracker"),
        (set_at(*OBJECT, "object_id", value=-1), f"{THERE}, .*, object 1: object_id is -1", "record"),
        (set_at(*OBJECT, "object_id", value="3"), f"{THERE}, .*, object 1: object_id is '3'", "record"),
        (set_at(*OBJECT, "object_id", value=None), f"{THERE}, .*, object 1: there is no object_id", "--save-pose"),
        (set_at(*OBJECT, value=[1]), rf"{THERE}, .*, object 1: the value is \[1\]", "bodypose-3d"),
        (set_at(*FRAME, "frame_num", value=2), f"{THERE}, frame_num 2, object 0 .*frame_num 3 before", "useUniqueID"),
        (set_at(*FRAME, "frame_num", value=3), f"{THERE}, frame_num 3, object 0 .*frame_num 3 before", "each source"),
        (set_at(*FRAME, "frame_num", value=2**64), f"{THERE}: frame_num is {2**64}, accepted: an integer", "record"),
        (set_at(*FRAME, "frame_num", value=1.5), f"{THERE}: frame_num is 1.5, accepted: an integer", "record"),
        (set_at(*FRAME, "batch_id", value=None), f"{THERE}, frame_num 4: there is no batch_id", "--save-pose"),
        (set_at(*FRAME, "objects", value={}), f"{THERE}, frame_num 4: objects is {{}}, accepted: a list", "record"),
        (set_at(*FRAME, value=7), f"{THERE}: the value is 7, accepted: an object", "bodypose-3d"),
        (set_at(4, "num_frames_in_batch", value=2), r"batch 4 \(byte \d+\): .* is 2, but there are 1 frames", "record"),
        (set_at(4, "batches", value=None), r"batch 4 \(byte \d+\): there is no batches", "--save-pose"),
        (set_at(4, value="x"), r"batch 4 \(byte \d+\): the value is 'x', accepted: an object", "bodypose-3d"),
    ],
)
def test_wrong_content_is_refused_with_its_place_and_nothing_is_left(
    tmp_path: Path, change: Callable[[list[Any]], None], said: str, fix: str
) -> None:
    path, out = tmp_path / "r.json", tmp_path / "out"
    found = recording(path)
    change(found)
    path.write_text(json.dumps(found))
    with pytest.raises(BadData, match=said) as caught:
        dataset_convert.run(spec(path, out, combine=True))
    assert fix in caught.value.fix
    assert caught.value.path == str(path)
    assert "\n" not in caught.value.message
    assert left(out) == set()
    if place := str(caught.value).partition("(byte ")[2]:
        byte = int(place.split(")")[0])
        assert path.read_text()[byte:].startswith(json.dumps(found[4]))


def upstream(found: list[Any], headless: int) -> str:
    """The text as the app writes it when the first frame of this batch has no object: its frames, but no header."""
    parts = [json.dumps(one) for one in found]
    parts[headless] = ", ".join(json.dumps(view) for view in found[headless]["batches"])
    return f"[{', '.join(parts)}]"


@pytest.mark.parametrize(
    ("broken", "byte", "said", "fix"),
    [
        (
            lambda text: text.replace('"frame_num": 0', '"frame_num": nan', 1),
            lambda text: text.index("nan"),
            "Expecting value.*'nan,'",
            "value",
        ),
        (
            lambda text: text.replace('"frame_num": 0', '"frame_num": -nan', 1),
            lambda text: text.index("-nan"),
            "'-nan'",
            "remove the object",
        ),
        (
            lambda text: text.replace('"batch_id": 0,', '"batch_id": 0', 1),
            lambda text: text.index('"frame_num"'),
            "',' delimiter",
            "repair the file",
        ),
        (lambda text: text[:-1], None, "after batch 11: ',' is expected, but the file ends", "exit by itself"),
        (lambda text: text[:-1] + ", ", None, "Expecting value, but the file ends", "exit by itself"),
        (lambda text: text[:-10], None, "the file ends", "exit by itself"),
        (
            lambda text: text[: text.index('"pose3d"') + 4],
            lambda text: text.rindex('"pos'),
            "the file ends",
            "exit by itself",
        ),
        (
            lambda text: text + " {}",
            None,
            "after batch 11: the array ends before, but there is '{}'",
            "repair the file",
        ),
        (
            lambda text: text.replace("}]}, {", "}]} {", 1),
            None,
            "after batch 0: ',' is expected, but there is '{",
            "repair the file",
        ),
        (lambda text: "{" + text[1:], None, r"at byte 0, before the first batch: '\[' is expected", "repair the file"),
        (
            lambda text: "",
            None,
            "at byte 0, before the first batch: '.' is expected, but the file ends",
            "exit by itself",
        ),
        (lambda text: "\ufeff" + text, None, "at byte 0, before the first batch", "repair the file"),
        (lambda text: "[" * 200_000, None, "recursion", "repair the file"),
        (lambda text: text.replace("0.", "1" * 5000, 1), None, "4300 digits", "repair the file"),
    ],
)
def test_text_that_is_no_json_is_refused_at_its_byte(
    tmp_path: Path, broken: Callable[[str], str], byte: Callable[[str], int] | None, said: str, fix: str
) -> None:
    path, out = tmp_path / "r.json", tmp_path / "out"
    recording(path)
    text = broken(path.read_text())
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadData, match=said) as caught:
        dataset_convert.run(spec(path, out))
    assert fix in caught.value.fix
    assert left(out) == set()
    if byte:
        assert f"at byte {byte(text)}, in batch 0 (byte 1): " in str(caught.value)


def test_a_batch_without_its_header_is_refused_where_it_starts(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    found = recording(path)
    path.write_text(upstream(found, headless=5))
    byte = path.read_text().index('{"batch_id": 0, "frame_num": 5')
    with pytest.raises(BadData, match=rf"batch 5 \(byte {byte}\): this is a frame without a batch") as caught:
        dataset_convert.run(spec(path, tmp_path / "out"))
    assert "each source" in caught.value.fix


@pytest.mark.parametrize("block", [1, 7, 4096])
def test_batches_are_the_same_whatever_is_read_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    path = tmp_path / "r.json"
    found = recording(path, frames=4)
    path.write_text(json.dumps(found, indent=2) + "\n\n")
    monkeypatch.setattr(deepstream, "_BLOCK", block)
    poses = list(deepstream.read_poses(path, "25dbp", 34))
    expected = [one for element in found for one in element["batches"][0]["objects"]]
    assert [one.object_id for one in poses] == [one["object_id"] for one in expected]
    for one, wanted in zip(poses, expected, strict=True):
        assert one.joints_V4.ravel().tolist() == wanted["pose25d"]


def test_a_batch_beyond_all_bounds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps([batch(*(frame(n, person(0, n)) for n in range(40)))]))
    monkeypatch.setattr(deepstream, "_BLOCK", 1000)
    monkeypatch.setattr(deepstream, "BATCH_BYTES_LIMIT", 20_000)
    with pytest.raises(BadData, match="byte 1, .*longer than 20000 bytes"):
        list(deepstream.read_poses(path, "3dbp", 34))


@pytest.mark.parametrize("text", ["[]", '[{"num_frames_in_batch": 0, "batches": []}]'])
def test_a_recording_without_people_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(BadData, match="has no objects"):
        dataset_convert.run(spec(path, tmp_path / "out"))
    assert left(tmp_path / "out") == set()


def test_when_nobody_is_there_for_long_enough_the_longest_is_named(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    recording(path, frames=9)
    with pytest.raises(BadData, match="visible for 10 frames .*longest is object 3 with 9") as caught:
        dataset_convert.run(spec(path, tmp_path / "out"))
    assert "sequence_length_min=9" in caught.value.fix
    assert left(tmp_path / "out") == set()


def test_people_of_two_sources_are_told_apart_by_their_ids(tmp_path: Path) -> None:
    """Two sources in a batch, unique ids: one array each. With one id for both, the file is refused."""
    path, out = tmp_path / "r.json", tmp_path / "out"
    found = [batch(frame(n, person(1, n)), frame(n, person(2, n), batch_id=1)) for n in range(11)]
    path.write_text(json.dumps(found))
    config = spec(path, out)
    dataset_convert.run(config)
    for object_id in (1, 2):
        np.testing.assert_array_equal(
            np.load(out / f"object_{object_id}.npy"), by_hand(found, object_id, config.dataset_convert)
        )
    assert not [line for line in read_status(out) if line["verbosity"] == "WARNING"]
    for element in found:
        element["batches"][1]["objects"][0]["object_id"] = 1
    path.write_text(json.dumps(found))
    with pytest.raises(BadData, match=r"batch 0 \(byte 1\), frame 1, frame_num 0, .*different sources share"):
        dataset_convert.run(spec(path, tmp_path / "shared"))


def test_an_object_that_changes_its_place_in_batches_is_warned_of(tmp_path: Path) -> None:
    path, out = tmp_path / "r.json", tmp_path / "out"
    found = [batch(frame(n, person(4, n), batch_id=n // 6)) for n in range(12)]
    path.write_text(json.dumps(found))
    dataset_convert.run(spec(path, out))
    (warning,) = [line["message"] for line in read_status(out) if line["verbosity"] == "WARNING"]
    assert "[4] change their batch_id" in warning


def test_arrays_of_an_earlier_run_are_warned_of(tmp_path: Path) -> None:
    path, out = tmp_path / "r.json", tmp_path / "out"
    for ids in ((1, 2), (2, 3)):
        recording(path, ids=ids)
        dataset_convert.run(spec(path, out))
    (warning,) = [line["message"] for line in read_status(out) if line["verbosity"] == "WARNING"]
    assert warning.endswith("of an earlier run: object_1.npy")


def test_if_one_file_cannot_be_put_in_place_none_is(tmp_path: Path) -> None:
    path, out = tmp_path / "r.json", tmp_path / "out"
    recording(path)
    (out / f"object_{2**63 + 5}.npy").mkdir(parents=True)
    (out / ".partial").mkdir()
    (out / ".partial" / "spool").write_text("of a conversion that was killed")
    with pytest.raises(OSError):
        dataset_convert.run(spec(path, out))
    assert left(out) == {f"object_{2**63 + 5}.npy"}


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"sequence_length": 301}, "dataset_convert.sequence_length"),
        ({"sequence_length_min": 101}, "dataset_convert.sequence_length_min"),
        ({"sequence_overlap": 0.0099}, "dataset_convert.sequence_overlap"),
        ({"sequence_length": 1, "sequence_length_min": 1}, "dataset_convert.sequence_overlap"),
        ({"data": "/no/such.json"}, "dataset_convert.data"),
    ],
)
def test_lengths_that_do_not_go_together_are_problems_before_a_job(
    tmp_path: Path, changes: dict[str, Any], key: str
) -> None:
    recording(tmp_path / "r.json")
    assert check(spec(tmp_path / "r.json", tmp_path), "dataset_convert").problems == []
    config = spec(tmp_path / "r.json", tmp_path / "out", **changes)
    (problem,) = check(config, "dataset_convert").problems
    assert problem.key == key
    assert key in problem.message
    with pytest.raises(SpecError):
        dataset_convert.run(config)
    assert not (tmp_path / "out").exists()


PEAK = """
import sys
from pathlib import Path
from tao_skill.models.pose_classification.actions import dataset_convert
from tao_skill.models.pose_classification.config import DatasetConvertConfig, ExperimentConfig
settings = DatasetConvertConfig(data=sys.argv[1], results_dir=sys.argv[2], sequence_length_max=100, combine=True)
dataset_convert.run(ExperimentConfig(dataset_convert=settings))
print(*[line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line])
"""
PEOPLE = json.dumps(batch(frame(-1, *(person(1000 + i) for i in range(4)))))
for known in ('"frame_num": -1', *(f'"object_id": {1000 + i}' for i in range(4))):
    PEOPLE = PEOPLE.replace(known, known.split()[0] + " %d")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc")
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """The larger file is six times as long and has six times the people, none of whom stays to its end."""
    peaks, sizes = [], []
    for name, frames in (("small", 600), ("large", 3600)):
        path = tmp_path / f"{name}.json"
        with path.open("w") as stream:
            for number in range(frames):
                views = PEOPLE % ((number, *(4 * (number // 30) + i for i in range(4))))
                stream.write(f"{',' if number else '['}{views}")
            stream.write("]")
        done = subprocess.run(
            [sys.executable, "-c", PEAK, str(path), str(tmp_path / name)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        peaks.append(1024 * int(done.stdout))
        sizes.append(path.stat().st_size)
    assert sizes[1] - sizes[0] > 35e6
    assert peaks[1] - peaks[0] < 2e6


def test_a_conversion_is_a_job_and_its_combined_array_goes_through_inference(
    tiny: Path, real_data: Path, tmp_path: Path
) -> None:
    train.run(experiment(tiny, tmp_path / "trained", train__num_epochs=1))
    data = f"dataset_convert.data={real_data / SAMPLE}"
    lengths = ["dataset_convert.sequence_length=16", "dataset_convert.sequence_length_max=16"]
    refused = call_json(["run", "dataset_convert", data, "dataset_convert.sequence_overlap=0.001"], tmp_path, code=2)
    assert refused["error"]["path"] == "dataset_convert.sequence_overlap"
    alone = call_json(["run", "dataset_convert", data, *lengths], tmp_path)
    assert alone["next"] == []
    made = call_json(["run", "dataset_convert", data, *lengths, "combine=true"], tmp_path)
    combined = Path(made["job"]["results_dir"]) / "combined.npy"
    assert Progress.from_dict(json.loads((combined.parent / "progress.json").read_text())).fraction == 1.0
    assert made["next"] == [
        f"tao-skill run inference --parent latest:train inference.test_dataset.data_path={combined}"
    ]
    words = made["next"][0].replace("--parent latest:train", "").split()[1:]
    trained = [f"inference.checkpoint={tmp_path / 'trained' / 'train' / checkpoint_index.LATEST}", "num_workers=0"]
    predicted = call_json([*words, *trained], tmp_path)
    names = Path(predicted["artifacts"][0]["path"]).read_text().splitlines()
    assert len(names) == made["metrics"]["windows"] == len(open_sequences(combined))
