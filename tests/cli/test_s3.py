"""Jobs whose data lie on S3 and whose results go there: real server, real processes, real training."""

from __future__ import annotations

import json
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tao_skill.jobs.record import Job
from tao_skill.jobs.staging import stage_inputs
from tao_skill.models.pose_classification.model import MODEL
from tests.support.command_line import SMALL, TAO_SKILL
from tests.support.experiments import dataset_overrides
from tests.support.servers.s3 import ACCESS_KEY, BUCKET, SECRET_KEY, S3Server

FAST = [*SMALL, "epochs=1"]
PREFIX = f"s3://{BUCKET}/results"


class User:
    """Someone at a shell, with a results root, a cache and access to the server."""

    def __init__(self, server: S3Server, folder: Path) -> None:
        self.server = server
        self.root = folder / "results"
        self.environment = server.environment(folder / "cache", TAO_SKILL_RESULTS=str(self.root))
        self.said = ""

    def run(self, arguments: Sequence[str], *, code: int = 0) -> Any:
        done = subprocess.run(
            [*TAO_SKILL, *arguments, "--json"],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == code, done.stdout + done.stderr
        self.said += done.stdout + done.stderr
        return json.loads(done.stdout)

    def start(self, arguments: Sequence[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*TAO_SKILL, *arguments, "--json"],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def record(self, job: dict[str, Any]) -> dict[str, Any]:
        record: dict[str, Any] = json.loads((self.root / job["job"]["id"] / "job.json").read_text())
        return record


@pytest.fixture(scope="module")
def shared(s3_server: S3Server, tiny: Path) -> S3Server:
    s3_server.put_folder(tiny, "tiny", "*.npy", "*.pkl")
    return s3_server


@pytest.fixture
def server(shared: S3Server) -> S3Server:
    shared.forget()
    return shared


@pytest.fixture
def user(server: S3Server, tmp_path: Path) -> User:
    return User(server, tmp_path)


@pytest.fixture(scope="module")
def trained(shared: S3Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[User, dict[str, Any]]:
    user = User(shared, tmp_path_factory.mktemp("user"))
    shared.forget()
    shared.delay_s = {"GET": 0.6}  # long enough to be seen by who follows the job
    train = ["run", "train", "--automl", "off", *FAST, "num_workers=1", f"train_data=s3://{BUCKET}/tiny"]
    return user, user.run([*train, "--upload", PREFIX])


def test_training_from_a_prefix_fetches_each_file_once_and_records_addresses(
    trained: tuple[User, dict[str, Any]],
) -> None:
    user, document = trained
    record = user.record(document)
    assert record["spec"]["dataset"]["train_dataset"]["data_path"] == f"s3://{BUCKET}/tiny/train_data.npy"
    assert record["spec"]["dataset"]["val_dataset"]["label_path"] == f"s3://{BUCKET}/tiny/val_label.pkl"
    assert 0 <= document["metrics"]["val_acc"] <= 1
    assert user.server.count("GET", "train_data.npy") == user.server.count("GET", "val_label.pkl") == 1
    folder = Path(document["job"]["results_dir"])
    status = [json.loads(line) for line in (folder / "status.json").read_text().splitlines()]
    assert "Staged dataset.train_dataset.data_path: s3://recordings/tiny/train_data.npy" in status[0]["message"]
    assert "fetched" in status[0]["message"]
    assert f"staging s3://{BUCKET}/tiny/" in user.said
    assert not (folder / "progress.json").exists()


def test_a_process_beside_the_first_stages_too_and_reports_nothing(
    trained: tuple[User, dict[str, Any]], tmp_path: Path
) -> None:
    user, document = trained
    job = replace(Job.from_dict(user.record(document)), results_dir=str(tmp_path))
    job.progress_path.write_text("{}")
    staged = stage_inputs(MODEL, job, {**user.environment, "LOCAL_RANK": "1"})
    assert staged["dataset.train_dataset.data_path"].name == "train_data.npy"
    assert len(staged) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["progress.json"]


def test_all_of_the_job_is_uploaded_and_the_record_there_is_the_final_one(
    trained: tuple[User, dict[str, Any]],
) -> None:
    user, document = trained
    job_id = document["job"]["id"]
    assert document["upload"]["uri"] == f"{PREFIX}/{job_id}"
    assert "error" not in document["upload"]
    there = user.server.keys(f"results/{job_id}/")
    folder = user.root / job_id
    here = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert there == {name for name in here if not Path(name).name.startswith(".")}
    assert {"job.json", "log.txt", "spec.yaml", "train/status.json", "train/pc_model_best.pth"} <= there
    assert document["upload"]["files"] == len(there)
    assert json.loads(user.server.get(f"results/{job_id}/job.json")) == user.record(document)
    for name in ("train/pc_model_latest.pth", "train/status.json", "spec.yaml"):
        assert user.server.get(f"results/{job_id}/{name}") == (folder / name).read_bytes()
    puts = [path for method, path in user.server.requests if method == "PUT"]
    assert puts[-1].endswith("job.json")


def test_evaluation_continues_from_the_parent_and_from_the_upload_alike(
    trained: tuple[User, dict[str, Any]], tmp_path: Path
) -> None:
    user, document = trained
    job_id = document["job"]["id"]
    user.server.requests.clear()
    here = user.run(["run", "evaluate", "--parent", job_id])
    assert user.server.count("GET") == 0, "the validation set is in the cache"
    elsewhere = User(user.server, tmp_path)
    there = elsewhere.run(
        [
            "run",
            "evaluate",
            f"evaluate.checkpoint={PREFIX}/{job_id}/train/pc_model_best.pth",
            f"evaluate.test_dataset.data_path=s3://{BUCKET}/tiny/val_data.npy",
            f"evaluate.test_dataset.label_path=s3://{BUCKET}/tiny/val_label.pkl",
        ]
    )
    assert there["metrics"] == here["metrics"]
    assert elsewhere.record(there)["spec"]["evaluate"]["checkpoint"].startswith("s3://")
    folder = f"evaluate.test_dataset.data_path=s3://{BUCKET}/tiny/"
    plan = elsewhere.run(["run", "evaluate", "--dry-run", "--parent", str(user.root / job_id), folder])["plan"]
    assert plan["spec"]["evaluate"]["test_dataset"] == {
        "data_path": f"s3://{BUCKET}/tiny/test_data.npy",
        "label_path": f"s3://{BUCKET}/tiny/test_label.pkl",
    }


def test_a_dry_run_fetches_nothing_and_says_what_comes_later(user: User, tmp_path: Path) -> None:
    arguments = ["run", "train", "--dry-run", f"train_data=s3://{BUCKET}/tiny", "--upload", PREFIX]
    plan = user.run(arguments)["plan"]
    assert user.server.count("GET") == 0
    assert not list(tmp_path.rglob("*"))
    assert plan["inferred"]["dataset.val_dataset.data_path"]["by"] == "folder"
    assert plan["upload"] == PREFIX
    assert any("checked when the job has fetched them" in warning for warning in plan["warnings"])


@pytest.mark.parametrize(("remote", "loaded"), [(False, False), (True, True)])
def test_only_addresses_load_the_s3_libraries_and_neither_loads_torch(
    user: User, tiny: Path, remote: bool, loaded: bool
) -> None:
    pairs = [f"train_data=s3://{BUCKET}/tiny"] if remote else dataset_overrides(tiny)
    words = ["run", "train", "--dry-run", *pairs]
    code = (
        "import sys\nfrom tao_skill.cli import main\n"
        f"try:\n    main({words!r})\nexcept SystemExit as end:\n    assert not end.code\n"
        "print(sorted({'torch', 's3fs', 'botocore', 'fsspec'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=user.environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == str(["botocore", "fsspec", "s3fs"] if loaded else [])


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["train_data=s3://recordings/tiny/none.npy"], 2, "dataset.train_dataset.data_path"),
        (
            ["train_data=s3://recordings/tiny", "pretrained_model=s3://recordings/none.pth"],
            2,
            "there is no such object",
        ),
        (["train_data=s3://recordings/tiny", "results_dir=s3://recordings/out"], 2, "results_dir is"),
        (["train_data=s3://KEYID:hunter2hunter2@recordings/tiny"], 2, "contains credentials"),
        (["train_data=gs://recordings/tiny"], 2, "gs://"),
        (["train_data=s3://recordings/tiny", "--upload", "s3://nowhere/x"], 3, "upload"),
        (["train_data=s3://recordings/tiny", "--upload", "/tmp/x"], 2, "upload"),
    ],
)
def test_what_cannot_be_is_refused_before_a_job_exists(
    user: User, arguments: list[str], code: int, said: str, tmp_path: Path
) -> None:
    error = user.run(["run", "train", "--automl", "off", *arguments], code=code)["error"]
    assert said in error["message"]
    assert error["fix"]
    assert "hunter2" not in user.said
    assert not list(tmp_path.rglob("*"))


def test_bad_data_on_s3_end_the_job_by_key_and_are_uploaded_with_it(user: User, tmp_path: Path) -> None:
    user.server.put("bad/train_data.npy", user.server.get("tiny/train_data.npy"))
    user.server.put("bad/train_label.pkl", pickle.dumps([["one"], [9]], protocol=2))
    train = ["run", "train", "--automl", "off", *FAST, f"train_data=s3://{BUCKET}/bad", "graph_layout=coco"]
    document = user.run([*train, "--upload", PREFIX], code=2)
    error = document["error"]
    assert error["code"] == "bad_spec"
    keys = {problem["path"] for problem in error["problems"]}
    assert keys == {"model.graph_layout", "dataset.num_classes", "dataset.train_dataset.label_path"}
    record = user.record(document)
    assert (record["state"], record["attempts"][0]["exit_code"]) == ("ERROR", 2)
    prefix = f"results/{document['job']['id']}/"
    assert json.loads(user.server.get(f"{prefix}job.json")) == record
    assert b"1 labels for 12 sequences" in user.server.get(f"{prefix}log.txt")


def wait_for(condition: Any, timeout_s: float = 120) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def test_a_canceled_job_is_uploaded_as_canceled(user: User, tiny: Path) -> None:
    pairs = dataset_overrides(tiny)
    train = ["run", "train", "--automl", "off", *SMALL, "epochs=500", *pairs, "--upload", PREFIX + "/canceled"]
    running = user.start(train)
    saved = wait_for(lambda: list(user.root.glob("*/train/pc_model_latest.pth")))
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=60)
    assert running.returncode == 130
    job_id = saved[0].parents[1].name
    local = json.loads((user.root / job_id / "job.json").read_text())
    assert local["state"] == "CANCELED"
    assert json.loads(user.server.get(f"results/canceled/{job_id}/job.json")) == local
    assert any(name.startswith("train/model_epoch_") for name in user.server.keys(f"results/canceled/{job_id}/"))


