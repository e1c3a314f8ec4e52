from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tao_skill.automl.search.asha import (
    Budget,
    Goal,
    RungSchedule,
    State,
    Step,
    Trial,
    make_rung_schedule,
    projections,
    spent,
    winner,
)
from tao_skill.errors import BadRequest

GOAL = Goal(metric="val_acc", maximize=True, tie="val_loss")
LADDER = RungSchedule(rungs=(3, 9, 27))
PLENTY = Budget(trials=100, max_epochs=27)


def trial(number: int, *values: float, to: int | None = None, state: State | None = None, **more: object) -> Trial:
    """A trial with the last of `values` repeated up to epoch `to`."""
    epochs = len(values) if to is None else to
    history = [{"val_acc": values[min(i, len(values) - 1)], "val_loss": 1.0} for i in range(epochs)]
    found = state or ("done" if epochs >= 27 else "waiting")
    return Trial(number=number, values={"x": number}, history=history, target=epochs, state=found, **more)  # type: ignore[arg-type]


DEFAULT = trial(0, 0.5, to=27)


def next_step(*trials: Trial, budget: Budget = PLENTY, new: bool = True) -> Step | None:
    return LADDER.next_step([DEFAULT, *trials], GOAL, budget, new=new)


@pytest.mark.parametrize(
    ("epochs", "rungs"),
    [
        (1, (1,)),
        (3, (3,)),
        (8, (8,)),
        (9, (3, 9)),
        (10, (3, 10)),
        (27, (3, 9, 27)),
        (50, (6, 17, 50)),
        (81, (9, 27, 81)),
        (300, (33, 100, 300)),
    ],
)
def test_rungs_are_a_ninth_a_third_and_all_of_the_epochs_but_at_least_three(
    epochs: int, rungs: tuple[int, ...]
) -> None:
    assert make_rung_schedule(epochs).rungs == rungs


@given(epochs=st.integers(1, 2000), eta=st.integers(2, 9), least=st.integers(1, 50))
def test_rungs_rise_to_the_full_training_and_keep_the_least_epochs(epochs: int, eta: int, least: int) -> None:
    rungs = make_rung_schedule(epochs, eta=eta, min_epochs=least).rungs
    assert rungs[-1] == epochs
    assert len(rungs) <= 3
    assert list(rungs) == sorted(set(rungs))
    assert all(rung >= least for rung in rungs[:-1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: make_rung_schedule(27, eta=1), "eta is 1"),
        (lambda: make_rung_schedule(27, min_epochs=0), "min_epochs is 0"),
        (lambda: Budget(trials=0, max_epochs=27), "trials is 0"),
        (lambda: Budget(trials=2, max_epochs=0), "max_epochs is 0"),
        (lambda: Budget(trials=2, max_epochs=27, epochs_total=26), "epochs_total is 26"),
    ],
)
def test_settings_no_search_can_have_are_refused(make: object, message: str) -> None:
    with pytest.raises(BadRequest, match=message) as refused:
        make()  # type: ignore[operator]
    assert refused.value.fix


