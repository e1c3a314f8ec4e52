from __future__ import annotations

import io
from dataclasses import replace

import pytest

from tao_skill.automl.format import duration, number, parameters, short_names
from tao_skill.automl.report.live import ROWS, gain, lines, rows, table
from tao_skill.automl.report.report import SearchReport
from tao_skill.automl.search.asha import Goal, Trial
from tests.support.searches import BATCH, FACTS, INIT, LR, MOMENTUM, OVER, RECIPES, make_setup, reported, trained


@pytest.fixture(scope="module")
def reports() -> list[SearchReport]:
    """The report after each event."""
    setup = make_setup()
    moments = trained(setup)
    return [reported(setup, trials, FACTS) for trials in moments] + [reported(setup, moments[-1], OVER)]


def test_every_event_is_a_line_and_nothing_is_told_twice(reports: list[SearchReport]) -> None:
    events = [lines(before, after) for before, after in zip([None, *reports], reports, strict=False)]
    assert all(len(one) == 1 for one in events[1:-1])
    assert lines(reports[-1], reports[-1]) == []
    texts = [one[0] for one in events[1:-1]]
    assert texts[0].startswith("trial 0 (your spec)  running to 1 epoch")
    assert texts[2].startswith("trial 1  running to 1 epoch  lr ")
    assert any("failed: batch of 512 is larger than the set of 400" in text for text in texts)
    assert any("diverged after 1 of 1 epoch" in text for text in texts)
    assert any("promoted to 3 epochs" in text for text in texts)
    assert not any("planned" in text for text in texts)
    assert events[-1][-1] == reports[-1].winner.sentence
    assert "ended: the budget is spent" in events[-1][0]


def test_a_line_has_metric_best_parameters_time_and_what_is_left() -> None:
    values = {LR: 0.0123, MOMENTUM: 0.9, BATCH: 16, INIT: "zero"}
    trials = [
        Trial(number=0, full=9, values={}, history=({"val_acc": 0.941},) * 9, state="done", seconds=72.0),
        Trial(number=1, full=9, origin="tpe", values=values, history=({"val_acc": 0.913},), state="running", target=3),
    ]
    setup = make_setup()
    before = reported(setup, trials, FACTS)
    after = reported(setup, [trials[0], replace(trials[1], history=trials[1].history * 3, state="waiting")], FACTS)
    (text,) = lines(before, after)
    assert text.startswith("trial 1  waiting at 3 epochs  val_acc 0.913 (best 0.941, trial 0)  lr 0.0123 momentum 0.9 ")
    assert text.endswith(f"ETA {duration(after.progress.eta_s)}")
    assert after.progress.eta_s is not None
    assert after.progress.eta_s > 0


def test_a_repeated_attempt_is_told_with_its_cause() -> None:
    trial = Trial(number=0, full=9, values={}, state="running", target=9)
    setup = make_setup()
    again = replace(trial, failures=("out of memory\nTraceback ...",))
    (text,) = lines(reported(setup, [trial], FACTS), reported(setup, [again], FACTS))
    assert text.startswith("trial 0 (your spec)  retried after: out of memory")


def test_known_configurations_are_named_by_their_origin_and_planned_ones_have_no_line() -> None:
    setup = make_setup(recipes=RECIPES)
    moments = [reported(setup, trials, FACTS) for trials in trained(setup)]
    events = [lines(before, after) for before, after in zip([None, *moments], moments, strict=False)]
    texts = [text for event in events for text in event]
    assert texts[0].startswith("trial 1 (recipe quick)  running to 1 epoch")
    assert texts[1].startswith("trial 1 (recipe quick)  waiting at 1 epoch  val_acc ")
    assert "batch_size" not in texts[0]
    assert any(text.startswith("trial 0 (your spec)  running to 1 epoch") for text in texts)


def test_the_measured_speed_is_told_with_the_length_of_the_training_and_not_that_of_others() -> None:
    setup = make_setup(recipes=RECIPES, seconds=600.0)
    planned = setup.planned()
    measuring = [planned[0], replace(planned[1], state="running", target=0), planned[2]]
    known = [replace(planned[0], full=4), replace(planned[1], full=6, epoch_s=75.0), planned[2]]
    started = reported(setup, measuring, FACTS)
    (text,) = lines(reported(setup, planned, FACTS), started)
    assert text.startswith("trial 1 (recipe quick)  speed is measured")
    (text,) = lines(started, reported(setup, known, FACTS))
    assert text.startswith("trial 1 (recipe quick)  an epoch takes 1m15s, full training: 6 epochs")


