from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tao_skill.automl.space.dimension import OFF_SHARE, Clause, Dimension, parse_condition, powers, whole_steps


class Share:
    """Draws one share for everything."""

    def __init__(self, share: float) -> None:
        self.share = share

    def suggest_float(self, name: str, low: float, high: float) -> float:
        return low + self.share * (high - low)

    def suggest_categorical(self, name: str, choices: object) -> object:
        raise AssertionError("an ordered parameter is no category")


DIMENSIONS = [
    Dimension(key="lr", kind="float", low=1e-4, high=1.0, log=True),
    Dimension(key="dropout", kind="float", low=0.0, high=0.8),
    Dimension(key="clip", kind="float", low=0.0, high=10.0, off=0.0),
    Dimension(key="decay", kind="float", low=1e-6, high=1e-2, log=True, off=0.0),
    Dimension(key="patience", kind="int", low=1, high=10, step=1),
    Dimension(key="batch", kind="int", low=4, high=128, step=1, log=True),
    Dimension(key="window", kind="int", low=16, high=296, step=8),
    Dimension(key="width", kind="int", choices=(16, 32, 64), step=1),
    Dimension(key="strategy", kind="choice", choices=("a", "b", "c"), weights=(1.0, 1.0, 2.0)),
]


@pytest.mark.parametrize("one", DIMENSIONS, ids=lambda one: one.key)
@given(share=st.floats(0, 1))
def test_what_a_sampler_is_told_it_drew_gives_the_same_value_again(one: Dimension, share: float) -> None:
    value = one.suggest(Share(share), {})
    told = one.draw_of(value, {})
    assert 0 <= told <= 1
    assert one.suggest(Share(told), {}) == (pytest.approx(value, rel=1e-9) if one.kind == "float" else value)


@pytest.mark.parametrize("one", DIMENSIONS[:-1], ids=lambda one: one.key)
def test_values_grow_with_the_share_and_reach_both_ends(one: Dimension) -> None:
    values = [one.suggest(Share(i / 200), {}) for i in range(201)]
    assert values == sorted(values)
    ends = (one.choices[0], one.choices[-1]) if one.choices else (one.low, one.high)
    assert (values[0], values[-1]) == ((one.off if one.off is not None else ends[0]), ends[1])


def test_a_parameter_that_can_be_switched_off_is_in_a_tenth_of_draws_and_keeps_its_whole_range_in_the_rest() -> None:
    one = Dimension(key="clip", kind="float", low=0.0, high=10.0, off=0.0)
    values = [one.suggest(Share((i + 0.5) / 1000), {}) for i in range(1000)]
    assert values.count(0.0) == 1000 * OFF_SHARE
    assert 0 < min(value for value in values if value) < 0.05
    log = Dimension(key="decay", kind="float", low=1e-6, high=1e-2, log=True, off=0.0)
    assert [log.suggest(Share((i + 0.5) / 1000), {}) for i in range(1000)].count(0.0) == 1000 * OFF_SHARE


def test_integers_and_options_are_as_often_drawn_as_their_weights_say() -> None:
    patience = [DIMENSIONS[4].suggest(Share((i + 0.5) / 1000), {}) for i in range(1000)]
    assert all(patience.count(value) == pytest.approx(100, abs=2) for value in range(1, 11))
    strategy = [DIMENSIONS[-1].suggest(Share((i + 0.5) / 1000), {}) for i in range(1000)]
    assert [strategy.count(option) for option in "abc"] == [250, 250, 500]


def test_a_relation_narrows_the_range_and_the_whole_share_still_counts() -> None:
    one = Dimension(key="min_lr", kind="float", low=1e-6, high=1e-3, log=True, clauses=(Clause(op="<", bound="lr"),))
    known = {"lr": 1e-4}
    values = [one.suggest(Share(i / 100), known) for i in range(101)]
    assert all(1e-6 <= value < 1e-4 for value in values)
    assert len(set(values)) == 101
    assert one.suggest(Share(one.draw_of(5e-6, known)), known) == pytest.approx(5e-6)
    assert one.draw_of(5e-4, known) is None


def test_a_relation_that_leaves_nothing_gives_nothing() -> None:
    one = Dimension(key="a", kind="int", low=4, high=9, step=1, clauses=(Clause(op="<", bound="b"),))
    assert one.suggest(Share(0.5), {"b": 5}) == 4
    assert one.suggest(Share(0.5), {"b": 4}) is None
    listed = Dimension(key="a", kind="int", choices=(4, 8, 16), step=1, clauses=(Clause(op=">=", bound="b"),))
    assert [listed.suggest(Share(share), {"b": 5}) for share in (0, 1)] == [8, 16]
    assert listed.suggest(Share(0), {"b": 17}) is None


def test_a_parameter_is_not_switched_off_where_a_relation_forbids_the_value_of_that() -> None:
    one = Dimension(key="a", kind="float", low=0.0, high=9.0, off=0.0, clauses=(Clause(op=">", bound="b"),))
    assert one.suggest(Share(0), {"b": 1.0}) is None
    assert one.suggest(Share(0), {"b": -1.0}) == 0.0


def test_what_lies_outside_the_range_or_the_options_is_told_to_no_sampler() -> None:
    assert DIMENSIONS[0].draw_of(2.0, {}) is None
    assert DIMENSIONS[-1].draw_of("d", {}) is None
    assert DIMENSIONS[7].draw_of(48, {}) is None


@pytest.mark.parametrize("one", DIMENSIONS, ids=lambda one: one.key)
def test_a_grid_covers_every_option_and_a_range_evenly(one: Dimension) -> None:
    values = [one.suggest(Share(share), {}) for share in one.grid(4)]
    assert len(set(values)) == len(values) == (len(one.choices) or 4)


def test_conditions_are_read_clause_by_clause() -> None:
    assert parse_condition("> 0 and multiple of 8") == (Clause(op=">", bound=0.0), Clause(op="multiple of", bound=8.0))
    assert parse_condition("<= train.optim.lr") == (Clause(op="<=", bound="train.optim.lr"),)
    assert parse_condition(None) == ()
    for wrong in ("about 3", "> ", "multiple of train.lr"):
        with pytest.raises(ValueError, match="condition|multiples"):
            parse_condition(wrong)


@given(k=st.integers(2, 10), low=st.floats(0.5, 500), span=st.floats(0, 5000))
def test_powers_and_multiples_are_all_there_are_in_a_range(k: int, low: float, span: float) -> None:
    low, high = round(low, 3), round(low + span, 3)  # a bound that misses a value by rounding alone includes it
    assert powers(k, low, high) == [k**i for i in range(20) if low <= k**i <= high]
    first, last = whole_steps(low, high, k)
    inside = [n for n in range(0, math.ceil(high) + k, k) if low <= n <= high]
    assert not inside or (first, last) == (inside[0], inside[-1])
