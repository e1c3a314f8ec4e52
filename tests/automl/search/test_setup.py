from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tao_skill import bank
from tao_skill.automl.search import setup as source
from tao_skill.automl.search.asha import RungSchedule
from tao_skill.automl.search.search import Setup
from tao_skill.automl.search.setup import CPU_FLOPS, GPU_FLOPS, has_budget, make_goal, make_setup
from tao_skill.automl.search.trainings import ModelTrainings
from tao_skill.automl.settings import Settings, read_settings
from tao_skill.automl.space.space import with_values
from tao_skill.errors import BadRequest
from tao_skill.models.pose_classification.model import MODEL
from tao_skill.spec import load
from tests.support.experiments import dataset
from tests.support.second_model.line import LineModel

LR, OPTIMIZER, MOMENTUM = "train.optim.lr", "train.optim.optimizer_type", "train.optim.momentum"
NETWORK, CENTER, BATCH, EPOCHS = "model.model_type", "model.center", "dataset.batch_size", "train.num_epochs"
ADAMW = {
    NETWORK: "ST-GCN++",
    CENTER: "true",
    OPTIMIZER: "torch.optim.AdamW",
    LR: 0.002,
    "model.dropout": 0.1,
    "dataset.random_rotate": 10.0,
    BATCH: 4,
}
RECIPES = [
    {"name": "plus plus", "spec": ADAMW, "shown": 120, "sets": ["not read"]},
    {"name": "plain", "spec": {LR: 0.02, "model.dropout": 0.2, BATCH: 6, "train.grad_clip": 1.0}, "shown": 60},
]
STRUCTURAL = set(bank.load_schema("pose_classification", "train")["automl_structural_parameters"])


@pytest.fixture(autouse=True)
def packaged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bank, "recipes", lambda model, folder=None: RECIPES)


def spec_of(folder: Path, **overrides: Any) -> dict[str, Any]:
    """A checked spec on the generated set of twelve training sequences; keys with `__` for dots change it."""
    pairs = {**dataset(folder), **{key.replace("__", "."): value for key, value in overrides.items()}}
    return load.check(MODEL.config, "train", load.override(MODEL.config, {}, pairs.items()))


def setup_of(folder: Path, settings: dict[str, Any] | None = None, **overrides: Any) -> Setup:
    return make_setup(MODEL, spec_of(folder, **overrides), Settings(**(settings or {})))


def searched(setup: Setup) -> set[str]:
    return {dimension.key for dimension in setup.space.dimensions}


def recipes(setup: Setup) -> dict[str, dict[str, Any]]:
    return {one.origin.removeprefix("recipe "): dict(one.values) for one in setup.recipes}


class TestScope:
    def test_the_full_scope_tries_recipes_and_varies_structural_parameters(self, tiny: Path) -> None:
        setup = setup_of(tiny)
        assert list(recipes(setup)) == ["plus plus", "plain"]
        assert searched(setup) >= STRUCTURAL | {LR, "model.dropout"}
        assert [one.origin for one in setup.planned()] == ["your spec", "recipe plus plus", "recipe plain"]
        assert [one.full for one in setup.planned()] == [10, 10, 5]

    def test_the_scope_of_the_schema_has_neither(self, tiny: Path) -> None:
        setup = setup_of(tiny, {"search_scope": "schema"})
        assert recipes(setup) == {}
        assert LR in searched(setup)
        assert not searched(setup) & STRUCTURAL

    def test_a_search_of_named_parameters_has_neither(self, tiny: Path) -> None:
        setup = setup_of(tiny, {"search": ["lr"]})
        assert recipes(setup) == {}
        assert searched(setup) == {LR}

    def test_a_parameter_that_is_not_to_be_searched_keeps_its_value_in_recipes_too(self, tiny: Path) -> None:
        setup = setup_of(tiny, {"no_search": [NETWORK, "lr"]})
        assert not {NETWORK, LR} & searched(setup)
        assert not {NETWORK, LR} & set(recipes(setup)["plus plus"])
        assert recipes(setup)["plus plus"][CENTER] == "true"

    def test_an_unknown_parameter_is_refused(self, tiny: Path) -> None:
        with pytest.raises(BadRequest, match="'depth' is not a parameter of train"):
            setup_of(tiny, {"no_search": ["depth"]})


