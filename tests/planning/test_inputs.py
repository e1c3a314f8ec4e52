"""Data given as a folder: which files are taken, from local folders and S3 prefixes alike."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tao_skill.agent_tools.roots import Roots
from tao_skill.errors import OutsideRoots, SpecError
from tao_skill.io.s3 import S3, is_remote
from tao_skill.jobs.store import Store
from tao_skill.models.pose_classification.config import ExperimentConfig
from tao_skill.planning.inputs import ChosenFile, complete_folders
from tao_skill.planning.job import open_job
from tao_skill.planning.plan import make_plan
from tao_skill.planning.request import Request
from tao_skill.runner import load_runner
from tao_skill.spec.load import override
from tao_skill.spec.tree import iter_params, lookup
from tests.support.experiments import dataset, leave_checkpoints, without_label_map
from tests.support.plans import NOW, planned
from tests.support.servers.s3 import S3Server

TRAIN, VAL = "dataset.train_dataset", "dataset.val_dataset"
TEST = "evaluate.test_dataset"
LABEL_MAP, NUM_CLASSES = "dataset.label_map", "dataset.num_classes"
ALL = ("train_data.npy", "train_label.pkl", "val_data.npy", "val_label.pkl", "test_data.npy", "test_label.pkl")
MakeFolder = Callable[..., str]
LookAt = Callable[[str], bool]


@pytest.fixture(params=["local", "s3"])
def folder(request: pytest.FixtureRequest, s3_server: S3Server, tmp_path: Path) -> MakeFolder:
    """Makes a folder that holds the named files, on disk or on the server."""

    def make(*names: str, called: str = "data") -> str:
        if request.param == "s3":
            for name in names:
                s3_server.put(f"{tmp_path.name}/{called}/{name}", name.encode())
            return f"s3://recordings/{tmp_path.name}/{called}"
        (tmp_path / called).mkdir()
        for name in names:
            (tmp_path / called / name).write_text(name)
        return str(tmp_path / called)

    return make


@pytest.fixture
def is_file(s3_server: S3Server, tmp_path: Path) -> LookAt:
    s3 = S3(s3_server.environment(tmp_path))
    return lambda text: s3.describe(text) is not None if is_remote(text) else Path(text).is_file()


def complete(action: str, is_file: LookAt, **given: str) -> dict[str, ChosenFile]:
    values = override(ExperimentConfig, {}, [(key.replace("__", "."), value) for key, value in given.items()])
    completed, problems = complete_folders(load_runner("pose_classification", action).data, values, is_file)
    if problems:
        raise SpecError(problems)
    return completed


def names(completed: dict[str, ChosenFile]) -> dict[str, str]:
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


@pytest.mark.parametrize("given", ["the folder", "the files"])
def test_the_class_names_beside_the_training_data_are_taken(given: str, tiny: Path, tmp_path: Path) -> None:
    data = {"the folder": [f"train_data={tiny}"], "the files": [f"{key}={path}" for key, path in dataset(tiny).items()]}
    found = planned(tmp_path, overrides=data[given])
    names = json.loads((tiny / "label_map.json").read_text())
    assert (lookup(found.spec, LABEL_MAP), lookup(found.spec, NUM_CLASSES)) == (names, len(names))
    reason = "from label_map.json beside the training data"
    assert found.inferred[LABEL_MAP] == {"value": names, "by": "class_names", "reason": reason}
    assert found.inferred[NUM_CLASSES]["by"] == "class_count"
    assert not any("label_map" in warning for warning in found.warnings)


def test_what_is_given_goes_before_the_class_names_beside_the_data(tiny: Path, tmp_path: Path) -> None:
    own = planned(tmp_path, overrides=[f"train_data={tiny}", f"{LABEL_MAP}={{a: 0, b: 1, c: 2, d: 3, e: 4, f: 5}}"])
    assert (list(lookup(own.spec, LABEL_MAP)), lookup(own.spec, NUM_CLASSES)) == (list("abcdef"), 6)
    assert not {LABEL_MAP, NUM_CLASSES} & set(own.inferred)
    more = planned(tmp_path, overrides=[f"train_data={tiny}", f"{NUM_CLASSES}=7"])
    assert lookup(more.spec, LABEL_MAP) is None
    assert f"{tiny / 'label_map.json'} is not used: it names 6 classes, but dataset.num_classes is 7" in more.warnings


def test_a_parents_classes_go_before_those_beside_the_data(tiny: Path, tmp_path: Path) -> None:
    bare = without_label_map(tiny, tmp_path)
    for names in (None, dict(zip("fedcba", range(6), strict=True))):
        overrides = [f"train_data={bare}", *([f"{LABEL_MAP}={json.dumps(names)}"] if names else [])]
        parent, _ = open_job(
            planned(tmp_path / "jobs", overrides=overrides, key=str(names)), Store(tmp_path / "jobs"), now=NOW
        )
        leave_checkpoints(Path(parent.results_dir), {"val_acc": 0.9})
        found = planned(tmp_path / "jobs", overrides=[f"train_data={tiny}"], parent=parent.id)
        assert found.inferred[LABEL_MAP]["by"] == ("parent" if names else "class_names")
        if names:
            assert lookup(found.spec, LABEL_MAP) == names


@pytest.mark.parametrize(
    "content",
    [
        "not JSON",
        "[]",
        "{}",
        '{"a": 0, "b": 0}',
        '{"a": 0, "b": 2}',
        '{"a": 0, "b": true}',
        '{"a": 0, "two\\nlines": 1}',
        '{"a": 0, "a": 1}',
        '{"a": NaN}',
        '{"' + "a" * 2**20 + '": 0}',
    ],
    ids=range(10),
)
def test_a_file_that_is_no_label_map_is_warned_of(content: str, tiny: Path, tmp_path: Path) -> None:
    (without_label_map(tiny, tmp_path) / "label_map.json").write_text(content)
    found = planned(tmp_path / "jobs", overrides=[f"train_data={tmp_path}"])
    assert (lookup(found.spec, LABEL_MAP), lookup(found.spec, NUM_CLASSES)) == (None, 6)
    (warning,) = (one for one in found.warnings if "label_map.json" in one)
    assert warning.startswith(f"{tmp_path / 'label_map.json'} is not a label map")
    assert warning.endswith("; it is not used")


def test_class_names_outside_the_roots_are_not_read(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    for path in (*tiny.glob("*.npy"), *tiny.glob("*.pkl")):
        shutil.copy(path, tmp_path / "root")
    (tmp_path / "root" / "label_map.json").symlink_to(tiny / "label_map.json")
    roots = Roots(folders=((tmp_path / "root").resolve(),))
    request = Request(overrides=[f"train_data={tmp_path / 'root'}"])
    runner, store = load_runner("pose_classification", "train"), Store(tmp_path / "jobs")
    with pytest.raises(OutsideRoots, match=r"dataset\.label_map is .*label_map\.json"):
        make_plan(runner, request, store, environment={}, now=NOW, token="beef", confine=roots.confine)


def test_a_folder_that_lacks_the_names_stops_a_plan(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"train_data\.npy") as caught:
        planned(tmp_path, overrides=[f"train_data={tmp_path}"])
    assert caught.value.problems[0].key == f"{TRAIN}.data_path"
