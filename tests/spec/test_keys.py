"""Nested, dotted and short keys: in spec files, and as overrides given as an object."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tao_skill import bank
from tao_skill.cli.program import tao_skill
from tao_skill.errors import BadRequest, SpecError
from tao_skill.models.pose_classification.config import ExperimentConfig
from tao_skill.spec import load
from tao_skill.spec.keys import full_keys, override_pairs, override_texts
from tao_skill.spec.schema import iter_params
from tests.support.experiments import dataset

SHORT = bank.skill_info("pose_classification")["spec_shorthand"]


def nested(written: dict[str, Any]) -> dict[str, Any]:
    """A file as one nested spec."""
    pairs = full_keys(ExperimentConfig, written, SHORT, "s.json")
    return load.override(ExperimentConfig, {}, pairs)


def refusal(written: dict[str, Any]) -> SpecError:
    with pytest.raises(SpecError) as caught:
        nested(written)
    return caught.value


def run(*words: str) -> dict[str, Any]:
    """What `tao-skill ... --json` prints."""
    done = CliRunner().invoke(tao_skill, [*words, "--json"])
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_the_skill_pages_overrides_are_a_spec_file(tiny: Path, tmp_path: Path) -> None:
    overrides = {
        "train.num_epochs": 30,
        "train.checkpoint_interval": 10,
        "train.validation_interval": 10,
        "train.num_gpus": 1,
        "wandb.enable": False,
        "dataset.num_classes": 6,
        "dataset.label_map": {
            "class_0": 0,
            "class_1": 1,
            "class_2": 2,
            "class_3": 3,
            "class_4": 4,
            "class_5": 5,
        },
        "model.graph_layout": "nvidia",
        "dataset.train_dataset.data_path": f"{tiny}/train_data.npy",
        "dataset.train_dataset.label_path": f"{tiny}/train_label.pkl",
        "dataset.val_dataset.data_path": f"{tiny}/val_data.npy",
        "dataset.val_dataset.label_path": f"{tiny}/val_label.pkl",
    }
    (tmp_path / "overrides.json").write_text(json.dumps(overrides))
    spec = run("run", "train", "-e", str(tmp_path / "overrides.json"), "--dry-run")["plan"]["spec"]
    assert spec["train"]["num_epochs"] == 30
    assert spec["train"]["checkpoint_interval"] == spec["train"]["validation_interval"] == 10
    assert spec["wandb"]["enable"] is False
    assert spec["dataset"]["label_map"] == overrides["dataset.label_map"]
    assert spec["dataset"]["val_dataset"]["label_path"] == f"{tiny}/val_label.pkl"


def test_nested_dotted_and_short_keys_mix(tmp_path: Path, tiny: Path) -> None:
    written = {
        "train": {"optim.lr": 0.25, "num_epochs": 7, "optim": {"momentum": 0.5}},
        "train.optim.weight_decay": 0.001,
        "num_classes": 6,
        "dropout": 0.125,
    }
    assert nested(written) == {
        "train": {"optim": {"lr": 0.25, "momentum": 0.5, "weight_decay": 0.001}, "num_epochs": 7},
        "dataset": {"num_classes": 6},
        "model": {"dropout": 0.125},
    }
    lines = [
        "train.optim.lr: 0.25",
        "automl_policy: off",
        "epochs: 7",
        *(f"{k}: {v}" for k, v in dataset(tiny).items()),
    ]
    (tmp_path / "s.yaml").write_text("\n".join(lines))
    planned = run("run", "train", "-e", str(tmp_path / "s.yaml"), "lr=0.5", "--dry-run")
    assert planned["plan"]["spec"]["train"]["optim"]["lr"] == 0.5
    assert planned["plan"]["spec"]["train"]["num_epochs"] == 7
    assert planned["route"]["policy"] == "off"


def test_every_parameter_can_be_written_with_its_dotted_key() -> None:
    for leaf in iter_params(ExperimentConfig):
        assert full_keys(ExperimentConfig, {leaf.key: "x"}, SHORT, "s.json") == [(leaf.key, "x")]
    for short, key in SHORT.items():
        assert full_keys(ExperimentConfig, {short: "x"}, SHORT, "s.json") == [(key, "x")]


def test_class_names_stay_as_they_are() -> None:
    names = {"lr": 0, "a.b": 1, "train.num_epochs": 2, "dataset": 3, "..": 4, "": 5}
    for key in ("dataset.label_map", "label_map"):
        assert nested({key: names}) == {"dataset": {"label_map": names}}
    assert nested({"dataset": {"label_map": names}}) == {"dataset": {"label_map": names}}


def test_one_entry_of_a_mapping_may_be_dotted_wherever_it_stands() -> None:
    entry, whole = {"dataset.label_map.sit.down": 1}, {"dataset": {"label_map": {"walk": 0}}}
    expected = {"dataset": {"label_map": {"walk": 0, "sit.down": 1}}}
    assert nested(entry | whole) == nested(whole | entry) == expected


@pytest.mark.parametrize(
    ("written", "one", "other"),
    [
        ({"lr": 0.01, "train": {"optim.lr": 0.1}}, "`lr: 0.01`", "`train: optim.lr: 0.1`"),
        ({"train.num_epochs": 3, "train": {"num_epochs": 4}}, "`train.num_epochs: 3`", "`train: num_epochs: 4`"),
        ({"epochs": 3, "num_epochs": 5}, "`epochs: 3`", "`num_epochs: 5`"),
        ({"wandb.enable": True, "wandb": {"enable": 1}}, "`wandb.enable: true`", "`wandb: enable: 1`"),
        (
            {"label_map": {"a": 0}, "dataset.label_map": {"a": 1}},
            '`label_map: {"a": 0}`',
            '`dataset.label_map: {"a": 1}`',
        ),
        ({"dataset.label_map.a": 1, "label_map": {"a": 0}}, "`label_map: a: 0`", "`dataset.label_map.a: 1`"),
    ],
)
def test_a_contradiction_is_refused_in_one_line_with_both_spellings(
    written: dict[str, Any], one: str, other: str
) -> None:
    error = refusal(written)
    assert f"has two values in s.json: {one} and {other}" in error.message
    assert "\n" not in error.message
    assert error.path in {*SHORT.values(), "wandb.enable", "dataset.label_map.a"}


def test_every_contradiction_is_reported() -> None:
    written = {"lr": 1, "learning_rate": 2, "seed": 1, "train": {"seed": 2}, "model..dropout": 0.5}
    assert len(refusal(written).problems) == 3


def test_a_contradiction_shows_no_secret() -> None:
    error = refusal({"encryption_key": "first-4711"} | {"encryption_kye": 1} | {"train.encryption_key": "x-4711"} | {
        "train": {"encryption_key": "y-4711"}
    })  # fmt: skip
    assert "`train.encryption_key: hidden` and `train: encryption_key: hidden`" in error.message
    assert "4711" not in str(error.as_dict())


@pytest.mark.parametrize(
    "written",
    [
        {"lr": 0.1, "train.optim.lr": 0.1},
        {"lr": None, "train.optim.lr": 0.1},
        {"train": {"optim": {"lr": "???"}}, "lr": 0.1},
        {"train": None, "lr": 0.1},
        {"lr": 0.1, "train": {}},
    ],
)
def test_the_same_value_twice_or_one_beside_null_is_no_contradiction(written: dict[str, Any]) -> None:
    assert nested(written) == {"train": {"optim": {"lr": 0.1}}}


@pytest.mark.parametrize(
    ("written", "key", "message"),
    [
        ({"train.optim.lrr": 1}, "train.optim.lrr", "did you mean train.optim.lr?"),
        ({"train": {"optim.lrr": 1}}, "train.optim.lrr", "did you mean train.optim.lr?"),
        ({"learning_rat": 1}, "learning_rat", "is not a parameter of train"),
        ({"quux.a.b": 1}, "quux", "is not a parameter of train"),
        ({"train": {"lr": 1}}, "train.lr", "did you mean train.optim.lr?"),
        ({"train.num_epochs": 3, "train": 3}, "train", "train is 3; accepted: a section"),
        ({"train.optim.lr.x": 1}, "train.optim.lr", "accepted: a number above 0"),
    ],
)
def test_unknown_and_misused_keys_are_reported_as_nested_ones_are(
    written: dict[str, Any], key: str, message: str
) -> None:
    values = load.override(ExperimentConfig, nested(written), dataset(Path("data")).items())
    with pytest.raises(SpecError) as caught:
        load.check(ExperimentConfig, "train", values)
    found = {problem.key: problem.message for problem in caught.value.problems}
    assert list(found) == [key]
    assert message in found[key]


def test_dotted_keys_of_other_actions_are_ignored() -> None:
    values = nested({"evaluate.checkpoint": "c", "overwrite": True, "train.optim.lr": 0.1})
    kept, ignored = load.project(ExperimentConfig, "train", values)
    assert kept == {"train": {"optim": {"lr": 0.1}}}
    assert ignored == ["evaluate.checkpoint", "export.overwrite"]


@pytest.mark.parametrize("key", ["", ".", "a..b", ".train", "train.", ".".join("a" * 100)])
def test_a_name_that_is_no_key_is_refused(key: str) -> None:
    assert "is not a key" in refusal({key: 1}).message


def test_many_dotted_keys_take_no_time() -> None:
    written = {f"dataset.label_map.class{i}": i for i in range(15_000)} | {f"train.x{i}": i for i in range(15_000)}
    found = nested(written)
    assert len(found["dataset"]["label_map"]) == len(found["train"]) == 15_000


def test_an_objects_values_are_taken_as_they_are() -> None:
    written = {"model_name": "null", "wandb": {"tags": ["1", "yes"]}, "num_classes": 6.0}
    assert dict(override_pairs(ExperimentConfig, written, SHORT)) == {
        "model_name": "null",
        "wandb.tags": ["1", "yes"],
        "dataset.num_classes": 6.0,
    }


@pytest.mark.parametrize("value", ["\ud800", "a\0b", list(range(20_000)), json.loads("[" * 99 + "]" * 99)])
def test_an_object_that_cannot_be_kept_is_refused(value: Any) -> None:
    with pytest.raises(BadRequest, match="overrides cannot be read"):
        override_pairs(ExperimentConfig, {"model_name": value}, SHORT)


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(TEXTS, below, max_size=3),
    max_leaves=6,
)


@given(VALUES)
def test_an_object_as_a_command_line_gives_the_same_values(value: Any) -> None:
    (text,) = override_texts(ExperimentConfig, {"model_name": value}, SHORT)
    assert load.parse_override(text) == ("model_name", value)


def test_paths_and_numbers_are_plain_on_a_command_line() -> None:
    written = {"train_data": "/data/a-b.npy", "lr": 0.1, "model_name": "7", "results_dir": "a b"}
    assert override_texts(ExperimentConfig, written, SHORT) == [
        "dataset.train_dataset.data_path=/data/a-b.npy",
        "train.optim.lr=0.1",
        'model_name="7"',
        'results_dir="a b"',
    ]