class TestWhatTheUserWrote:
    def test_it_stays_as_written(self, tiny: Path) -> None:
        setup = setup_of(tiny, {"fixed": ["model", NETWORK, BATCH]}, dataset__batch_size=5)
        assert not {NETWORK, BATCH} & searched(setup)
        assert CENTER in searched(setup)
        for values in recipes(setup).values():
            assert not {NETWORK, BATCH} & set(values)
        assert all(with_values(setup.spec, one.values)["dataset"]["batch_size"] == 5 for one in setup.planned())

    def test_parameters_that_the_schema_marks_vary_all_the_same(self, tiny: Path) -> None:
        setup = setup_of(tiny, {"fixed": [LR, "model.dropout"]}, train__optim__lr=0.3)
        assert {LR, "model.dropout"} <= searched(setup)
        assert recipes(setup)["plus plus"][LR] == 0.002

    def test_another_optimizer_leaves_the_optimizer_of_a_recipe_out(self, tiny: Path) -> None:
        setup = setup_of(tiny, {"fixed": [OPTIMIZER]})
        assert not [key for key in recipes(setup)["plus plus"] if key.startswith("train.optim.")]
        assert recipes(setup)["plain"][LR] == 0.02

    def test_the_network_of_weights_to_start_from_stays(self, tiny: Path, tmp_path: Path) -> None:
        (tmp_path / "w.pth").touch()
        setup = setup_of(tiny, model__pretrained_model_path=str(tmp_path / "w.pth"))
        assert not {NETWORK, CENTER, "dataset.resample_frames"} & searched(setup)
        assert not {NETWORK, CENTER} & set(recipes(setup)["plus plus"])
        assert {BATCH, "dataset.random_rotate"} <= searched(setup)


def test_a_tao_compatible_search_varies_nothing_that_tao_lacks(tiny: Path) -> None:
    setup = setup_of(tiny, {"tao_compatible": True})
    assert searched(setup) & STRUCTURAL == {BATCH}
    assert recipes(setup) == {
        "plus plus": {"model.dropout": 0.1, BATCH: 4, EPOCHS: 10},
        "plain": {LR: 0.02, "model.dropout": 0.2, BATCH: 6, "train.grad_clip": 1.0, EPOCHS: 5},
    }


