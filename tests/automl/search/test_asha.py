from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tao_skill.automl.search.asha import (
    Allowance,
    Budget,
    Goal,
    RungSchedule,
    State,
    Step,
    Trial,
    candidates,
    in_order,
    projections,
    spent,
)
from tao_skill.errors import BadRequest

GOAL = Goal(metric="val_acc", maximize=True, tie="val_loss")
RUNGS = RungSchedule()
FULL = 27
UNLIMITED = Budget()


def trial(
    number: int, *values: float, to: int | None = None, full: int = FULL, state: State | None = None, **more: Any
) -> Trial:
    """A trial whose last value is repeated up to epoch `to`; planned without values."""
    epochs = len(values) if to is None else to
    history = [{"val_acc": values[min(i, len(values) - 1)], "val_loss": 1.0} for i in range(epochs)]
    usual: State = "planned" if not epochs else "done" if epochs >= full else "waiting"
    facts = {"target": epochs, "state": state or usual, "origin": "tpe" if number else "your spec", **more}
    return Trial(number=number, values={"x": number}, full=full, history=history, **facts)


def epochs_left(epochs: float) -> Allowance:
    """An allowance of epochs."""
    return Allowance(left=epochs, cost=lambda one, until: max(0, until - one.epochs))


def next_step(
    *trials: Trial, budget: Budget = UNLIMITED, left: float | None = None, new: bool = True, eta: int = 3
) -> Step | None:
    allowances = [] if left is None else [epochs_left(left)]
    return RungSchedule(eta=eta).next_step(trials, GOAL, budget, allowances, new=new)


@pytest.mark.parametrize(
    ("full", "rungs"),
    [
        (1, (1, 1, 1)),
        (3, (1, 1, 3)),
        (9, (1, 3, 9)),
        (10, (1, 3, 10)),
        (27, (3, 9, 27)),
        (60, (7, 20, 60)),
        (300, (33, 100, 300)),
    ],
)
def test_rungs_are_a_ninth_a_third_and_all_of_a_full_training(full: int, rungs: tuple[int, ...]) -> None:
    assert RUNGS.rungs(full) == rungs


@pytest.mark.parametrize(
    ("warm_up", "rungs"), [(0, (3, 9, 27)), (5, (5, 9, 27)), (12, (12, 12, 27)), (99, (27, 27, 27))]
)
def test_no_rung_lies_within_the_warm_up_of_a_trial(warm_up: int, rungs: tuple[int, ...]) -> None:
    late = trial(0, warm_up=warm_up)
    assert RUNGS.rungs_of(late) == rungs
    assert next_step(late) == Step(number=0, target=rungs[0])
    assert RUNGS.level(trial(0, 0.5, to=9, warm_up=warm_up)) == sum(rung <= 9 for rung in rungs) - 1


@given(full=st.integers(1, 2000), eta=st.integers(2, 9), least=st.integers(1, 50), levels=st.integers(1, 4))
def test_rungs_rise_to_the_full_training_and_are_not_below_the_least(
    full: int, eta: int, least: int, levels: int
) -> None:
    rungs = RungSchedule(eta=eta, least=least, levels=levels).rungs(full)
    assert len(rungs) == levels
    assert rungs[-1] == full
    assert list(rungs) == sorted(rungs)
    assert all(rung >= min(least, full) for rung in rungs)


@given(full=st.integers(1, 200), epochs=st.integers(0, 200))
def test_the_level_is_the_highest_rung_that_is_reached(full: int, epochs: int) -> None:
    reached = [at for at, rung in enumerate(RUNGS.rungs(full)) if 0 < rung <= epochs]
    assert RUNGS.level(trial(0, 0.5, to=min(epochs, full), full=full)) == max(reached, default=-1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RungSchedule(eta=1), "eta is 1"),
        (lambda: RungSchedule(least=0), "min_epochs is 0"),
        (lambda: Budget(trials=0), "trials is 0"),
        (lambda: Budget(epochs_total=0), "epochs_total is 0"),
    ],
)
def test_impossible_settings_are_refused(make: Any, message: str) -> None:
    with pytest.raises(BadRequest, match=message) as refused:
        make()
    assert refused.value.fix


