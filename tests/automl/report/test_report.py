from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tao_skill.automl.document import to_json
from tao_skill.automl.format import duration, review_lines
from tao_skill.automl.report.builder import RunFacts, build_report
from tao_skill.automl.report.html import render
from tao_skill.automl.report.live import lines, rows, table
from tao_skill.automl.report.report import SearchReport
from tao_skill.automl.report.review import review
from tao_skill.automl.search.asha import Goal, Trial, projections, winner
from tao_skill.automl.search.cost import expected_epochs, remaining_epochs
from tao_skill.automl.search.verdict import why_ended
from tao_skill.io.strict_json import conform
from tests.support.searches import BATCH, FACTS, INIT, LR, MOMENTUM, OVER, document, make_setup, trained

KEYS = [
    "goal", "progress", "winner", "baseline", "finalists", "trials", "curves", "importances", "slices", "failures",
    "space", "budget", "validation", "seeds", "sampler", "versions", "command",
]  # fmt: skip
REVIEW_KEYS = ["goal", "space", "trial_0", "validation", "budget", "sampler", "seed", "cost"]


@pytest.fixture(scope="module")
def moments() -> list[list[Trial]]:
    """A search from a poor default, with failures and a divergence, after each event."""
    return trained(make_setup())


def test_a_default_that_loses_is_shown_beside_the_winner(moments: list[list[Trial]]) -> None:
    setup, trials = make_setup(), moments[-1]
    report = document(setup, trials)
    assert list(report) == KEYS
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    won = winner(trials, setup.goal, 9)
    assert won.number > 0
    assert report["winner"]["number"] == won.number
    assert report["winner"]["values"] == dict(won.values)
    own, base = won.best(setup.goal)["val_acc"], trials[0].best(setup.goal)["val_acc"]
    assert report["winner"]["gain"] == pytest.approx(own - base)
    assert report["winner"]["sentence"] == (
        f"Trial {won.number} wins: val_acc {own:.4g} against {base:.4g} of the default."
    )
    assert report["baseline"] == report["trials"][0]
    assert [one["number"] for one in report["finalists"]] == [won.number, 0]
    assert won.history[report["winner"]["best_epoch"] - 1] == report["winner"]["metrics"]


def test_a_default_that_nothing_beats_ships_and_the_report_says_against_what() -> None:
    setup = make_setup(lr=0.3, batch=16, seed=3)
    trials = trained(setup)[-1]
    report = document(setup, trials)
    rival = next(one for one in report["finalists"] if not one["is_default"])
    assert report["winner"]["number"] == 0
    assert report["winner"]["is_default"]
    assert report["winner"]["gain"] == 0.0
    said = report["winner"]["sentence"]
    assert said.startswith("The default, trial 0, ships: the only other trial trained in full")
    assert f"trial {rival['number']}, does not beat it (val_acc {rival['metric']:.4g}" in said


def test_a_default_is_shown_beside_the_best_of_those_that_were_stopped_before_their_end() -> None:
    setup = make_setup(lr=0.3, batch=16, seed=4)
    stopped = (one for one in reversed(trained(setup)) if all(o.epochs < 9 and o.state != "running" for o in one[1:]))
    trials = next(stopped)
    report = document(setup, trials)
    rest = max((one for one in report["trials"][1:] if one["metric"] is not None), key=lambda one: one["metric"])
    assert [one["number"] for one in report["finalists"]] == [0]
    assert report["winner"]["sentence"] == (
        "The default, trial 0, ships: no other configuration was trained in full; the best of them, trial "
        f"{rest['number']}, had val_acc {rest['metric']:.4g} after {rest['epochs']} epochs."
    )


def test_why_a_search_ended_is_told_from_its_record(moments: list[list[Trial]]) -> None:
    trials = moments[-1]
    assert why_ended(trials, make_setup().budget) == "all 14 configurations were tried"
    assert why_ended(trials, make_setup(trials=20).budget).startswith("no trial was started after 14 of 20")
    limited = make_setup(epochs_total=20)
    assert why_ended(trained(limited)[-1], limited.budget) == "the budget of 20 epochs is spent"


@pytest.mark.parametrize(
    ("changed", "number", "words"),
    [
        ({"state": "failed", "reason": "out of memory", "history": ()}, True, "the default has no val_acc (out of mem"),
        ({"state": "running", "history": ()}, None, "So far: the default, trial 0, is not trained in full yet"),
        ({}, True, "against"),
    ],
)
def test_a_default_without_a_result_is_named(
    moments: list[list[Trial]], changed: dict[str, Any], number: bool | None, words: str
) -> None:
    trials = [replace(moments[-1][0], **changed), *moments[-1][1:]]
    report = document(make_setup(), trials, FACTS)
    assert (report["winner"]["number"] is not None) == bool(number)
    assert words in report["winner"]["sentence"]


