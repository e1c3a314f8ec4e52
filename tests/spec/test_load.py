from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tao_skill.errors import BadRequest, NotFound, SpecError
from tao_skill.models.pose_classification.config import ExperimentConfig
from tao_skill.spec import load
from tao_skill.spec.schema import iter_params

DATA = {"dataset": {"train_dataset": {"data_path": "a.npy", "label_path": "a.pkl"}}}


def spec(**pairs: Any) -> dict[str, Any]:
    """A valid train spec with changes; `__` stands for dots."""
    return load.override(ExperimentConfig, DATA, [(key.replace("__", "."), value) for key, value in pairs.items()])


def problems(action: str, values: dict[str, Any]) -> dict[str, tuple[str, str]]:
    with pytest.raises(SpecError) as caught:
        load.check(ExperimentConfig, action, values)
    return {problem.key: (problem.message, problem.fix) for problem in caught.value.problems}


@pytest.mark.parametrize(
    ("key", "value", "message", "fix"),
    [
        (
            "train.optim.lrr",
            0.3,
            "(value 0.3) is not a parameter of train; did you mean train.optim.lr?",
            "train.optim.lr",
        ),
        (
            "dataset.num_clases",
            3,
            "did you mean dataset.num_classes?",
            "use dataset.num_classes instead of dataset.num_clases",
        ),
        ("lr", 0.3, "did you mean train.optim.lr?", "use train.optim.lr"),
        ("train.dropout", 0.3, "did you mean model.dropout?", "use model.dropout"),
        ("quux", {"a": 1}, "quux (value a section) is not a parameter of train", "tao-skill template train"),
        (
            "train.optim.lr",
            -1,
            "is -1; accepted: a number above 0",
            "set train.optim.lr to a number above 0 (default 0.1)",
        ),
        ("train.optim.lr", float("nan"), "is NaN; accepted: a number above 0", "(default 0.1)"),
        ("train.grad_clip", 10**400, "accepted: a number of at least 0", "(default 0.0)"),
        ("train.seed", 2**32, "is 4294967296; accepted: an integer from 0 to 4294967295", "(default 1234)"),
        ("model.dropout", 1.5, "is 1.5; accepted: a number from 0 to 1", "(default 0.5)"),
        ("model.dropout", True, "is true; accepted: a number", "(default 0.5)"),
        (
            "model.graph_layout",
            "nvida",
            'is "nvida"; accepted: one of nvidia, openpose',
            "use model.graph_layout=nvidia",
        ),
        ("train.optim.optimizer_type", "sgd", "accepted: one of torch.optim.SGD", "=torch.optim.SGD"),
        ("train.num_epochs", 2.5, "is 2.5; accepted: an integer of at least 1", "(default 10)"),
        ("dataset.window_size", 0, "accepted: an integer of at least -1 but not 0", "(default -1)"),
        ("train.gpu_ids", 0, "is 0; accepted: a list of integers of at least 0", "(default [0])"),
        ("train.gpu_ids", [0, -1], "is [0, -1]; accepted: a list of integers", "(default [0])"),
        (
            "dataset.label_map",
            {"walk": "x"},
            "accepted: a mapping of names to integers or null",
            "set dataset.label_map",
        ),
        ("model_name", 7, "is 7; accepted: text or null", "in quotes"),
        ("train.cudnn", 7, "is 7; accepted: a section", "train.cudnn.benchmark"),
        (
            "dataset.train_dataset.data_path",
            "???",
            "is required: Sequences, .npy",
            "set dataset.train_dataset.data_path",
        ),
        ("evaluate.checkpoint", "x", "is not read by train; it is read by evaluate", "leave evaluate.checkpoint out"),
        ("evaluate", 3, "is not read by train; it is read by evaluate", "leave evaluate out"),
    ],
)
def test_what_is_wrong_is_refused_with_key_value_and_fix(key: str, value: Any, message: str, fix: str) -> None:
    found = problems("train", load.override(ExperimentConfig, DATA, [(key, value)]))
    assert list(found) == [key]
    assert key in found[key][0]
    assert message in found[key][0]
    assert fix in found[key][1]