class TestWhatIsNext:
    def test_the_default_first_and_in_full(self) -> None:
        assert LADDER.next_step([], GOAL, PLENTY) == Step(number=0, target=27, is_new=True)

    def test_new_configurations_begin_at_the_lowest_rung(self) -> None:
        assert next_step() == Step(number=1, target=3, is_new=True)

    def test_the_best_of_three_goes_on(self) -> None:
        two = [trial(1, 0.4, to=3), trial(2, 0.6, to=3)]
        assert next_step(*two) == Step(number=3, target=3, is_new=True)
        assert next_step(*two, trial(3, 0.5, to=3)) == Step(number=2, target=9)

    def test_the_highest_rung_goes_first(self) -> None:
        low = [trial(number, 0.9, to=3) for number in (1, 2, 3)]
        high = [trial(number, 0.1 * number, to=9) for number in (4, 5, 6)]
        assert next_step(*low, *high) == Step(number=6, target=27)

    def test_the_default_takes_no_place_in_a_rung(self) -> None:
        assert next_step(trial(1, 0.4, to=3), trial(2, 0.6, to=3)) == Step(number=3, target=3, is_new=True)

    def test_who_went_on_counts_in_the_rung_it_left_with_what_it_had_there(self) -> None:
        gone = trial(1, 0.9, 0.9, 0.9, 0.1, to=9)
        others = [trial(number, 0.2 + number / 100, to=3) for number in (2, 3, 4, 5)]
        assert next_step(gone, *others) == Step(number=6, target=3, is_new=True)
        assert next_step(gone, *others, trial(6, 0.1, to=3)) == Step(number=5, target=9)

    def test_running_ones_are_left_alone(self) -> None:
        climbing = trial(2, 0.6, to=3, state="running")
        given = [trial(1, 0.4, to=3), climbing, trial(3, 0.5, to=3), Trial(number=4, values={}, target=3)]
        assert next_step(*given) == Step(number=5, target=3, is_new=True)

    def test_equal_values_are_told_apart_by_the_loss(self) -> None:
        tied = [
            Trial(number=n, values={}, history=[{"val_acc": 0.5, "val_loss": loss}] * 3, target=3, state="waiting")
            for n, loss in ((1, 0.3), (2, 0.2), (3, math.nan))
        ]
        assert next_step(*tied) == Step(number=2, target=9)

    def test_who_diverged_counts_as_the_worst_of_the_rung_it_was_on_its_way_to(self) -> None:
        lost = Trial(number=1, values={}, history=[{"val_acc": 0.99}], target=3, state="done", reason="diverged")
        assert next_step(lost, trial(2, 0.4, to=3), trial(3, 0.3, to=3)) == Step(number=2, target=9)

    def test_a_failed_promotion_keeps_its_place_and_is_not_tried_again(self) -> None:
        failed = trial(1, 0.9, to=3, state="failed", reason="no memory")
        others = [trial(2, 0.4, to=3), trial(3, 0.3, to=3)]
        assert next_step(failed, *others) == Step(number=4, target=3, is_new=True)
        assert next_step(failed, *others, *(trial(n, 0.1, to=3) for n in (4, 5, 6))) == Step(number=2, target=9)

    def test_without_rungs_every_configuration_is_trained_in_full(self) -> None:
        assert RungSchedule(rungs=(27,)).next_step([DEFAULT], GOAL, PLENTY) == Step(number=1, target=27, is_new=True)


class TestTheEnd:
    BUDGET = Budget(trials=3, max_epochs=27)

    def test_what_promises_more_than_the_best_goes_to_the_top_step_by_step(self) -> None:
        worse, better = trial(1, 0.4, to=3), trial(2, 0.6, to=3)
        assert next_step(worse, better, budget=self.BUDGET) == Step(number=2, target=9)
        assert next_step(worse, trial(2, 0.6, to=9), budget=self.BUDGET) == Step(number=2, target=27)
        assert next_step(worse, trial(2, 0.6, to=27), budget=self.BUDGET) is None

    def test_one_beside_the_default_is_trained_in_full_even_if_none_promises_more(self) -> None:
        given = [trial(1, 0.2, to=3), trial(2, 0.3, to=3)]
        assert next_step(*given, budget=self.BUDGET) == Step(number=2, target=9)
        climbing = Trial(number=2, values={}, history=given[1].history, target=9)
        assert next_step(given[0], climbing, budget=self.BUDGET) is None
        lost = trial(2, 0.3, to=8, state="done", reason="training diverged")
        assert next_step(given[0], lost, budget=self.BUDGET) == Step(number=1, target=9)
        assert next_step(given[0], trial(2, 0.3, to=27), budget=self.BUDGET) is None

    def test_the_same_when_nothing_new_may_begin(self) -> None:
        assert next_step(trial(1, 0.6, to=3), new=False) == Step(number=1, target=9)
        assert next_step(trial(1, 0.4, to=3), trial(2, 0.6, to=27), new=False) is None

    def test_a_promise_counts_what_others_gained_later(self) -> None:
        late = trial(1, *[0.3] * 9, *[0.8] * 18)
        assert next_step(late, trial(2, 0.4, to=3), budget=self.BUDGET) == Step(number=2, target=9)

    def test_nothing_is_begun_that_could_not_be_carried_to_the_top(self) -> None:
        def left(epochs: int) -> Budget:
            return Budget(trials=100, max_epochs=27, epochs_total=27 + 3 * 3 + epochs)

        three = [trial(number, 0.6 + number / 100, to=3) for number in (1, 2, 3)]
        assert next_step(*three, budget=left(24)) == Step(number=3, target=9)
        assert next_step(*three, budget=left(23)) is None
        assert next_step(*three[:2], budget=left(24)) == Step(number=3, target=3, is_new=True)
        assert next_step(*three[:2], budget=left(23)) == Step(number=2, target=9)
        assert next_step(budget=Budget(trials=9, max_epochs=27, epochs_total=53)) is None

    def test_what_is_under_way_is_counted_as_spent(self) -> None:
        climbing = trial(1, 0.6, to=3, state="running")
        assert spent(climbing) == 3
        assert spent(Trial(number=1, values={}, history=climbing.history, target=9)) == 9
        budget = Budget(trials=100, max_epochs=27, epochs_total=27 + 9 + 26)
        assert next_step(Trial(number=1, values={}, history=climbing.history, target=9), budget=budget) is None


