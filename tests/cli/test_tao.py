"""What a TAO user brings - commands, spec files, data - works as it is."""

from __future__ import annotations

import importlib.util
import json
import pickle
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import yaml

from tao_skill.cli import main as tao_skill_main
from tao_skill.cli.tao import main
from tao_skill.models.pose_classification.data.sample.sample import write_sample
from tao_skill.models.pose_classification.model import MODEL
from tests.support.experiments import FRAMES
from tests.support.folders import REAL_DATA, REPOSITORY
from tests.support.recordings import recording
from tests.support.tao import SPECS, environment, record

PROGRAMS = {
    "pose_classification": (sys.executable, "-c", "from tao_skill.cli.tao import main; main()"),
    "tao-skill": (sys.executable, "-m", "tao_skill"),
    "tao": (sys.executable, "-m", "tao_skill", "tao"),
}
"""`tao` is the alias of docs/coming_from_tao.md."""

SHORT = "train.num_epochs=1"
TAO_FIELDS = {"date", "time", "status", "verbosity", "message"}


def words(command: str) -> list[str]:
    program, *rest = shlex.split(command.replace("$KEY", "nvidia_tao"))
    return [*PROGRAMS[program], *rest]


def call(command: str, folder: Path, *, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        words(command), cwd=folder, env=environment(), capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == code, f"{command}\n{done.stdout}{done.stderr}"
    return done


def status(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "status.json").read_text().splitlines()]


# The table of docs/coming_from_tao.md, row by row


