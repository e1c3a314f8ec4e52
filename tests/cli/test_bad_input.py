"""Bad input: one clear line, exit code 2, nothing left behind."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tao_skill.cli import main
from tests.support.experiments import FRAMES, dataset_overrides, without_label_map

Break = Callable[[Path], list[str]]


@pytest.fixture
def folder(tiny: Path, tmp_path: Path) -> Path:
    """A copy of the generated set that a test may break."""
    return Path(shutil.copytree(tiny, tmp_path / "data"))


def sequences(change: Callable[[Any], Any]) -> Break:
    def break_it(folder: Path) -> list[str]:
        np.save(folder / "train_data.npy", change(np.load(folder / "train_data.npy")))
        return []

    return break_it


def labels(value: Any) -> Break:
    def break_it(folder: Path) -> list[str]:
        (folder / "train_label.pkl").write_bytes(pickle.dumps(value))
        return []

    return break_it


def content(name: str, change: Callable[[bytes], bytes]) -> Break:
    def break_it(folder: Path) -> list[str]:
        (folder / name).write_bytes(change((folder / name).read_bytes()))
        return []

    return break_it


def override(*texts: str) -> Break:
    return lambda folder: [text.format(folder=folder) for text in texts]


def with_nan(data_NCTVM: Any) -> Any:
    data_NCTVM[3, 1, 2, 5, 0] = np.nan
    data_NCTVM[7, 0, 0, 0, 0] = np.inf
    return data_NCTVM


class Evil:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, ("ran",)


NAMES = [f"s{i}" for i in range(12)]

CASES: dict[str, tuple[Break, list[str]]] = {
    "layout": (override("graph_layout=coco"), ["'coco' of 17 joints", "has 34", "model.graph_layout=nvidia"]),
    "label outside": (labels([NAMES, [0] * 11 + [6]]), ["dataset.num_classes is 6", "[6]", "num_classes=7"]),
    "label count": (labels([NAMES[:5], [0] * 5]), ["5 labels for 12 sequences"]),
    "label map": (override("dataset.label_map={{a: 0, b: 1}}"), ["dataset.label_map has the ids [0, 1]", "is 6"]),
    "nan": (sequences(with_nan), ["2 values that are NaN or infinite", "(3, 1, 2, 5, 0)"]),
    "rank": (sequences(lambda data: data[..., 0]), [f"shape (12, 3, {FRAMES}, 34)", "(N, C, T, V, M)"]),
    "integers": (sequences(lambda data: data.astype(np.int32)), ["int32", "float16, float32 or float64"]),
    "objects": (sequences(lambda data: data.astype(object)), ["train_data.npy cannot be read"]),
    "code in labels": (labels([NAMES, Evil()]), ["train_label.pkl is not a label file", "not run"]),
    "empty data": (content("train_data.npy", lambda data: b""), ["is empty (0 bytes)"]),
    "empty labels": (content("train_label.pkl", lambda data: b""), ["has 0 bytes"]),
    "truncated data": (content("train_data.npy", lambda data: data[:-100]), ["cut short"]),
    "no data": (override("dataset.train_dataset.data_path={folder}/none.npy"), ["none.npy", "there is no such file"]),
    "unwritable": (
        override("results_dir={folder}/spec.yaml/out"),
        ["spec.yaml is not a writable directory", "leave results_dir out"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_before_a_job_exists(
    name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    break_it, said = CASES[name]
    overrides = dataset_overrides(folder) + break_it(folder)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit) as ended:
        main(["run", "train", "--automl", "off", *overrides])
    assert ended.value.code == 2
    shown = capsys.readouterr().err
    for part in said:
        assert part in shown
    assert len([line for line in shown.splitlines() if line.startswith("error: ")]) == 1
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(SystemExit):
        main(["run", "train", "--automl", "off", "--json", *overrides])
    assert json.loads(capsys.readouterr().out)["error"]["fix"]


def test_made_up_class_names_are_said(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["run", "train", "--dry-run", f"train_data={without_label_map(tiny, tmp_path)}"])
    assert ended.value.code == 0
    assert "label_map is not set: class names are class_0 to class_5" in capsys.readouterr().err


IN_A_SMALL_DISK = """
set -e
mount -t tmpfs -o size=40m none "$1"
cd "$1"
"$2" -m tao_skill run train -e "$3" --automl off --key full --json train.num_epochs=3 || echo "exit $?"
"$2" - <<'PYTHON'
from pathlib import Path
from tao_skill.models.pose_classification.training import checkpoint_file
from tao_skill.models.pose_classification.training import checkpoint_index
(folder,) = Path("results").glob("train-*/train")
newest = checkpoint_index.latest(folder)
print("kept", newest.name, len(checkpoint_file.load(newest)["state_dict"]))
print("temporary", [path.name for path in folder.glob(".*")])
PYTHON
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs util-linux' unshare for a small disk")
def test_a_full_disk_keeps_the_checkpoint_before(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    inside = ["unshare", "--map-root-user", "--mount"]
    if subprocess.run([*inside, "mount", "-t", "tmpfs", "none", str(tmp_path / "disk")], check=False).returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    done = subprocess.run(
        [*inside, "sh", "-c", IN_A_SMALL_DISK, "sh", str(tmp_path / "disk"), sys.executable, str(tiny / "spec.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    document, rest = json.JSONDecoder().raw_decode(done.stdout)
    assert "exit 2" in done.stdout[rest:]
    assert document["error"]["code"] == "cannot_write"
    assert "No space left on device" in document["error"]["message"]
    assert "free disk space" in document["error"]["fix"]
    assert "set results_dir to a path on another disk" in document["error"]["fix"]
    assert "kept model_epoch_000" in done.stdout
    assert "temporary []" in done.stdout
