from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tao_skill.automl.document import to_json
from tao_skill.automl.format import review_lines
from tao_skill.automl.report.builder import RunFacts, build_report
from tao_skill.automl.report.html import render
from tao_skill.automl.report.live import lines, rows, table
from tao_skill.automl.report.report import SearchReport
from tao_skill.automl.report.review import review
from tao_skill.automl.search.asha import Budget, Goal, Trial, candidates, projections
from tao_skill.automl.search.verdict import judge, why_ended
from tao_skill.io.strict_json import conform
from tests.support.searches import BATCH, FACTS, INIT, LR, MOMENTUM, OVER, RECIPES, document, make_setup, trained

KEYS = [
    "goal", "progress", "winner", "baseline", "finalists", "trials", "curves", "importances", "slices", "failures",
    "space", "budget", "validation", "seeds", "sampler", "versions", "command",
]  # fmt: skip
REVIEW_KEYS = ["goal", "space", "trial_0", "recipes", "not_in_tao", "validation", "budget", "sampler", "seed", "cost"]


@pytest.fixture(scope="module")
def moments() -> list[list[Trial]]:
    """A search from a poor spec, with failures and a divergence, after each event."""
    return trained(make_setup())


def test_a_users_spec_that_loses_is_shown_beside_the_winner(moments: list[list[Trial]]) -> None:
    setup, trials = make_setup(), moments[-1]
    report = document(setup, trials)
    assert list(report) == KEYS
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    won = candidates(trials, setup.goal)[0]
    assert won.number > 0
    assert report["winner"]["number"] == won.number
    assert report["winner"]["values"] == dict(won.values)
    own, base = won.best(setup.goal)["val_acc"], trials[0].best(setup.goal)["val_acc"]
    assert report["winner"]["gain"] == pytest.approx(own - base)
    sentence = judge(setup, trials, is_over=True).sentence
    assert report["winner"]["sentence"] == sentence[0].upper() + sentence[1:]
    assert document(setup, trials, FACTS)["winner"]["sentence"] == f"So far: {judge(setup, trials).sentence}"
    assert report["baseline"] == report["trials"][0]
    assert [one["number"] for one in report["finalists"]] == [won.number, 0]
    assert won.history[report["winner"]["best_epoch"] - 1] == report["winner"]["metrics"]


def test_a_users_spec_that_nothing_beats_wins() -> None:
    setup = make_setup(lr=0.3, batch=16, seed=3)
    report = document(setup, trained(setup)[-1])
    assert report["winner"]["number"] == 0
    assert report["winner"]["is_default"]
    assert report["winner"]["gain"] == 0.0
    assert report["winner"]["sentence"].startswith("Your spec, trial 0, wins with val_acc ")
    assert [one["is_default"] for one in report["finalists"]] == [True]


def test_finalists_are_ranked_by_their_best_epoch_and_compared_with_the_users_spec() -> None:
    def trial(number: int, accuracy: float, epochs: int) -> Trial:
        history = ({"val_acc": accuracy, "val_loss": 1 - accuracy},) * epochs
        return Trial(number=number, full=9, values={}, history=history, state="done" if epochs == 9 else "waiting")

    found = document(make_setup(), [trial(0, 0.5, 3), trial(1, 0.25, 9), trial(2, 0.75, 9), trial(3, 1.0, 3)])
    assert [(one["number"], one["gain"]) for one in found["finalists"]] == [(2, 0.25), (0, 0.0), (1, -0.25)]
    assert found["winner"]["number"] == 3


def test_trials_are_shown_with_their_origin_and_the_length_of_their_training() -> None:
    setup = make_setup(recipes=RECIPES)
    report = document(setup, trained(setup)[-1])
    origins = [one["origin"] for one in report["trials"]]
    assert origins[:3] == ["your spec", "recipe quick", "recipe slow"]
    assert set(origins[3:]) == {"tpe"}
    assert {one["full"] for one in report["trials"]} == {9}
    assert report["budget"]["recipes"] == origins[1:3]


def test_values_of_a_recipe_are_completed_by_those_of_the_spec() -> None:
    setup = make_setup(recipes=RECIPES)
    setup = replace(setup, spec={**setup.spec, "model": {"init": "zero", "depth": 3}})
    trials = [replace(one, history=(), state="planned") for one in setup.planned()]
    trials[1] = replace(trials[1], history=({"val_acc": 0.9, "val_loss": 0.1},), state="waiting")
    report = document(setup, trials)
    recipe = {LR: 0.3, MOMENTUM: 0.5, BATCH: 16, INIT: "zero", "model.depth": 5}
    assert report["trials"][1]["values"] == report["winner"]["values"] == recipe
    assert report["slices"][MOMENTUM] == [[0.5, 0.9]]
    assert report["baseline"]["values"] == {LR: 0.01, MOMENTUM: 0.5, BATCH: 64, INIT: "zero", "model.depth": 3}
    assert "model.depth" not in report["trials"][0]["values"]