class TestOrder:
    KNOWN = (trial(0), trial(1, origin="recipe a"), trial(2, origin="recipe b", full=9))

    def test_the_first_recipe_starts_first_at_its_lowest_rung(self) -> None:
        assert next_step(*self.KNOWN) == Step(number=1, target=3)
        assert [one.number for one in in_order(self.KNOWN)] == [1, 0, 2]

    def test_without_recipes_the_users_spec_starts_first(self) -> None:
        assert next_step(trial(0)) == Step(number=0, target=3)
        assert [one.number for one in in_order([trial(0)])] == [0]

    def test_the_users_spec_follows_if_it_is_cheap_then_the_cheapest(self) -> None:
        own, first, cheap = trial(0, full=270), trial(1, 0.5, to=3, origin="recipe a"), self.KNOWN[2]
        assert next_step(own, first, cheap, left=1000) == Step(number=0, target=30)
        assert next_step(own, first, cheap, left=80) == Step(number=2, target=1)
        assert next_step(trial(0, full=60), first, cheap, left=80) == Step(number=0, target=7)
        assert next_step(trial(0, 0.1, to=30, full=270), first, cheap, left=1000) == Step(number=2, target=1)

    def test_of_an_expensive_spec_a_quarter_of_what_is_left_has_its_first_epochs(self) -> None:
        own, first, cheap = trial(0, full=30, warm_up=30), trial(1, 0.5, to=3, origin="recipe a"), self.KNOWN[2]
        assert next_step(own, first, cheap, left=50) == Step(number=0, target=12)
        assert next_step(own, first, cheap, left=120) == Step(number=0, target=30)

    def test_a_full_training_that_is_worse_than_the_best_keeps_nothing_from_it(self) -> None:
        own, best, other = trial(0, 0.2, to=27), trial(1, 0.5, to=3), trial(2, full=9)
        assert next_step(own, best, other, left=24 + 1) == Step(number=2, target=1)
        assert next_step(own, best, other, left=24) == Step(number=1, target=9)
        assert next_step(own, best, left=10) == Step(number=1, target=13)
        assert next_step(trial(0, 0.6, to=27), best, other, left=24) == Step(number=2, target=1)

    def test_beside_the_running_first_recipe_the_others_start(self) -> None:
        own, _, cheap = self.KNOWN
        running = trial(1, origin="recipe a", state="running", target=3)
        assert next_step(own, running, cheap) == Step(number=0, target=3)

    def test_known_configurations_come_before_promotions_and_new_ones(self) -> None:
        waiting = [trial(number, 0.1 * number, to=3) for number in (1, 2, 3)]
        assert next_step(trial(0), *waiting) == Step(number=0, target=3)

    def test_new_configurations_begin_at_the_lowest_rung_of_the_best(self) -> None:
        assert next_step(trial(0, 0.5, to=3)) == Step(number=1, target=3, is_new=True)
        best = trial(1, 0.9, to=1, full=9)
        assert next_step(trial(0, 0.5, to=3), best) == Step(number=2, target=1, is_new=True)

    def test_a_limit_of_trials_counts_planned_ones(self) -> None:
        assert next_step(trial(0, 0.5, to=3), budget=Budget(trials=2)) == Step(number=1, target=3, is_new=True)
        assert next_step(trial(0, 0.5, to=3), budget=Budget(trials=1)) == Step(number=0, target=9)


