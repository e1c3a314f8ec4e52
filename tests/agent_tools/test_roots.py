"""Nothing outside the roots is read or written, however it is named."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml

from tao_skill.agent_tools.context import ToolContext
from tao_skill.agent_tools.dispatch import reply
from tao_skill.agent_tools.roots import Roots
from tao_skill.errors import OutsideRoots
from tests.support.tools import Call


@pytest.fixture
def outside(tiny: Path, tmp_path: Path) -> Path:
    """A copy of the data that no root holds."""
    return shutil.copytree(tiny, tmp_path / "outside")


def test_links_and_dots_are_followed_before_a_path_is_judged(root: Path, outside: Path) -> None:
    roots = Roots(folders=(root,))
    link, loop = root / "link", root / "loop"
    link.symlink_to(outside)
    loop.symlink_to(loop)
    try:
        assert roots.contains(root / "data" / ".." / "data" / "train_data.npy")
        assert roots.contains(root / "not" / "there" / "yet")
        for path in (link, link / "train_data.npy", root / ".." / "x", Path("/"), loop / "x", root / "a\0b"):
            assert not roots.contains(path), path
        assert not roots.contains(root.with_name(root.name + "-and-more"))
    finally:
        link.unlink()
        loop.unlink()


@pytest.mark.parametrize("address", ["s3://bucket/key", "file:///etc/passwd", "S3://bucket/key", "http://x/y"])
def test_addresses_are_refused_unless_allowed_and_then_only_s3(root: Path, address: str) -> None:
    with pytest.raises(OutsideRoots):
        Roots(folders=(root,)).confine("key", address)
    if address == "s3://bucket/key":
        Roots(folders=(root,), allow_remote=True).confine("key", address)
    else:
        with pytest.raises(OutsideRoots):
            Roots(folders=(root,), allow_remote=True).confine("key", address)


KEYS = (
    "dataset.train_dataset.data_path",
    "dataset.train_dataset.label_path",
    "dataset.val_dataset.data_path",
    "model.pretrained_model_path",
    "train.resume_training_checkpoint_path",
    "train.results_dir",
)


@pytest.mark.parametrize("key", [*KEYS, "evaluate.checkpoint", "train_data", "+dataset.train_dataset.data_path"])
def test_no_override_leads_outside(key: str, call: Call, root: Path, outside: Path, overrides: list[str]) -> None:
    refused = call("run_action", action="train", overrides=[*overrides, f"{key}={outside / 'train_data.npy'}"])
    error = refused.document["error"]
    assert (refused.is_error, error["code"]) == (True, "outside_roots")
    assert str(root) in error["fix"]
    assert not (root / "results").exists()


@pytest.mark.parametrize("key", KEYS)
def test_no_key_of_a_spec_file_leads_outside(key: str, call: Call, root: Path, outside: Path) -> None:
    *sections, name = key.split(".")
    nested: dict[str, object] = {name: str(outside / "train_data.npy")}
    for section in reversed(sections):
        nested = {section: nested}
    (root / "leaving.yaml").write_text(yaml.safe_dump(nested))
    refused = call("run_action", action="train", spec=str(root / "leaving.yaml"))
    assert refused.document["error"]["code"] == "outside_roots"
    assert not (root / "results").exists()


def test_no_argument_leads_outside(call: Call, outside: Path, root: Path) -> None:
    (root / "spec-link.yaml").symlink_to(outside / "spec.yaml")
    for name, arguments in {
        "inspect_data": {"data": str(outside / "train_data.npy")},
        "plan": {"action": "train", "spec": str(outside / "spec.yaml")},
        "run_action": {"action": "train", "spec": str(root / "spec-link.yaml")},
        "job_status": {"job": str(outside)},
        "job_logs": {"job": f"{outside}/../outside"},
    }.items():
        refused = call(name, **arguments)
        assert refused.document["error"]["code"] == "outside_roots", name


def test_a_folder_of_data_with_a_link_in_it_is_refused(call: Call, outside: Path, root: Path) -> None:
    (root / "mixed").mkdir()
    shutil.copy(outside / "train_label.pkl", root / "mixed")
    (root / "mixed" / "train_data.npy").symlink_to(outside / "train_data.npy")
    refused = call("plan", action="train", overrides=[f"train_data={root / 'mixed'}"])
    assert refused.document["error"]["code"] == "outside_roots"


def test_a_record_that_points_outside_is_not_followed(tmp_path: Path, outside: Path) -> None:
    """A job folder that somebody put into the results root, its record or its results elsewhere."""
    root = tmp_path / "root"
    foreign = root / "results" / "train-1"
    foreign.mkdir(parents=True)
    (outside / "status.json").write_text(json.dumps({"kpi": {"secret": 1}}))
    record = {"id": "train-1", "model": "pose_classification", "action": "train", "results_dir": str(outside)}
    record |= {"created": "2026-01-01T00:00:00.000000+00:00", "attempts": [], "command": [], "artifacts": []}
    (foreign / "job.json").write_text(json.dumps(record))
    linked = root / "results" / "train-2"
    linked.mkdir()
    (outside / "job.json").write_text(json.dumps(record | {"id": "train-2", "results_dir": str(root)}))
    (linked / "job.json").symlink_to(outside / "job.json")
    here = ToolContext(roots=Roots(folders=(root,)), results_root=root / "results", environment=os.environ)
    for name in ("read_report", "job_status", "job_logs", "cancel_job"):
        assert reply(name, {"job": "train-1"}, here).document["error"]["code"] == "outside_roots", name
        assert reply(name, {"job": "train-2"}, here).document["error"]["code"] == "not_found", name
    run = reply("run_action", {"action": "evaluate", "parent": "train-1"}, here)
    assert run.document["error"]["code"] == "outside_roots"
    assert [row["id"] for row in reply("list_jobs", {}, here).document["jobs"]] == ["train-1"]


def test_pretrained_weights_are_taken_from_a_registry_in_the_roots_only(
    root: Path, outside: Path, overrides: list[str]
) -> None:
    (outside / "mine.pth").write_bytes(b"weights")
    environment = {**os.environ, "TAO_SKILL_PRETRAINED": str(outside)}
    here = ToolContext(roots=Roots(folders=(root,)), results_root=root / "results", environment=environment)
    asked = {"action": "train", "overrides": overrides, "base_experiment": "mine"}
    assert reply("plan", asked, here).document["error"]["code"] == "outside_roots"