def test_values_without_an_effect_are_left_out() -> None:
    setup = make_setup()
    momentum = replace(setup.space.dimensions[1], when=((INIT, "normal"),))
    space = replace(setup.space, dimensions=(setup.space.dimensions[0], *setup.space.dimensions[2:], momentum))
    values = {LR: 0.1, MOMENTUM: 0.7, BATCH: 16, INIT: "zero"}
    trial = Trial(number=0, full=9, values=values, history=({"val_acc": 0.5},), state="waiting")
    report = document(replace(setup, space=space), [trial])
    assert report["trials"][0]["values"] == {LR: 0.1, BATCH: 16, INIT: "zero"}
    assert report["slices"][MOMENTUM] == []


def test_why_a_search_ended_is_told_from_its_record(moments: list[list[Trial]]) -> None:
    trials = moments[-1]
    assert why_ended(trials, make_setup().budget) == "all 14 configurations were tried"
    assert why_ended(trials, make_setup(trials=20).budget).startswith("no trial was started after 14")
    limited = make_setup(epochs_total=20)
    assert why_ended(trained(limited)[-1], limited.budget) == "the budget of 20 epochs is spent after 18"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"state": "failed", "reason": "out of memory"}, "your spec, trial 0, was not trained: it failed (out of mem"),
        ({"state": "planned"}, "your spec, trial 0, was not trained: no time was left for it."),
    ],
)
def test_a_users_spec_without_a_result_is_told_beside_the_winner(
    moments: list[list[Trial]], changed: dict[str, Any], words: str
) -> None:
    trials = [replace(moments[-1][0], history=(), **changed), *moments[-1][1:]]
    report = document(make_setup(), trials)
    assert report["winner"]["number"] > 0
    assert words in report["winner"]["sentence"]
    assert report["winner"]["gain"] is None
    assert 0 not in [one["number"] for one in report["finalists"]]


def test_without_a_usable_result_nothing_ships(moments: list[list[Trial]]) -> None:
    failed = [replace(one, state="failed", reason="disk full", failures=(), history=()) for one in moments[-1]]
    report = document(make_setup(), failed)
    assert report["winner"]["number"] is None
    assert report["winner"]["sentence"] == "Nothing ships: no trial has a usable result (disk full)."
    assert report["finalists"] == []
    assert report["failures"] == [{"cause": "disk full", "times": len(failed), "trials": list(range(len(failed)))}]


def test_before_the_first_epoch_there_is_no_winner() -> None:
    setup = make_setup(recipes=RECIPES)
    for trials in ([], setup.planned()):
        report = document(setup, trials, FACTS)
        assert report["winner"]["number"] is None
        assert report["winner"]["sentence"] == "So far: no trial has reached its first rung yet."
        assert report["progress"]["trials"] == 0


def test_every_trial_its_curve_and_what_went_wrong_are_there(moments: list[list[Trial]]) -> None:
    trials = [replace(moments[-1][0], failures=("worker lost", "worker lost")), *moments[-1][1:]]
    report = document(make_setup(), trials)
    assert [one["number"] for one in report["trials"]] == list(range(len(trials)))
    for one, trial in zip(report["trials"], trials, strict=True):
        assert (one["epochs"], one["state"], one["seconds"]) == (trial.epochs, trial.state, trial.seconds)
        curve = report["curves"]["trials"].get(str(trial.number), [])
        assert curve == [epoch["val_acc"] for epoch in trial.history]
        assert one["metric"] == max(curve, default=None)
    causes = {one["cause"]: one for one in report["failures"]}
    refused = [one.number for one in trials if one.values[BATCH] == 512]
    diverged = [one.number for one in trials if one.reason == "training diverged"]
    assert refused
    assert diverged
    assert causes["batch of 512 is larger than the set of 400"]["trials"] == refused
    assert causes["training diverged"]["trials"] == diverged
    assert (causes["worker lost"]["times"], causes["worker lost"]["trials"]) == (2, [0])
    assert report["progress"]["epochs"] == sum(one.epochs for one in trials)
    assert report["progress"]["seconds_per_epoch"] == pytest.approx(0.5)