class TestPromotion:
    def test_the_best_of_three_is_promoted_to_the_next_share_of_its_own_training(self) -> None:
        given = [trial(0, 0.4, to=3), trial(1, 0.6, to=2, full=18), trial(2, 0.5, to=3)]
        assert next_step(*given) == Step(number=1, target=6)
        assert next_step(*given[:2]) == Step(number=2, target=2, is_new=True)

    def test_trials_are_compared_at_the_same_share_of_their_trainings(self) -> None:
        """Trial 0 is ahead of trial 1 now, but was behind at the lowest rung."""
        given = [trial(0, 0.1, 0.1, 0.1, 0.9, to=9), trial(1, 0.2, to=1, full=9), trial(2, 0.0, to=3)]
        assert next_step(*given) == Step(number=1, target=3)

    def test_the_highest_rung_goes_first(self) -> None:
        low = [trial(number, 0.9, to=3) for number in (0, 1, 2)]
        high = [trial(number, 0.1 * number, to=9) for number in (3, 4, 5)]
        assert next_step(*low, *high) == Step(number=5, target=27)

    def test_a_promoted_trial_still_counts_in_the_rung_below(self) -> None:
        promoted = trial(0, 0.9, 0.9, 0.9, 0.1, to=9)
        others = [trial(number, 0.2 + number / 100, to=3) for number in (1, 2, 3, 4)]
        assert next_step(promoted, *others) == Step(number=5, target=3, is_new=True)
        assert next_step(promoted, *others, trial(5, 0.1, to=3)) == Step(number=4, target=9)

    def test_running_trials_are_left_alone(self) -> None:
        promoted = trial(1, 0.6, to=3, state="running", target=9)
        given = [trial(0, 0.4, to=3), promoted, trial(2, 0.5, to=3), trial(3, state="running", target=3)]
        assert next_step(*given) == Step(number=4, target=3, is_new=True)

    def test_equal_values_are_ranked_by_the_loss(self) -> None:
        tied = [
            Trial(number=n, values={}, full=27, history=[{"val_acc": 0.5, "val_loss": loss}] * 3, state="waiting")
            for n, loss in enumerate((0.3, 0.2, math.nan))
        ]
        assert next_step(*tied) == Step(number=1, target=9)

    def test_a_diverged_trial_is_the_worst_of_the_rung_that_it_was_trained_to(self) -> None:
        diverged = trial(1, 0.99, state="done", reason="training diverged", target=3)
        assert next_step(trial(0, 0.4, to=3), diverged, trial(2, 0.3, to=3)) == Step(number=0, target=9)

    def test_a_failed_promotion_keeps_its_place_and_is_not_repeated(self) -> None:
        failed = trial(0, 0.9, to=3, state="failed", reason="no memory")
        others = [trial(1, 0.4, to=3), trial(2, 0.3, to=3)]
        assert next_step(failed, *others) == Step(number=3, target=3, is_new=True)
        assert next_step(failed, *others, *(trial(n, 0.1, to=3) for n in (3, 4, 5))) == Step(number=1, target=9)

    def test_without_rungs_every_configuration_is_trained_in_full(self) -> None:
        schedule = RungSchedule(levels=1)
        assert schedule.next_step([trial(0)], GOAL, UNLIMITED) == Step(number=0, target=27)
        done = [trial(0, 0.5, to=27)]
        assert schedule.next_step(done, GOAL, UNLIMITED) == Step(number=1, target=27, is_new=True)

    def test_a_trial_that_the_time_stopped_below_its_rung_is_not_promoted_over_others(self) -> None:
        stopped = trial(0, 0.9, to=2)
        given = [stopped, trial(1, 0.3, to=3), trial(2, 0.2, to=3), trial(3, 0.1, to=3)]
        assert next_step(*given) == Step(number=1, target=9)


class TestEnd:
    END = Budget(trials=3)

    def test_trials_projected_to_beat_every_full_training_are_trained_in_full(self) -> None:
        done, worse = trial(0, 0.5, to=27), trial(1, 0.4, to=3)
        assert next_step(done, worse, trial(2, 0.6, to=9), budget=self.END) == Step(number=2, target=27)
        assert next_step(done, worse, trial(2, 0.6, to=27), budget=self.END) is None

    def test_a_projection_counts_what_full_trainings_gained_later(self) -> None:
        late = trial(0, *[0.3] * 9, *[0.8] * 18)
        assert next_step(late, trial(1, 0.2, to=3), trial(2, 0.4, to=3), budget=self.END) == Step(number=2, target=9)

    def test_as_long_as_nothing_is_trained_in_full_the_best_goes_on(self) -> None:
        given = [trial(0, 0.2, to=3), trial(1, 0.3, to=3)]
        assert next_step(*given, new=False) == Step(number=1, target=9)
        assert next_step(given[0], trial(1, 0.3, to=9), new=False) == Step(number=1, target=27)
        assert next_step(given[0], trial(1, 0.3, to=27), new=False) is None

    def test_the_next_best_goes_on_where_the_best_diverged(self) -> None:
        diverged = trial(1, 0.3, to=8, state="done", reason="training diverged", target=9)
        assert next_step(trial(0, 0.2, to=3), diverged, new=False) == Step(number=0, target=9)


