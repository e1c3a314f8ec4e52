"""Mounts of TAO's launcher: container paths work in `tao-skill tao`, and nowhere else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tao_skill.cli import main as tao_skill_main
from tao_skill.cli import tao_mounts
from tao_skill.cli.tao import main as pose_classification_main
from tao_skill.models.pose_classification.data.sample.sample import write_sample
from tao_skill.models.pose_classification.model import MODEL
from tests.support.experiments import FRAMES
from tests.support.tao import SPECS, environment, record

PROJECT = "/workspace/tao-experiments"
DATA = f"{PROJECT}/data"
SPEC = f"{PROJECT}/specs/spec.yaml"
CHECKPOINT = f"evaluate.checkpoint={PROJECT}/results/train/pc_model_latest.pth"
SECRET = "wandb-77d1c0a95e"
SHOWS_ENVIRONMENT = """
import atexit, json, os, sys
if "tao_skill.jobs.job_process" in sys.orig_argv:
    atexit.register(lambda: open(os.environ["SHOWN_TO"], "w").write(json.dumps(dict(os.environ))))
"""
"""Python runs it as `sitecustomize` at the start of every process."""

Words = list[str]


def write_mounts(path: Path, *mounts: tuple[Path | str, str], **other: Any) -> Path:
    entries = [{"source": str(source), "destination": destination} for source, destination in mounts]
    path.write_text(json.dumps({"Mounts": entries} | other))
    return path


def model(action: str, *rest: str, group: str = "model") -> Words:
    return ["tao", group, "pose_classification", action, *rest]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a mounts file, a project whose spec has container paths, and data in a folder of their own."""
    home = tmp_path_factory.mktemp("home")
    write_sample(home / "recordings", train=12, val=6, frames=FRAMES, seed=3)
    spec = (SPECS / "experiment_nvidia.yaml").read_text().replace("results/", f"{PROJECT}/results/")
    values = yaml.safe_load(spec.replace("data/nvidia", DATA)) | {"results_dir": f"{PROJECT}/results"}
    values["dataset"]["num_workers"] = 0
    (home / "project" / "specs").mkdir(parents=True)
    (home / "project" / "specs" / "spec.yaml").write_text(yaml.safe_dump(values))
    (home / "site").mkdir()
    (home / "site" / "sitecustomize.py").write_text(SHOWS_ENVIRONMENT)
    python_path = os.pathsep.join([str(home / "site"), *filter(None, [os.environ.get("PYTHONPATH")])])
    variables = {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "WANDB_API_KEY": SECRET,
        "PYTHONPATH": python_path,
        "SHOWN_TO": str(home / "shown.json"),
    }
    write_mounts(
        home / tao_mounts.FILE,
        ("~/project", PROJECT),
        (home / "recordings", DATA),
        ("gone", "/workspace/unused"),
        Envs=[{"variable": name, "value": value} for name, value in variables.items()],
        DockerOptions={"shm_size": "16G", "ulimits": {"memlock": -1}, "user": "1000:1000"},
    )
    return home


