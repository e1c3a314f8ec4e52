from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tao_skill import bank
from tao_skill.errors import SpecError
from tao_skill.models.pose_classification.model import MODEL
from tao_skill.spec import load
from tao_skill.spec.param import REQUIRED, Param
from tao_skill.spec.schema import build_schema, iter_params
from tao_skill.spec.template import build_template
from tao_skill.spec.tree import lookup

ACTIONS = tuple(MODEL.actions)
LEAVES = [(action, leaf) for action in ACTIONS for leaf in iter_params(MODEL.config, action)]
SCHEMAS = {action: build_schema(MODEL.config, MODEL.name, action) for action in ACTIONS}


def refuse(constant: str) -> Any:
    raise AssertionError(f"{constant} is not strict JSON")


def filled(action: str) -> dict[str, Any]:
    """The smallest valid spec of an action."""
    required = [leaf.key for leaf in iter_params(MODEL.config, action) if leaf.default == REQUIRED]
    return load.override(MODEL.config, {}, [(key, "file") for key in required])


@pytest.mark.parametrize("action", ACTIONS)
class TestPublishedSchema:
    def test_is_strict_json_of_draft_2020_12(self, action: str) -> None:
        text = bank.schema_path(MODEL.name, action).read_text("utf-8")
        schema = json.loads(text, parse_constant=refuse)
        Draft202012Validator.check_schema(schema)
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        assert schema == json.loads(json.dumps(SCHEMAS[action]))

    def test_closes_every_section(self, action: str) -> None:
        def sections(schema: dict[str, Any]) -> list[dict[str, Any]]:
            below = [sections(one) for one in schema.get("properties", {}).values() if "properties" in one]
            return [schema, *(section for group in below for section in group)]

        assert all(section["additionalProperties"] is False for section in sections(SCHEMAS[action]))

    def test_holds_only_what_the_action_reads(self, action: str) -> None:
        others = {leaf.key for leaf in iter_params(MODEL.config)} - {
            leaf.key for leaf in iter_params(MODEL.config, action)
        }
        assert all(lookup(SCHEMAS[action]["default"], key) is None for key in others)
        assert set(SCHEMAS[action]["properties"]) & set(ACTIONS) == {action}

    def test_its_default_validates_once_filled_and_not_before(self, action: str) -> None:
        validator = Draft202012Validator(SCHEMAS[action])
        default = SCHEMAS[action]["default"]
        assert not validator.is_valid(default)
        validator.validate(load.merge(MODEL.config, default, filled(action)))

    def test_its_template_says_the_same_as_its_default(self, action: str) -> None:
        template = load.read_spec_file(bank.template_path(MODEL.name, action))
        assert template == SCHEMAS[action]["default"]
        Draft202012Validator(SCHEMAS[action]).validate(load.merge(MODEL.config, template, filled(action)))
        assert build_template(MODEL.config, MODEL.name, action) in bank.template_path(MODEL.name, action).read_text(
            "utf-8"
        )

    def test_describes_every_leaf_once(self, action: str) -> None:
        for leaf in iter_params(MODEL.config, action):
            schema = lookup(SCHEMAS[action], "properties." + leaf.key.replace(".", ".properties."))
            assert schema["description"] == leaf.param.description
            assert ("default" in schema) == (leaf.default != REQUIRED)
            assert isinstance(schema["x-automl"]["enabled"], bool)


def test_the_automl_defaults_are_the_documented_eight() -> None:
    names = {key.rpartition(".")[2] for key in SCHEMAS["train"]["automl_default_parameters"]}
    assert names == {"lr", "momentum", "weight_decay", "lr_decay", "patience", "dropout", "grad_clip", "window_size"}
    assert len(SCHEMAS["train"]["automl_default_parameters"]) == 8
    assert not set(SCHEMAS["train"]["automl_disabled_parameters"]) & set(SCHEMAS["train"]["automl_default_parameters"])


def test_structural_parameters_may_be_searched_but_are_not_by_default() -> None:
    schema = SCHEMAS["train"]
    structural = schema["automl_structural_parameters"]
    assert structural == [leaf.key for leaf in iter_params(MODEL.config, "train") if leaf.param.structural]
    assert {"model.model_type", "dataset.batch_size", "dataset.resample_frames"} <= set(structural)
    assert not set(structural) & {*schema["automl_default_parameters"], *schema["automl_disabled_parameters"]}


