from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tao_skill.automl.search.asha import Budget, Goal, Trial, make_rung_schedule, projections, winner
from tao_skill.automl.search.search import REPEATS, Search, Setup, Task
from tao_skill.automl.space.dimension import Dimension
from tao_skill.automl.space.space import Space

GOAL = Goal(metric="val_acc", maximize=True, tie="val_loss")
SPACE = Space(
    dimensions=(
        Dimension(key="lr", kind="float", low=1e-4, high=1.0, log=True),
        Dimension(key="optimizer", kind="choice", choices=("sgd", "adam")),
        Dimension(key="momentum", kind="float", low=0.5, high=0.99, when=(("optimizer", "sgd"),)),
    )
)
SPEC = {"lr": 0.5, "optimizer": "adam", "momentum": 0.9}


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


def setup_of(*, trials: int = 12, epochs: int | None = None, top: int = 27, **more: Any) -> Setup:
    budget = Budget(trials=trials, max_epochs=top, epochs_total=epochs)
    return Setup(space=SPACE, spec=SPEC, goal=GOAL, schedule=make_rung_schedule(top), budget=budget, **more)


def curve(values: Mapping[str, Any], epochs: int) -> list[dict[str, float]]:
    """A learning curve that rises slowly, highest for lr 0.01; above lr 0.6 it breaks off after two epochs."""
    if values["lr"] > 0.6:
        return [{"val_acc": 0.1, "val_loss": 2.0}, {"val_acc": math.nan, "val_loss": math.nan}][:epochs]
    top = 1 / (1 + abs(math.log10(values["lr"]) + 2)) - 0.1 * (values.get("optimizer") == "adam")
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


def test_trial_0_is_the_users_own_spec_trained_in_full_and_at_once() -> None:
    search = Search(setup_of(), Pages())
    assert search.next_task() == Task(number=0, values={"lr": 0.5, "optimizer": "adam"}, target=27)


def test_a_search_finds_better_than_the_default_and_trains_nothing_twice() -> None:
    search = Search(setup_of(trials=40), Pages())
    finish(search)
    best = winner(search.trials, GOAL, 27)
    assert len(search.trials) == 40
    assert best.epochs == 27
    assert best.best(GOAL)["val_acc"] > search.trials[0].best(GOAL)["val_acc"] + 0.2
    assert len({json.dumps(dict(one.values), sort_keys=True) for one in search.trials}) == 40
    assert sum(one.epochs for one in search.trials) < 40 * 27 / 2


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(("epochs", "top"), [(54, 27), (60, 27), (130, 27), (270, 27), (40, 20), (20, 10), (7, 3)])
def test_no_epoch_over_the_budget_and_one_configuration_besides_the_default_in_full(
    epochs: int, top: int, workers: int
) -> None:
    search = Search(setup_of(trials=1000, epochs=epochs, top=top), Pages())
    running: list[Task] = []
    while True:
        while len(running) < workers and (task := search.next_task()) is not None:
            running.append(task)
        if not running:
            break
        task = running.pop(0)
        sound = {**task.values, "lr": min(task.values["lr"], 0.6)}
        search.succeed(task.number, curve(sound, task.target))
        assert sum(one.epochs for one in search.trials) <= epochs
    assert search.trials[0].epochs == top
    assert any(one.epochs == top for one in search.trials[1:])


