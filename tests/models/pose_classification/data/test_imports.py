"""Importing recordings: real and written files of four formats, who is kept of them, and what is refused."""

from __future__ import annotations

import json
import os
import pickle
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tao_skill.errors import BadData, BadRequest, NotFound, TaoSkillError
from tao_skill.models.pose_classification.data.imports import dataset
from tao_skill.models.pose_classification.data.imports.dataset import import_data
from tao_skill.models.pose_classification.data.imports.openpose import BODY_25, COCO_18
from tao_skill.models.pose_classification.data.imports.request import RecordingImport
from tao_skill.models.pose_classification.data.inspect import inspect
from tao_skill.models.pose_classification.data.sequences import open_sequences, read_labels


def importing(source: Path, out: Path, **options: Any) -> tuple[Any, dict[str, Any]]:
    """The array and the report."""
    report = import_data(RecordingImport(source=source, out=out, **options))
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    data = open_sequences(report["files"][0])
    assert data.dtype == np.dtype("<f4")
    assert list(data.shape) == report["shape"]
    return data, report


def refused(source: Path, out: Path, *, match: str, kind: type[TaoSkillError] = BadData, **options: Any) -> None:
    """It is refused in one line with a fix, and nothing is written."""
    before = sorted(out.iterdir()) if out.exists() else []
    with pytest.raises(kind) as caught:
        import_data(RecordingImport(source=source, out=out, **options))
    assert re.search(match, caught.value.message), caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.path is None or Path(caught.value.path).exists() or kind is NotFound
    assert caught.value.fix
    assert json.dumps(caught.value.as_dict(), ensure_ascii=False).encode()
    assert (sorted(out.iterdir()) if out.exists() else []) == before


