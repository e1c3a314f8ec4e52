from __future__ import annotations

import operator
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import field, make_dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tao_skill import bank
from tao_skill.automl.document import to_json
from tao_skill.automl.space.dimension import Dimension
from tao_skill.automl.space.space import Space, build_space, with_values
from tao_skill.errors import BadRequest
from tao_skill.models.pose_classification.config import ExperimentConfig
from tao_skill.models.pose_classification.model import MODEL
from tao_skill.outcome import Limit
from tao_skill.spec import load
from tao_skill.spec.check import check
from tao_skill.spec.param import Param
from tao_skill.spec.schema import build_schema, default_values
from tao_skill.spec.tree import iter_params, lookup
from tests.support.draws import draws
from tests.support.experiments import FRAMES, dataset

SCHEMA = bank.load_schema("pose_classification", "train")
SHORT = bank.skill_info("pose_classification")["spec_shorthand"]
DATA = ["dataset.train_dataset.data_path", "dataset.train_dataset.label_path"]
OPTIM = "train.optim."


def spec_of(**overrides: Any) -> dict[str, Any]:
    """A checked train spec; keys with `__` for dots change it."""
    pairs = {**dict.fromkeys(DATA, "here"), **{key.replace("__", "."): value for key, value in overrides.items()}}
    return check(ExperimentConfig, "train", load.override(ExperimentConfig, {}, pairs.items()))


def space_of(*search: str, no: tuple[str, ...] = (), limits: dict[str, Limit] | None = None, **spec: Any) -> Space:
    return build_space(SCHEMA, spec_of(**spec), limits or {}, search=search, no_search=no, shorthand=SHORT)


def keys(space: Space) -> list[str]:
    return [one.key for one in space.dimensions]