@pytest.mark.parametrize("epochs", [None, 200])
def test_a_search_goes_on_from_any_point_as_if_nothing_had_happened(epochs: int | None) -> None:
    setup, journal = setup_of(trials=14, epochs=epochs), Pages()
    undisturbed = finish(Search(setup, journal))
    assert len(undisturbed) > 14
    assert len(journal.copies) == 2 * len(undisturbed)
    for at, copy in enumerate(journal.copies):
        again = Pages(copy)
        assert finish(Search(setup, again)) == undisturbed[(at + 1) // 2 :]
        assert again.pages == journal.pages


def test_a_search_rebuilt_after_every_step_does_the_same() -> None:
    setup, journal = setup_of(trials=14), Pages()
    undisturbed = Pages()
    finish(Search(setup, undisturbed))
    while finish(Search(setup, journal), 1):
        pass
    assert journal.pages == undisturbed.pages


class TestSeveralWorkers:
    @given(order=st.randoms(use_true_random=False), workers=st.integers(2, 5), epochs=st.sampled_from((None, 150)))
    @settings(deadline=None, max_examples=10)
    def test_nothing_is_handed_out_twice(self, order: random.Random, workers: int, epochs: int | None) -> None:
        search = Search(setup_of(trials=10, epochs=epochs), Pages())
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
        values = [json.dumps(dict(one.values), sort_keys=True) for one in search.trials]
        assert len(values) == len(set(values))


class TestBadEndings:
    def search(self) -> Search:
        """A search whose default is trained and whose first configuration is at work."""
        search = Search(setup_of(), Pages())
        finish(search, 1)
        assert search.next_task() is not None
        return search

    @pytest.mark.parametrize(
        "history", [[], [{"val_acc": 0.9, "val_loss": 1.0}], [{"val_acc": 0.9, "val_loss": math.nan}] * 3]
    )
    def test_divergence_is_known_at_once_and_is_the_worst_result(self, history: Sequence[Mapping[str, float]]) -> None:
        search = self.search()
        trial = search.succeed(1, history)
        assert (trial.state, trial.reason) == ("done", "training diverged")
        assert projections(search.trials, GOAL, search.setup.schedule).get(1, -math.inf) == -math.inf
        assert winner(search.trials, GOAL, 27).number == 0
        assert search.next_task() == Task(number=2, values=search.trials[2].values, target=3)

    def test_a_failed_task_is_repeated_and_then_given_up(self) -> None:
        search = self.search()
        (task,) = search.interrupted()
        assert [search.fail(1, f"cause {at}") for at in range(REPEATS + 1)] == [task] * REPEATS + [None]
        failed = search.trials[1]
        assert (failed.state, failed.reason) == ("failed", f"cause {REPEATS}")
        assert list(failed.failures) == [f"cause {at}" for at in range(REPEATS + 1)]
        assert 1 not in {task.number for task in finish(search)}

    def test_a_failed_promotion_keeps_the_earlier_result(self) -> None:
        search = Search(setup_of(), Pages())
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

    def test_what_fails_tells_the_sampler_nothing_and_what_diverges_does(self) -> None:
        """Divergence above lr 0.6 moves suggestions away from there; failures there do not."""

        def high(ending: str) -> int:
            found = 0
            for seed in range(4):
                search = Search(setup_of(trials=40, seed=seed), Pages())
                for _ in range(60):
                    if (task := search.next_task()) is None:
                        break
                    if task.values["lr"] > 0.05 and task.number:
                        fail(search, task) if ending == "fail" else search.succeed(task.number, [])
                    else:
                        search.succeed(task.number, [{"val_acc": 0.5, "val_loss": 1.0}] * task.target)
                found += sum(one.values["lr"] > 0.05 for one in search.trials[20:])
            return found

        assert high("diverge") < high("fail")


def test_a_space_that_is_used_up_ends_the_search_after_its_best_is_trained_in_full() -> None:
    space = Space(dimensions=(Dimension(key="lr", kind="float", choices=(0.001, 0.01, 0.1, 0.5)),))
    setup = replace(setup_of(trials=50), space=space, spec={"lr": 0.5})
    search = Search(setup, Pages())
    assert {task.number for task in finish(search)} == {0, 1, 2, 3}
    best = winner(search.trials, GOAL, 27)
    assert best.values == {"lr": 0.01}


def test_a_space_without_dimensions_trains_the_default_alone() -> None:
    search = Search(replace(setup_of(), space=Space(dimensions=())), Pages())
    task = search.next_task()
    assert task is not None
    search.succeed(task.number, [{"val_acc": 0.5, "val_loss": 1.0}] * 27)
    assert search.next_task() is None
    assert winner(search.trials, GOAL, 27).number == 0