def write(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


# Kinetics-skeleton


def reference(file: Path, persons: int) -> Any:
    """ST-GCN's preparation of one clip, as plain loops: (3, 300, 18, persons)."""
    x = np.zeros((3, 300, 18, persons))
    for frame in json.loads(file.read_text())["data"]:
        people = sorted(frame["skeleton"][:5], key=lambda one: -sum(one["score"]))[:persons]
        for m, one in enumerate(people):
            for v, score in enumerate(one["score"]):
                if score:
                    x[0, frame["frame_index"], v, m] = one["pose"][2 * v] - 0.5
                    x[1, frame["frame_index"], v, m] = one["pose"][2 * v + 1] - 0.5
                    x[2, frame["frame_index"], v, m] = score
    return x


@pytest.mark.parametrize("persons", [None, 2, 5])
def test_real_kinetics_clips_become_what_st_gcn_makes_of_them(
    real_data: Path, tmp_path: Path, persons: int | None
) -> None:
    folder = real_data / "kinetics_skeleton_samples" / "kinetics_train"
    data, report = importing(folder, tmp_path, persons=persons)
    assert report["format"] == {"name": "kinetics", "chosen": "guessed from *.json"}
    assert report["shape"] == [5, 3, 300, 18, persons or 1]
    labels = read_labels(tmp_path / "kinetics_train_label.pkl")
    assert labels.names == tuple(sorted(file.stem for file in folder.iterdir()))
    for row, name in enumerate(labels.names):
        np.testing.assert_allclose(data[row], reference(folder / f"{name}.json", persons or 1), rtol=1e-6)
    crowded = json.loads((tmp_path / "kinetics_train_manifest.json").read_text())["dropped"]["clips_with_more_people"]
    most = {
        file.stem: max(len(frame["skeleton"]) for frame in json.loads(file.read_text())["data"])
        for file in folder.iterdir()
    }
    assert crowded == {name: people for name, people in most.items() if people > (persons or 1)}


def test_real_labels_agree_with_the_label_file_and_the_report_with_inspect(real_data: Path, tmp_path: Path) -> None:
    samples = real_data / "kinetics_skeleton_samples"
    _, own = importing(samples / "kinetics_val", tmp_path / "own")
    _, given = importing(samples / "kinetics_val", tmp_path / "given", labels=samples / "kinetics_val_label.json")
    assert own["spec"] == given["spec"] == {"model": {"graph_layout": "openpose"}, "dataset": {"num_classes": 5}}
    table = json.loads((samples / "kinetics_val_label.json").read_text())
    names = {name["label"]: name["label_index"] for name in table.values()}
    for folder in ("own", "given"):
        labels = read_labels(tmp_path / folder / "kinetics_val_label.pkl")
        assert labels.ids == tuple(table[name]["label_index"] for name in labels.names)
        assert json.loads((tmp_path / folder / "label_map.json").read_text()) == names
    found = inspect(*(tmp_path / "own" / f"kinetics_val_{part}" for part in ("data.npy", "label.pkl")))
    assert (own["warnings"], own["suggested"]) == (found["warnings"], found["suggested"])


def test_gaps_in_real_class_ids_are_named_and_said(real_data: Path, tmp_path: Path) -> None:
    _, report = importing(real_data / "kinetics_skeleton_samples" / "kinetics_val_old", tmp_path)
    label_map = json.loads((tmp_path / "label_map.json").read_text())
    assert sorted(label_map.values()) == list(range(336))
    assert (label_map["abseiling"], label_map["class_1"], label_map["strumming guitar"]) == (0, 1, 335)
    assert any("without gaps" in warning for warning in report["warnings"])


def person(level: float = 0.5, score: float = 0.5, joints: int = 18) -> dict[str, Any]:
    return {"pose": [level] * 2 * joints, "score": [score] * joints}


def kinetics(*frames: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    entries = [{"frame_index": index, "skeleton": people} for index, people in enumerate(frames, 1)]
    return {"data": entries, "label": "wave", "label_index": 0, **more}


def test_people_empty_clips_and_late_frames_are_dropped_and_counted(tmp_path: Path) -> None:
    source = tmp_path / "clips"
    write(source / "a.json", kinetics([person(0.6, 0.2), person(0.7, 0.9)], [], [person()]))
    write(source / "b.json", kinetics([], []))
    write(source / "c.json", kinetics([], [], [], [person()]))
    data, report = importing(source, tmp_path / "out", frames=3, split="train")
    assert read_labels(tmp_path / "out" / "train_label.pkl").names == ("a",)
    np.testing.assert_allclose(data[0, :, :2, :, 0].mean(axis=2), [[0, 0.2], [0, 0.2], [0, 0.9]], atol=1e-6)
    dropped = json.loads((tmp_path / "out" / "train_manifest.json").read_text())["dropped"]
    assert dropped == {
        "empty_clips": {"b": 0, "c": 5},
        "clips_with_more_people": {"a": 2},
        "clips_with_more_frames": {"a": 4},
    }
    assert {kind: found["count"] for kind, found in report["dropped"].items()} == {
        "empty_clips": 2,
        "clips_with_more_people": 1,
        "clips_with_more_frames": 1,
    }


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ('{"data": [{"frame', "x.json: is cut short or not JSON"),
        ("[" * 100_000, "x.json: is cut short or not JSON"),
        ([], "no list 'data'"),
        ({"a": {"label_index": 0}}, "no list 'data'"),
        ({"data": [{"frame_index": "1", "skeleton": []}]}, "entry 0 of 'data'"),
        ({"data": [{"frame_index": 2**40, "skeleton": []}]}, "entry 0 of 'data'"),
        ({"data": [{"frame_index": 1, "skeleton": [person()]}] * 2}, "frame_index 1 twice"),
        (kinetics([person(joints=17)]), "person 0 of frame_index 1 has 34 and 17 values"),
        (kinetics([person(), {}]), "person 1 of frame_index 1 has no and no values"),
        (kinetics([{"pose": ["a"] * 36, "score": [1] * 18}]), "not 36 and 18 finite numbers"),
        (kinetics([{"pose": [[1]] * 36, "score": [1] * 18}]), "not 36 and 18 finite numbers"),
        (kinetics([{"pose": [10**400] * 36, "score": [1] * 18}]), "has 401 digits, accepted: 64"),
        (kinetics([person(float("nan"))]), "NaN is not JSON"),
        (kinetics([person(1e300)]), "frame 1, joint 0 is too large"),
        (kinetics([person()], label_index="3"), "label_index that is not an integer"),
        (kinetics([person()], label_index=2**31), "class id is 2147483648, accepted: 0"),
        (kinetics([person()], label_index=-2), "class id is -2, accepted: 0"),
        (kinetics([person()], label="a\nb"), "has the name|UTF-8 files and paths cannot have"),
        (kinetics([person()], label="\ud800"), "has the name|UTF-8 files and paths cannot have"),
        (kinetics([person()], label="other"), "class id 0 is 'other' here and 'wave' elsewhere"),
        (kinetics([person()], label_index=None), "'x' has no class, but others have one"),
    ],
)
def test_a_bad_clip_is_named_and_nothing_is_left(tmp_path: Path, content: Any, match: str) -> None:
    write(tmp_path / "clips" / "good.json", kinetics([person()]))
    write(tmp_path / "clips" / "x.json", content)
    (tmp_path / "out").mkdir()
    refused(tmp_path / "clips", tmp_path / "out", match=match)