class TestReserve:
    """The budget suffices to train the best trial in full, as long as none is."""

    def test_a_step_leaves_enough_for_the_full_training_of_the_best(self) -> None:
        best, other = trial(0, 0.9, to=3), trial(1)
        assert next_step(best, other, left=24 + 3) == Step(number=1, target=3)
        assert next_step(best, other, left=24 + 2) == Step(number=0, target=9)

    def test_once_a_trial_is_trained_in_full_nothing_is_kept(self) -> None:
        assert next_step(trial(0, 0.9, to=27), trial(1), left=27) == Step(number=1, target=3)
        assert next_step(trial(0, 0.9, to=27), trial(1), left=26) is None

    def test_nothing_is_kept_beside_a_trial_on_the_way_to_its_full_training(self) -> None:
        on_the_way = trial(0, 0.9, to=9, state="running", target=27)
        assert next_step(on_the_way, trial(1), left=27) == Step(number=1, target=3)

    def test_no_trial_starts_that_could_not_be_trained_in_full(self) -> None:
        done = trial(0, 0.2, to=27)
        assert next_step(done, trial(1), trial(2, full=18), left=26) == Step(number=2, target=2)

    def test_a_promotion_of_the_best_needs_no_more_than_its_own_full_training(self) -> None:
        given = [trial(0, 0.9, to=3), trial(1, 0.2, to=3), trial(2, 0.1, to=3)]
        assert next_step(*given, left=24) == Step(number=0, target=9)

    def test_every_allowance_must_suffice(self) -> None:
        two = [epochs_left(1000), epochs_left(26)]
        done = trial(0, 0.2, to=27)
        assert RUNGS.next_step([done, trial(1)], GOAL, UNLIMITED, two) is None
        assert RUNGS.next_step([done, trial(1)], GOAL, UNLIMITED, two[:1]) == Step(number=1, target=3)

    @pytest.mark.parametrize(("left", "target"), [(24, 9), (23, 26), (10, 13), (1, 4), (0, None)])
    def test_when_nothing_else_fits_the_best_is_trained_as_long_as_the_budget_lasts(
        self, left: int, target: int | None
    ) -> None:
        step = next_step(trial(0, 0.9, to=3), trial(1, 0.2, to=3), left=left)
        assert step == (target and Step(number=0, target=target))

    def test_a_budget_below_a_full_training_goes_to_the_first_recipe(self) -> None:
        assert next_step(trial(0), trial(1, origin="recipe a"), left=5) == Step(number=1, target=5)
        assert next_step(trial(0), trial(1, origin="recipe a"), left=0) is None

    def test_a_running_step_counts_as_spent(self) -> None:
        assert spent(trial(1, 0.6, to=3, state="running")) == 3
        assert spent(trial(1, 0.6, to=3, state="running", target=9)) == 9
        assert spent(trial(1, 0.6, to=3)) == 3


@given(
    accuracies=st.lists(st.floats(0, 1), min_size=1, max_size=6),
    reached=st.lists(st.integers(0, 27), min_size=6, max_size=6),
    fulls=st.lists(st.integers(1, 27), min_size=6, max_size=6),
    left=st.integers(0, 200),
)
def test_a_step_lengthens_a_trial_that_is_not_running_within_its_training_and_the_budget(
    accuracies: Sequence[float], reached: Sequence[int], fulls: Sequence[int], left: int
) -> None:
    facts = zip(accuracies, reached, fulls, strict=False)
    trials = [trial(n, value, to=min(to, full), full=full) for n, (value, to, full) in enumerate(facts)]
    step = next_step(*trials, left=left)
    if step is None:
        leader = RUNGS.leader(trials, GOAL)
        assert left == 0 or leader is None
        return
    assert step.is_new == (step.number == len(trials))
    if not step.is_new:
        before = trials[step.number]
        assert before.state in ("planned", "waiting")
        assert before.epochs < step.target <= before.full
        assert step.target - before.epochs <= left