def test_when_nothing_was_trained_in_full_nothing_ships(moments: list[list[Trial]]) -> None:
    failed = [replace(one, state="failed", reason="disk full", failures=(), history=()) for one in moments[-1]]
    report = document(make_setup(), failed)
    assert report["winner"]["number"] is None
    assert report["winner"]["sentence"] == (
        "Nothing ships: the default has no val_acc (disk full), no other configuration was trained in full."
    )
    assert report["finalists"] == []
    assert report["failures"] == [{"cause": "disk full", "times": len(failed), "trials": list(range(len(failed)))}]


def test_a_tie_is_told_by_the_loss() -> None:
    def full(number: int, loss: float) -> Trial:
        return Trial(number=number, values={}, history=({"val_acc": 0.5, "val_loss": loss},) * 9, state="done")

    setup = make_setup()
    lower = document(setup, [full(0, 0.4), full(1, 0.3)])
    assert lower["winner"]["sentence"] == "Trial 1 wins: val_acc 0.5 like the default, val_loss 0.3 against 0.4."
    higher = document(setup, [full(0, 0.4), full(1, 0.6)])
    assert higher["winner"]["number"] == 0
    assert "val_loss 0.6 against 0.4" in higher["winner"]["sentence"]


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
    assert slices[LR] == [[one.values[LR], known[one.number]] for one in trials if one.number in known]
    down = replace(setup, goal=Goal(metric="val_loss", maximize=False, tie="val_loss"))
    scores = projections(trials, down.goal, down.schedule)
    assert dict(map(tuple, document(down, trials)["slices"][LR])) == {trials[n].values[LR]: -scores[n] for n in scores}


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
            values={LR: rate, MOMENTUM: (i * 7 % 40) / 43, BATCH: 16, INIT: "zero"},
            history=({"val_acc": 1 - abs(math.log10(rate)) / 3},),
            state="waiting",
        )
        for i, rate in enumerate(rates)
    ]
    shares = document(setup, trials)["importances"]["shares"]
    assert shares[LR] > 2 * shares[MOMENTUM]


def test_the_cost_known_beforehand_is_near_what_is_spent(moments: list[list[Trial]]) -> None:
    setup = make_setup()
    reviewed = review(setup, seconds_per_epoch=2.0, workers=2)
    assert reviewed.trial_0 == {LR: 0.01, MOMENTUM: 0.5, BATCH: 64, INIT: "zero"}
    assert reviewed.budget.rungs == (1, 3, 9)
    assert reviewed.budget.most_epochs == 14 * 9
    assert reviewed.cost.expected_s == reviewed.budget.expected_epochs
    assert review(setup).cost.expected_s is None
    assert list(to_json(reviewed)) == REVIEW_KEYS
    assert list(to_json(reviewed)["goal"]) == ["metric", "direction"]
    text = "\n".join(review_lines(reviewed))
    assert re.search(r"train.optim.lr +0.001 to 1000, log scale  \(default 0.01\)", text)
    assert "rungs   1, 3, 9 epochs" in text
    assert f"at most 126, {duration(reviewed.cost.expected_s)} (at most 2m06s)" in text
    assert review_lines(review(setup))[-1].endswith("at most 126")
    spent = sum(one.epochs for one in moments[-1])
    assert spent <= expected_epochs(setup) <= 2 * spent
    assert review(make_setup(epochs_total=20)).budget.expected_epochs == 20


def test_what_is_left_falls_to_nothing_at_the_end(moments: list[list[Trial]]) -> None:
    setup = make_setup()
    left = [remaining_epochs(setup, trials) for trials in moments]
    total = sum(one.epochs for one in moments[-1])
    assert left[-1] == 0
    assert all(
        abs(one + sum(t.epochs for t in trials) - total) <= 16 for one, trials in zip(left, moments, strict=True)
    )
    assert document(setup, moments[-1], FACTS)["progress"]["eta_s"] == 0.0
    assert document(setup, moments[-1], OVER)["progress"]["eta_s"] is None


def test_text_that_no_file_or_terminal_can_take_is_spelled_out() -> None:
    trial = Trial(number=0, values={LR: 0.1}, state="failed", reason="a\ud800\x1b[31mb\x00\n\u202ec")
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
        values=VALUES,
        history=EPOCHS.map(tuple),
        target=st.integers(0, 9),
        state=st.sampled_from(["running", "waiting", "done", "failed"]),
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