def test_clips_without_any_class_have_no_labels(tmp_path: Path) -> None:
    write(tmp_path / "clips" / "a.json", kinetics([person()]))
    importing(tmp_path / "clips", tmp_path / "out")
    assert (tmp_path / "out" / "clips_label.pkl").exists()
    write(tmp_path / "clips" / "a.json", kinetics([person()], label_index=-1))
    _, report = importing(tmp_path / "clips", tmp_path / "out")
    assert report["spec"] == {"model": {"graph_layout": "openpose"}}
    assert not (tmp_path / "out" / "clips_label.pkl").exists()


@pytest.mark.parametrize(
    ("table", "ids", "names"),
    [
        ({"a": "walk", "b": "run", "c": "run"}, (1, 0), {"run": 0, "walk": 1}),
        ({"a": 2, "b": 0}, (2, 0), {"class_0": 0, "class_1": 1, "class_2": 2}),
        ({"a": {"label": "x", "label_index": 1}, "b": {"label_index": 0}}, (1, 0), {"class_0": 0, "x": 1}),
    ],
)
def test_a_label_file_stands_in_for_the_classes_of_the_source(
    tmp_path: Path, table: dict[str, Any], ids: tuple[int, ...], names: dict[str, int]
) -> None:
    for name in "ab":
        write(tmp_path / "clips" / f"{name}.json", kinetics([person()]))
    importing(tmp_path / "clips", tmp_path / "out", labels=write(tmp_path / "labels.json", table))
    assert read_labels(tmp_path / "out" / "clips_label.pkl").ids == ids
    assert json.loads((tmp_path / "out" / "label_map.json").read_text()) == names


@pytest.mark.parametrize(
    ("table", "match"),
    [
        ({"b": 0}, "clip 'a' is not in .*labels.json"),
        ({"a": 0.5}, "labels.json, clip 'a': has no class id"),
        ({"a": True}, "labels.json, clip 'a': has no class id"),
        ([["a", 0]], "is not a label file"),
        ("{", "cut short or not JSON"),
    ],
)
def test_a_label_file_that_does_not_fit_is_refused(tmp_path: Path, table: Any, match: str) -> None:
    write(tmp_path / "clips" / "a.json", kinetics([person()]))
    (tmp_path / "out").mkdir()
    refused(tmp_path / "clips", tmp_path / "out", match=match, labels=write(tmp_path / "labels.json", table))


def test_two_splits_in_one_folder_share_one_label_map(tmp_path: Path) -> None:
    write(tmp_path / "train" / "a.json", kinetics([person()], label="run", label_index=2))
    write(tmp_path / "val" / "b.json", kinetics([person()], label="walk", label_index=0))
    write(tmp_path / "test" / "c.json", kinetics([person()], label="walk", label_index=1))
    _, train = importing(tmp_path / "train", tmp_path / "out")
    _, val = importing(tmp_path / "val", tmp_path / "out")
    assert train["spec"]["dataset"] == val["spec"]["dataset"] == {"num_classes": 3}
    assert json.loads((tmp_path / "out" / "label_map.json").read_text()) == {"walk": 0, "class_1": 1, "run": 2}
    refused(tmp_path / "test", tmp_path / "out", match="'walk' is the name of the class ids 0 and 1")