def test_slices_hold_the_projected_metric_of_every_trial_that_has_one(moments: list[list[Trial]]) -> None:
    setup, trials = make_setup(), moments[-1]
    known = projections(trials, setup.goal, setup.schedule)
    slices = document(setup, trials)["slices"]
    assert list(slices) == [LR, MOMENTUM, BATCH, INIT]
    finite = {number: score for number, score in known.items() if math.isfinite(score)}
    assert len(finite) < len(known)
    assert slices[LR] == [[one.values[LR], finite[one.number]] for one in trials if one.number in finite]
    down = replace(setup, goal=Goal(metric="val_loss", maximize=False, tie="val_loss"))
    scores = projections(trials, down.goal, down.schedule)
    shown = dict(map(tuple, document(down, trials)["slices"][LR]))
    assert shown == {trials[n].values[LR]: -scores[n] for n in finite}


def test_importance_is_told_only_of_enough_configurations_and_always_the_same(moments: list[list[Trial]]) -> None:
    setup = make_setup()
    found = document(setup, moments[-1])["importances"]
    assert sum(found["shares"].values()) == pytest.approx(1.0)
    assert list(found["shares"].values()) == sorted(found["shares"].values(), reverse=True)
    assert set(found["shares"]) == {LR, MOMENTUM, BATCH, INIT}
    assert f"all of {found['trials']} configurations" in found["caveat"]
    assert document(setup, moments[-1])["importances"] == found
    assert document(setup, moments[-1][:7])["importances"] is None


def test_what_matters_comes_out_as_important() -> None:
    """Accuracy falls with the distance of the rate from 1, in the logarithm; momentum does nothing."""
    setup = make_setup()
    rates = [10 ** (-3 + 6 * i / 39) for i in range(40)]
    trials = [
        Trial(
            number=i,
            full=9,
            values={LR: rate, MOMENTUM: (i * 7 % 40) / 43, BATCH: 16, INIT: "zero"},
            history=({"val_acc": 1 - abs(math.log10(rate)) / 3},),
            state="waiting",
        )
        for i, rate in enumerate(rates)
    ]
    shares = document(setup, trials)["importances"]["shares"]
    assert shares[LR] > 2 * shares[MOMENTUM]


def test_the_review_tells_space_recipes_budget_and_rungs_beforehand() -> None:
    setup = make_setup(recipes=RECIPES, seconds=600.0)
    reviewed = review(setup, full_s=75.0, learnt_from="train-1", own_keys=["model.center"])
    assert reviewed.trial_0 == {LR: 0.01, MOMENTUM: 0.5, BATCH: 64, INIT: "zero"}
    assert reviewed.recipes == {one.origin: one.values for one in RECIPES}
    assert reviewed.budget.shares == pytest.approx((1 / 9, 1 / 3, 1))
    assert (reviewed.cost.expected_s, reviewed.cost.is_proposed) == (600.0, False)
    assert list(to_json(reviewed)) == REVIEW_KEYS
    assert list(to_json(reviewed)["goal"]) == ["metric", "direction"]
    text = "\n".join(review_lines(reviewed))
    assert re.search(r"train.optim.lr +0.001 to 1000, log scale  \(default 0.01\)", text)
    assert "recipes     quick, slow\nnot in TAO  model.center\n" in text
    assert "budget      10m, 14 trials\n" in text
    assert "rungs       11 %, 33 %, 100 % of a trial's own training; the top 1/3 are promoted\n" in text
    assert text.endswith("training    in full: about 1m15s by job train-1")


def test_a_review_says_what_is_proposed_and_what_is_not_known() -> None:
    lines_ = review_lines(review(make_setup(seconds=600.0), is_proposed=True))
    assert "recipes     none" in lines_
    assert "budget      10m, 14 trials (proposed; set it by --time-budget)" in lines_
    assert lines_[-1] == "training    in full: measured first"
    epochs = review_lines(review(replace(make_setup(), budget=Budget(epochs_total=20))))
    assert "budget      20 epochs of all trials together" in epochs
    assert "budget      none" in review_lines(review(replace(make_setup(), budget=Budget())))


class TestTimeLeft:
    def test_of_a_time_budget_is_what_the_budget_has(self, moments: list[list[Trial]]) -> None:
        setup = make_setup(seconds=600.0)

        def eta(facts: RunFacts) -> Any:
            return document(setup, moments[5], facts)["progress"]["eta_s"]

        assert eta(FACTS) == 600.0 - 90.0
        assert eta(replace(FACTS, elapsed_s=700.0)) == 0.0
        assert eta(replace(FACTS, elapsed_s=None)) is None
        assert eta(OVER) is None

    def test_of_epochs_is_what_they_take_on_all_workers(self, moments: list[list[Trial]]) -> None:
        setup = make_setup(epochs_total=40)
        trained_epochs = sum(one.epochs for one in moments[-1])
        assert document(setup, moments[-1], FACTS)["progress"]["eta_s"] == (40 - trained_epochs) * 0.5
        two = document(setup, moments[-1], replace(FACTS, workers=2))
        assert two["progress"]["eta_s"] == (40 - trained_epochs) * 0.5 / 2

    def test_of_trials_shrinks_with_the_trials_that_are_left(self, moments: list[list[Trial]]) -> None:
        setup = make_setup()
        left = [document(setup, trials, FACTS)["progress"]["eta_s"] for trials in moments]
        known = [one for one in left if one is not None]
        assert left[0] is None
        assert max(known) > known[-1] == 0.0
        assert sum(before < after for before, after in pairwise(known)) < len(known) / 2

    def test_nothing_is_known_before_the_first_epoch(self) -> None:
        assert document(make_setup(), make_setup().planned(), FACTS)["progress"]["eta_s"] is None


