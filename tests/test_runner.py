from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tao_skill.errors import NotFound, SpecError
from tao_skill.jobs.record import Ending
from tao_skill.jobs.store import Store
from tao_skill.models.pose_classification.config import ExperimentConfig
from tao_skill.models.pose_classification.training import checkpoint_index
from tao_skill.models.pose_classification.training.devices import plan_devices
from tao_skill.planning.job import open_job
from tao_skill.spec import load
from tao_skill.spec.tree import lookup
from tests.support.experiments import dataset_overrides, leave_checkpoints
from tests.support.plans import NOW, planned

NAMED = ["dataset.label_map={a: 0, b: 1, c: 2, d: 3, e: 4, f: 5}"]


@pytest.fixture
def data(tiny: Path) -> list[str]:
    return dataset_overrides(tiny)


@pytest.fixture
def parent(tmp_path: Path, data: list[str]) -> str:
    """A train job that ended well, with two checkpoints of which the first is better."""
    store = Store(tmp_path)
    facts = ["graph_strategy=distance", "num_classes=7", *data]
    job, _ = open_job(planned(tmp_path, overrides=facts, automl="off"), store, now=NOW)
    leave_checkpoints(Path(job.results_dir), {"val_acc": 0.9}, {"val_acc": 0.8})
    store.begin_attempt(job.id, 1)
    store.close_attempt(job.id, 1, Ending(state="COMPLETE", exit_code=0))
    return job.id


def test_layers_come_in_order_and_the_full_key_beats_the_short_one(tmp_path: Path, data: list[str]) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text("train: {num_epochs: 3, seed: 5, optim: {lr: 0.5}}\nmodel: {dropout: 0.3}\n")
    overrides = ["train.optim.lr=0.25", "lr=0.125", "dropout=0.1", *data]
    found = planned(tmp_path, spec_file=spec, overrides=overrides).spec
    assert lookup(found, "train.optim.lr") == 0.25
    assert lookup(found, "model.dropout") == 0.1
    assert lookup(found, "train.num_epochs") == 3
    assert lookup(found, "train.seed") == 5
    assert lookup(found, "train.optim.momentum") == 0.9


def test_a_file_may_hold_other_actions_and_they_are_said_to_be_ignored(tmp_path: Path, data: list[str]) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text("evaluate: {batch_size: 3}\ndataset_convert: {num_joints: 34}\n")
    found = planned(tmp_path, spec_file=spec, overrides=data)
    assert set(found.ignored) == {"evaluate.batch_size", "dataset_convert.num_joints"}
    with pytest.raises(SpecError, match=r"evaluate\.batch_size"):
        planned(tmp_path, overrides=["evaluate.batch_size=3", *data])


