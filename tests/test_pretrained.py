from __future__ import annotations

from pathlib import Path

import pytest

from tao_skill import pretrained
from tao_skill.errors import BadRequest, KeyConflict, NotFound
from tao_skill.jobs.store import Store
from tao_skill.models.pose_classification.training import checkpoint_index
from tao_skill.planning.job import open_job
from tao_skill.planning.plan import Plan
from tao_skill.spec.tree import lookup
from tests.support.experiments import dataset_overrides, leave_checkpoints
from tests.support.plans import NOW, planned

KEY = "model.pretrained_model_path"


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    """Weights in each of the forms that a registry may hold them in."""
    folder = tmp_path / "registry"
    (folder / "single").mkdir(parents=True)
    for name in ("plain.pth", "single/whatever.pth"):
        (folder / name).touch()
    leave_checkpoints(folder / "trained", {"val_acc": 0.9}, {"val_acc": 0.8})
    (folder / "linked").mkdir()
    for name in (checkpoint_index.BEST, checkpoint_index.LATEST):
        (folder / "linked" / name).touch()
    (folder / "empty").mkdir()
    return folder


def train(tmp_path: Path, tiny: Path, registry: Path, name: str, *more: str, **asked: str) -> Plan:
    overrides = [*dataset_overrides(tiny), *more]
    environment = {pretrained.VARIABLE: str(registry)}
    root = tmp_path / "results"
    return planned(root, environment=environment, overrides=overrides, base_experiment=name, automl="off", **asked)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("plain", "plain.pth"),
        ("single", "single/whatever.pth"),
        ("trained", "trained/model_epoch_000_step_00000.pth"),
        ("linked", "linked/pc_model_best.pth"),
    ],
)
def test_a_name_is_a_file_a_folder_of_one_or_a_trainings_best(
    tmp_path: Path, tiny: Path, registry: Path, name: str, file: str
) -> None:
    found = train(tmp_path, tiny, registry, name)
    assert lookup(found.spec, KEY) == str(registry / file)
    assert found.inferred[KEY]["by"] == "ptm_if_no_resume_model"
    assert f"--base-experiment {name} of {registry}" in found.inferred[KEY]["reason"]


def test_an_unknown_name_is_answered_with_the_known_ones(tmp_path: Path, tiny: Path, registry: Path) -> None:
    with pytest.raises(NotFound, match="which contains linked, plain, single, trained$"):
        train(tmp_path, tiny, registry, "no-such")
    with pytest.raises(NotFound, match="which contains none$") as caught:
        train(tmp_path, tiny, tmp_path / "nowhere", "plain")
    assert "plain.pth" in caught.value.fix
    with pytest.raises(NotFound, match="empty"):
        train(tmp_path, tiny, registry, "empty")


@pytest.mark.parametrize("name", ["../plain", "a/b", "..", ".hidden", "", "a\nb", "/etc/passwd"])
def test_a_name_never_leaves_the_registry(tmp_path: Path, registry: Path, name: str) -> None:
    with pytest.raises(BadRequest, match="not accepted"):
        pretrained.find(name, {pretrained.VARIABLE: str(registry)}, ".pth", lambda folder: folder)


def test_the_registry_lies_where_the_environment_says(tmp_path: Path) -> None:
    assert pretrained.registry({pretrained.VARIABLE: str(tmp_path)}) == tmp_path
    assert pretrained.registry({"XDG_DATA_HOME": str(tmp_path)}) == tmp_path / "tao-skill" / "pretrained"
    assert pretrained.registry({}) == Path.home() / ".local" / "share" / "tao-skill" / "pretrained"


def test_named_weights_go_before_a_parents_and_after_a_given_path(tmp_path: Path, tiny: Path, registry: Path) -> None:
    parent, _ = open_job(train(tmp_path, tiny, registry, "plain"), Store(tmp_path / "results"), now=NOW)
    left = Path(parent.results_dir) / checkpoint_index.checkpoint_name(0, 3)
    left.parent.mkdir(parents=True)
    left.touch()
    below = train(tmp_path, tiny, registry, "single", parent=parent.id)
    assert lookup(below.spec, KEY) == str(registry / "single" / "whatever.pth")
    given = train(tmp_path, tiny, registry, "no-such", f"{KEY}={left}")
    assert lookup(given.spec, KEY) == str(left)
    assert KEY not in given.inferred
    assert any(f"no-such is not used, because {KEY} is given" in warning for warning in given.warnings)


def test_the_name_is_part_of_the_request_that_a_key_stands_for(tmp_path: Path, tiny: Path, registry: Path) -> None:
    store = Store(tmp_path / "results")
    job, _ = open_job(train(tmp_path, tiny, registry, "plain", key="k"), store, now=NOW)
    assert job.spec["model"]["pretrained_model_path"] == str(registry / "plain.pth")
    assert open_job(train(tmp_path, tiny, registry, "plain", key="k"), store, now=NOW) == (job, False)
    with pytest.raises(KeyConflict, match=r"model\.pretrained_model_path"):
        open_job(train(tmp_path, tiny, registry, "single", key="k"), store, now=NOW)


def test_only_an_action_that_starts_from_weights_takes_a_name(tmp_path: Path, registry: Path) -> None:
    with pytest.raises(BadRequest, match="evaluate does not start from pretrained weights"):
        planned(tmp_path, "evaluate", environment={pretrained.VARIABLE: str(registry)}, base_experiment="plain")