def launch(words: Words, home: Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "tao_skill", *words],
        cwd=home,
        env=environment() | {"HOME": str(home), "CUDA_DEVICE_ORDER": "FASTEST_FIRST"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def trained(home: Path) -> subprocess.CompletedProcess[str]:
    return launch(model("train", "-e", SPEC, "train.num_epochs=1"), home)


class Call:
    """Calls of the command line in this process, which fail before a job is opened."""

    def __init__(self, home: Path, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        patch.setattr(os, "environ", os.environ.copy())
        patch.setenv("HOME", str(home))
        patch.chdir(home)

    def __call__(self, words: Words, program: Any = tao_skill_main, *, code: int = 1) -> str:
        with pytest.raises(SystemExit) as ended:
            program(words)
        shown = self._capsys.readouterr()
        assert ended.value.code == code, shown
        assert not shown.out or code == 0
        return shown.err if code else shown.out


@pytest.fixture
def call(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    return Call(home, monkeypatch, capsys)


def test_a_training_with_container_paths_runs_on_local_files(
    home: Path, trained: subprocess.CompletedProcess[str]
) -> None:
    assert (home / "project" / "results" / "train" / "pc_model_latest.pth").is_file()
    job = record(home, "train")
    assert job["state"] == "COMPLETE"
    assert job["results_dir"] == str(home / "project" / "results" / "train")
    assert job["spec"]["dataset"]["train_dataset"]["data_path"] == str(home / "recordings" / "train_data.npy")
    said = [line for line in trained.stderr.splitlines() if line.startswith("mounts: ")]
    assert said == [
        f"mounts: {home / tao_mounts.FILE}: {PROJECT} -> {home / 'project'} (2 paths), "
        f"{DATA} -> {home / 'recordings'} (4 paths), "
        "environment: CUDA_DEVICE_ORDER, WANDB_API_KEY, PYTHONPATH, SHOWN_TO, DockerOptions are ignored"
    ]
    assert job["command"][:7] == ["tao-skill", *model("train"), "-e", SPEC]
    assert job["command"][7:9] == ["--mounts", str(home / tao_mounts.FILE)]


def test_envs_reach_the_job_and_their_values_nothing_else(
    home: Path, trained: subprocess.CompletedProcess[str]
) -> None:
    shown = json.loads((home / "shown.json").read_text())
    assert shown["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert shown["WANDB_API_KEY"] == SECRET
    written = {"shown.json", tao_mounts.FILE}
    kept = [path for path in home.rglob("*") if path.is_file() and path.name not in written]
    assert len(kept) > 10
    assert not [path for path in kept if SECRET.encode() in path.read_bytes()]
    assert SECRET not in trained.stdout + trained.stderr


@pytest.mark.usefixtures("trained")
def test_deploy_runs_the_same_evaluation_with_mounts_in_arguments(home: Path) -> None:
    done = launch(model("evaluate", "-e", SPEC, "-r", f"{PROJECT}/scored", CHECKPOINT, group="deploy"), home)
    assert done.stdout.splitlines()[-1] == "Execution status: PASS"
    assert f"{PROJECT} -> {home / 'project'} (3 paths)" in done.stderr
    assert (home / "project" / "scored" / "evaluate" / "status.json").is_file()
    assert record(home, "evaluate")["command"][:3] == ["tao-skill", "tao", "deploy"]


@pytest.mark.usefixtures("trained")
def test_a_job_with_mounts_is_a_parent_without_them(call: Call, home: Path) -> None:
    planned = json.loads(call(["run", "export", "--parent", "latest:train", "--dry-run", "--json"], code=0))["plan"]
    assert planned["spec"]["export"]["checkpoint"].startswith(str(home / "project" / "results" / "train"))


@pytest.mark.parametrize("group", ["model", "deploy"])
def test_deploy_and_model_have_the_same_commands(group: str, call: Call, home: Path) -> None:
    missing = model("gen_trt_engine", "-e", SPEC, f"gen_trt_engine.onnx_file={PROJECT}/gone.onnx", group=group)
    said = call(missing)
    assert f"gen_trt_engine.onnx_file is '{home}/project/gone.onnx'" in said


def test_deploy_has_no_training(call: Call) -> None:
    assert "No such command 'train'" in call(model("train", "-e", SPEC, group="deploy"))


def test_run_and_the_command_of_the_container_ignore_the_file(call: Call) -> None:
    for said in (
        call(["run", "train", "-e", SPEC, "--automl", "off"], code=3),
        call(["train", "-e", SPEC], pose_classification_main),
    ):
        assert f"spec file {SPEC} does not exist" in said
        assert "mounts" not in said
    assert "CUDA_DEVICE_ORDER" not in os.environ
    said = call(["run", "evaluate", "-e", "project/specs/spec.yaml", CHECKPOINT], code=2)
    assert f"evaluate.checkpoint is '{CHECKPOINT.partition('=')[2]}'" in said
    assert "No such option '--mounts'" in call(["train", "-e", SPEC, "--mounts", "x"], pose_classification_main)


def test_a_given_file_is_used_instead_of_the_home_directory_s(call: Call, tmp_path: Path) -> None:
    mounts = write_mounts(tmp_path / "mounts.json", (tmp_path, PROJECT))
    for option in ("--mounts", "--mounts_file"):
        said = call(model("train", "-e", SPEC, option, str(mounts)))
        assert f"spec file {tmp_path}/specs/spec.yaml does not exist" in said
    assert "CUDA_DEVICE_ORDER" not in os.environ
    assert "no mounts file gone.json" in call(model("train", "-e", SPEC, "--mounts", "gone.json"))


@pytest.mark.parametrize(
    ("path", "local"),
    [
        (f"{PROJECT}/specs/a.yaml", "project/specs/a.yaml"),
        (PROJECT, "project"),
        (f"/{PROJECT}//./specs/", "project/specs"),
        (f"{DATA}/a.npy", "recordings/a.npy"),
        (DATA, "recordings"),
        (f"{DATA}2/a.npy", "project/data2/a.npy"),
        (f"{DATA}/../specs/a.yaml", "project/specs/a.yaml"),
    ],
)
def test_the_longest_destination_of_whole_components_is_used(
    path: str, local: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(home))
    assert tao_mounts.read(home / tao_mounts.FILE).local_path(path) == str(home / local)


@pytest.mark.parametrize(
    "path", [f"{PROJECT}2/a.npy", "/workspace", "/elsewhere/a", f"s3:/{PROJECT}/a", PROJECT[1:], "a.npy", "", "???"]
)
def test_a_path_in_no_mount_stays_as_it_is(path: str, home: Path) -> None:
    assert tao_mounts.read(home / tao_mounts.FILE).local_path(path) == path


def test_a_path_is_replaced_once(tmp_path: Path) -> None:
    mounts = write_mounts(tmp_path / "m.json", (tmp_path, "/first"), ("/", str(tmp_path)))
    config = tao_mounts.read(mounts)
    values, paths = config.local_spec(MODEL, {"results_dir": "/first/r", "dataset": {"num_classes": 6}})
    assert values == {"results_dir": f"{tmp_path}/r", "dataset": {"num_classes": 6}}
    assert paths == ["/first/r"]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("data", "mounts 'data' as /data, but this source is not an absolute path"),
        ("/gone/data", "mounts '/gone/data' as /data, but this source does not exist"),
        ("~nobody-of-that-name/data", "this source does not exist"),
        ("/" + "x" * 5000, "this source does not exist"),
    ],
)
def test_only_a_mount_that_is_used_needs_its_source(source: str, said: str, call: Call, tmp_path: Path) -> None:
    mounts = write_mounts(tmp_path / "mounts.json", (source, "/data"), (tmp_path, "/specs"))
    (tmp_path / "spec.yaml").write_text("evaluate: {checkpoint: /data/m.pth}")
    refused = call(model("evaluate", "-e", "/specs/spec.yaml", "--mounts", str(mounts)))
    assert f"{mounts} mounts " in refused
    assert said in refused
    assert f"correct the source of /data in {mounts}" in refused
    (tmp_path / "spec.yaml").write_text("evaluate: {checkpoint: /specs/m.pth}")
    unused = call(model("evaluate", "-e", "/specs/spec.yaml", "--mounts", str(mounts)))
    assert f"/specs -> {tmp_path} (2 paths)" in unused
    assert "label_path is required" in unused


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "Expecting property name"),
        ("[]", "accepted: an object"),
        ('{"Mount": []}', "it has an unknown field Mount"),
        ('{"Mounts": [{"source": "/a"}]}', "Mounts[0] has no destination"),
        ('{"Mounts": [{"source": 1, "destination": "/a"}]}', "Mounts[0].source is 1, accepted: text"),
        ('{"Mounts": [{"source": "/a", "destination": "a"}]}', "Mounts[0].destination is 'a'"),
        (
            '{"Mounts": [{"source": "/a", "destination": "/c"}, {"source": "/b", "destination": "/c/"}]}',
            "two Mounts have the destination /c",
        ),
        ('{"Envs": {"WANDB_API_KEY": "SECRET"}}', "Envs is not a list"),
        ('{"Envs": ["WANDB_API_KEY=SECRET"]}', "Envs[0] is not an object with"),
        ('{"Envs": [{"variable": "WANDB_API_KEY", "value": ["SECRET"]}]}', "the value of WANDB_API_KEY in Envs"),
        ('{"Envs": [{"variable": "WANDB_API_KEY=SECRET", "value": ""}]}', "Envs[0].variable is not a name"),
    ],
)
def test_a_malformed_file_is_one_line_without_values_of_envs(
    content: str, said: str, call: Call, tmp_path: Path
) -> None:
    (tmp_path / "mounts.json").write_text(content.replace("SECRET", SECRET))
    refused = call(model("train", "-e", SPEC, "--mounts", str(tmp_path / "mounts.json")))
    first, second = refused.splitlines()
    assert first.startswith(f"error: {tmp_path / 'mounts.json'} is not a mounts file of TAO's launcher: ")
    assert said in first
    assert second.startswith('  fix: write {"Mounts": [')
    assert SECRET not in refused
