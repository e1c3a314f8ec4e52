from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tao_skill.automl.search.asha import Budget, Goal, RungSchedule, Trial
from tao_skill.automl.search.search import Setup
from tao_skill.automl.search.verdict import (
    Verdict,
    described,
    finalists,
    flags,
    interval,
    is_share,
    judge,
    standard_error,
    why_ended,
)
from tao_skill.automl.space.space import Space
from tests.support.searches import EqualTrainings

FULL = 27


@dataclass(frozen=True, kw_only=True)
class SizedTrainings(EqualTrainings):
    """An epoch has as many operations as the value `size`; unknown without it."""

    def flop(self, values: Mapping[str, Any]) -> float | None:
        return values.get("size")


def setup_of(*, size: int | None = None, prefer: str = "accurate", metric: str = "val_acc") -> Setup:
    return Setup(
        space=Space(dimensions=()),
        spec={},
        goal=Goal(metric=metric, maximize=metric.endswith("acc"), tie="val_loss"),
        schedule=RungSchedule(),
        budget=Budget(),
        trainings=SizedTrainings(full=FULL),
        validation_size=size,
        prefer=prefer,
    )


def trial(number: int, *values: float, to: int = FULL, origin: str = "tpe", **more: Any) -> Trial:
    """A trial whose last value is repeated up to epoch `to`."""
    history = [{"val_acc": values[min(i, len(values) - 1)], "val_loss": 1.0} for i in range(to if values else 0)]
    usual = "done" if len(history) == FULL else "waiting" if history else "planned"
    facts = {"state": usual, "target": len(history), "values": {}, **more}
    return Trial(number=number, full=FULL, origin=origin if number else "your spec", history=history, **facts)


def verdict(*trials: Trial, is_over: bool = True, **options: Any) -> Verdict:
    return judge(setup_of(**options), trials, is_over=is_over)


class TestSentence:
    def test_a_winner_beside_the_users_spec_that_was_trained_in_full(self) -> None:
        found = verdict(trial(0, 0.5), trial(1, 0.9, origin="recipe a"))
        assert found.trial is not None
        assert found.trial.number == 1
        assert found.sentence == "trial 1 (recipe a) wins with val_acc 90.0 %; your spec, trial 0, has 50.0 %."

    def test_the_users_spec_that_was_stopped_is_compared_at_the_rung_it_reached(self) -> None:
        winner = trial(1, *[0.6] * 9, *[0.9] * 18)
        assert verdict(trial(0, 0.5, to=9), winner).sentence == (
            "trial 1 (tpe) wins with val_acc 90.0 %; your spec, trial 0, had 50.0 % after 9 of 27 epochs against "
            "60.0 % of the winner at the same share of its training and was stopped there."
        )

    def test_a_winner_with_a_shorter_training_is_compared_at_the_same_share_of_it(self) -> None:
        history = [{"val_acc": 0.1 * (at + 1), "val_loss": 1.0} for at in range(9)]
        short = Trial(number=1, values={}, full=9, origin="recipe a", history=history, state="done")
        assert (
            "5.0 % after 3 of 27 epochs against 10.0 % of the winner" in verdict(trial(0, 0.05, to=3), short).sentence
        )

    def test_while_the_search_runs_the_users_spec_is_not_stopped(self) -> None:
        found = verdict(trial(0, 0.5, to=9), trial(1, 0.9), is_over=False)
        assert found.sentence.endswith("at the same share of its training.")

    def test_the_users_spec_that_wins_is_compared_with_the_best_beside_it(self) -> None:
        found = verdict(trial(0, 0.9), trial(1, 0.5), trial(2, 0.7, origin="recipe b"))
        assert found.sentence == "your spec, trial 0, wins with val_acc 90.0 %; trial 2 (recipe b) has 70.0 %."

    def test_the_users_spec_alone(self) -> None:
        assert verdict(trial(0, 0.9)).sentence == "your spec, trial 0, wins with val_acc 90.0 %."

    def test_a_winner_trained_in_part(self) -> None:
        found = verdict(trial(0), trial(1, 0.4, to=5, origin="recipe a"))
        assert found.sentence == (
            "trial 1 (recipe a) wins with val_acc 40.0 %; trained for 5 of its 27 epochs; "
            "your spec, trial 0, was not trained: no time was left for it."
        )

    @pytest.mark.parametrize(
        ("own", "ending"),
        [
            (
                trial(0, state="failed", reason="out of memory\nTraceback"),
                "your spec, trial 0, was not trained: it failed (out of memory).",
            ),
            (
                trial(0, 0.9, to=2, state="done", reason="training diverged"),
                "your spec, trial 0, diverged after 2 epochs.",
            ),
        ],
    )
    def test_what_became_of_a_users_spec_without_a_result(self, own: Trial, ending: str) -> None:
        found = verdict(own, trial(1, 0.4))
        assert found.trial is not None
        assert found.trial.number == 1
        assert found.sentence.endswith(ending)

    def test_before_the_first_result(self) -> None:
        found = verdict(trial(0), trial(1, state="running", target=3), is_over=False)
        assert found == Verdict(trial=None, sentence="no trial has reached its first rung yet.")

    def test_nothing_ships_without_a_usable_result(self) -> None:
        failed = [trial(number, state="failed", reason=f"cause {number % 2}") for number in range(4)]
        found = verdict(*failed, trial(4, 0.9, to=2, state="done", reason="training diverged"))
        assert found.trial is None
        assert found.sentence == ("nothing ships: no trial has a usable result (cause 0; cause 1; training diverged).")

    def test_the_interval_of_an_accuracy_is_given_where_the_validation_set_is_known(self) -> None:
        found = verdict(trial(0, 0.5), trial(1, 0.8), size=10)
        assert found.sentence.startswith("trial 1 (tpe) wins with val_acc 80.0 % [49.0, 94.3];")
        assert "[" not in verdict(trial(0, 0.5), trial(1, 0.8)).sentence
        assert "[" not in verdict(trial(0, 0.5), trial(1, 0.8), size=0).sentence
        assert "[" not in verdict(trial(0, 0.5), trial(1, 0.8), size=10, metric="val_loss").sentence

    def test_another_metric_is_a_number(self) -> None:
        losses = [Trial(number=n, values={}, full=1, history=[{"val_loss": 0.5 + n}], state="done") for n in (0, 1)]
        assert verdict(*losses, metric="val_loss", size=10).sentence == (
            "your spec, trial 0, wins with val_loss 0.5; trial 1 (your spec) has 1.5."
        )

    def test_a_second_seed_is_told_beside_the_winner_and_is_not_its_rival(self) -> None:
        again = trial(2, 0.8, origin="second seed of trial 1", repeats=1)
        assert verdict(trial(0, 0.5), trial(1, 0.9), again).sentence == (
            "trial 1 (tpe) wins with val_acc 90.0 %; a second seed has 80.0 %; your spec, trial 0, has 50.0 %."
        )
        own_again = trial(2, 0.8, repeats=0)
        assert verdict(trial(0, 0.9), trial(1, 0.7), own_again).sentence == (
            "your spec, trial 0, wins with val_acc 90.0 %; a second seed has 80.0 %; trial 1 (tpe) has 70.0 %."
        )

    def test_text_of_origins_and_reasons_is_cleaned(self) -> None:
        assert described(trial(1, origin="recipe \x1b[2J")) == "trial 1 (recipe \\x1b[2J)"


