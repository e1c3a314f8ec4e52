from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tao_skill.automl.search.asha import Budget, Goal, RungSchedule, Trial, candidates, projections
from tao_skill.automl.search.search import (
    EPOCH_S,
    MOST_SHARE,
    REPEAT_SHARE,
    REPEATED,
    REPEATS,
    Configuration,
    Search,
    Setup,
    Task,
)
from tao_skill.automl.search.verdict import judge
from tao_skill.automl.space.dimension import Dimension
from tao_skill.automl.space.space import Space
from tests.support.searches import EqualTrainings

GOAL = Goal(metric="val_acc", maximize=True, tie="val_loss")
SPACE = Space(
    dimensions=(
        Dimension(key="lr", kind="float", low=1e-4, high=1.0, log=True),
        Dimension(key="optimizer", kind="choice", choices=("sgd", "adam")),
        Dimension(key="momentum", kind="float", low=0.5, high=0.99, when=(("optimizer", "sgd"),)),
        Dimension(key="size", kind="int", choices=(1, 2, 4)),
    )
)
SPEC = {"lr": 0.5, "optimizer": "adam", "momentum": 0.9, "size": 2, "epochs": 27, "seed": 7}
RECIPES = (
    Configuration(origin="recipe small", values={"lr": 0.05, "optimizer": "sgd", "size": 1, "epochs": 18}),
    Configuration(origin="recipe large", values={"lr": 0.02, "size": 4, "epochs": 9}),
)


class Pages:
    """A journal whose pages can be copied at any time, as text, as a storage would."""

    def __init__(self, pages: Mapping[int, str] | None = None) -> None:
        self.pages = dict(pages or {})
        self.copies: list[dict[int, str]] = []

    def load(self) -> list[Trial]:
        return [Trial(**json.loads(self.pages[number])) for number in sorted(self.pages)]

    def save(self, trial: Trial) -> None:
        self.pages[trial.number] = json.dumps(asdict(trial))
        self.copies.append(dict(self.pages))


