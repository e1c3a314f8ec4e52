"""`tao-skill data import` as it is called: real processes, and a training on what it wrote."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.support.command_line import HEAVY, call, call_json
from tests.support.recordings import clip


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    for split, size in (("train", 6), ("val", 2)):
        folder = tmp_path / "recordings" / split
        folder.mkdir(parents=True)
        for number in range(size):
            (folder / f"{split}{number}.json").write_text(json.dumps(clip(number, number % 2)))
    return tmp_path / "recordings"


def test_what_is_imported_is_inspected_and_trained_on(recordings: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for split in ("train", "val"):
        document = call_json(["data", "import", str(recordings / split), "--frames", "8", "--out", str(data)], tmp_path)
        assert document["spec"] == {"model": {"graph_layout": "openpose"}, "dataset": {"num_classes": 2}}
    label_map = json.loads((data / "label_map.json").read_text())
    spec = {**document["spec"], "dataset": document["spec"]["dataset"] | {"label_map": label_map}}
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec))
    train, val = ([str(data / f"{split}_{part}") for part in ("data.npy", "label.pkl")] for split in ("train", "val"))
    described = call_json(["data", "inspect", *train, "--other", val[0]], tmp_path)
    assert described["layouts"] == ["openpose"]
    assert described["labels"]["per_class"] == {"0": 3, "1": 3}
    named = [f"train_data={train[0]}", f"train_labels={train[1]}", f"val_data={val[0]}", f"val_labels={val[1]}"]
    run = ["run", "train", "-e", str(tmp_path / "spec.yaml"), "--automl", "off", "epochs=1", "num_workers=0", *named]
    assert call_json([*run, "--dry-run"], tmp_path)["plan"]["spec"]["dataset"]["num_classes"] == 2
    assert call_json(run, tmp_path)["job"]["state"] == "COMPLETE"


def test_people_read_the_same_as_text(recordings: Path, tmp_path: Path) -> None:
    done = call(["data", "import", str(recordings / "train"), "--out", str(tmp_path / "data")], tmp_path)
    document = yaml.safe_load(done.stdout)
    assert document["format"] == {"name": "kinetics", "chosen": "guessed from *.json"}
    assert document["shape"] == [6, 3, 300, 18, 1]
    assert all(Path(file).is_absolute() and Path(file).is_file() for file in document["files"])


def test_relative_paths_and_every_option_reach_the_import(tmp_path: Path) -> None:
    frames = tmp_path / "json"
    frames.mkdir()
    for number in range(3):
        people = [{"pose_keypoints_2d": [50.0, 20.0, 0.5] * 25}] * 2
        (frames / f"a_{number:012d}_keypoints.json").write_text(json.dumps({"people": people}))
    (tmp_path / "labels.json").write_text(json.dumps({"a": "walk"}))
    options = ["--format", "openpose", "--split", "test", "--frames", "2", "--persons", "2", "--labels", "labels.json"]
    call(["data", "import", "json", "--out", "d", "--width", "100", "--height", "80", *options], tmp_path, cwd=tmp_path)
    data = np.load(tmp_path / "d" / "test_data.npy")
    assert data.shape == (1, 3, 2, 18, 2)
    np.testing.assert_allclose(data[0, :, 1, 3, 1], [0.0, -0.25, 0.5])
    assert pickle.loads((tmp_path / "d" / "test_label.pkl").read_bytes()) == [["a"], [0]]


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["absent"], 3, "not_found"),
        (["recordings"], 2, "bad_request"),
        (["recordings/train", "--format", "bvh"], 2, "bad_request"),
        (["recordings/train", "--persons", "0"], 2, "bad_request"),
        (["recordings/train", "--width", "0"], 2, "bad_request"),
        (["recordings/train", "--labels", "recordings/train/train0.json"], 2, "bad_data"),
    ],
)
def test_bad_calls_have_codes_and_fixes(
    recordings: Path, tmp_path: Path, arguments: list[str], code: int, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(recordings.parent)
    document = call_json(["data", "import", *arguments, "--out", "data"], tmp_path, code=code)
    assert document["error"]["code"] == error
    assert document["error"]["fix"]
    assert not list(tmp_path.glob("data/*"))


def test_importing_loads_nothing_heavy(recordings: Path, tmp_path: Path) -> None:
    words = ["data", "import", str(recordings / "train"), "--out", str(tmp_path / "data")]
    code = (
        f"import sys\nfrom tao_skill.cli import main\ntry:\n    main({words!r})\nexcept SystemExit as end:\n"
        f"    assert not end.code\n"
        f"found = [name for name in {HEAVY!r} if name in sys.modules]\nassert not found, found\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