def test_requests_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    clips = write(tmp_path / "clips" / "a.json", kinetics([person()])).parent
    (tmp_path / "none").mkdir()
    write(tmp_path / "both" / "a.json", kinetics([person()]))
    write(tmp_path / "both" / "a.skeleton", "0")
    out = tmp_path / "out"
    refused(tmp_path / "absent", out, kind=NotFound, match="absent")
    refused(tmp_path / "none", out, kind=BadRequest, match="looks like none")
    refused(tmp_path / "none", out, format="ntu", match=r"holds no \*\.skeleton")
    refused(tmp_path / "both", out, kind=BadRequest, match="looks like kinetics and ntu")
    refused(clips, out, kind=BadRequest, match="no format 'bvh'", format="bvh")
    refused(clips, clips, kind=BadRequest, match="folder of the recordings")
    refused(clips, out, kind=BadRequest, match="--frames is 0", frames=0)
    refused(clips, out, kind=BadRequest, match="--persons is 6", persons=6)
    refused(clips, out, kind=BadRequest, match="--split '../x'", split="../x")
    refused(clips, out, kind=NotFound, match="labels.json", labels=tmp_path / "labels.json")
    write(tmp_path / "empty" / "a.json", kinetics([], []))
    (tmp_path / "made").mkdir()
    refused(tmp_path / "empty", tmp_path / "made", match="all 1 clips are empty")


def test_a_failed_import_leaves_an_earlier_one_as_it_was(tmp_path: Path) -> None:
    clips = write(tmp_path / "clips" / "a.json", kinetics([person()])).parent
    importing(clips, tmp_path / "out")
    before = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}
    write(clips / "a.json", kinetics([person(0.9)]))
    write(clips / "b.json", kinetics([person(joints=3)]))
    refused(clips, tmp_path / "out", match="b.json")
    assert {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()} == before


def test_clips_are_in_memory_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(40):
        write(tmp_path / "clips" / f"{number:02d}.json", kinetics([person()]))
    monkeypatch.setattr(dataset, "INSPECT_BYTES", 0)
    tracemalloc.start()
    try:
        data, report = importing(tmp_path / "clips", tmp_path / "out", persons=5)
        assert tracemalloc.get_traced_memory()[1] < data.nbytes / 4
    finally:
        tracemalloc.stop()
    assert "tao-skill data inspect" in report["warnings"][0]


# NTU RGB+D


def skeleton(bodies_TP: list[list[Any]]) -> str:
    """The text of a .skeleton file; a body is (25, 3)."""
    lines = [str(len(bodies_TP))]
    for bodies in bodies_TP:
        lines.append(str(len(bodies)))
        for number, joints in enumerate(bodies):
            lines += [f"7205759403792793{number} 0 1 1 1 1 0 0.02764709 -0.05745083 2", "25"]
            lines += [f"{x} {y} {z} 277.5 191.8 1036.2 519.1 -0.2 0.02 0.97 -0.03 2" for x, y, z in joints]
    return "\n".join(lines) + "\n"


def motion(frames: int, size: float, seed: int) -> Any:
    """(T, 25, 3) with joints spread by `size`."""
    return np.random.default_rng(seed).normal(0, size, (frames, 25, 3)).round(5)


NTU = "S001C002P003R002A0{:02d}.skeleton"