def test_all_problems_are_reported_at_once() -> None:
    values = {
        "train": {"optim": {"lr": -1, "lrr": 1}, "num_epochs": "many"},
        "model": {"graph_layout": "coc"},
        "foo": 1,
    }
    assert set(problems("train", values)) == {
        "train.optim.lr",
        "train.optim.lrr",
        "train.num_epochs",
        "model.graph_layout",
        "foo",
        "dataset.train_dataset.data_path",
        "dataset.train_dataset.label_path",
    }


def test_a_key_of_another_action_is_suggested_with_who_reads_it() -> None:
    message, _ = problems("evaluate", {"lr": 1})["lr"]
    assert "did you mean train.optim.lr (read by train)?" in message


def test_a_dotted_key_in_a_file_is_told_to_be_nested() -> None:
    _, fix = problems("train", DATA | {"train.optim.lr": 0.1})["train.optim.lr"]
    assert fix == "write it nested, train: {optim: {lr: ...}}"


@pytest.mark.parametrize("action", ["train", "inference", "dataset_convert"])
@pytest.mark.parametrize("value", [True, False, None])
@pytest.mark.parametrize("key", ["dataset.trim_padding", "trim_padding"])
def test_a_removed_key_is_refused_with_the_key_that_replaces_it(key: str, value: bool | None, action: str) -> None:
    message, fix = problems(action, load.override(ExperimentConfig, {}, [(key, value)]))[key]
    assert message.startswith(f"{key} (value ")
    assert message.endswith("was removed; dataset.resample_frames replaces it")
    assert fix == f"leave {key} out, or set dataset.resample_frames instead"


@pytest.mark.parametrize("key", ["train.trim_padding", "padding", "dataset.trim_paddings"])
def test_a_key_that_was_never_there_is_not_a_removed_one(key: str) -> None:
    message, _ = problems("train", load.override(ExperimentConfig, {}, [(key, True)]))[key]
    assert "is not a parameter of train" in message


@pytest.mark.parametrize("key", ["encryption_key", "encryption_kye", "key", "train.encryption_key", "encryption"])
@pytest.mark.parametrize("value", [4711, [4711], {"a": 4711}])
def test_a_secret_is_never_shown_even_under_a_misspelt_key(key: str, value: Any) -> None:
    found = problems("train", load.override(ExperimentConfig, DATA, [(key, value)]))
    assert "4711" not in str(found)
    with pytest.raises(BadRequest) as caught:
        load.parse_override("encryption_key=[4711")
    assert "4711" not in caught.value.message + caught.value.fix


def test_a_long_value_is_shown_shortened() -> None:
    message, _ = problems("train", spec(model__graph_layout="x" * 5000))["model.graph_layout"]
    assert len(message) < 300


def test_a_checked_spec_is_complete_and_normal() -> None:
    checked = load.check(
        ExperimentConfig,
        "train",
        spec(
            train__num_epochs=3.0, train__optim__lr=1, wandb__enable="yes", model_name="", train__seed=None, wandb=None
        ),
    )
    assert checked["train"]["num_epochs"] == 3
    assert isinstance(checked["train"]["num_epochs"], int)
    assert isinstance(checked["train"]["optim"]["lr"], float)
    assert (checked["model_name"], checked["train"]["seed"], checked["wandb"]["enable"]) == (None, 1234, True)
    assert set(checked) == {"encryption_key", "results_dir", "model_name", "wandb", "model", "dataset", "train"}


def test_letters_case_is_folded_where_the_choice_allows() -> None:
    values = {"gen_trt_engine": {"onnx_file": "m.onnx", "tensorrt": {"data_type": "Fp16"}}}
    checked = load.check(ExperimentConfig, "gen_trt_engine", values)
    assert checked["gen_trt_engine"]["tensorrt"]["data_type"] == "fp16"