def test_an_upload_that_fails_costs_nothing_but_the_exit_code_and_can_be_done_again(
    trained: tuple[User, dict[str, Any]], user: User, tmp_path: Path
) -> None:
    job_id = trained[1]["job"]["id"]
    user.server.refuse = {"PUT"}
    evaluate = ["run", "evaluate", "--parent", str(trained[0].root / job_id), "--upload", PREFIX + "/late/"]
    document = user.run(evaluate, code=1)
    assert document["job"]["state"] == "COMPLETE"
    assert "denies access" in document["upload"]["error"]["message"]
    evaluated = document["job"]["id"]
    assert f"tao-skill jobs upload {evaluated}" in document["upload"]["error"]["fix"]
    assert (Path(document["job"]["results_dir"]) / "evaluation.json").exists()
    assert user.run(["jobs", "show", evaluated])["upload"] == document["upload"]
    user.server.forget()
    again = user.run(["jobs", "upload", evaluated])
    assert again["upload"]["uri"] == f"{PREFIX}/late/{evaluated}"
    assert "error" not in again["upload"]
    assert "evaluate/evaluation.json" in user.server.keys(f"results/late/{evaluated}/")
    assert json.loads(user.server.get(f"results/late/{evaluated}/job.json")) == user.record(document)


def test_results_that_lie_outside_the_job_are_uploaded_too(
    trained: tuple[User, dict[str, Any]], user: User, tmp_path: Path
) -> None:
    own, text = tmp_path / "own", tmp_path / "names.txt"
    document = user.run(
        [
            "run", "inference", "--parent", str(trained[0].root / trained[1]["job"]["id"]), "--upload", PREFIX,
            f"results_dir={own}", f"inference.output_file={text}",
        ]
    )  # fmt: skip
    there = user.server.keys(f"results/{document['job']['id']}/")
    assert there == {
        "job.json", "log.txt", "spec.yaml", "inference/status.json", "artifacts/names.txt", "artifacts/names.json",
    }  # fmt: skip


