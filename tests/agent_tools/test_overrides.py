"""Overrides of plan and run_action as an object of keys and values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tao_skill.automl import submit
from tao_skill.cli.program import tao_skill
from tests.support.tools import Call

MIXED: dict[str, Any] = {
    "train.num_epochs": 30,
    "lr": 0.25,
    "wandb": {"tags": ["1", "yes"]},
    "model_name": "null",
    "dataset.label_map": {"a.b": 0, "lr": 1, "sit down": 2, "d": 3, "e": 4, "f": 5},
    "automl_policy": "off",
}


@pytest.fixture(scope="module")
def asked(overrides: list[str]) -> dict[str, Any]:
    """The training of the generated set as an object, its keys of every kind."""
    written = dict(pair.split("=") for pair in overrides if "=/" in pair)
    return {**written, "num_workers": 0, **MIXED}


def test_an_object_sets_nested_dotted_and_short_keys(call: Call, asked: dict[str, Any], root: Path) -> None:
    pinned = asked | {"results_dir": str(root / "r")}
    planned = call("plan", action="train", overrides=pinned, detail="full").document
    spec = planned["plan"]["spec"]
    assert (spec["train"]["num_epochs"], spec["train"]["optim"]["lr"]) == (30, 0.25)
    assert (spec["wandb"]["tags"], spec["model_name"]) == (["1", "yes"], "null")
    assert spec["dataset"]["label_map"] == MIXED["dataset.label_map"]
    assert planned["route"]["policy"] == "off"
    again = call("plan", **planned["next"][0]["arguments"], detail="full").document
    assert again["plan"]["spec"] == spec


def test_an_object_wins_over_the_spec_file_and_null_takes_a_value_back(
    call: Call, asked: dict[str, Any], root: Path
) -> None:
    (root / "s.yaml").write_text("train: {num_epochs: 3, seed: 5}\nmodel.dropout: 0.125\n")
    changed = asked | {"train.seed": None}
    spec = call("plan", action="train", spec=str(root / "s.yaml"), overrides=changed, detail="full").document["plan"][
        "spec"
    ]
    assert (spec["train"]["num_epochs"], spec["train"]["seed"], spec["model"]["dropout"]) == (30, 1234, 0.125)


def test_the_record_of_an_object_is_a_command_line_without_secrets(
    call: Call, asked: dict[str, Any], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submit, "start", lambda *_: None)
    secret = asked | {"encryption_key": "a secret 4711"}
    planned = call("plan", action="train", overrides=secret)
    started = call("run_action", action="train", overrides=secret).document
    record = json.loads((root / "results" / started["job"]["id"] / "job.json").read_text())
    assert "encryption_key=***" in record["command"]
    assert "encryption_key=***" in planned.document["next"][0]["arguments"]["overrides"]
    assert "4711" not in planned.text + json.dumps(started) + json.dumps(record)
    words = [word for word in record["command"][1:] if "***" not in word]
    done = CliRunner().invoke(
        tao_skill, [*words, "--dry-run", "--json"], env={"TAO_SKILL_RESULTS": str(root / "results")}
    )
    repeated = json.loads(done.stdout)["plan"]["spec"]
    assert {**repeated, "results_dir": ""} == {**record["spec"], "results_dir": ""}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"lr": 0.1, "train": {"optim.lr": 0.2}}, "has two values in overrides: `lr: 0.1` and `train: optim.lr: 0.2`"),
        ({"train.optim.lrr": 0.1}, "did you mean train.optim.lr?"),
        ({"model_name": "\ud800"}, "overrides cannot be read"),
        ({"automl_policy": "maybe"}, "maybe"),
        ({"model_name": json.loads("[" * 900 + "]" * 900)}, "overrides cannot be read: it is nested more than"),
        ([json.loads("[" * 900 + "]" * 900)], "overrides cannot be read: it is nested more than"),
        ([3], "accepted: a list of texts or a mapping of names to values"),
        (3, "accepted: a list of texts or a mapping of names to values"),
    ],
)
def test_what_is_wrong_with_an_object_is_said(call: Call, overrides: Any, message: str) -> None:
    refused = call("plan", action="train", overrides=overrides)
    assert refused.is_error
    assert message in refused.document["error"]["message"]


@pytest.mark.parametrize("form", ["text", "object", "file"])
def test_requests_read_no_environment_variable(
    call: Call, asked: dict[str, Any], root: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setenv("OF_THE_SERVER", "private-4711")
    reference = "${oc.env:OF_THE_SERVER,x}"
    (root / "env.yaml").write_text(f"wandb.name: {reference}\n")
    given: dict[str, Any] = {
        "text": {"overrides": [f"wandb.name={reference}"]},
        "object": {"overrides": {**asked, "wandb.name": reference}},
        "file": {"overrides": asked, "spec": str(root / "env.yaml")},
    }
    refused = call("plan", action="train", **given[form])
    assert "reads no environment variables" in refused.document["error"]["message"]
    assert "4711" not in refused.text


def test_a_reference_cannot_lead_out_of_the_roots(call: Call, asked: dict[str, Any], root: Path) -> None:
    outside = asked | {"wandb.name": "/etc", "train_data": "${wandb.name}/passwd"}
    assert call("plan", action="train", overrides=outside).document["error"]["code"] == "outside_roots"
    inside = asked | {"wandb.name": str(root), "train_data": "${wandb.name}/data/train_data.npy"}
    assert not call("plan", action="train", overrides=inside).is_error