class TestTheWinner:
    def test_the_best_fully_trained_that_beats_the_default(self) -> None:
        given = [DEFAULT, trial(1, 0.6, to=27), trial(2, 0.7, to=27), trial(3, 0.9, to=9)]
        assert winner(given, GOAL, 27).number == 2

    @pytest.mark.parametrize(
        "other",
        [
            trial(1, 0.4, to=27),
            trial(1, 0.5, to=27),
            trial(1, math.nan, to=27),
            trial(1, 0.9, to=9),
            trial(1, 0.9, to=9, state="failed", reason="no memory"),
            trial(1, 0.9, to=27, state="done", reason="training diverged"),
        ],
    )
    def test_else_the_default(self, other: Trial) -> None:
        assert winner([DEFAULT, other], GOAL, 27).number == 0

    def test_ties_go_to_the_lower_loss(self) -> None:
        better = Trial(number=1, values={}, history=[{"val_acc": 0.5, "val_loss": 0.9}] * 27, target=27, state="done")
        assert winner([DEFAULT, better], GOAL, 27).number == 1

    def test_the_default_that_failed_is_beaten_by_anything_that_trained(self) -> None:
        failed = Trial(number=0, values={}, target=0, state="failed", reason="no memory")
        assert winner([failed, trial(1, 0.1, to=27)], GOAL, 27).number == 1
        assert winner([failed], GOAL, 27).number == 0

    def test_a_metric_to_be_minimised(self) -> None:
        goal = Goal(metric="val_loss", maximize=False, tie="val_loss")
        losses = [
            Trial(number=n, values={}, history=[{"val_loss": loss}] * 27, target=27, state="done")
            for n, loss in enumerate((0.5, 0.7, 0.3, math.inf))
        ]
        assert winner(losses, goal, 27).number == 2

    @given(st.lists(st.lists(st.floats() | st.floats(0, 1), min_size=27, max_size=27), min_size=1, max_size=6))
    def test_it_is_never_worse_than_the_default(self, values: Sequence[Sequence[float]]) -> None:
        trials = [trial(number, *curve) for number, curve in enumerate(values)]
        best = winner(trials, GOAL, 27)
        assert GOAL.score(best.best(GOAL)) >= GOAL.score(trials[0].best(GOAL))


class TestPromises:
    def test_full_trainings_are_what_they_are_and_divergence_is_the_worst(self) -> None:
        lost = trial(2, 0.9, 0.9, 0.9, to=3, state="done", reason="training diverged")
        found = projections([DEFAULT, trial(1, 0.6, to=27), lost], GOAL, LADDER)
        assert found == {0: 0.5, 1: 0.6, 2: -math.inf}

    def test_what_never_trained_has_none(self) -> None:
        assert projections([DEFAULT, Trial(number=1, values={}, target=3)], GOAL, LADDER) == {0: 0.5}

    def test_partial_results_are_not_taken_for_final_ones(self) -> None:
        """At its third epoch, 2 was ahead of where 1 was then."""
        late = trial(1, *[0.3] * 9, *[0.8] * 18)
        found = projections([DEFAULT, late, trial(2, 0.4, to=3)], GOAL, LADDER)
        assert found[2] > found[1] == 0.8