class TestCandidates:
    def test_full_and_partial_trainings_count_the_best_first(self) -> None:
        given = [trial(0, 0.6, to=27), trial(1, 0.9, to=3), trial(2, 0.7, to=9), trial(3)]
        assert [one.number for one in candidates(given, GOAL)] == [1, 2, 0]

    def test_an_earlier_better_epoch_counts(self) -> None:
        assert [one.number for one in candidates([trial(0, 0.4, to=3), trial(1, 0.9, 0.1, 0.1)], GOAL)] == [1, 0]

    @pytest.mark.parametrize(
        "other",
        [
            trial(1),
            trial(1, math.nan, to=27),
            trial(1, 0.9, to=3, state="running", target=9),
            trial(1, 0.9, to=9, state="failed", reason="no memory"),
            trial(1, 0.9, to=27, state="done", reason="training diverged"),
        ],
    )
    def test_running_failed_and_diverged_trials_do_not_count(self, other: Trial) -> None:
        assert [one.number for one in candidates([trial(0, 0.1, to=3), other], GOAL)] == [0]

    def test_ties_go_to_the_lower_loss_and_then_to_the_lower_number(self) -> None:
        def full(number: int, loss: float) -> Trial:
            history = [{"val_acc": 0.5, "val_loss": loss}] * 27
            return Trial(number=number, values={}, full=27, history=history, state="done")

        assert [one.number for one in candidates([full(0, 0.9), full(1, 0.9), full(2, 0.4)], GOAL)] == [2, 0, 1]

    def test_a_configuration_with_several_seeds_counts_with_their_mean(self) -> None:
        lucky, again = trial(1, 0.9, to=27), trial(3, 0.5, to=27, repeats=1)
        assert [one.number for one in candidates([trial(0, 0.6, to=27), lucky, trial(2, 0.8, to=9), again], GOAL)] == [
            2,
            1,
            3,
            0,
        ]
        diverged = trial(3, 0.5, to=27, state="done", reason="training diverged", repeats=1)
        assert [one.number for one in candidates([trial(0, 0.6, to=27), lucky, diverged], GOAL)] == [1, 0]

    def test_a_metric_to_be_minimised(self) -> None:
        goal = Goal(metric="val_loss", maximize=False, tie="val_loss")
        losses = [
            Trial(number=n, values={}, full=9, history=[{"val_loss": loss}] * 9, state="done")
            for n, loss in enumerate((0.5, 0.7, 0.3, math.inf))
        ]
        assert [one.number for one in candidates(losses, goal)] == [2, 0, 1]

    @given(st.lists(st.tuples(st.floats() | st.floats(0, 1), st.integers(1, 27)), min_size=1, max_size=6))
    def test_the_first_is_not_worse_than_any_other(self, results: Sequence[tuple[float, int]]) -> None:
        trials = [trial(number, value, to=to) for number, (value, to) in enumerate(results)]
        usable = [value for value, _ in results if math.isfinite(value)]
        ranked = candidates(trials, GOAL)
        assert [one.best(GOAL)["val_acc"] for one in ranked] == sorted(usable, reverse=True)


class TestProjections:
    def test_full_trainings_keep_their_score_and_divergence_is_the_worst(self) -> None:
        diverged = trial(2, 0.9, 0.9, 0.9, to=3, state="done", reason="training diverged")
        found = projections([trial(0, 0.5, to=27), trial(1, 0.6, to=27), diverged], GOAL, RUNGS)
        assert found == {0: 0.5, 1: 0.6, 2: -math.inf}

    def test_a_trial_without_an_epoch_has_none(self) -> None:
        assert projections([trial(0, 0.5, to=27), trial(1)], GOAL, RUNGS) == {0: 0.5}

    def test_a_partial_training_is_raised_by_what_full_trainings_gained_after_its_rung(self) -> None:
        late = trial(0, *[0.3] * 9, *[0.8] * 18)
        found = projections([late, trial(1, 0.4, to=1, full=9), trial(2, 0.4, to=27)], GOAL, RUNGS)
        assert found[1] == pytest.approx(0.4 + 0.5)
        assert found[0] == 0.8