def test_changing_a_checked_spec_leaves_the_defaults_alone() -> None:
    load.check(ExperimentConfig, "train", DATA)["train"]["gpu_ids"].append(7)
    assert load.check(ExperimentConfig, "train", DATA)["train"]["gpu_ids"] == [0]


def test_build_fills_in_what_a_spec_leaves_out() -> None:
    config = load.build(ExperimentConfig, spec(train__optim__lr=1, dataset__label_map={"walk": 0}))
    assert config.train.optim.lr == 1.0
    assert config.dataset.label_map == {"walk": 0}
    assert load.build(ExperimentConfig, {}) == ExperimentConfig()


def test_a_file_of_all_actions_is_split_and_its_unknown_keys_are_still_refused() -> None:
    values = DATA | {
        "train": {"optim": {"lr": 1, "lrr": 2}},
        "evaluate": {"checkpoint": "c"},
        "model": {"dropout": 0.1},
    }
    kept, ignored = load.project(ExperimentConfig, "evaluate", values)
    assert ignored == [
        "dataset.train_dataset.data_path",
        "dataset.train_dataset.label_path",
        "train.optim.lr",
        "model.dropout",
    ]
    assert kept == {"train": {"optim": {"lrr": 2}}, "evaluate": {"checkpoint": "c"}}
    assert "did you mean train.optim.lr (read by train)?" in problems("evaluate", kept)["train.optim.lrr"][0]
    assert load.project(ExperimentConfig, "train", DATA) == (DATA, [])


def test_a_known_section_that_is_no_mapping_is_refused_for_its_reader_only() -> None:
    assert load.project(ExperimentConfig, "evaluate", {"train": 3}) == ({}, ["train"])
    kept, _ = load.project(ExperimentConfig, "train", DATA | {"train": 3})
    assert list(problems("train", kept)) == ["train"]


def test_later_layers_win_and_values_are_replaced_whole() -> None:
    first = {"train": {"optim": {"lr": 1, "momentum": 0.5}}, "dataset": {"label_map": {"a": 0, "b": 1}}, "x": {"p": 1}}
    second = {"train": {"optim": {"lr": 2}, "cudnn": None}, "dataset": {"label_map": {"c": 0}}, "x": {"q": 2}}
    assert load.merge(ExperimentConfig, first, second) == {
        "train": {"optim": {"lr": 2, "momentum": 0.5}, "cudnn": None},
        "dataset": {"label_map": {"c": 0}},
        "x": {"p": 1, "q": 2},
    }
    assert load.merge(ExperimentConfig, first, {"train": None})["train"] == first["train"]


def test_an_override_sets_a_section_a_value_or_one_entry_of_a_mapping() -> None:
    pairs = [("dataset.label_map", {"walk": 0}), ("dataset.label_map.sit.down", 1), ("train.optim", {"lr": 0.2})]
    values = load.override(ExperimentConfig, {"train": {"optim": {"momentum": 0.5}}}, pairs)
    assert values == {
        "train": {"optim": {"momentum": 0.5, "lr": 0.2}},
        "dataset": {"label_map": {"walk": 0, "sit.down": 1}},
    }
    dropped = load.override(ExperimentConfig, values, [load.parse_override("~dataset.label_map.walk")])
    assert dropped["dataset"]["label_map"] == {"sit.down": 1}


def test_a_key_taken_back_has_its_default_and_a_required_one_is_missing() -> None:
    pairs = [load.parse_override(text) for text in ("~train.num_epochs", "train.seed=???", "model.dropout=null")]
    checked = load.check(ExperimentConfig, "train", load.override(ExperimentConfig, spec(train__num_epochs=3), pairs))
    assert (checked["train"]["num_epochs"], checked["train"]["seed"], checked["model"]["dropout"]) == (10, 1234, 0.5)
    for text in ("dataset.train_dataset.data_path=???", "~dataset.train_dataset.data_path"):
        values = load.override(ExperimentConfig, DATA, [load.parse_override(text)])
        assert "is required" in problems("train", values)["dataset.train_dataset.data_path"][0]