def test_planned_trials_are_not_counted_as_started() -> None:
    setup = make_setup(recipes=RECIPES)
    running = [replace(one, state="running", target=1) if one.number == 1 else one for one in setup.planned()]
    assert document(setup, running, FACTS)["progress"]["trials"] == 1


def test_rungs_of_the_curves_are_those_of_the_longest_training() -> None:
    setup = make_setup()
    short = Trial(number=0, full=9, values={}, history=({"val_acc": 0.5},), state="waiting")
    long = replace(short, number=1, full=27, warm_up=5)
    assert document(setup, [short, long])["curves"]["rungs"] == [5, 9, 27]
    assert document(setup, [])["curves"]["rungs"] == []


def test_the_score_on_the_test_set_and_what_tao_lacks_are_part_of_the_winner(moments: list[list[Trial]]) -> None:
    facts = replace(OVER, test={"accuracy": 91.25, "avg_accuracy": 90.0}, not_in_tao=("model.center",))
    won = document(make_setup(), moments[-1], facts)["winner"]
    assert won["test"] == {"accuracy": 91.25, "avg_accuracy": 90.0}
    assert won["not_in_tao"] == ["model.center"]
    assert won["sentence"].endswith(". On the test set, which chose nothing: 91.2 %.")
    assert "test set" not in document(make_setup(), moments[-1])["winner"]["sentence"]


def test_text_that_no_file_or_terminal_can_take_is_spelled_out() -> None:
    trial = Trial(number=0, full=9, values={LR: 0.1}, state="failed", reason="a\ud800\x1b[31mb\x00\n\u202ec")
    report = document(make_setup(), [trial])
    assert report["failures"][0]["cause"] == "a\\ud800\\x1b[31mb\\x00\n\\u202ec"
    json.dumps(report, ensure_ascii=False, allow_nan=False).encode("utf-8")


NUMBERS = st.floats() | st.sampled_from([math.nan, math.inf, -math.inf, 1e308, -1e308, 0.0])
EPOCHS = st.lists(st.dictionaries(st.sampled_from(["val_acc", "val_loss", "train_acc"]), NUMBERS), max_size=9)
VALUES = st.fixed_dictionaries(
    {
        LR: st.floats(1e-3, 1e3),
        MOMENTUM: st.floats(0, 0.95),
        BATCH: st.sampled_from([16, 64, 256, 512]),
        INIT: st.sampled_from(["zero", "normal"]),
    }
)
TRIALS = st.lists(
    st.builds(
        Trial,
        number=st.just(0),
        full=st.integers(1, 9),
        warm_up=st.integers(0, 3),
        origin=st.text(),
        repeats=st.none() | st.just(0),
        epoch_s=st.none() | st.floats(0, 1e6),
        values=VALUES,
        history=EPOCHS.map(tuple),
        target=st.integers(0, 9),
        state=st.sampled_from(["planned", "running", "waiting", "done", "failed"]),
        reason=st.none() | st.text(),
        failures=st.lists(st.text(), max_size=2).map(tuple),
        seconds=st.floats(0, 1e6),
    ),
    max_size=12,
).map(lambda trials: [replace(one, number=i) for i, one in enumerate(trials)])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(before=TRIALS, after=TRIALS, maximize=st.booleans(), ended=st.none() | st.text())
def test_any_record_has_a_report_a_page_and_lines(
    before: list[Trial], after: list[Trial], maximize: bool, ended: str | None
) -> None:
    setup = replace(make_setup(), goal=Goal(metric="val_acc", maximize=maximize, tie="val_loss"))
    first = build_report(setup, before, RunFacts())
    report = build_report(setup, after, replace(FACTS, ended=ended))
    written = to_json(report)
    assert list(written) == KEYS
    assert conform(json.loads(json.dumps(written, allow_nan=False)), SearchReport) == report
    assert render(report).isprintable() is False
    assert all(one.isprintable() for one in (*lines(first, report), *lines(None, report), *rows(report)))
    assert table(report).row_count == len(after)