@pytest.mark.parametrize(
    ("own", "other", "text"),
    [
        ((0.9, 9), (0.5, 9), "none, your spec has the best val_acc: 90.0 %"),
        ((0.25, 9), (0.75, 9), "val_acc 75.0 %, your spec 25.0 %: +50.0 points"),
        ((0.25, 3), (0.75, 9), "val_acc 75.0 %, your spec 25.0 % after 3 of 9 epochs: +50.0 points"),
        ((0.25, 0), (0.75, 9), "val_acc 75.0 %; your spec has no result"),
        ((0.25, 0), (0.75, 0), "none, no trial has a result"),
    ],
)
def test_the_gain_over_the_users_spec_is_told_with_its_training(
    own: tuple[float, int], other: tuple[float, int], text: str
) -> None:
    trials = [
        Trial(number=n, full=9, values={}, history=({"val_acc": accuracy},) * epochs, state="waiting")
        for n, (accuracy, epochs) in enumerate((own, other))
    ]
    assert gain(reported(make_setup(), trials)) == text


def test_the_gain_in_another_metric_is_a_number() -> None:
    setup = replace(make_setup(), goal=Goal(metric="val_loss", maximize=False, tie="val_loss"))
    trials = [Trial(number=n, full=1, values={}, history=({"val_loss": 0.5 - n / 4},), state="done") for n in (0, 1)]
    assert gain(reported(setup, trials)) == "val_loss 0.25, your spec 0.5: better by 0.25"


def test_flags_of_the_winner_are_the_last_lines() -> None:
    setup = replace(make_setup(), validation_size=100)
    history = [({"val_acc": 0.9, "val_loss": loss},) * 9 for loss in (0.1, 0.9)]
    own = Trial(number=0, full=9, values={}, history=history[0], state="done")
    report = reported(setup, [own, replace(own, number=1, history=({"val_acc": 0.91, "val_loss": 0.9},) * 9)])
    assert rows(report)[-1].startswith("look at it before you use it: val_loss 0.9, your spec, trial 0, has 0.1")


def test_the_table_shows_what_runs_and_then_the_best(reports: list[SearchReport]) -> None:
    from rich.console import Console

    middle = reports[len(reports) // 2]
    console = Console(file=io.StringIO(), width=160)
    console.print(table(middle))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "elapsed 1m30s  ETA" in text
    assert middle.winner.sentence in " ".join(text.split())
    order = [line.split()[0] for line in text.splitlines() if line.strip()[:1].isdigit()][: len(middle.trials)]
    metric = {str(one.number): one.metric for one in middle.trials if one.state != "running"}
    known = [metric[name] for name in order if metric.get(name) is not None]
    assert known == sorted(known, reverse=True)
    running = [str(one.number) for one in middle.trials if one.state == "running"]
    assert order[: len(running)] == running


def test_a_long_table_is_cut_and_brackets_are_no_markup() -> None:
    from rich.console import Console

    setup = make_setup(trials=40)
    trials = [
        Trial(number=i, full=9, values={INIT: "[red]x"}, state="failed", reason="[bold]", origin="[b]")
        for i in range(40)
    ]
    report = reported(setup, trials)
    console = Console(file=io.StringIO(), width=160, force_terminal=True)
    console.print(table(report))
    assert isinstance(console.file, io.StringIO)
    assert "[b]" in console.file.getvalue()
    assert "[red]x" in console.file.getvalue()
    assert f"{40 - ROWS} more" in console.file.getvalue()
    assert len(rows(report)) == 40 + 2


def test_numbers_times_and_names_are_short() -> None:
    times = [0.4, 45, 72, 840, 7500, 3600 * 75, None, float("nan")]
    assert [duration(one) for one in times] == ["0.4s", "45s", "1m12s", "14m", "2h05m", "3d03h", "-", "-"]
    assert [number(one) for one in (0.0123456, 3, True, None, "adam", 1e-7)] == [
        "0.01235", "3", "True", "-", "adam", "1e-07",
    ]  # fmt: skip
    assert short_names(["a.lr", "b.lr", "b.x"]) == {"a.lr": "a.lr", "b.lr": "b.lr", "b.x": "x"}
    assert parameters({"train.optim.lr": 0.5, "model.dropout": 0.25}) == "lr 0.5 dropout 0.25"