def table() -> dict[str, list[str]]:
    """The commands of each row, by action."""
    section = (REPOSITORY / "docs" / "coming_from_tao.md").read_text()
    rows = [re.findall(r"`([^`]+)`", line) for line in section.splitlines() if line.startswith("| `tao model")]
    assert all(len(row) == 2 for row in rows)
    return {row[0].split()[3]: row for row in rows}


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the nvidia spec and its data, in which both training commands of the table have run."""
    folder = tmp_path_factory.mktemp("ground")
    write_sample(folder / "data" / "nvidia", train=12, val=6, frames=FRAMES, seed=3)
    shutil.copy(SPECS / "experiment_nvidia.yaml", folder / "spec.yaml")
    recording(folder / "bodypose3d.json", frames=30, ids=(0,))
    for command in table()["train"]:
        call(f"{command} {SHORT}", folder)
    return folder


def test_the_table_has_every_action() -> None:
    assert table().keys() == MODEL.actions.keys()


def test_training_leaves_what_tao_leaves(ground: Path) -> None:
    for folder in (ground / "results" / "train", ground / "results" / "nvidia" / "train"):
        assert (folder / "pc_model_latest.pth").resolve().name == "model_epoch_000_step_00002.pth"
        lines = status(folder)
        assert all(line.keys() >= TAO_FIELDS for line in lines)
        assert [line["status"] for line in (lines[0], lines[-1])] == ["STARTED", "SUCCESS"]
        kpis = [set(line["kpi"]) for line in lines if line["status"] == "RUNNING" and "kpi" in line]
        assert kpis == [{"val_loss", "val_acc", "avg_accuracy"}, {"train_loss", "train_acc", "lr"}]
    assert record(ground, "train")["route"]["route"] == "direct"


@pytest.mark.parametrize("action", [name for name in MODEL.actions if name != "train"])
def test_every_command_of_the_table_runs(action: str, ground: Path) -> None:
    if action == "gen_trt_engine" and importlib.util.find_spec("tensorrt") is None:
        pytest.skip("TensorRT is not installed")
    for command in table()[action]:
        call(command, ground)
        assert record(ground, action)["state"] == "COMPLETE"
    if action == "evaluate":
        for folder in (ground / "results" / "evaluate", ground / "results" / "nvidia" / "evaluate"):
            (kpi,) = [line["kpi"] for line in status(folder) if "kpi" in line]
            assert kpi.keys() == {"accuracy", "avg_accuracy"}
    if action == "inference":
        for path in (ground / "names.txt", ground / "results" / "nvidia" / "inference" / "names.txt"):
            assert len(path.read_text().split()) == 6


# The other spec of TAO's tutorial


def clip(path: Path, frames: int = 40) -> np.ndarray[Any, Any]:
    """The best-seen person of a Kinetics-skeleton clip as (3, T, 18, 1): x, y, score."""
    x_CTVM = np.zeros((3, frames, 18, 1), np.float32)
    used = [frame["skeleton"] for frame in json.loads(path.read_text())["data"] if frame["skeleton"]]
    for t, people in enumerate(used[:frames]):
        best = max(people, key=lambda person: sum(person["score"]))
        x_CTVM[:, t, :, 0] = best["pose"][0::2], best["pose"][1::2], best["score"]
    return x_CTVM


def kinetics(folder: Path) -> list[str]:
    """Five clips, one a class, as training and validation set: real ones where they are, else random ones."""
    clips = sorted((REAL_DATA / "kinetics_skeleton_samples" / "kinetics_train").glob("*.json"))
    names = [json.loads(path.read_text())["label"].replace(" ", "_") for path in clips]
    rng = np.random.default_rng(0)
    data = [clip(path) for path in clips] or [rng.random((3, 40, 18, 1), np.float32) for _ in range(5)]
    ids = [sorted(names).index(name) for name in names] or [*range(5)]
    folder.mkdir(parents=True)
    for split in ("train", "val"):
        np.save(folder / f"{split}_data.npy", np.stack(data))
        (folder / f"{split}_label.pkl").write_bytes(pickle.dumps(([path.stem for path in clips] or [*"abcde"], ids)))
    return sorted(names)


def test_the_kinetics_spec_runs_unchanged_on_kinetics_data(tmp_path: Path) -> None:
    names = kinetics(tmp_path / "data" / "kinetics")
    shutil.copy(SPECS / "experiment_kinetics.yaml", tmp_path)
    train = call(f"pose_classification train --experiment_spec_file experiment_kinetics.yaml {SHORT}", tmp_path)
    assert "attempt 1 of" in train.stdout
    assert train.stdout.splitlines()[-1] == "Execution status: PASS"
    assert "epoch 1/1" in train.stderr
    results = tmp_path / "results" / "kinetics"
    shutil.copy(results / "train" / "pc_model_latest.pth", results / "kinetics_model.tlt")
    call(
        "pose_classification inference --experiment_spec experiment_kinetics.yaml --gpu_ids 0 -g 1"
        " inference.checkpoint=results/kinetics/kinetics_model.tlt inference.output_file=results/kinetics/names.txt"
        " inference.test_dataset.data_path=data/kinetics/val_data.npy"
        ' "dataset.label_map={a:0,b:1,c:2,d:3,e:4}" encryption_key=$KEY',
        tmp_path,
    )
    assert set((results / "names.txt").read_text().split()) <= set("abcde")
    assert len((results / "names.txt").read_text().split()) == 5
    job = record(tmp_path, "inference")
    assert job["spec"]["dataset"]["label_map"] == {"a": 0, "b": 1, "c": 2, "d": 3, "e": 4}
    assert {"inference.num_gpus=1", "inference.gpu_ids=[0]", "encryption_key=***"} <= {*job["command"]}
    given = record(tmp_path, "train")["spec"]["dataset"]["label_map"]
    assert not names or sorted(given) == names


# What goes wrong


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train"], "Missing option '-e'"),
        (["train", "-e", "gone.yaml"], "spec file gone.yaml does not exist"),
        (["train", "-e", "spec.yaml", "train.num_epoch=3"], "did you mean train.num_epochs?"),
        (["train", "-e", "spec.yaml", "dataset.train_dataset.data_path=???"], "train_dataset.data_path is required"),
        (["train", "-e", "spec.yaml", "--gpu_ids", "one"], 'train.gpu_ids is ["one"]; accepted: a list of integers'),
        (["evaluate", "-e", "spec.yaml"], "evaluate.checkpoint is required"),
        (["train", "-e", "spec.yaml", "--epochs", "3"], "No such option '--epochs'"),
        (["prune", "-e", "spec.yaml"], "No such command 'prune'"),
        (["train", "-e", "spec.yaml", "-r", "spec.yaml/below"], "spec.yaml"),
    ],
)
def test_every_failure_before_a_job_is_a_line_and_exit_1(
    arguments: list[str], said: str, ground: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ground)
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 1
    assert said in capsys.readouterr().err


def test_a_spec_of_an_older_release_is_read(ground: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older = yaml.safe_load((ground / "spec.yaml").read_text())
    older["evaluate"] |= {"gpu_id": 1, "checkpoint": "results/train/pc_model_latest.pth"}
    (ground / "older.yaml").write_text(yaml.safe_dump(older))
    monkeypatch.chdir(ground)
    with pytest.raises(SystemExit) as ended:
        tao_skill_main(["run", "evaluate", "-e", "older.yaml", "--dry-run"])
    assert not ended.value.code


def test_a_job_that_fails_exits_with_1_in_the_launcher_too(ground: Path) -> None:
    (ground / "wrong.pth").write_text("no checkpoint")
    failed = call("tao model pose_classification evaluate -e spec.yaml evaluate.checkpoint=wrong.pth", ground, code=1)
    assert failed.stdout.splitlines()[-1] == "Execution status: FAIL"
    assert "wrong.pth is damaged or not a checkpoint" in failed.stdout
    call("tao model pose_classification evaluate -e gone.yaml", ground, code=1)


def test_an_interrupted_training_exits_with_130_and_its_key_is_nowhere(ground: Path, tmp_path: Path) -> None:
    for name in ("data", "spec.yaml"):
        (tmp_path / name).symlink_to(ground / name)
    keys = "-k correct-horse-battery ~encryption_key=gone-rifle encryption_key='\"staple\\\\-gun\"'"
    options = f"{keys} -r mine train.checkpoint_interval=1"
    running = subprocess.Popen(
        words(f"pose_classification train -e spec.yaml {options}"),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        deadline = time.monotonic() + 120
        while not list((tmp_path / "mine" / "train").glob("model_*")):
            assert time.monotonic() < deadline
            assert running.poll() is None
            time.sleep(0.05)
        pid = record(tmp_path, "train")["attempts"][-1]["pid"]
        shown = " ".join(psutil.Process(pid).cmdline())
    finally:
        running.send_signal(signal.SIGINT)
    said, _ = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "tao_skill.jobs.job_process" in shown
    assert record(tmp_path, "train")["state"] == "CANCELED"
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and "data" not in path.parts]
    for secret in ("correct-horse", "rifle", "staple"):
        assert secret not in said + shown
        assert not [data for data in kept if secret.encode() in data]


# Help


@pytest.mark.parametrize("action", MODEL.actions)
def test_every_action_explains_itself(action: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([action, "-h"])
    assert not ended.value.code
    shown = capsys.readouterr().out
    assert MODEL.actions[action].summary in shown
    for option in ("-e, --experiment_spec, --experiment_spec_file", "-k, --key", "-r, --results_dir", "KEY=VALUE"):
        assert option in shown


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom tao_skill.cli.tao import main\n"
        "try:\n    main(['train', '-h'])\nexcept SystemExit:\n    pass\n"
        "assert not {'torch', 'pytorch_lightning', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