def test_an_upload_needs_an_ended_job_and_a_place(trained: tuple[User, dict[str, Any]], user: User, tiny: Path) -> None:
    pairs = dataset_overrides(tiny)
    train = ["run", "train", "--automl", "off", *SMALL, "epochs=500", *pairs, "--key", "k"]
    job_id = user.run([*train, "--detach"])["job"]["id"]
    assert user.run(["jobs", "upload", job_id, PREFIX], code=2)["error"]["code"] == "bad_state"
    conflict = user.run([*train, "--upload", PREFIX], code=2)["error"]
    assert "upload is None in the job" in conflict["message"]
    user.run(["jobs", "cancel", job_id])
    assert "--upload" in user.run(["jobs", "upload", job_id], code=2)["error"]["message"]
    assert user.run(["jobs", "upload", job_id, "/tmp/x"], code=2)["error"]["code"] == "bad_request"
    assert user.run(["jobs", "upload", job_id, PREFIX])["upload"]["uri"] == f"{PREFIX}/{job_id}"


def test_a_lost_object_is_named_by_its_key_when_the_job_wants_it(user: User, tmp_path: Path) -> None:
    user.server.put("short/train_data.npy", user.server.get("tiny/train_data.npy"))
    user.server.put("short/train_label.pkl", user.server.get("tiny/train_label.pkl"))
    user.server.forget()

    def lose(method: str) -> None:
        if method == "GET":
            user.server.after = lambda method: None
            user.server.client.delete_object(Bucket=BUCKET, Key="short/train_label.pkl")

    user.server.after = lose
    train = ["run", "train", "--automl", "off", *FAST, f"train_data=s3://{BUCKET}/short"]
    error = user.run(train, code=2)["error"]
    assert error["path"] == "dataset.train_dataset.label_path"
    assert "s3://recordings/short/train_label.pkl does not exist" in error["message"]