class TestInterval:
    @pytest.mark.parametrize(
        ("successes", "size", "low", "high"),
        [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ],
    )
    def test_known_values(self, successes: int, size: int, low: float, high: float) -> None:
        """Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I, method 3."""
        assert interval(successes / size, size) == pytest.approx((low, high), abs=5e-5)

    @given(successes=st.integers(0, 500), failures=st.integers(0, 500))
    def test_it_contains_the_accuracy_lies_between_0_and_1_and_mirrors(self, successes: int, failures: int) -> None:
        size = max(1, successes + failures)
        share = successes / size
        low, high = interval(share, size)
        assert 0 <= low <= share + 1e-9
        assert share - 1e-9 <= high <= 1
        assert interval(1 - share, size) == pytest.approx((1 - high, 1 - low))

    @given(share=st.floats(0, 1), size=st.integers(1, 1000))
    def test_more_sequences_narrow_it(self, share: float, size: int) -> None:
        narrow, wide = interval(share, 2 * size), interval(share, size)
        assert narrow[1] - narrow[0] < wide[1] - wide[0]


class TestStandardError:
    def test_of_a_share(self) -> None:
        assert standard_error(0.5, 100) == pytest.approx(0.05)
        assert standard_error(0.9, 100) == pytest.approx(0.03)

    def test_at_least_that_of_a_single_error(self) -> None:
        single = pytest.approx(math.sqrt(0.0099 / 100))
        assert all(standard_error(share, 100) == single for share in (0.0, 0.01, 0.99, 1.0))
        assert standard_error(0.02, 100) == pytest.approx(0.014)