def test_ntu_bodies_are_ranked_by_motion_and_classes_come_from_the_name(tmp_path: Path) -> None:
    calm, lively, third = motion(4, 0.1, 1), motion(4, 1.0, 2), motion(4, 0.5, 3)
    three = skeleton([[calm[t], lively[t], *([third[t]] if t else [])] for t in range(4)])
    write(tmp_path / "ntu" / NTU.format(50), three)
    write(tmp_path / "ntu" / NTU.format(2), skeleton([[], [calm[1]], []]))
    write(tmp_path / "ntu" / NTU.format(9), skeleton([[], []]))
    data, report = importing(tmp_path / "ntu", tmp_path / "out", frames=6, split="train")
    assert report["format"]["name"] == "ntu"
    assert report["shape"] == [2, 3, 6, 25, 2]
    np.testing.assert_allclose(data[1, :, :4, :, 0], lively.transpose(2, 0, 1), rtol=1e-6)
    np.testing.assert_allclose(data[1, :, 1:4, :, 1], third[1:].transpose(2, 0, 1), rtol=1e-6)
    np.testing.assert_allclose(data[0, :, 1, :, 0], calm[1].T, rtol=1e-6)
    assert not data[1, :, 4:].any()
    assert not data[1, :, 0, :, 1].any()
    labels = read_labels(tmp_path / "out" / "train_label.pkl")
    assert (labels.ids, labels.names[0]) == ((1, 49), "S001C002P003R002A002")
    assert json.loads((tmp_path / "out" / "label_map.json").read_text())["A050"] == 49
    assert report["dropped"]["empty_clips"] == {"count": 1, "first": ["S001C002P003R002A009"]}
    assert report["dropped"]["clips_with_more_people"]["first"] == ["S001C002P003R002A050"]


@pytest.mark.parametrize(
    ("split", "kept"),
    [
        ("xsub_train", ["S001C001P001", "S002C002P001"]),
        ("xsub_val", ["S001C003P003"]),
        ("xview_train", ["S001C003P003", "S002C002P001"]),
        ("xview_val", ["S001C001P001"]),
        ("xset_train", ["S002C002P001"]),
        ("xset_val", ["S001C001P001", "S001C003P003"]),
        ("mine", ["S001C001P001", "S001C003P003", "S002C002P001"]),
    ],
)
def test_published_splits_of_ntu_are_taken_by_name(tmp_path: Path, split: str, kept: list[str]) -> None:
    for name in ("S001C001P001", "S001C003P003", "S002C002P001"):
        write(tmp_path / "ntu" / f"{name}R001A001.skeleton", skeleton([[motion(1, 1.0, 0)[0]]]))
    importing(tmp_path / "ntu", tmp_path / "out", split=split, frames=4)
    names = read_labels(tmp_path / "out" / f"{split}_label.pkl").names
    assert [name[:12] for name in names] == kept


GOOD = skeleton([[motion(1, 1.0, 0)[0]], [motion(1, 1.0, 1)[0]]])


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "ends within a frame, after line 0"),
        (GOOD[: len(GOOD) // 2 + 9], "x.skeleton(, line .* words|, line .* cut short|: ends within a frame)"),
        (GOOD.rsplit("\n", 2)[0], "line 32: 25 joints are announced, but only 24 lines follow"),
        (GOOD.replace("\n25\n", "\n20\n", 1), "line 4: 20 joints, accepted: the 25"),
        (GOOD.replace("277.5 ", "", 1), "line 5: 11 words"),
        (re.sub(r"\n\S+ (.* 277)", r"\nNaN \1", GOOD, count=1), "line 5: 12 words, accepted: the 12 finite numbers"),
        (GOOD.replace("277.5", "nil nil", 1), "line 5: 13 words"),
        (re.sub(r"\n\S+ (.* 277)", r"\nnil \1", GOOD, count=1), "line 5: 12 words, accepted: the 12 finite numbers"),
        ("9999999999" + GOOD[1:], "line 1: '9999999999' is not a number of frames"),
        ("-1" + GOOD[1:], "line 1: '-1' is not a number of frames"),
        (GOOD + "1\n", "line 57: 1 lines follow the last of 2 frames"),
        ("\x00\xff", "not a number of frames"),
    ],
)
def test_a_bad_skeleton_file_is_refused_by_line(tmp_path: Path, text: str, match: str) -> None:
    write(tmp_path / "ntu" / "x.skeleton", text)
    refused(tmp_path / "ntu", tmp_path / "out", match=match)