def test_given_keys_are_those_that_hold_a_value_and_the_sections_around_them() -> None:
    values = {"train": {"optim": {"lr": 0, "momentum": None}, "results_dir": ""}, "model": {"dropout": "???"}}
    assert load.given_keys(values) == {"train", "train.optim", "train.optim.lr"}
    assert "dataset.label_map" in load.given_keys({"dataset": {"label_map": {"walk": 0}}})


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("train.gpu_ids=[0,1]", ("train.gpu_ids", [0, 1])),
        ("dataset.label_map={walk: 0, no: 1, 7: 2}", ("dataset.label_map", {"walk": 0, "no": 1, "7": 2})),
        ('model_name=""', ("model_name", "")),
        ("model_name=", ("model_name", "")),
        ("model_name=null", ("model_name", None)),
        ("model_name=#1", ("model_name", "#1")),
        ("model_name=2024-01-31", ("model_name", "2024-01-31")),
        ("model_name=a=b", ("model_name", "a=b")),
        ("train.optim.lr=1e-4", ("train.optim.lr", 1e-4)),
        ("train.num_epochs=010", ("train.num_epochs", 10)),
        ("train.num_epochs=1:30", ("train.num_epochs", "1:30")),
        ("train.cudnn.benchmark=True", ("train.cudnn.benchmark", True)),
        ("results_dir=C:\\runs", ("results_dir", "C:\\runs")),
        ("dataset.label_map={walk:0,sit:1}", ("dataset.label_map", {"walk": 0, "sit": 1})),
        ("""dataset.label_map={"a:b":0,'c,{d':1}""", ("dataset.label_map", {"a:b": 0, "c,{d": 1})),
        ("wandb.tags=[a:b,c,'d:e']", ("wandb.tags", ["a:b", "c", "d:e"])),
        ("x={a:{b:[1,{c:2}]},d:s3://e/f:g}", ("x", {"a": {"b": [1, {"c": 2}]}, "d": "s3://e/f:g"})),
        ("x={a:,b : it's}", ("x", {"a": None, "b": "it's"})),
        ("x=a:{b:1}", ("x", "a:{b:1}")),
        ("model_name=???", ("model_name", "???")),
        ("model_name='null'", ("model_name", "null")),
        ("+train.seed=1", ("train.seed", 1)),
        ("++train.gpu_ids=[0,1]", ("train.gpu_ids", [0, 1])),
        ("~train.seed", ("train.seed", None)),
        ("~train.seed=3", ("train.seed", None)),
    ],
)
def test_an_override_is_read_as_yaml_1_2_and_hydra_have_it(text: str, pair: tuple[str, Any]) -> None:
    assert load.parse_override(text) == pair


@pytest.mark.parametrize(
    "text",
    [
        "train",
        "=3",
        "a..b=1",
        ".a=1",
        "a b=1",
        "",
        "a=[1",
        "a=@x",
        "a=*x",
        "a=!!python/none",
        "+a",
        "~",
        "+++a=1",
        "a={b:1",
    ],
)
def test_what_is_no_override_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        load.parse_override(text)


@given(st.one_of(st.integers(-(10**30), 10**30), st.floats(allow_nan=False, allow_infinity=False)))
def test_every_number_python_writes_is_read_as_that_number(number: float) -> None:
    assert load.parse_override(f"lr={number!r}") == ("lr", number)


NAMES = st.text("abcxyz_0189 :,{}[]'\"#~+=-/.", min_size=1)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | NAMES
NESTED = st.recursive(PLAIN, lambda below: st.lists(below) | st.dictionaries(NAMES, below), max_leaves=12)