def test_credentials_are_in_nothing_that_any_of_this_left_behind(trained: tuple[User, dict[str, Any]]) -> None:
    user, document = trained
    kept = [path for path in (*user.root.rglob("*"), *user.root.parent.joinpath("cache").rglob("*")) if path.is_file()]
    assert len(kept) > 10
    for secret in (ACCESS_KEY, SECRET_KEY):
        assert secret not in user.said
        assert not [path for path in kept if secret.encode() in path.read_bytes()]
        assert secret not in json.dumps(document)


def test_a_refused_job_shows_no_credentials_in_its_log(user: User) -> None:
    """Refused only once the job asks for the content; the traceback is in the log."""
    user.server.refuse = {"GET"}
    document = user.run(["run", "train", "--automl", "off", *FAST, f"train_data=s3://{BUCKET}/tiny"], code=2)
    assert document["error"]["code"] == "access_refused"
    log = (user.root / document["job"]["id"] / "log.txt").read_text()
    assert "Traceback" in log
    assert ACCESS_KEY not in log
    assert SECRET_KEY not in log


def test_the_help_names_the_variables_and_where_copies_go(user: User) -> None:
    done = subprocess.run(
        [*TAO_SKILL, "run", "--help"], env=user.environment, capture_output=True, text=True, check=True
    )
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        assert name in done.stdout
    for name in ("ACCESS_KEY, SECRET_KEY", "TAO_SKILL_CACHE", "s3://BUCKET/KEY", "--upload"):
        assert name in done.stdout