def test_ntu_has_no_picture_size_and_its_splits_need_its_names(tmp_path: Path) -> None:
    write(tmp_path / "ntu" / "kitchen.skeleton", GOOD)
    refused(tmp_path / "ntu", tmp_path / "out", kind=BadRequest, match="metres", width=10.0)
    refused(tmp_path / "ntu", tmp_path / "out", match="kitchen.skeleton: is not named", split="xsub_val")
    _, report = importing(tmp_path / "ntu", tmp_path / "out")
    assert "dataset" not in report["spec"]


# pyskl


def annotation(name: str, label: Any = 0, *, joints: int = 17, people: int = 1, frames: int = 3) -> dict[str, Any]:
    rng = np.random.default_rng(sum(name.encode()))
    return {
        "frame_dir": name,
        "label": label,
        "img_shape": (240, 320),
        "original_shape": (240, 320),
        "total_frames": frames,
        "keypoint": rng.uniform(1, 200, (people, frames, joints, 2)).astype(np.float16),
        "keypoint_score": rng.uniform(0.1, 1, (people, frames, joints)).astype(np.float16),
    }


def dumped(path: Path, value: Any, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(value, protocol))
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pyskl_splits_are_read_people_by_score(tmp_path: Path, protocol: int) -> None:
    clips = [annotation("a", 0), annotation("b", np.int64(2), people=3), annotation("c", 1)]
    clips[2]["keypoint_score"][0, 1, 5] = 0
    value = {"split": {"train": ["b", "c", "gone"], "val": ["a"]}, "annotations": clips}
    file = dumped(tmp_path / "set.pkl", value, protocol)
    data, report = importing(file, tmp_path / "out", split="train", frames=8, persons=2)
    assert (report["format"]["name"], report["shape"]) == ("pyskl", [2, 3, 8, 17, 2])
    assert report["spec"] == {"model": {"graph_layout": "coco"}, "dataset": {"num_classes": 3}}
    labels = read_labels(tmp_path / "out" / "train_label.pkl")
    assert (labels.names, labels.ids) == (("b", "c"), (2, 1))
    score, keypoint = (clips[1][key].astype(float) for key in ("keypoint_score", "keypoint"))
    for frame in range(3):
        best = sorted(range(3), key=lambda one: -score[one, frame].sum())[:2]
        for m, one in enumerate(best):
            np.testing.assert_allclose(data[0, 0, frame, :, m], keypoint[one, frame, :, 0] / 320 - 0.5, rtol=1e-5)
            np.testing.assert_allclose(data[0, 1, frame, :, m], keypoint[one, frame, :, 1] / 240 - 0.5, rtol=1e-5)
            np.testing.assert_allclose(data[0, 2, frame, :, m], score[one, frame], rtol=1e-6)
    assert data[1, :, 1, 5, 0].tolist() == [0, 0, 0]


def test_pyskl_lists_3d_bodies_and_missing_scores_are_read(tmp_path: Path) -> None:
    bodies = np.stack([motion(4, 0.1, 1), motion(4, 1.0, 2)]).astype(np.float16)
    clip = {"frame_dir": "S001", "label": 3, "keypoint": bodies, "total_frames": 4}
    nobody = clip | {"frame_dir": "S002", "keypoint": np.zeros((0, 4, 25, 3))}
    data, report = importing(dumped(tmp_path / "list.pkl", [nobody, clip]), tmp_path / "out", frames=4)
    assert report["dropped"]["empty_clips"]["first"] == ["S002"]
    assert report["layout"] == "ntu-rgb+d"
    np.testing.assert_array_equal(data[0], bodies.astype(np.float32).transpose(3, 1, 2, 0))
    flat = annotation("flat", joints=18)
    del flat["keypoint_score"], flat["img_shape"]
    flat["keypoint"][0, 1, 4] = 0
    file = dumped(tmp_path / "flat.pkl", [flat])
    refused(file, tmp_path / "out", match="clip 'flat': has no img_shape")
    data, report = importing(file, tmp_path / "out2", frames=4, width=320.0, height=240.0)
    assert report["layout"] == "openpose"
    assert data[0, :, 1, 4, 0].tolist() == [0, 0, 0]
    assert data[0, 2, 1, [3, 5], 0].tolist() == [1, 1]