def hydra(value: Any) -> str:
    """A value as Hydra's override grammar writes it: no space anywhere, text in quotes."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{hydra(name)}:{hydra(below)}" for name, below in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(hydra, value)) + "]"
    return json.dumps(value)


@given(NESTED)
def test_every_value_of_hydras_grammar_is_read_as_that_value(value: Any) -> None:
    assert load.parse_override(f"x={hydra(value)}") == ("x", value)


@given(st.dictionaries(st.from_regex(r"[a-z_][a-z_0-9]*", fullmatch=True), st.integers() | st.sampled_from("pqr")))
def test_mappings_of_bare_words_need_no_spaces_and_no_quotes(value: dict[str, Any]) -> None:
    bare = ",".join(f"{name}:{below}" for name, below in value.items())
    assert load.parse_override(f"x={{{bare}}}") == ("x", value)


def test_shorthand_stands_for_its_full_key_only() -> None:
    assert load.expand_shorthand("lr", {"lr": "train.optim.lr"}) == "train.optim.lr"
    assert load.expand_shorthand("train.lr", {"lr": "train.optim.lr"}) == "train.lr"


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("s.yaml", "a: 1\na: 2", "duplicate key 'a' at line 2"),
        ("s.yaml", "a: [1", "line"),
        ("s.yaml", "a: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("s.yaml", "a: !!binary aGk=", "could not determine a constructor"),
        ("s.yaml", "? [a]\n: 1", "a key must be plain text"),
        ("s.yaml", "a: !!bool maybe", "forbidden"),
        ("s.yaml", "a: 1\n---\nb: 2", "line"),
        ("s.yaml", "- 1", "is a list, accepted: a mapping"),
        ("s.yaml", "a: &a [*a]", "more than"),
        (
            "s.yaml",
            "a: &a [1,1,1,1,1,1,1,1,1,1]\n"
            + "".join(f"{y}: &{y} [{','.join([f'*{x}'] * 10)}]\n" for x, y in zip("abcde", "bcdef", strict=True)),
            "more than",
        ),
        ("s.yaml", "a: " + "[" * 5000, "nested too deeply"),
        ("s.yaml", "a: " + "9" * 5000, "digits"),
        ("s.yaml", "# " + "x" * (1 << 20), "larger than"),
        ("s.yaml", "a: \x00", "forbidden"),
        ("s.json", '{"a": 1, "a": 2}', "duplicate key 'a'"),
        ("s.json", '{"a": NaN}', "NaN is not JSON"),
        ("s.json", '{"a": 1', "delimiter"),
        ("s.json", "[" * 100000, "nested too deeply"),
    ],
)
def test_a_spec_file_that_cannot_be_trusted_is_refused(tmp_path: Path, name: str, text: str, reason: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadRequest, match="s.(yaml|json)") as caught:
        load.read_spec_file(path)
    assert reason in caught.value.message
    assert caught.value.path == str(path)


def test_a_spec_file_that_is_missing_a_folder_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        load.read_spec_file(tmp_path / "none.yaml")
    with pytest.raises(BadRequest):
        load.read_spec_file(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9")
    with pytest.raises(BadRequest):
        load.read_spec_file(tmp_path / "latin.yaml")


def test_yaml_and_json_files_are_read_alike(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("\ufefftrain:\n  optim: {lr: 1e-4}\n  gpu_ids: &g [0, 0x10]\n  x: *g\n", "utf-8")
    (tmp_path / "s.json").write_text('{"train": {"optim": {"lr": 1e-4}, "gpu_ids": [0, 16], "x": [0, 16]}}', "utf-8")
    (tmp_path / "empty.yaml").write_text("# nothing yet\n", "utf-8")
    assert load.read_spec_file(tmp_path / "s.yaml") == load.read_spec_file(tmp_path / "s.json")
    assert load.read_spec_file(tmp_path / "empty.yaml") == {}


def test_every_parameter_can_be_set_by_its_own_key() -> None:
    for leaf in iter_params(ExperimentConfig):
        assert load.given_keys(load.override(ExperimentConfig, {}, [(leaf.key, "x")])) >= {leaf.key}