def test_every_problem_is_reported_at_once_with_its_path(tmp_path: Path, data: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        planned(tmp_path, overrides=["train.num_epoch=3", "lr=-1", "graph_layout=kinect", *data])
    keys = {problem.key for problem in caught.value.problems}
    assert keys == {"train.num_epoch", "train.optim.lr", "model.graph_layout"}
    assert "train.num_epochs" in caught.value.fix
    assert not [entry for entry in tmp_path.iterdir() if entry.is_dir()]


def test_inference_never_replaces_what_was_given(tmp_path: Path, parent: str, tiny: Path) -> None:
    mine = tmp_path / "mine.pth"
    mine.touch()
    found = planned(
        tmp_path, "evaluate", parent=parent, overrides=[f"evaluate.checkpoint={mine}", f"results_dir={tmp_path}/mine"]
    )
    assert lookup(found.spec, "evaluate.checkpoint") == str(mine)
    assert found.results_dir == tmp_path / "mine" / "evaluate"
    assert {"evaluate.checkpoint", "results_dir"}.isdisjoint(found.inferred)


def test_a_downstream_action_needs_nothing_but_its_parent(tmp_path: Path, parent: str, tiny: Path) -> None:
    found = planned(tmp_path, "evaluate", parent=parent[:10])
    assert found.parent == parent
    assert Path(lookup(found.spec, "evaluate.checkpoint")).name == "model_epoch_000_step_00000.pth"
    assert "best val_acc 0.9000, epoch 0" in found.inferred["evaluate.checkpoint"]["reason"]
    assert lookup(found.spec, "model.graph_strategy") == "distance"
    assert lookup(found.spec, "dataset.num_classes") == 7
    assert lookup(found.spec, "evaluate.test_dataset.data_path") == str(tiny / "val_data.npy")
    assert lookup(found.spec, "evaluate.test_dataset.label_path") == str(tiny / "val_label.pkl")
    assert found.results_dir == tmp_path / found.job_id / "evaluate"


def test_only_int8_takes_the_parents_training_data_to_calibrate_with(tmp_path: Path, parent: str, tiny: Path) -> None:
    for precision, data in (("fp32", None), ("INT8", str(tiny / "train_data.npy"))):
        found = planned(tmp_path, "export", parent=parent, overrides=[f"export.precision={precision}"])
        assert lookup(found.spec, "export.calibration.data_path") == data


def test_inference_writes_into_its_own_job(tmp_path: Path, parent: str) -> None:
    found = planned(tmp_path, "inference", parent=parent)
    assert lookup(found.spec, "inference.output_file") == str(tmp_path / found.job_id / "results.txt")


@pytest.mark.parametrize(
    ("action", "key", "name"),
    [("inference", "inference.output_file", "results.txt"), ("export", "export.onnx_file", "model.onnx")],
)
def test_results_go_where_the_request_says(
    tmp_path: Path, parent: str, action: str, key: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out, own = tmp_path / "out", f"{action}.results_dir"
    places = {
        (f"{own}=out",): (out, f"in {own}"),
        ("results_dir=out",): (out / action, f"in results_dir/{action}"),
        ("results_dir=other", f"{own}={out}"): (out, f"in {own}"),
    }
    for overrides, (folder, reason) in places.items():
        found = planned(tmp_path, action, parent=parent, overrides=overrides)
        assert lookup(found.spec, key) == str(folder / name)
        assert found.inferred[key]["reason"] == reason
        assert found.results_dir == folder
    mine = planned(tmp_path, action, parent=parent, overrides=[f"{own}=out", f"{key}=mine/{name}"])
    assert lookup(mine.spec, key) == str(tmp_path / "mine" / name)


def test_only_a_file_in_the_jobs_own_folder_is_overwritten_unasked(tmp_path: Path, parent: str) -> None:
    out = tmp_path / "out"
    assert lookup(planned(tmp_path, "export", parent=parent).spec, "export.overwrite") is True
    found = planned(tmp_path, "export", parent=parent, overrides=[f"export.results_dir={out}"])
    assert lookup(found.spec, "export.overwrite") is False
    out.mkdir()
    (out / "model.onnx").touch()
    with pytest.raises(SpecError, match="which exists already"):
        planned(tmp_path, "export", parent=parent, overrides=[f"export.results_dir={out}"])
    planned(tmp_path, "export", parent=parent, overrides=[f"export.results_dir={out}", "export.overwrite=true"])


def test_without_a_parent_the_fix_names_one(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        planned(tmp_path, "evaluate")
    fixes = {problem.key: problem.fix for problem in caught.value.problems}
    assert fixes["evaluate.checkpoint"].startswith("give --parent JOB")
    with pytest.raises(NotFound):
        planned(tmp_path, "evaluate", parent="no-such-job")


def test_a_parent_that_is_not_complete_is_warned_of(tmp_path: Path, parent: str, data: list[str]) -> None:
    assert not any("parent" in warning for warning in planned(tmp_path, "evaluate", parent=parent).warnings)
    other, _ = open_job(planned(tmp_path, overrides=data, automl="off", key="new"), Store(tmp_path), now=NOW)
    Path(other.results_dir).mkdir(parents=True)
    (Path(other.results_dir) / checkpoint_index.checkpoint_name(0, 3)).touch()
    warnings = planned(tmp_path, "evaluate", parent=other.id).warnings
    assert any(f"{other.id} is PENDING" in warning for warning in warnings)


def test_a_train_with_a_parent_starts_from_its_weights(tmp_path: Path, parent: str, data: list[str]) -> None:
    found = planned(tmp_path, overrides=data, parent=parent)
    assert Path(lookup(found.spec, "model.pretrained_model_path")).name == "model_epoch_000_step_00000.pth"


def test_an_own_checkpoint_is_resumed_from_and_the_key_still_fits(tmp_path: Path, data: list[str]) -> None:
    store = Store(tmp_path)
    first, is_new = open_job(planned(tmp_path, overrides=data, automl="off", key="k"), store, now=NOW)
    assert is_new
    own = Path(first.results_dir) / checkpoint_index.checkpoint_name(0, 3)
    own.parent.mkdir(parents=True)
    own.touch()
    assert "train.resume_training_checkpoint_path" not in planned(tmp_path, overrides=data, automl="off").inferred
    (own.parent / checkpoint_index.LATEST).symlink_to(own.name)
    again = planned(tmp_path, overrides=data, automl="off", key="k")
    assert again.inferred["train.resume_training_checkpoint_path"]["value"] == str(own)
    same, is_new = open_job(again, store, now=NOW)
    assert (same.id, is_new) == (first.id, False)


@pytest.mark.parametrize("written", ["automl_policy: off\n", "automl_policy: 'off'\n"])
def test_the_policy_may_stand_in_the_file_and_is_no_spec_key(tmp_path: Path, data: list[str], written: str) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(written)
    found = planned(tmp_path, spec_file=spec, overrides=data)
    assert (found.route.policy, found.route.route) == ("off", "direct")
    assert "automl_policy" not in found.spec
    assert planned(tmp_path, spec_file=spec, overrides=["automl_policy=on", *data]).route.policy == "on"
    assert planned(tmp_path, overrides=["automl_policy=on", *data], automl="off").route.policy == "off"


def test_a_train_is_routed_to_automl_unless_turned_off(tmp_path: Path, data: list[str]) -> None:
    found = planned(tmp_path, overrides=data)
    assert found.route.route == "automl"
    assert open_job(found, Store(tmp_path), now=NOW)[0].automl == {}
    assert planned(tmp_path, overrides=data, user_request="please, no HPO").route.route == "direct"


def test_without_packaged_schemas_a_train_runs_directly(
    tmp_path: Path, data: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    from tao_skill import bank

    copy = tmp_path / "bank"
    for name in ("schemas", "references", "runners", "skills"):
        shutil.copytree(bank.root() / name, copy / name)
    monkeypatch.setenv("TAO_SKILL_BANK", str(copy))
    assert planned(tmp_path, overrides=data).route.route == "automl"
    (copy / "schemas" / "pose_classification" / "train.schema.json").unlink()
    route = planned(tmp_path, overrides=data).route
    assert route.route == "direct"
    assert "AutoML is enabled but not runnable for this model until schemas are generated" in route.reason


def test_a_secret_is_in_no_part_of_plan_or_record(tmp_path: Path, data: list[str]) -> None:
    overrides = ["encryption_key=hunter2hunter2", *data]
    command = ["tao-skill", "run", "train", *overrides]
    found = planned(tmp_path, overrides=overrides, automl="off", command=command)
    assert found.secrets == {"encryption_key": "hunter2hunter2"}
    job, _ = open_job(found, Store(tmp_path), now=NOW)
    assert "hunter2" not in str(found.as_dict())
    assert "hunter2" not in (tmp_path / job.id / "job.json").read_text()
    from_environment = planned(tmp_path, overrides=data, environment={"TAO_SKILL_ENCRYPTION_KEY": "hunter3"})
    assert from_environment.secrets == {"encryption_key": "hunter3"}
    assert "hunter3" not in str(from_environment.as_dict())


def test_an_evaluation_stands_for_the_training_behind_it(tmp_path: Path, parent: str, tiny: Path) -> None:
    store = Store(tmp_path)
    job, _ = open_job(planned(tmp_path, "evaluate", parent=parent, key="score"), store, now=NOW)
    found = planned(tmp_path, "export", parent=job.id)
    assert found.parent == job.id
    assert lookup(found.spec, "export.checkpoint").endswith("model_epoch_000_step_00000.pth")
    assert lookup(found.spec, "export.sample_data") == str(tiny / "val_data.npy")
    assert lookup(found.spec, "dataset.num_classes") == 7


def test_what_a_search_found_and_was_after_is_what_follows_builds_on(tmp_path: Path, data: list[str]) -> None:
    store = Store(tmp_path)
    planned_search = planned(tmp_path, overrides=data, search={"metric": "val_loss"})
    assert planned_search.route.route == "automl"
    job, _ = open_job(planned_search, store, now=NOW)
    assert job.automl == {"metric": "val_loss"}
    leave_checkpoints(Path(job.results_dir), {"val_acc": 0.9, "val_loss": 1.0}, {"val_acc": 0.8, "val_loss": 0.5})
    store.begin_attempt(job.id, 1)
    chosen = {"model.graph_strategy": "uniform"}
    store.close_attempt(job.id, 1, Ending(state="COMPLETE", exit_code=0, chosen=chosen))
    found = planned(tmp_path, "evaluate", parent=job.id)
    assert lookup(found.spec, "evaluate.checkpoint").endswith("model_epoch_001_step_00001.pth")
    assert lookup(found.spec, "model.graph_strategy") == "uniform"


def test_the_sequences_a_model_was_trained_on_shape_its_export(tmp_path: Path, data: list[str], parent: str) -> None:
    assert lookup(planned(tmp_path, "export", parent=parent).spec, "export.sequence_length") is None
    folder = next(tmp_path.glob("train-*/train"))
    known = [replace(one, sequence_length=150, num_persons=1) for one in checkpoint_index.read_index(folder)]
    checkpoint_index.write_index(folder, known)
    found = planned(tmp_path, "export", parent=parent)
    assert lookup(found.spec, "export.sequence_length") == 150
    assert lookup(found.spec, "export.num_persons") == 1
    assert found.inferred["export.sequence_length"]["by"] == "parent_sequence_length"


def test_relative_paths_are_recorded_as_seen_from_here(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny)
    found = planned(tmp_path, overrides=["train_data=train_data.npy", "train_labels=train_label.pkl"])
    assert lookup(found.spec, "dataset.train_dataset.data_path") == str(tiny / "train_data.npy")


def test_small_sets_and_unused_windows_are_warned_of(tmp_path: Path, data: list[str]) -> None:
    warnings = planned(tmp_path, overrides=[*data, "window_size=4"], automl="off").warnings
    assert any("lr" in warning for warning in warnings)
    assert any("window_size=4 has no effect" in warning for warning in warnings)
    calm = planned(tmp_path, overrides=[*data, "lr=0.01", "batch_size=4", *NAMED], automl="off").warnings
    assert not calm
    searched = planned(tmp_path, overrides=[*data, *NAMED]).warnings
    assert not any("lr" in warning for warning in searched)  # a search tries other values


@pytest.mark.parametrize(
    ("num_gpus", "gpu_ids", "used", "warned"),
    [
        (1, "[0]", [0], False),
        (1, "[0,1]", [0, 1], False),
        (2, "[0]", [0, 1], False),
        (2, "[3,5]", [3, 5], False),
        (4, "[3,5]", [0, 1, 2, 3], True),
    ],
)
def test_a_plan_shows_the_gpus_that_are_used(
    tmp_path: Path, data: list[str], num_gpus: int, gpu_ids: str, used: list[int], warned: bool
) -> None:
    overrides = [f"train.num_gpus={num_gpus}", f"train.gpu_ids={gpu_ids}", *data]
    found = planned(tmp_path, overrides=overrides)
    assert found.as_dict()["plan"]["devices"] == {"num_gpus": len(used), "gpu_ids": used}
    assert any(f"the larger is used, GPUs {used}" in warning for warning in found.warnings) == warned
    config = load.build(ExperimentConfig, found.spec)
    assert plan_devices(config.train.num_gpus, config.train.gpu_ids, 8).devices == used


@pytest.mark.parametrize("action", ["evaluate", "inference"])
def test_several_gpus_for_an_action_that_uses_one_are_warned_of(tmp_path: Path, parent: str, action: str) -> None:
    for asked, used in (("num_gpus=2", 0), ("gpu_ids=[1,2]", 1)):
        found = planned(tmp_path, action, parent=parent, overrides=[f"{action}.{asked}"])
        assert found.gpus == [used]
        assert any(f"{action} uses one GPU, number {used}, of the 2" in warning for warning in found.warnings)
    one = planned(tmp_path, action, parent=parent, overrides=[f"{action}.gpu_id=3"])
    assert one.gpus == [3]
    assert not any("GPU" in warning for warning in one.warnings)


def test_a_direct_training_that_never_validates_is_warned_of(tmp_path: Path, data: list[str]) -> None:
    never = ["train.num_epochs=3", "train.validation_interval=5", *data]
    (warning,) = (one for one in planned(tmp_path, overrides=never, automl="off").warnings if "no validation" in one)
    assert warning.startswith("train.num_epochs is 3, below train.validation_interval, which is 5")
    assert warning.endswith("set train.validation_interval=3 or lower")
    once = [*never, "train.validation_interval=3"]
    for overrides, automl in ((never, "on"), (once, "off")):
        assert not any("no validation" in one for one in planned(tmp_path, overrides=overrides, automl=automl).warnings)