class Call:
    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("place", ["whole", "label", "keypoint", "object array"])
def test_a_pickle_that_names_code_is_refused_and_not_run(tmp_path: Path, protocol: int, place: str) -> None:
    proof = tmp_path / "proof"
    evil: Any = Call(os.system, f"touch {proof}")
    value = [annotation("a")]
    if place == "object array":
        evil = np.array([evil], dtype=object)
    if place == "label":
        value[0]["label"] = evil
    else:
        value[0]["keypoint"] = evil
    file = dumped(tmp_path / "a.pkl", evil if place == "whole" else value, protocol)
    refused(file, tmp_path / "out", match="a.pkl: cannot be read as annotations: it (names|has)")
    assert not proof.exists()


def changed(**changes: Any) -> list[dict[str, Any]]:
    return [annotation("good"), {key: one for key, one in (annotation("x") | changes).items() if one is not None}]


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ({"split": {}}, "no list of annotations"),
        ("text", "no list of annotations"),
        ([], "no clip"),
        ([3], "annotation 0 has no frame_dir"),
        (changed(frame_dir=None), "annotation 1 has no frame_dir"),
        (changed(keypoint=None, raw_file="a.pkl"), "clip 'x': has no numeric array 'keypoint'"),
        (changed(keypoint=[1, 2]), "clip 'x': has no numeric array 'keypoint'"),
        (changed(keypoint=np.ones((1, 3, 17, 2), bool)), "clip 'x': has no numeric array 'keypoint'"),
        (changed(keypoint=np.ones((5, 17, 3))), "clip 'x': keypoint has shape"),
        (changed(keypoint=np.ones((1, 3, 19, 2))), "clip 'x': has 19 joints in 2D"),
        (changed(keypoint=np.ones((1, 3, 25, 3))), "clip 'x': has the layout ntu-rgb.d, but earlier clips have coco"),
        (changed(keypoint_score=np.ones((1, 2, 17))), "clip 'x': keypoint_score has shape"),
        (changed(keypoint=np.full((1, 3, 17, 2), np.nan)), "clip 'x': keypoint has values that are not finite"),
        (changed(img_shape=(0, 100)), "clip 'x': has no img_shape"),
        (changed(label="run"), "clip 'x': label is a str"),
        (changed(label=None), "clip 'x' has no class, but others have one"),
        (changed(frame_dir="a\ud800"), "the clip has the name"),
        (changed(frame_dir=""), "the clip has the name"),
        (changed(frame_dir="good"), "2 clips are named 'good'"),
    ],
)
def test_annotations_of_another_form_are_refused(tmp_path: Path, value: Any, match: str) -> None:
    file = dumped(tmp_path / "x.pkl", value)
    (tmp_path / "out").mkdir()
    refused(file, tmp_path / "out", match=match)


def test_a_pyskl_split_must_be_one_of_the_file(tmp_path: Path) -> None:
    file = dumped(tmp_path / "x.pkl", {"split": {"train": ["a"], "bad": [1]}, "annotations": [annotation("a")]})
    refused(file, tmp_path / "out", kind=BadRequest, match="has splits, but --split is not set")
    refused(file, tmp_path / "out", kind=BadRequest, match="no split 'test'", split="test")
    refused(file, tmp_path / "out", match="split 'bad' is not a list of names", split="bad")
    file.write_bytes(file.read_bytes()[:-200])
    refused(file, tmp_path / "out", match="x.pkl: cannot be read as annotations", split="train")


# OpenPose


def pose(joints: tuple[str, ...], base: float, score: float = 0.5) -> dict[str, Any]:
    """One person whose joints are told apart by name: x is 10 times its number among the 18, or 999."""
    places = [COCO_18.index(name) if name in COCO_18 else None for name in joints]
    values = [[base + 10.0 * one if one is not None else 999.0, 60.0, score] for one in places]
    return {"person_id": [-1], "pose_keypoints_2d": [number for value in values for number in value]}


def frames_of(folder: Path, clip: str, *people: list[dict[str, Any]], first: int = 0) -> Path:
    for number, one in enumerate(people, first):
        write(folder / f"{clip}_{number:012d}_keypoints.json", {"version": 1.3, "people": one})
    return folder