class TestFast:
    """On 100 sequences, the standard error of 0.9 is 0.03."""

    LARGE = trial(1, 0.9, values={"size": 8.0})
    NEAR = trial(2, 0.88, values={"size": 2.0})
    FAR = trial(3, 0.86, values={"size": 1.0})

    def test_the_cheapest_within_a_standard_error_of_the_best_wins(self) -> None:
        found = verdict(trial(0, 0.2, values={"size": 1.0}), self.LARGE, self.NEAR, self.FAR, size=100, prefer="fast")
        assert found.trial == self.NEAR
        assert found.sentence.startswith("trial 2 (tpe) wins with val_acc 88.0 % [")
        assert "; the cheapest within a standard error of trial 1 (tpe) with 90.0 % [" in found.sentence

    @pytest.mark.parametrize("options", [{"size": 100}, {"prefer": "fast"}, {"prefer": "fast", "size": 0}])
    def test_the_best_wins_without_the_preference_or_the_size_of_the_validation_set(
        self, options: dict[str, Any]
    ) -> None:
        assert verdict(trial(0, 0.2), self.LARGE, self.NEAR, **options).trial == self.LARGE

    def test_the_best_wins_where_operations_are_unknown_or_the_metric_is_not_an_accuracy(self) -> None:
        unknown = replace(self.NEAR, values={})
        assert verdict(trial(0, 0.2), self.LARGE, unknown, size=100, prefer="fast").trial == self.LARGE
        assert is_share("val_acc")
        assert not is_share("val_loss")
        losses = [
            Trial(number=n, values={"size": 2.0 - n}, full=1, history=[{"val_loss": 0.5 + n / 100}], state="done")
            for n in (0, 1)
        ]
        assert verdict(*losses, size=100, prefer="fast", metric="val_loss").trial == losses[0]

    def test_it_is_within_a_standard_error_of_the_users_spec(self) -> None:
        own = replace(self.LARGE, number=0)
        found = verdict(own, self.NEAR, self.FAR, size=100, prefer="fast")
        assert found.trial == self.NEAR
        assert found.sentence.endswith("your spec, trial 0, has 90.0 % [82.6, 94.5].")


class TestFlags:
    """Trial 1 wins with 90 % on 100 sequences: the standard error is 3 points."""

    def flagged(self, own: dict[str, float], other: dict[str, float], *, size: int | None = 100) -> list[str]:
        setup = replace(setup_of(size=size), class_average="avg_acc")
        histories = ({"val_acc": 0.9, **own}, {"val_acc": 0.88, **other}, {"val_acc": 0.5, "val_loss": 0.1})
        trials = [
            Trial(number=n, values={}, full=1, origin="tpe", history=[metrics], state="done")
            for n, metrics in enumerate(histories, start=1)
        ]
        return flags(setup, trials, trials[0])

    def test_a_lower_average_of_the_classes(self) -> None:
        found = self.flagged({"avg_acc": 70.0}, {"avg_acc": 80.0})
        assert found == ["70.0 % on the average of the classes, trial 2 (tpe) has 80.0 % at about the same val_acc"]
        assert self.flagged({"avg_acc": 79.0}, {"avg_acc": 80.0}) == []
        assert self.flagged({}, {"avg_acc": 80.0}) == []
        assert self.flagged({"avg_acc": 70.0}, {}) == []

    def test_a_loss_out_of_all_proportion(self) -> None:
        (found,) = self.flagged({"val_loss": 1.5}, {"val_loss": 0.5})
        assert found.startswith("val_loss 1.5, trial 2 (tpe) has 0.5 at about the same val_acc")
        assert self.flagged({"val_loss": 0.9}, {"val_loss": 0.5}) == []
        assert self.flagged({"val_loss": 1.5}, {}) == []

    @pytest.mark.parametrize("size", [None, 0])
    def test_none_without_a_known_validation_set(self, size: int | None) -> None:
        assert self.flagged({"val_loss": 1.5}, {"val_loss": 0.5}, size=size) == []


@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(1, FULL), st.integers(1, 8)), min_size=1, max_size=6),
    st.sampled_from(("accurate", "fast")),
)
def test_the_winner_is_the_best_or_within_a_standard_error_of_it(
    results: Sequence[tuple[float, int, int]], prefer: str
) -> None:
    trials = [trial(n, value, to=to, values={"size": size}) for n, (value, to, size) in enumerate(results)]
    found = verdict(*trials, size=50, prefer=prefer).trial
    assert found is not None
    best = max(value for value, _, _ in results)
    behind = best - results[found.number][0]
    assert behind == 0 if prefer == "accurate" else behind <= standard_error(best, 50)


def test_finalists_are_the_users_spec_and_every_trial_trained_in_full() -> None:
    trials = [trial(0, 0.5, to=3), trial(1, 0.9), trial(2, 0.95, to=9), trial(3, 0.1)]
    assert [one.number for one in finalists(trials)] == [0, 1, 3]
    assert [one.number for one in finalists([trial(0), *trials[1:]])] == [1, 3]
    assert [one.number for one in finalists([trial(0, 0.5), trial(1, 0.2, to=3)])] == [0]


@pytest.mark.parametrize(
    ("budget", "reason"),
    [
        (Budget(trials=2), "all 2 configurations were tried"),
        (Budget(seconds=600.0, trials=9), "the time budget of 10m is spent"),
        (Budget(epochs_total=40), "the budget of 40 epochs is spent after 30"),
        (Budget(trials=9), "no trial was started after 2: the space is exhausted or the search was stopped"),
    ],
)
def test_why_a_search_ended_counts_started_trials_alone(budget: Budget, reason: str) -> None:
    assert why_ended([trial(0, 0.5, to=3), trial(1, 0.9), trial(2)], budget) == reason