def test_structural_alone_makes_a_parameter_searchable() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Two:
        plain: Annotated[bool, Param("One.")] = False
        shape: Annotated[bool, Param("Two.", structural=True)] = False

    schema = build_schema(Two, "two", "train")
    assert schema["automl_structural_parameters"] == ["shape"]
    assert schema["automl_disabled_parameters"] == ["plain"]
    assert schema["properties"]["shape"]["x-automl"]["enabled"]
    assert build_schema(Two, "two", "evaluate")["automl_structural_parameters"] == []


def test_own_parameters_and_choices_are_told_by_their_values() -> None:
    assert Param("One.", own=True).is_own("anything")
    choice = Param("One.", choices=("a", "b"), own_choices=("b",))
    assert [choice.is_own(value) for value in ("a", "b")] == [False, True]
    for leaf in iter_params(MODEL.config):
        assert set(leaf.param.own_choices) < set(leaf.param.choices) or not leaf.param.own_choices, leaf.key
        assert leaf.default not in leaf.param.own_choices, leaf.key


def test_only_train_offers_anything_to_automl() -> None:
    for action in set(ACTIONS) - {"train"}:
        keys = [leaf.key for leaf in iter_params(MODEL.config, action)]
        assert SCHEMAS[action]["automl_default_parameters"] == []
        assert SCHEMAS[action]["automl_structural_parameters"] == []
        assert SCHEMAS[action]["automl_disabled_parameters"] == keys


def test_automl_ranges_and_weights_lie_within_what_is_accepted() -> None:
    for leaf in iter_params(MODEL.config, "train"):
        param = leaf.param
        assert (param.low is None) == (param.high is None), leaf.key
        assert not param.weights or len(param.weights) == len(param.choices), leaf.key
        for value in (param.low, param.high):
            if value is not None:
                load.check(MODEL.config, "train", load.override(MODEL.config, filled("train"), [(leaf.key, value)]))


def test_relations_name_known_keys() -> None:
    keys = {leaf.key for leaf in iter_params(MODEL.config)}
    for leaf in iter_params(MODEL.config):
        named = [leaf.param.parent, leaf.param.depends_on and leaf.param.depends_on[0]]
        named += [leaf.param.condition.split()[1]] if leaf.param.condition else []
        assert {key for key in named if key} <= keys
        assert not set(leaf.param.only) - set(ACTIONS)


@dataclass(frozen=True, kw_only=True)
class Odd:
    tiny: Annotated[float, Param("Small.", low=1e-6, high=1.0)] = 1e-05
    word: Annotated[str | None, Param("One word or none.", choices=("Ab", "cd"), fold_case=True)] = None
    sizes: Annotated[list[float], Param("Sizes.", above=0, maximum=2)] = field(default_factory=lambda: [1.0])


def test_a_choice_that_may_be_missing_accepts_null_and_both_cases() -> None:
    schema = build_schema(Odd, "odd", "train")
    assert schema["properties"]["word"]["type"] == ["string", "null"]
    assert schema["properties"]["word"]["enum"] == ["Ab", "cd", "AB", "CD", None]
    assert load.check(Odd, "train", {"word": "aB"})["word"] == "Ab"


def test_bounds_of_a_list_apply_to_its_items() -> None:
    assert build_schema(Odd, "odd", "train")["properties"]["sizes"]["items"] == {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 2,
    }
    with pytest.raises(SpecError, match=r"sizes is \[1, 3\]; accepted: a list of numbers above 0 and at most 2"):
        load.check(Odd, "train", {"sizes": [1, 3]})


def test_a_small_number_in_a_template_is_a_number_to_every_yaml_reader() -> None:
    import yaml

    assert yaml.safe_load(build_template(Odd, "odd", "train"))["tiny"] == 1e-05


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**6), 10**12),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=4),
    st.sampled_from([REQUIRED, "yes", "FP16", "Int8", "nvidia", "torch.optim.Adam", "AutoReduce", "2dbp", "1", "step"]),
)
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=3), st.dictionaries(st.text(max_size=3), SCALARS, max_size=2))


@settings(max_examples=300, deadline=None)
@given(case=st.sampled_from(LEAVES), value=VALUES)
def test_the_loader_and_the_published_schema_accept_the_same(case: tuple[str, Any], value: Any) -> None:
    action, leaf = case
    spec = load.override(MODEL.config, filled(action), [(leaf.key, value)])
    validator = Draft202012Validator(SCHEMAS[action])
    try:
        checked = load.check(MODEL.config, action, spec)
    except SpecError:
        assert not validator.is_valid(spec)
    else:
        validator.validate(json.loads(json.dumps(checked, allow_nan=False)))
        assert load.check(MODEL.config, action, checked) == checked
        load.build(MODEL.config, checked)