class TestRecipes:
    def test_recipes_alike_and_like_the_spec_are_tried_once(self, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bank, "recipes", lambda model, folder=None: [*RECIPES, {**RECIPES[1], "name": "again"}])
        assert list(recipes(setup_of(tiny))) == ["plus plus", "plain"]
        plain = {key.replace(".", "__"): value for key, value in RECIPES[1]["spec"].items()}  # type: ignore[attr-defined]
        assert list(recipes(setup_of(tiny, train__num_epochs=5, **plain))) == ["plus plus"]

    def test_a_model_without_recipes_has_its_spec_alone(self, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.undo()
        monkeypatch.setattr(bank, "recipes", lambda model, folder=None: [])
        assert [one.origin for one in setup_of(tiny).planned()] == ["your spec"]

    def test_max_epochs_shorten_the_spec_and_longer_recipes_alone(self, tiny: Path) -> None:
        setup = setup_of(tiny, {"max_epochs": 6}, train__optim__lr_steps=[5])
        assert [one.full for one in setup.planned()] == [6, 6, 5]
        assert recipes(setup)["plus plus"] == {**ADAMW, EPOCHS: 6, "train.optim.lr_steps": [3]}
        assert "train.optim.lr_steps" not in recipes(setup)["plain"]

    def test_recipes_are_specs_that_pass_the_checks(self, tiny: Path) -> None:
        setup = setup_of(tiny)
        for one in setup.recipes:
            spec = load.check(MODEL.config, "train", load.override(MODEL.config, setup.spec, one.values.items()))
            assert not MODEL.check_run(load.build(MODEL.config, spec), "train").problems


class TestBudget:
    def flop(self, monkeypatch: pytest.MonkeyPatch, flop: float | None, *, gpus: tuple[str, ...] = ()) -> None:
        monkeypatch.setattr(ModelTrainings, "flop", lambda self, values: flop)
        monkeypatch.setattr(source, "cores", lambda: 2)
        monkeypatch.setattr(source, "find_gpus", lambda environment: gpus)

    @pytest.mark.parametrize("limits", [{"trials": 5}, {"epochs_total": 7}, {"time_budget": 30.0}])
    def test_that_of_the_user_is_taken_as_it_is(self, tiny: Path, limits: dict[str, Any]) -> None:
        settings = Settings(**limits)
        budget = make_setup(MODEL, spec_of(tiny), settings).budget
        assert (budget.trials, budget.epochs_total, budget.seconds) == (
            limits.get("trials"),
            limits.get("epochs_total"),
            limits.get("time_budget"),
        )
        assert has_budget(settings)
        assert not has_budget(Settings(max_epochs=3, workers=2))

    @pytest.mark.parametrize(
        ("seconds_of_an_epoch", "proposed"), [(12.0, 1200.0), (12.1, 1200.0), (1e-9, 180.0), (1e9, 7200.0)]
    )
    def test_without_one_ten_full_trainings_of_the_first_recipe_are_proposed(
        self, tiny: Path, monkeypatch: pytest.MonkeyPatch, seconds_of_an_epoch: float, proposed: float
    ) -> None:
        self.flop(monkeypatch, seconds_of_an_epoch * CPU_FLOPS * 2)
        setup = setup_of(tiny)
        assert setup.planned()[1].full == 10
        assert setup.budget.seconds == proposed

    def test_a_gpu_shortens_it(self, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.flop(monkeypatch, 12.0 * GPU_FLOPS, gpus=("GPU-0",))
        assert setup_of(tiny).budget.seconds == 1200.0

    def test_the_usual_time_is_proposed_where_operations_are_unknown(
        self, tiny: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.flop(monkeypatch, None)
        assert setup_of(tiny).budget.seconds == 600.0


class TestTrainings:
    def test_epochs_and_operations_are_those_of_the_configuration(self, tiny: Path) -> None:
        trainings = setup_of(tiny).trainings
        assert trainings.epochs({}) == 10
        assert trainings.epochs({EPOCHS: 4}) == 4
        whole, half = trainings.flop({}), trainings.flop({NETWORK: "ST-GCN++"})
        assert whole is not None
        assert half is not None
        assert half < whole

    def test_a_shortened_training_keeps_its_other_values_and_the_shares_of_its_schedule(self, tiny: Path) -> None:
        trainings = setup_of(tiny, train__optim__lr_steps=[5, 8]).trainings
        assert trainings.shortened({LR: 0.5}, 5) == {LR: 0.5, EPOCHS: 5, "train.optim.lr_steps": [2, 4]}

    def test_the_rate_follows_the_batch_size_unless_it_was_drawn_too(self, tiny: Path) -> None:
        trainings = setup_of(tiny).trainings
        assert trainings.adapted({BATCH: 4, LR: 0.1}, {BATCH: 1, LR: 0.1}) == {BATCH: 4, LR: 0.2}
        assert trainings.adapted({BATCH: 4, LR: 0.3}, {BATCH: 1, LR: 0.1}) == {BATCH: 4, LR: 0.3}


class TestRest:
    def test_rungs_preference_and_validation(self, tiny: Path) -> None:
        setup = setup_of(tiny, {"eta": 4, "min_epochs": 2, "prefer": "fast", "seed": 3, "sampler": "random"})
        assert setup.schedule == RungSchedule(eta=4, levels=2, least=2)
        assert (setup.prefer, setup.seed, setup.sampler) == ("fast", 3, "random")
        assert setup.validation_size == 6
        assert setup.validation.startswith("after every epoch, on ")
        assert setup_of(tiny, {"pruner": "none"}).schedule.rungs(9) == (9,)

    def test_the_lowest_rung_lies_after_the_first_steps_unless_the_user_sets_it(self, tiny: Path) -> None:
        """Twelve sequences in batches of 64 are one step an epoch, in batches of 4 and 6 three and two."""
        assert [one.warm_up for one in setup_of(tiny).planned()] == [64, 22, 32]
        assert [one.warm_up for one in setup_of(tiny, {"min_epochs": 1}).planned()] == [0, 0, 0]

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"pruner": "median"}, "pruner is 'median', accepted: promotion, none"),
            ({"sampler": "bayes"}, "sampler is 'bayes'"),
            ({"eta": 1}, "eta is 1"),
            ({"trials": 0}, "trials is 0"),
        ],
    )
    def test_settings_that_are_not_accepted_are_named(self, tiny: Path, settings: dict[str, Any], message: str) -> None:
        with pytest.raises(BadRequest, match=message):
            setup_of(tiny, settings)

    def test_the_goal_is_that_of_the_model_or_of_the_user(self) -> None:
        default = make_goal(MODEL, Settings())
        assert (default.metric, default.maximize, default.tie) == ("val_acc", True, "val_loss")
        assert make_goal(MODEL, Settings(metric="val_loss")).maximize is False
        assert make_goal(MODEL, Settings(metric="train_acc")).maximize is True

    def test_a_model_without_a_training_cannot_be_searched(self) -> None:
        class Untrained(LineModel):
            training = None

        with pytest.raises(BadRequest, match="model line cannot be searched"):
            make_setup(Untrained(), {}, Settings())

    def test_settings_of_a_record_are_read_back(self) -> None:
        assert read_settings({"fixed": ["a"], "time_budget": 3.0}) == Settings(fixed=["a"], time_budget=3.0)
