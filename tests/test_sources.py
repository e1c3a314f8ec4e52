"""Data given as a folder: which files are taken, from local folders and S3 prefixes alike."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tao_skill.errors import SpecError
from tao_skill.models.pose_classification.config import ExperimentConfig
from tao_skill.remote import S3, is_remote
from tao_skill.runner import load_runner
from tao_skill.sources import Completed, complete_folders
from tao_skill.spec.load import override
from tao_skill.spec.tree import iter_params, lookup
from tests.s3_server import S3Server
from tests.test_runner import planned

TRAIN, VAL = "dataset.train_dataset", "dataset.val_dataset"
TEST = "evaluate.test_dataset"
ALL = ("train_data.npy", "train_label.pkl", "val_data.npy", "val_label.pkl", "test_data.npy", "test_label.pkl")
MakeFolder = Callable[..., str]
LookAt = Callable[[str], bool]


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    server = S3Server()
    yield server
    server.stop()


@pytest.fixture(params=["local", "s3"])
def folder(request: pytest.FixtureRequest, server: S3Server, tmp_path: Path) -> MakeFolder:
    """Makes a folder that holds the named files, on disk or on the server."""

    def make(*names: str, called: str = "data") -> str:
        if request.param == "s3":
            for name in names:
                server.put(f"{tmp_path.name}/{called}/{name}", name.encode())
            return f"s3://recordings/{tmp_path.name}/{called}"
        (tmp_path / called).mkdir()
        for name in names:
            (tmp_path / called / name).write_text(name)
        return str(tmp_path / called)

    return make


@pytest.fixture
def is_file(server: S3Server, tmp_path: Path) -> LookAt:
    s3 = S3(server.environment(tmp_path))
    return lambda text: s3.describe(text) is not None if is_remote(text) else Path(text).is_file()


def complete(action: str, is_file: LookAt, **given: str) -> dict[str, Completed]:
    values = override(ExperimentConfig, {}, [(key.replace("__", "."), value) for key, value in given.items()])
    completed, problems = complete_folders(load_runner("pose_classification", action).data, values, is_file)
    if problems:
        raise SpecError(problems)
    return completed


def names(completed: dict[str, Completed]) -> dict[str, str]:
    return {key: one.value.rsplit("/", 1)[-1] for key, one in completed.items()}


def test_one_folder_is_all_that_training_needs(folder: MakeFolder, is_file: LookAt) -> None:
    where = folder(*ALL)
    found = complete("train", is_file, dataset__train_dataset__data_path=where)
    assert {key: one.value for key, one in found.items()} == {
        f"{TRAIN}.data_path": f"{where}/train_data.npy",
        f"{TRAIN}.label_path": f"{where}/train_label.pkl",
        f"{VAL}.data_path": f"{where}/val_data.npy",
        f"{VAL}.label_path": f"{where}/val_label.pkl",
    }
    assert "goes with train_data.npy" in found[f"{TRAIN}.label_path"].reason


def test_a_trailing_slash_makes_no_difference(folder: MakeFolder, is_file: LookAt) -> None:
    where = folder(*ALL)
    given = {"dataset__train_dataset__data_path": where}
    slashed = {"dataset__train_dataset__data_path": where + "/"}
    assert complete("train", is_file, **given) == complete("train", is_file, **slashed)


@pytest.mark.parametrize(("present", "split"), [(ALL, "test"), (ALL[:4], "val")])
@pytest.mark.parametrize("action", ["evaluate", "inference"])
def test_the_test_set_is_wanted_before_the_validation_set(
    folder: MakeFolder, is_file: LookAt, action: str, present: tuple[str, ...], split: str
) -> None:
    found = complete(action, is_file, **{f"{action}__test_dataset__data_path": folder(*present)})
    assert names(found) == {
        f"{action}.test_dataset.data_path": f"{split}_data.npy",
        f"{action}.test_dataset.label_path": f"{split}_label.pkl",
    }
    assert found[f"{action}.test_dataset.data_path"].reason.startswith("first of test_data.npy, val_data.npy")


def test_data_and_labels_of_different_splits_are_never_mixed(folder: MakeFolder, is_file: LookAt) -> None:
    with pytest.raises(SpecError) as caught:
        complete("evaluate", is_file, evaluate__test_dataset__data_path=folder("test_data.npy", *ALL[:4]))
    (problem,) = caught.value.problems
    assert problem.key == f"{TEST}.label_path"
    assert "test_label.pkl" in problem.message
    assert "val_label.pkl" not in problem.message


def test_labels_that_inference_can_do_without_are_left_out(folder: MakeFolder, is_file: LookAt) -> None:
    given = {"inference__test_dataset__data_path": folder("test_data.npy", "val_label.pkl")}
    assert names(complete("inference", is_file, **given)) == {"inference.test_dataset.data_path": "test_data.npy"}


def test_a_folder_of_labels_gives_those_of_the_data_given(folder: MakeFolder, is_file: LookAt) -> None:
    where = folder(*ALL)
    given = {"evaluate__test_dataset__data_path": f"{where}/val_data.npy", "evaluate__test_dataset__label_path": where}
    assert names(complete("evaluate", is_file, **given)) == {f"{TEST}.label_path": "val_label.pkl"}


def test_data_and_labels_may_lie_in_two_folders(folder: MakeFolder, is_file: LookAt) -> None:
    data, labels = folder("val_data.npy", called="arrays"), folder("val_label.pkl", "test_label.pkl", called="labels")
    given = {"evaluate__test_dataset__data_path": data, "evaluate__test_dataset__label_path": labels}
    found = complete("evaluate", is_file, **given)
    assert found[f"{TEST}.data_path"].value == f"{data}/val_data.npy"
    assert found[f"{TEST}.label_path"].value == f"{labels}/val_label.pkl"


def test_a_validation_set_is_borrowed_only_whole_and_only_if_none_is_given(folder: MakeFolder, is_file: LookAt) -> None:
    half = folder("train_data.npy", "train_label.pkl", "val_data.npy", called="half")
    assert set(complete("train", is_file, dataset__train_dataset__data_path=half)) == {
        f"{TRAIN}.data_path",
        f"{TRAIN}.label_path",
    }
    whole = folder(*ALL, called="whole")
    given = {"dataset__train_dataset__data_path": whole, "dataset__val_dataset__data_path": f"{whole}/test_data.npy"}
    assert f"{VAL}.data_path" not in complete("train", is_file, **given)
    assert f"{VAL}.label_path" not in complete("train", is_file, **given)


def test_a_folder_without_the_names_is_refused_with_what_was_looked_for(folder: MakeFolder, is_file: LookAt) -> None:
    where = folder("data.npy")
    with pytest.raises(SpecError) as caught:
        complete("evaluate", is_file, evaluate__test_dataset__data_path=where)
    assert str(caught.value.problems[0].key) == f"{TEST}.data_path"
    assert where in caught.value.message
    assert "test_data.npy or val_data.npy" in caught.value.message


def test_files_given_as_files_stay_as_they_are(folder: MakeFolder, is_file: LookAt) -> None:
    where = folder(*ALL)
    assert complete("evaluate", is_file, evaluate__test_dataset__data_path=f"{where}/val_data.npy") == {}


def test_a_plan_records_the_choice_with_absolute_paths(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny.parent)
    found = planned(tmp_path, overrides=[f"train_data={tiny.name}"])
    assert found.spec["dataset"]["val_dataset"]["label_path"] == str(tiny / "val_label.pkl")
    recorded = found.inferred[f"{TRAIN}.data_path"]
    assert (recorded["by"], recorded["value"]) == ("folder", str(tiny / "train_data.npy"))
    assert "train_data.npy" in recorded["reason"]


CHECKPOINTS = {
    leaf.key: action
    for action in ("train", "evaluate", "inference", "export")
    for leaf in iter_params(ExperimentConfig, action)
    if leaf.param.checkpoint
}


def test_every_key_that_takes_a_checkpoint_is_known() -> None:
    assert set(CHECKPOINTS) == {
        "model.pretrained_model_path",
        "train.resume_training_checkpoint_path",
        "evaluate.checkpoint",
        "inference.checkpoint",
        "export.checkpoint",
    }


@pytest.mark.parametrize("key", CHECKPOINTS)
def test_a_checkpoint_named_without_its_step_is_found_and_said(
    key: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for step in (7, 14):
        (tmp_path / f"model_epoch_001_step_{step:05d}.pth").touch()
    action = CHECKPOINTS[key]
    data = {"train": [f"train_data={tiny}"], "export": []}.get(action, [f"{action}.test_dataset.data_path={tiny}"])
    found = planned(tmp_path, action, overrides=[f"{key}=model_epoch_001.pth", *data], automl="off")
    assert lookup(found.spec, key) == str(tmp_path / "model_epoch_001_step_00014.pth")
    stated = "model_epoch_001.pth stands for model_epoch_001_step_00014.pth, the newest of that epoch"
    assert found.inferred[key] == {"value": lookup(found.spec, key), "by": "folder", "reason": stated}
    with pytest.raises(SpecError, match=re.escape(key)):
        planned(tmp_path, action, overrides=[f"{key}=model_epoch_002.pth", *data], automl="off")


def test_a_folder_that_lacks_the_names_stops_a_plan(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"train_data\.npy") as caught:
        planned(tmp_path, overrides=[f"train_data={tmp_path}"])
    assert caught.value.problems[0].key == f"{TRAIN}.data_path"