@pytest.mark.parametrize("joints", [COCO_18, BODY_25], ids=["COCO", "BODY_25"])
def test_openpose_frames_become_clips_of_the_18_joints(tmp_path: Path, joints: tuple[str, ...]) -> None:
    source = frames_of(
        tmp_path / "json", "walk_1", [pose(joints, 0, 0.2), pose(joints, 5, 0.9)], [], [pose(joints, 7)], first=4
    )
    frames_of(source / "deeper", "run", [pose(joints, 1), {"pose_keypoints_2d": [], "hand_left_keypoints_2d": [1.0]}])
    table = write(tmp_path / "labels.json", {"walk_1": "walk", "deeper/run": "run"})
    data, report = importing(source, tmp_path / "out", labels=table, frames=4, width=200.0, height=120.0)
    assert report["format"]["name"] == "openpose"
    assert report["shape"] == [2, 3, 4, 18, 1]
    labels = read_labels(tmp_path / "out" / "json_label.pkl")
    assert dict(zip(labels.names, labels.ids, strict=True)) == {"deeper/run": 0, "walk_1": 1}
    walk = data[labels.names.index("walk_1"), :, :, :, 0]
    numbers = np.arange(18)
    np.testing.assert_allclose(walk[0, 0], (5 + 10 * numbers) / 200 - 0.5, atol=1e-6)
    np.testing.assert_allclose(walk[0, 2], (7 + 10 * numbers) / 200 - 0.5, atol=1e-6)
    np.testing.assert_allclose(walk[1:, 0], [[0.0] * 18, [0.9] * 18], atol=1e-6)
    assert not walk[:, [1, 3]].any()
    assert report["dropped"]["clips_with_more_people"] == {"count": 1, "first": ["walk_1"]}


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ('{"people": [', "clip_000000000001_keypoints.json: is cut short"),
        ({}, "clip_000000000001_keypoints.json: has no list 'people'"),
        ({"people": [pose(COCO_18, 0), {}]}, "person 1 has 0 values"),
        ({"people": [{"pose_keypoints_2d": [1.0] * 51}]}, "person 0 has 51 values .* not 54 or 75"),
        ({"people": [{"pose_keypoints_2d": ["1"] * 54}]}, "person 0 has 54 values .* numbers"),
        ({"people": [pose(BODY_25, 0)]}, "joint counts of a clip differ: .* has 18 and .* has 25"),
    ],
)
def test_a_bad_openpose_frame_is_refused(tmp_path: Path, content: Any, match: str) -> None:
    source = frames_of(tmp_path / "json", "clip", [pose(COCO_18, 0)])
    write(source / "clip_000000000001_keypoints.json", content)
    refused(source, tmp_path / "out", match=match, width=100.0, height=100.0)


def test_one_file_is_guessed_by_its_name(tmp_path: Path) -> None:
    source = frames_of(tmp_path / "json", "clip", [pose(COCO_18, 0)])
    write(source / "kinetics.json", kinetics([person()]))
    refused(source, tmp_path / "out", kind=BadRequest, match="looks like kinetics and openpose")
    for name, found in (("kinetics.json", "kinetics"), (f"clip_{0:012d}_keypoints.json", "openpose")):
        _, report = importing(source / name, tmp_path / "out", width=1.0, height=1.0, split=found, frames=2)
        assert report["format"]["name"] == found


def test_openpose_needs_the_size_of_the_picture_and_its_file_names(tmp_path: Path) -> None:
    source = frames_of(tmp_path / "json", "clip", [pose(COCO_18, 0)])
    refused(source, tmp_path / "out", kind=BadRequest, match="image size", width=100.0)
    frames_of(source, "clip", [pose(COCO_18, 0)], first=10**9)
    refused(source, tmp_path / "out", match="is frame 1000000000 of its clip", width=100.0, height=100.0)
    write(source / "other_keypoints.json", {"people": []})
    refused(source, tmp_path / "out", match="other_keypoints.json: is not named", width=100.0, height=100.0)