def whole(spec: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    return load.override(ExperimentConfig, spec, values.items())


class TestWhatIsSearched:
    def test_the_default_parameters_without_those_that_do_nothing(self) -> None:
        space = space_of()
        assert set(keys(space)) | set(space.left_out) == set(SCHEMA["automl_default_parameters"])
        assert set(space.left_out) == {"dataset.window_size", OPTIM + "patience"}
        assert space.left_out[OPTIM + "patience"].startswith("acts only while train.optim.lr_scheduler is AutoReduce")

    def test_patience_with_autoreduce_and_momentum_with_sgd_only(self) -> None:
        space = space_of(train__optim__lr_scheduler="AutoReduce", train__optim__optimizer_type="torch.optim.Adam")
        assert OPTIM + "patience" in keys(space)
        assert "torch.optim.Adam" in space.left_out[OPTIM + "momentum"]

    def test_what_the_user_asks_for_and_nothing_else(self) -> None:
        assert keys(space_of("lr", "dataset.batch_size=4,8,16")) == [OPTIM + "lr", "dataset.batch_size"]
        space = space_of(no=("lr", "model.graph_layout"))
        assert OPTIM + "lr" not in keys(space)
        assert space.left_out[OPTIM + "lr"] == "excluded on request"

    @pytest.mark.parametrize("key", SCHEMA["automl_disabled_parameters"])
    def test_never_what_is_disabled(self, key: str) -> None:
        assert key not in keys(space_of())
        for request in (key, f"{key}=1:2", f"{key}=a,b"):
            with pytest.raises(BadRequest, match="may not be searched") as refused:
                space_of(request)
            assert refused.value.path == key

    def test_paths_of_data_and_the_layout_are_disabled(self) -> None:
        names = {key for key in SCHEMA["automl_disabled_parameters"] if key.startswith("dataset.")}
        assert {*DATA, "dataset.val_dataset.data_path", "dataset.num_classes"} <= names
        assert "model.graph_layout" in SCHEMA["automl_disabled_parameters"]

    def test_the_ranges_of_the_schema(self) -> None:
        space = space_of(train__optim__lr_scheduler="AutoReduce")
        ranges = {one.key: (one.low, one.high, one.log, one.off) for one in space.dimensions}
        assert ranges == {
            OPTIM + "lr": (1e-4, 1.0, True, None),
            OPTIM + "weight_decay": (1e-6, 0.1, True, None),
            OPTIM + "lr_decay": (0.03, 0.9, True, None),
            "model.dropout": (0.0, 0.8, False, None),
            OPTIM + "momentum": (0.5, 0.99, False, None),
            "train.grad_clip": (0.0, 10.0, False, 0.0),
            OPTIM + "patience": (1, 10, False, None),
        }

    def test_the_users_range_within_the_schemas_bounds_on_the_schemas_scale_unless_said_otherwise(self) -> None:
        space = space_of("lr=1e-3:0.1", "dropout=0.5:7", "momentum=0.1:1:log", "weight_decay=1e-5:1e-3:linear")
        ranges = {one.key.rpartition(".")[2]: (one.low, one.high, one.log) for one in space.dimensions}
        assert ranges == {
            "lr": (1e-3, 0.1, True),
            "dropout": (0.5, 1.0, False),
            "momentum": (0.1, 1.0, True),
            "weight_decay": (1e-5, 1e-3, False),
        }

    @pytest.mark.parametrize(
        ("request_", "message"),
        [
            ("lr=1:0.1", "'1:0.1' is not a range"),
            ("lr=0:1:log", "'0:1:log' is not a range"),
            ("lr=a:b", "'a:b' is not a range"),
            ("lr=1e-4:inf", "'1e-4:inf' is not a range"),
            ("lr=0.1,.inf", "train.optim.lr is Infinity"),
            ("lr=0.1,nan", 'train.optim.lr is "nan"'),
            ("lr=0.1,-1", "train.optim.lr is -1.0; accepted: a number above 0"),
            ("lr=-5:-1", "train.optim.lr has fewer than two values"),
            ("lr=0.1", "train.optim.lr has fewer than two options"),
            ("dropout=2:3", "model.dropout has fewer than two values"),
            ("model.graph_strategy=1:2", "model.graph_strategy has options, not a range"),
            ("model.graph_strategy=spatial,radial", 'is "radial"; accepted: one of uniform, distance, spatial'),
            ("dataset.batch_size=4,8.5", "dataset.batch_size is 8.5; accepted: an integer"),
            ("train.optim.learning", "'train.optim.learning' is not a parameter of train"),
            ("", "'' is not a search request"),
            ("lr=", "'lr=' is not a search request"),
        ],
    )
    def test_a_wrong_request_is_refused_by_name(self, request_: str, message: str) -> None:
        with pytest.raises(BadRequest) as refused:
            space_of(request_)
        assert message in refused.value.message
        assert refused.value.fix

    def test_a_range_turned_round_is_turned_back(self) -> None:
        with pytest.raises(BadRequest) as refused:
            space_of("lr=0.1:1e-3:log")
        assert refused.value.fix == "use 1e-3:0.1 instead of 0.1:1e-3"

    def test_other_defaults_replace_those_that_the_schema_marks(self) -> None:
        def keys_of(*search: str, defaults: Sequence[str]) -> list[str]:
            return keys(build_space(SCHEMA, spec_of(), {}, search=search, shorthand=SHORT, defaults=defaults))

        structural = SCHEMA["automl_structural_parameters"]
        assert set(keys_of(defaults=structural)) == set(structural)
        assert keys_of(defaults=["model.dropout"]) == ["model.dropout"]
        assert keys_of(defaults=()) == []
        assert keys_of("lr", defaults=["model.dropout"]) == [OPTIM + "lr"]

    def test_structural_parameters_are_not_searched_without_being_named(self) -> None:
        assert not set(keys(space_of())) & set(SCHEMA["automl_structural_parameters"])

    def test_a_conditional_parameter_never_free_to_act_is_left_out(self) -> None:
        space = space_of("train.optim.optimizer_type=torch.optim.Adam,torch.optim.Adamax", "momentum")
        assert "not among its options" in space.left_out[OPTIM + "momentum"]


class TestValuesOfAConfiguration:
    """Of a spec with other values, which may also set parameters that are not searched."""

    SPACE = Space(
        dimensions=(
            Dimension(key="a.rate", kind="float", low=0.0, high=1.0),
            Dimension(key="a.b.momentum", kind="float", low=0.0, high=1.0, when=(("a.kind", "sgd"),)),
        )
    )
    SPEC: ClassVar[dict[str, Any]] = {"a": {"rate": 0.5, "kind": "sgd", "b": {"momentum": 0.9, "other": 1}}, "c": 1}

    def test_values_replace_those_of_the_spec_and_leave_it_as_it_is(self) -> None:
        before = deepcopy(self.SPEC)
        found = with_values(self.SPEC, {"a.b.momentum": 0.1, "c": 2, "new.key": 3})
        assert found == {
            "a": {"rate": 0.5, "kind": "sgd", "b": {"momentum": 0.1, "other": 1}},
            "c": 2,
            "new": {"key": 3},
        }
        assert before == self.SPEC

    def test_a_section_that_is_null_is_filled(self) -> None:
        assert with_values({"a": None}, {"a.rate": 1.0}) == {"a": {"rate": 1.0}}

    def test_the_searched_values_are_those_of_the_configuration_or_else_of_the_spec(self) -> None:
        assert self.SPACE.values_in(self.SPEC, {"a.rate": 0.1, "c": 7}) == {"a.rate": 0.1, "a.b.momentum": 0.9}
        assert self.SPACE.values_in(self.SPEC, {}) == self.SPACE.values_of(self.SPEC)

    def test_a_value_that_is_not_searched_may_switch_others_off(self) -> None:
        assert self.SPACE.values_in(self.SPEC, {"a.kind": "adam", "a.b.momentum": 0.2}) == {"a.rate": 0.5}

    def test_suggestions_for_the_packaged_schema_are_their_own_values(self) -> None:
        space, spec = space_of(), spec_of()
        for values in draws(space, spec, 20):
            assert space.values_in(spec, values) == values
            assert with_values(spec, values) == whole(spec, values)


class TestWhatDataCanServe:
    def limits(self, folder: Path, **overrides: Any) -> tuple[dict[str, Any], dict[str, Limit]]:
        pairs = {**dataset(folder), **{key.replace("__", "."): value for key, value in overrides.items()}}
        spec = check(ExperimentConfig, "train", load.override(ExperimentConfig, {}, pairs.items()))
        return spec, dict(MODEL.search_limits(load.build(ExperimentConfig, spec)))

    def space(self, folder: Path, *search: str, **overrides: Any) -> tuple[dict[str, Any], Space]:
        spec, limits = self.limits(folder, **overrides)
        return spec, build_space(SCHEMA, spec, limits, search=search, shorthand=SHORT)

    def test_no_batch_larger_than_the_set(self, tiny: Path) -> None:
        spec, space = self.space(tiny, "dataset.batch_size")
        sizes = {values["dataset.batch_size"] for values in draws(space, spec, 200)}
        assert sizes == set(range(4, 13))
        assert {one.choices for one in self.space(tiny, "dataset.batch_size=4,12,13,64")[1].dimensions} == {(4, 12)}
        with pytest.raises(BadRequest, match="has fewer than two values"):
            self.space(tiny, "dataset.batch_size=13:64")

    def test_windows_from_a_quarter_of_the_frames_to_all_of_them(self, tiny: Path) -> None:
        spec, space = self.space(tiny, dataset__random_choose=True, dataset__window_size=4)
        assert {values["dataset.window_size"] for values in draws(space, spec, 300)} == set(
            range(FRAMES // 4, FRAMES + 1)
        )

    def test_windows_of_long_recordings_are_not_cut_by_the_schemas_hint(self) -> None:
        limits = {"dataset.window_size": Limit(low=500, high=2000)}
        space = space_of(limits=limits, dataset__random_choose=True, dataset__window_size=300)
        (window,) = [one for one in space.dimensions if one.key == "dataset.window_size"]
        assert (window.low, window.high) == (500, 2000)

    def test_whole_sequences_stay_whole_unless_a_range_is_given(self, tiny: Path) -> None:
        window, cut = "dataset.window_size", "dataset.random_choose"
        assert "is -1" in self.space(tiny, window)[1].left_out[window]
        assert "needs a range" in self.space(tiny, cut)[1].left_out[cut]
        assert "random_choose is True" in self.space(tiny, f"{window}=4:12")[1].left_out[window]
        spec, space = self.space(tiny, f"{window}=4:12", cut)
        for values in draws(space, spec, 50):
            assert (window in values) == values[cut]
            assert not values[cut] or 4 <= values[window] <= 12
            assert not MODEL.check_run(load.build(ExperimentConfig, whole(spec, values)), "train").problems

    def test_a_view_needs_a_skeleton_that_tells_it(self, tiny: Path) -> None:
        view = "model.align_view"
        assert view in keys(self.space(tiny, view)[1])
        planar = self.space(tiny, view, model__input_channels=2)[1]
        assert "have no z" in planar.left_out[view]
        assert view not in self.space(tiny, model__input_channels=2)[1].left_out

    def test_decay_needs_a_step_before_the_last_epoch(self, tiny: Path) -> None:
        decay = OPTIM + "lr_decay"
        assert "before train.num_epochs 10" in self.space(tiny)[1].left_out[decay]
        assert decay in keys(self.space(tiny, train__num_epochs=11)[1])
        assert decay in keys(self.space(tiny, train__optim__lr_steps=[5])[1])
        assert decay in keys(self.space(tiny, train__optim__lr_scheduler="AutoReduce")[1])
        assert decay not in keys(self.space(tiny, train__optim__lr_scheduler="Cosine")[1])


PARAMS = [leaf.key for leaf in iter_params(ExperimentConfig, "train")]
SEARCHABLE = [key for key in PARAMS if key not in SCHEMA["automl_disabled_parameters"]]


@given(
    search=st.lists(st.sampled_from(SEARCHABLE), unique=True),
    optimizer=st.sampled_from(("torch.optim.SGD", "torch.optim.Adam")),
    scheduler=st.sampled_from(("MultiStep", "AutoReduce", "Cosine")),
    window=st.sampled_from((-1, 8, 40)),
    seed=st.integers(0, 2**32),
)
@settings(deadline=None, max_examples=60)
def test_every_suggestion_is_a_spec_of_the_packaged_schema(
    search: list[str], optimizer: str, scheduler: str, window: int, seed: int
) -> None:
    spec = spec_of(
        train__optim__optimizer_type=optimizer,
        train__optim__lr_scheduler=scheduler,
        dataset__window_size=window,
        dataset__random_choose=window > 0,
    )
    limits = {"dataset.window_size": Limit(low=10, high=40), "dataset.batch_size": Limit(high=100)}
    space = build_space(SCHEMA, spec, limits, search=search)
    for values in draws(space, spec, 10, seed):
        full = whole(spec, values)
        assert check(ExperimentConfig, "train", full) == full
        optim = full["train"]["optim"]
        assert optim["lr_scheduler"] != "AutoReduce" or optim["min_lr"] < optim["lr"]
        assert ("train.optim.momentum" in values) <= (optim["optimizer_type"] == "torch.optim.SGD")
        assert full["dataset"]["batch_size"] <= 100


def decimals(low: float, high: float) -> st.SearchStrategy[float]:
    """Numbers as a person writes them."""
    return st.floats(low, high).map(lambda value: round(value, 3))


OPERATORS = {"<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge}


@st.composite
def configs(draw: st.DrawFn) -> type:
    """A config type of a few parameters with bounds, options, weights, conditions and dependencies on earlier ones."""
    fields: list[tuple[str, Any, Any]] = []
    switches: list[tuple[str, Any]] = []
    numbers: list[str] = []
    for at in range(draw(st.integers(1, 7))):
        name, kind = f"p{at}", draw(st.sampled_from((int, float, str, bool)))
        depends = switches and draw(st.booleans())
        hints: dict[str, Any] = {"depends_on": draw(st.sampled_from(switches))} if depends else {}
        tune = draw(st.booleans()) or at == 0
        if kind in (str, bool):
            options: tuple[Any, ...] = ("a", "b", "c")[: draw(st.integers(1, 3))] if kind is str else (False, True)
            if kind is str:
                weights = tuple(draw(st.sampled_from((0.0, 1.0, 3.0))) for _ in options)
                hints |= {"choices": options, "weights": weights if draw(st.booleans()) and any(weights) else ()}
            switches.append((name, draw(st.sampled_from(options))))
            fields.append((name, Annotated[kind, Param("One.", searchable=tune, tune=tune, **hints)], options[0]))
            continue
        hints |= draw(numeric(kind, numbers))
        numbers.append(name)
        default = draw(st.integers(1, 50)) if kind is int else draw(decimals(0.01, 50))
        fields.append((name, Annotated[kind, Param("One.", tune=tune, **hints)], kind(default)))
    return make_dataclass("Drawn", [(name, hint, field(default=value)) for name, hint, value in fields], kw_only=True)


@st.composite
def numeric(draw: st.DrawFn, kind: type, numbers: list[str]) -> dict[str, Any]:
    """Bounds, range and condition of a number, not always with anything between them."""
    low = draw(st.one_of(st.none(), st.integers(-5, 40) if kind is int else decimals(-2, 40)))
    span = draw(st.integers(1, 300) if kind is int else decimals(1e-3, 300))
    clauses = draw(
        st.lists(
            st.sampled_from(["> 0", "< 100", ">= 2", "multiple of 4", "multiple of 8"])
            if kind is int
            else st.sampled_from(["> 0", "< 0.5", "<= 30", "multiple of 0.25"]),
            max_size=2,
            unique_by=lambda clause: clause.split(" ")[0],
        )
    )
    clauses += ["power of 2"] if kind is int and draw(st.integers(0, 4)) == 0 else []
    if numbers and draw(st.booleans()):
        clauses.append(f"{draw(st.sampled_from(tuple(OPERATORS)))} {draw(st.sampled_from(numbers))}")
    return {
        "low": low,
        "high": None if low is None else low + span,
        "log": draw(st.booleans()),
        "off": draw(st.sampled_from((None, 0))) if low == 0 else None,
        "minimum": draw(st.sampled_from((None, 0))),
        "maximum": draw(st.sampled_from((None, 60))),
        "reject": draw(st.sampled_from(((), (8,)))),
        "condition": " and ".join(clauses) or None,
        "parent": draw(st.sampled_from(numbers)) if numbers and draw(st.booleans()) else None,
    }


def is_kept(clause: str, value: Any, full: dict[str, Any]) -> bool:
    """One clause, judged without the code under test."""
    op, _, bound = clause.rpartition(" ")
    if op == "multiple of":
        return abs(value / float(bound) - round(value / float(bound))) < 1e-6
    if op == "power of":
        return value in [int(bound) ** i for i in range(40)]
    return bool(OPERATORS[op](value, full[bound] if bound in full else float(bound)))


def acts(key: str, params: dict[str, Param], full: dict[str, Any]) -> bool:
    condition = params[key].depends_on
    return condition is None or (full[condition[0]] == condition[1] and acts(condition[0], params, full))


@given(config=configs(), seed=st.integers(0, 2**32))
@settings(deadline=None, max_examples=400)
def test_every_suggestion_keeps_every_condition_of_any_schema(config: type, seed: int) -> None:
    schema, spec = build_schema(config, "drawn", "train"), default_values(config)
    params = {leaf.key: leaf.param for leaf in iter_params(config, "train")}
    space = build_space(schema, spec, {})
    suggested = draws(space, spec, 20, seed)
    for values in suggested:
        full = spec | values
        assert not [error for error in Draft202012Validator(schema).iter_errors(full) if error.path[0] in values]
        for key, param in params.items():
            assert key not in values or acts(key, params, full)
            if key not in values or (param.off is not None and values[key] == param.off):
                continue
            assert param.low is None or param.low <= values[key] <= (param.high or 0)
            assert not param.weights or param.weights[param.choices.index(values[key])] > 0
        for key, param in params.items():
            clauses = (param.condition or "").split(" and ") if acts(key, params, full) else []
            for clause in filter(None, clauses):
                touched = key in values or clause.rpartition(" ")[2] in values
                is_off = param.off is not None and full[key] == param.off
                assert is_off or not touched or is_kept(clause, full[key], full)


@given(config=configs(), seed=st.integers(0, 2**32))
@settings(deadline=None, max_examples=100)
def test_a_sampler_is_shown_nothing_infinite_and_what_it_drew(config: type, seed: int) -> None:
    schema, spec = build_schema(config, "drawn", "train"), default_values(config)
    space = build_space(schema, spec, {})
    suggested = draws(space, spec, 5, seed)
    assume(suggested)
    for values in suggested:
        told = space.draws_of(values, spec)
        assert told is not None
        for one in space.dimensions:
            assert one.key not in told or one.is_categorical or 0 <= told[one.key] <= 1


def test_dependencies_of_dependencies_count() -> None:
    fields = [
        ("a", Annotated[bool, Param("One.", tune=True)], False),
        ("b", Annotated[bool, Param("One.", tune=True, depends_on=("a", True))], True),
        ("c", Annotated[float, Param("One.", tune=True, low=0.0, high=1.0, depends_on=("b", True))], 0.5),
    ]
    config = make_dataclass("Drawn", [(name, hint, field(default=value)) for name, hint, value in fields], kw_only=True)
    spec = default_values(config)
    space = build_space(build_schema(config, "drawn", "train"), spec, {})
    assert space.values_of(spec) == {"a": False}
    for values in draws(space, spec, 50):
        assert set(values) == ({"a"} if not values["a"] else {"a", "b"} | ({"c"} if values["b"] else set()))


def test_parents_are_drawn_first() -> None:
    space = space_of("train.optim.min_lr", "lr", "train.optim.lr_scheduler")
    order = keys(space)
    assert order.index(OPTIM + "lr") < order.index(OPTIM + "min_lr")
    assert order.index(OPTIM + "lr_scheduler") < order.index(OPTIM + "min_lr")


def test_a_relation_of_a_parameter_that_stays_binds_the_one_that_is_searched() -> None:
    spec = spec_of(train__optim__lr_scheduler="AutoReduce", train__optim__min_lr=0.01)
    space = build_space(SCHEMA, spec, {}, search=["train.optim.lr"])
    rates = [values[OPTIM + "lr"] for values in draws(space, spec, 200)]
    assert min(rates) > 0.01
    assert max(rates) == 1.0
    still = build_space(SCHEMA, spec_of(train__optim__min_lr=0.01), {}, search=["train.optim.lr"])
    assert min(values[OPTIM + "lr"] for values in draws(still, spec, 200)) == 1e-4


def test_what_is_shown_is_plain_data_of_every_dimension() -> None:
    space = space_of("lr", "model.graph_strategy", "grad_clip", "momentum", "train.optim.optimizer_type")
    shown = to_json(space.summary())["search"]
    assert shown["model.graph_strategy"]["weights"] == [1.0, 1.0, 2.0]
    assert shown["train.grad_clip"]["off"] == 0.0
    assert shown[OPTIM + "momentum"]["only_when"] == {OPTIM + "optimizer_type": "torch.optim.SGD"}
    assert lookup(shown, OPTIM + "lr") is None
    assert shown[OPTIM + "lr"] == {"kind": "float", "low": 1e-4, "high": 1.0, "log": True}