@dataclass(frozen=True)
class SizedTrainings:
    """Trainings whose epochs cost as much as the network is large, and whose length is a value."""

    def epochs(self, values: Mapping[str, Any]) -> int:
        return int(values.get("epochs", SPEC["epochs"]))

    def warm_up(self, values: Mapping[str, Any]) -> int:
        return 0

    def flop(self, values: Mapping[str, Any]) -> float:
        return float(values.get("size", SPEC["size"]))

    def shortened(self, values: Mapping[str, Any], epochs: int) -> dict[str, Any]:
        return {**values, "epochs": epochs}

    def adapted(self, values: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
        return dict(values)


def setup_of(
    *, recipes: Sequence[Configuration] = (), sampler: str = "tpe", seed_key: str | None = None, **budget: Any
) -> Setup:
    return Setup(
        space=SPACE,
        spec=SPEC,
        goal=GOAL,
        schedule=RungSchedule(),
        budget=Budget(**budget),
        trainings=SizedTrainings(),
        recipes=recipes,
        sampler=sampler,
        seed_key=seed_key,
    )


def curve(values: Mapping[str, Any], epochs: int) -> list[dict[str, float]]:
    """A learning curve that rises slowly, highest for lr 0.01; above lr 0.6 it breaks off after two epochs."""
    lr = values.get("lr", SPEC["lr"])
    if lr > 0.6:
        return [{"val_acc": 0.1, "val_loss": 2.0}, {"val_acc": math.nan, "val_loss": math.nan}][:epochs]
    top = 1 / (1 + abs(math.log10(lr) + 2)) - 0.1 * (values.get("optimizer", "adam") == "adam")
    return [{"val_acc": top * (1 - 0.8 ** (at + 1)), "val_loss": 1 - top} for at in range(epochs)]


def finish(search: Search, count: int = 10_000) -> list[Task]:
    """Train what the search hands out, what was interrupted first; the tasks in their order."""
    done = []
    for _ in range(count):
        task = next(iter(search.interrupted()), None) or search.next_task()
        if task is None:
            break
        done.append(task)
        search.succeed(task.number, curve(task.values, task.target))
    return done


def fail(search: Search, task: Task) -> None:
    """The task fails until it is given up."""
    while search.fail(task.number, "no memory") is not None:
        pass


def winner(search: Search) -> Trial:
    chosen = judge(search.setup, search.trials, is_over=True).trial
    assert chosen is not None
    return chosen


class Machine:
    """Workers on a simulated clock; a training stops before the first epoch that starts after its limit."""

    def __init__(self, search: Search, *, speed: float = 1.0, workers: int = 1, now: float = 0.0) -> None:
        self.search, self.speed, self.workers, self.now = search, speed, workers, now
        self.running: list[tuple[float, Task, Sequence[Mapping[str, float]], float]] = []
        self.tasks: list[Task] = []

    def run(self) -> None:
        """Train until the search has no task."""
        for _ in self.steps():
            pass

    def steps(self) -> Iterator[Task]:
        """Tasks as they end; the search takes each result in afterwards."""
        for task in self.search.interrupted():
            self._start(replace(task, limit_s=self.left_s()))
        while True:
            while len(self.running) < self.workers and (given := self.search.next_task(left_s=self.left_s())):
                self._start(given)
            if not self.running:
                return
            self.running.sort(key=lambda one: one[0])
            self.now, ended, history, seconds = self.running.pop(0)
            yield ended
            self.search.succeed(ended.number, history, seconds)

    def left_s(self) -> float:
        return (self.search.setup.budget.seconds or math.inf) - self.now

    def epoch_s(self, task: Task) -> float:
        return self.speed * self.search.setup.trainings.flop(task.values)  # type: ignore[operator]

    def _start(self, task: Task) -> None:
        assert task.number not in [other.number for _, other, _, _ in self.running]
        epoch_s, before = self.epoch_s(task), self.search.trials[task.number].epochs
        if task.target == 0:
            history, seconds = [{EPOCH_S: epoch_s}], epoch_s / 8
        else:
            limit_s = math.inf if task.limit_s is None else task.limit_s
            allowed = task.target if limit_s == math.inf else min(task.target, before + math.ceil(limit_s / epoch_s))
            history = curve(task.values, allowed)
            seconds = (len(history) - before) * epoch_s
        self.tasks.append(task)
        self.running.append((self.now + seconds, task, history, seconds))


class TestStart:
    def test_the_users_spec_and_the_recipes_are_planned_before_anything_is_trained(self) -> None:
        journal = Pages()
        search = Search(setup_of(recipes=RECIPES), journal)
        assert [(one.number, one.origin, one.full) for one in search.trials] == [
            (0, "your spec", 27),
            (1, "recipe small", 18),
            (2, "recipe large", 9),
        ]
        assert {one.state for one in search.trials} == {"planned"}
        assert Search(search.setup, journal).trials == journal.load()
        assert search.trials[0].values == {"lr": 0.5, "optimizer": "adam", "size": 2}

    def test_the_first_recipe_starts_first_at_its_lowest_rung(self) -> None:
        task = Search(setup_of(recipes=RECIPES), Pages()).next_task()
        assert task == Task(number=1, values=RECIPES[0].values, target=2)

    def test_a_limit_of_trials_keeps_the_users_spec_and_the_first_recipes(self) -> None:
        search = Search(setup_of(recipes=RECIPES, trials=2), Pages())
        assert [one.origin for one in search.trials] == ["your spec", "recipe small"]
        assert {task.number for task in finish(search)} <= {0, 1}

    def test_recipes_are_limited_by_their_own_length(self) -> None:
        finish(search := Search(setup_of(recipes=RECIPES, trials=3), Pages()))
        assert all(one.epochs <= one.full for one in search.trials)
        assert search.trials[2].epochs in RungSchedule().rungs(9)


class TestSpeed:
    """With a time budget, the first task measures the speed of the first trial."""

    def test_it_is_measured_before_anything_is_trained_and_no_other_task_is_given_out(self) -> None:
        search = Search(setup_of(recipes=RECIPES, seconds=600.0), Pages())
        assert search.next_task(left_s=600.0) == Task(number=1, values=RECIPES[0].values, target=0)
        assert search.next_task(left_s=600.0) is None
        trial = search.succeed(1, [{EPOCH_S: 2.0}])
        assert (trial.state, trial.epoch_s, trial.epochs) == ("planned", 2.0, 0)
        task = search.next_task(left_s=599.0)
        assert task == Task(number=1, values=RECIPES[0].values, target=2, limit_s=599.0)

    def test_without_a_time_budget_nothing_is_measured(self) -> None:
        assert all(task.target for task in finish(Search(setup_of(recipes=RECIPES, trials=5), Pages())))

    def test_a_measured_speed_of_zero_is_taken_as_known(self) -> None:
        search = Search(setup_of(seconds=600.0), Pages())
        search.next_task(left_s=600.0)
        search.succeed(0, [{EPOCH_S: 0.0}])
        task = search.next_task(left_s=599.0)
        assert task is not None
        assert task.target == 3

    def test_trainings_that_take_too_much_of_the_time_are_shortened_by_their_own_speed(self) -> None:
        search = Search(setup_of(recipes=RECIPES, seconds=40.0), Pages())
        search.next_task(left_s=40.0)
        search.succeed(1, [{EPOCH_S: 1.0}])
        fulls = [one.full for one in search.trials]
        # 27 seconds at 2 an epoch, half of its length; 18, in full; 24 at 4 an epoch, FULL_SHARE of the time.
        assert fulls == [13, 18, 6]
        assert [one.values.get("epochs") for one in search.trials] == [13, 18, 6]
        assert RECIPES[1].values["epochs"] == 9

    def test_the_only_trial_gets_most_of_the_time(self) -> None:
        search = Search(setup_of(seconds=40.0, trials=1), Pages())
        search.next_task(left_s=40.0)
        search.succeed(0, [{EPOCH_S: 2.0}])
        assert search.trials[0].full == int(MOST_SHARE * 40 / 2)

    def test_a_speed_is_measured_again_if_it_was_not_stored_for_all(self) -> None:
        search = Search(setup_of(recipes=RECIPES, seconds=40.0), Pages())
        search.next_task(left_s=40.0)
        before = len(search.journal.copies)  # type: ignore[attr-defined]
        search.succeed(1, [{EPOCH_S: 1.0}])
        for copy in search.journal.copies[before:-1]:  # type: ignore[attr-defined]
            again = Search(search.setup, Pages(copy))
            assert [task.target for task in again.interrupted()] == [0]
            again.succeed(1, [{EPOCH_S: 1.0}])
            assert [one.full for one in again.trials] == [13, 18, 6]

    def test_a_training_is_not_shortened_below_an_epoch(self) -> None:
        search = Search(setup_of(recipes=RECIPES, seconds=40.0), Pages())
        search.next_task(left_s=40.0)
        search.succeed(1, [{EPOCH_S: 1000.0}])
        assert [one.full for one in search.trials] == [1, 1, 1]
        assert search.next_task(left_s=39.0) is None

    def test_new_configurations_are_shortened_too(self) -> None:
        Machine(search := Search(setup_of(seconds=100.0), Pages())).run()
        new = search.trials[1:]
        assert new
        assert all(one.full * one.values["size"] <= MOST_SHARE * 100 for one in new)
        assert {one.full for one in new} & {15, 22}

    def test_the_next_trial_is_measured_where_the_first_cannot_be(self) -> None:
        search = Search(setup_of(recipes=RECIPES, seconds=600.0), Pages())
        search.next_task(left_s=600.0)
        search.give_up(1, "no memory")
        task = search.next_task(left_s=590.0)
        assert task is not None
        assert (task.number, task.target) == (0, 0)

    def test_the_end_is_reached_when_none_can_be_measured(self) -> None:
        search = Search(setup_of(recipes=RECIPES, seconds=600.0), Pages())
        while (task := search.next_task(left_s=500.0)) is not None:
            fail(search, task)
        assert {one.state for one in search.trials} == {"failed"}

    def test_an_epoch_takes_what_it_took_and_elsewhere_what_its_operations_suggest(self) -> None:
        setup = setup_of(recipes=RECIPES, seconds=1000.0)
        search = Search(setup, Pages())
        search.next_task(left_s=1000.0)
        search.succeed(1, [{EPOCH_S: 1.0}])
        search.next_task(left_s=1000.0)
        slow = search.succeed(1, curve(RECIPES[0].values, 2), seconds=20.0)
        assert slow.epoch_s == 10.0
        known = Search(replace(setup, trainings=EqualTrainings(full=9)), search.journal)
        for one, seconds in ((search, 20.0), (known, 10.0)):
            (allowance,) = one._allowances(1000.0)
            assert allowance.cost(one.trials[0], 3) == 3 * seconds
            assert allowance.cost(one.trials[1], 3) == 10.0


class TestResults:
    def search(self) -> Search:
        """A search whose own spec has reached its lowest rung, and whose first new configuration runs."""
        search = Search(setup_of(trials=12), Pages())
        finish(search, 1)
        assert search.next_task() is not None
        return search

    @pytest.mark.parametrize("length", [1, 2, 3])
    def test_divergence_is_known_at_once_and_is_the_worst_result(self, length: int) -> None:
        search = self.search()
        nan = {"val_acc": 0.9, "val_loss": math.nan}
        trial = search.succeed(1, [{"val_acc": 0.9, "val_loss": 1.0}] * (length - 1) + [nan])
        assert (trial.state, trial.reason) == ("done", "training diverged")
        assert projections(search.trials, GOAL, search.setup.schedule)[1] == -math.inf
        assert winner(search).number == 0
        assert search.next_task() == Task(number=2, values=search.trials[2].values, target=3)

    def test_fewer_finite_epochs_mean_that_the_time_was_over_and_the_trial_can_go_on(self) -> None:
        search = self.search()
        trial = search.succeed(1, [{"val_acc": 0.99, "val_loss": 1.0}], seconds=3.0)
        assert (trial.state, trial.target, trial.reason, trial.epoch_s) == ("waiting", 1, None, 3.0)
        assert winner(search).number == 1
        assert 1 in {task.number for task in finish(search)}

    def test_a_trial_without_an_epoch_when_the_time_is_over_failed(self) -> None:
        search = self.search()
        trial = search.succeed(1, [])
        assert (trial.state, trial.reason) == ("failed", "the time was over before its first epoch")
        assert winner(search).number == 0

    def test_a_failed_task_is_repeated_and_then_given_up(self) -> None:
        search = self.search()
        (task,) = search.interrupted()
        assert [search.fail(1, f"cause {at}") for at in range(REPEATS + 1)] == [task] * REPEATS + [None]
        failed = search.trials[1]
        assert (failed.state, failed.reason) == ("failed", f"cause {REPEATS}")
        assert list(failed.failures) == [f"cause {at}" for at in range(REPEATS + 1)]
        assert 1 not in {task.number for task in finish(search)}

    def test_a_failed_promotion_keeps_the_earlier_result(self) -> None:
        search = Search(setup_of(trials=12), Pages())
        while (task := search.next_task()) is not None and task.target != 9:
            search.succeed(task.number, curve(task.values, task.target))
        assert task is not None
        before = [replace(one, state="waiting") if one.number == task.number else one for one in search.trials]
        fail(search, task)
        kept = search.trials[task.number]
        assert (kept.state, kept.target, kept.history) == ("failed", 3, before[task.number].history)
        schedule = search.setup.schedule
        assert projections(search.trials, GOAL, schedule) == projections(before, GOAL, schedule)
        assert task.number not in {one.number for one in finish(search)}

    def test_failures_tell_the_sampler_nothing_and_divergence_does(self) -> None:
        """Divergence above lr 0.05 moves suggestions away from there; failures there do not."""

        def high(ending: str) -> int:
            found = 0
            for seed in range(4):
                search = Search(replace(setup_of(trials=40), seed=seed), Pages())
                for _ in range(60):
                    if (task := search.next_task()) is None:
                        break
                    history = [{"val_acc": 0.5, "val_loss": 1.0}] * task.target
                    if task.values["lr"] <= 0.05 or task.number == 0:
                        search.succeed(task.number, history)
                    elif ending == "fail":
                        fail(search, task)
                    else:
                        search.succeed(task.number, [{"val_acc": math.nan, "val_loss": math.nan}])
                found += sum(one.values["lr"] > 0.05 for one in search.trials[20:])
            return found

        assert high("diverge") < high("fail")


class TestNewConfigurations:
    def test_they_are_drawn_around_the_best_and_keep_its_other_values(self) -> None:
        search = Search(setup_of(recipes=RECIPES, trials=30), Pages())
        finish(search)
        new = search.trials[3:]
        assert {one.origin for one in new} == {"tpe"}
        assert all("epochs" in one.values for one in new)
        assert any(one.values["epochs"] == 18 and one.full == 18 for one in new)

    def test_values_that_follow_from_others_are_adapted_and_no_configuration_is_tried_twice(self) -> None:
        """The adapted rate depends on the size alone: many draws are the same configuration."""

        class Adapting(SizedTrainings):
            def adapted(self, values: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
                return {**values, "lr": 0.01 * values["size"], "optimizer": "adam"}

        setup = replace(setup_of(recipes=RECIPES, trials=30, sampler="random"), trainings=Adapting())
        search = Search(setup, Pages())
        finish(search)
        effective = [json.dumps(SPACE.values_in(SPEC, one.values), sort_keys=True) for one in search.trials]
        assert len(effective) == len(set(effective))
        assert {(one.values["size"], one.values["lr"]) for one in search.trials[3:]} == {
            (1, 0.01),
            (2, 0.02),
            (4, 0.04),
        }

    def test_a_new_configuration_starts_at_a_rung_of_its_own_training(self) -> None:
        Machine(search := Search(setup_of(seconds=60.0, sampler="random"), Pages()), speed=0.5).run()
        started = [one for one in search.trials if one.epochs]
        assert len({one.full for one in started}) > 1
        assert all(one.epochs <= one.full for one in started)

    def test_a_search_finds_better_than_the_users_spec_and_tries_nothing_twice(self) -> None:
        search = Search(setup_of(trials=40), Pages())
        finish(search)
        best = winner(search)
        assert len(search.trials) == 40
        assert best.is_model
        assert best.best(GOAL)["val_acc"] > search.trials[0].best(GOAL)["val_acc"] + 0.2
        assert len({json.dumps(dict(one.values), sort_keys=True) for one in search.trials}) == 40
        assert sum(one.epochs for one in search.trials) < 40 * 27 / 2

    def test_an_exhausted_space_ends_the_search_after_its_best_is_trained_in_full(self) -> None:
        space = Space(dimensions=(Dimension(key="lr", kind="float", choices=(0.001, 0.01, 0.1, 0.5)),))
        search = Search(replace(setup_of(), space=space), Pages())
        assert {task.number for task in finish(search)} == {0, 1, 2, 3}
        assert winner(search).values == {"lr": 0.01}
        assert winner(search).is_model

    def test_a_space_without_dimensions_trains_the_users_spec_alone(self) -> None:
        search = Search(replace(setup_of(), space=Space(dimensions=())), Pages())
        assert [task.target for task in finish(search)] == [3, 9, 27]
        assert winner(search).number == 0


class TestInterruption:
    @pytest.mark.parametrize("recipes", [(), RECIPES])
    @pytest.mark.parametrize("epochs", [None, 150])
    def test_a_search_goes_on_from_any_point_as_if_nothing_had_happened(
        self, epochs: int | None, recipes: Sequence[Configuration]
    ) -> None:
        setup, journal = setup_of(trials=14, epochs_total=epochs, recipes=recipes), Pages()
        undisturbed = finish(Search(setup, journal))
        assert len(undisturbed) > 10
        planned = 1 + len(recipes)
        assert len(journal.copies) == planned + 2 * len(undisturbed)
        for at, copy in enumerate(journal.copies):
            again = Pages(copy)
            done = max(0, at + 1 - planned + 1) // 2 - (at >= planned and (at - planned) % 2 == 0)
            assert finish(Search(setup, again)) == undisturbed[done:]
            assert again.pages == journal.pages

    @given(seconds=st.integers(1, 80), speed=st.sampled_from((0.25, 1.0, 4.0)), recipes=st.sampled_from(((), RECIPES)))
    @settings(deadline=None, max_examples=15)
    def test_the_same_holds_for_a_time_budget(
        self, seconds: int, speed: float, recipes: Sequence[Configuration]
    ) -> None:
        class Timed(Pages):
            def save(self, trial: Trial) -> None:
                super().save(trial)
                times.append(machine.now if machine else 0.0)

        times: list[float] = []
        machine: Machine | None = None
        setup, journal = (
            setup_of(seconds=float(seconds), recipes=recipes, sampler="random", trials=12, seed_key="seed"),
            Timed(),
        )
        machine = Machine(Search(setup, journal), speed=speed)
        machine.run()
        for copy, now in zip(list(journal.copies), list(times), strict=True):
            again = Pages(copy)
            Machine(Search(setup, again), speed=speed, now=now).run()
            assert again.pages == journal.pages

    def test_a_search_rebuilt_after_every_step_does_the_same(self) -> None:
        setup, journal, undisturbed = setup_of(trials=14, recipes=RECIPES), Pages(), Pages()
        finish(Search(setup, undisturbed))
        while finish(Search(setup, journal), 1):
            pass
        assert journal.pages == undisturbed.pages


SPEEDS = st.sampled_from((0.25, 0.5, 1.0, 3.0))
SPACES = st.sampled_from(((), RECIPES, RECIPES[:1]))


class TestTime:
    """Searches on a simulated clock."""

    @given(seconds=st.integers(1, 150), speed=SPEEDS, workers=st.integers(1, 4), recipes=SPACES)
    @settings(deadline=None, max_examples=40)
    def test_the_budget_is_kept_but_for_one_epoch_of_the_slowest_running_trial(
        self, seconds: int, speed: float, workers: int, recipes: Sequence[Configuration]
    ) -> None:
        setup = setup_of(seconds=float(seconds), recipes=recipes, sampler="random", trials=60, seed_key="seed")
        machine = Machine(Search(setup, Pages()), speed=speed, workers=workers)
        for task in machine.steps():
            assert machine.now <= seconds + machine.epoch_s(task)
        assert len({(task.number, task.target) for task in machine.tasks}) == len(machine.tasks)

    @given(seconds=st.integers(1, 150), speed=SPEEDS, workers=st.integers(1, 4), error=st.sampled_from((0.3, 1.0, 3.0)))
    @settings(deadline=None, max_examples=40)
    def test_a_model_results_if_an_epoch_of_the_first_recipe_fits_however_wrong_the_measured_speed_was(
        self, seconds: int, speed: float, workers: int, error: float
    ) -> None:
        setup = setup_of(seconds=float(seconds), recipes=RECIPES, sampler="random", trials=60, seed_key="seed")
        search = Search(setup, Pages())
        machine = Machine(search, speed=speed, workers=workers)
        fits = False
        for task in machine.steps():
            if task.target == 0:
                fits = machine.left_s() >= speed
                machine.speed = speed * error
            assert machine.now <= seconds + machine.epoch_s(task)
        assert (judge(setup, search.trials).trial is not None) == fits

    @given(seconds=st.integers(8, 150), speed=SPEEDS, workers=st.integers(1, 4), recipes=SPACES)
    @settings(deadline=None, max_examples=40)
    def test_a_trial_is_trained_in_full_if_speeds_are_as_measured_and_nothing_diverges(
        self, seconds: int, speed: float, workers: int, recipes: Sequence[Configuration]
    ) -> None:
        """The space has no rate that diverges; an epoch of the first trial takes a third of the time at most."""
        space = Space(dimensions=(replace(SPACE.dimensions[0], high=0.5), *SPACE.dimensions[1:]))
        setup = replace(
            setup_of(seconds=float(seconds), recipes=recipes, sampler="random", trials=60, seed_key="seed"), space=space
        )
        search = Search(setup, Pages())
        machine = Machine(search, speed=speed, workers=workers)
        machine.run()
        first = search.trials[1 if recipes else 0]
        if first.epoch_s is not None and first.epoch_s <= seconds / 3:
            assert any(one.is_model for one in search.trials)

    @given(seconds=st.integers(10, 150), workers=st.integers(1, 3), seed=st.integers(0, 99))
    @settings(deadline=None, max_examples=25)
    def test_the_winner_is_not_worse_than_the_users_spec_or_the_first_recipe_at_any_training_they_reached(
        self, seconds: int, workers: int, seed: int
    ) -> None:
        setup = replace(
            setup_of(seconds=float(seconds), recipes=RECIPES, sampler="random", trials=40, seed_key="seed"), seed=seed
        )
        search = Search(setup, Pages())
        Machine(search, workers=workers).run()
        repeated = {one.repeats for one in search.trials}
        best = winner(search).best(GOAL)["val_acc"]
        for one in search.trials[:2]:
            assert one.number in repeated or best >= one.best(GOAL).get("val_acc", 0.0)
        assert winner(search) == candidates(search.trials, GOAL)[0]

    def test_the_users_spec_is_stopped_when_others_are_better_and_the_rest_of_the_time_goes_to_them(self) -> None:
        search = Search(setup_of(seconds=120.0, recipes=RECIPES), Pages())
        Machine(search).run()
        own = search.trials[0]
        assert own.state == "waiting"
        assert own.epochs < own.full
        assert winner(search).is_model

    def test_the_time_of_a_task_leaves_enough_for_the_full_training_of_the_best(self) -> None:
        search = Search(setup_of(seconds=100.0, recipes=RECIPES), Pages())
        search.next_task(left_s=100.0)
        search.succeed(1, [{EPOCH_S: 1.0}])
        search.next_task(left_s=99.0)
        search.succeed(1, curve(RECIPES[0].values, 2), 2.0)
        task = search.next_task(left_s=97.0)
        assert task is not None
        assert (task.number, task.limit_s) == (0, 97.0 - 16.0)


class TestSecondSeed:
    """Finalists are trained again with another seed, at the end of a time budget."""

    def search(self, seconds: float = 300.0, **options: Any) -> Search:
        setup = setup_of(seconds=seconds, recipes=RECIPES, sampler="random", seed_key="seed", **options)
        Machine(search := Search(setup, Pages())).run()
        return search

    def test_the_best_fully_trained_configurations_are_repeated_once(self) -> None:
        search = self.search()
        again = [one for one in search.trials if one.repeats is not None]
        assert 1 <= len(again) == len({one.repeats for one in again}) <= REPEATED
        for one in again:
            first = search.trials[one.repeats or 0]
            assert first.is_model
            assert one.values == {**first.values, "seed": 8}
            assert (one.full, one.origin) == (first.full, f"second seed of trial {first.number}")
            assert one.is_model

    def test_they_start_when_most_of_the_time_is_over(self) -> None:
        setup = setup_of(seconds=300.0, recipes=RECIPES, sampler="random", seed_key="seed")
        machine = Machine(Search(setup, Pages()))
        for _ in machine.steps():
            if any(one.repeats is not None for one in machine.search.trials):
                break
        running = [one for one in machine.search.trials if one.repeats is not None]
        assert running
        assert machine.left_s() <= REPEAT_SHARE * 300

    def test_none_without_a_time_budget_or_a_key_of_the_seed(self) -> None:
        finish(search := Search(setup_of(trials=6, recipes=RECIPES, seed_key="seed"), Pages()))
        Machine(timed := Search(setup_of(seconds=300.0, recipes=RECIPES, sampler="random"), Pages())).run()
        assert not [one for one in (*search.trials, *timed.trials) if one.repeats is not None]

    def test_none_if_there_is_no_time_for_all(self) -> None:
        search = self.search(seconds=24.0)
        assert any(one.is_model for one in search.trials)
        assert not [one for one in search.trials if one.repeats is not None]


class TestSeveralWorkers:
    @given(
        order=st.randoms(use_true_random=False),
        workers=st.integers(1, 5),
        epochs=st.sampled_from((None, 1, 10, 40, 150)),
        recipes=SPACES,
    )
    @settings(deadline=None, max_examples=20)
    def test_nothing_is_handed_out_twice_and_no_epoch_exceeds_the_budget(
        self, order: random.Random, workers: int, epochs: int | None, recipes: Sequence[Configuration]
    ) -> None:
        search = Search(setup_of(trials=10, epochs_total=epochs, recipes=recipes, sampler="random"), Pages())
        running: list[Task] = []
        given_out: list[tuple[int, int]] = []
        while True:
            while len(running) < workers and (task := search.next_task()) is not None:
                assert task.number not in [one.number for one in running]
                running.append(task)
                given_out.append((task.number, task.target))
            if not running:
                break
            task = running.pop(order.randrange(len(running)))
            if order.random() < 0.1:
                fail(search, task)
            else:
                search.succeed(task.number, curve(task.values, task.target))
        assert len(given_out) == len(set(given_out))
        assert not search.interrupted()
        assert epochs is None or sum(one.epochs for one in search.trials) <= epochs
        effective = [json.dumps(SPACE.values_in(SPEC, one.values), sort_keys=True) for one in search.trials]
        assert len(effective) == len(set(effective))

    @pytest.mark.parametrize(("epochs", "trained"), [(27, 27), (60, 27), (10, 10), (1, 1)])
    def test_a_budget_of_epochs_ends_with_a_full_training_or_as_much_of_it_as_fits(
        self, epochs: int, trained: int
    ) -> None:
        search = Search(setup_of(epochs_total=epochs, sampler="random"), Pages())
        finish(search)
        assert max(one.epochs for one in search.trials) == trained
