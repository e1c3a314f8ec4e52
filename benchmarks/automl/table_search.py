"""Compares search methods on the table of recipes by tasks, without training.

    python benchmarks/automl/table_search.py

Every method chooses among the recipes of portfolio.jsonl on a task and sees the curve of each, epoch by epoch, at the
cost that was measured. Writes table_search.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from portfolio import TABLE, Row
from portfolio_choice import MOST, choose, complete, cost_of, score
from recipe_grid import TASKS

from row_file import read_rows
from tao_skill.automl.search.asha import Budget, Goal, RungSchedule, Trial, candidates
from tao_skill.automl.search.search import EPOCH_S, Configuration, Search, Setup
from tao_skill.automl.space.dimension import Dimension
from tao_skill.automl.space.space import Space

PAGE: Final = Path(__file__).parent / "table_search.md"
BUDGETS: Final = (1, 3, 10)
"""In full trainings, of the median cost on a task."""

SEEDS: Final = 12
RECIPE: Final = "recipe"
GOAL: Final = Goal(metric="val_acc", maximize=True, tie="val_loss")
WARM_UP_STEPS: Final = 64
STEPS: Final = 240

TEXT: Final = """# Search methods on the table of recipes

Written by `python benchmarks/automl/table_search.py` from `portfolio.jsonl`: {recipes} recipes on {tasks} tasks,
{seeds} seeds. A method chooses among the recipes and pays the measured seconds of every epoch; a budget of 1 is the
median cost of a full training on the task. Regret: points below the best recipe of the task, of the recipe with the
best validation accuracy so far; median and mean over tasks and seeds. *Ours* starts from a portfolio that was chosen
without the recordings of the task; the user's own spec is `{own}`. TPE, Hyperband and random search are Optuna's, over
the same choice.

{table}
"""


@dataclass(frozen=True, kw_only=True)
class TableTask:
    """A task: rows by recipe, and the portfolio chosen without its recordings."""

    rows: Mapping[str, Row]
    portfolio: Sequence[str]
    own: str

    @property
    def full_s(self) -> float:
        """Median seconds of a full training."""
        return median(row["seconds"] for row in self.rows.values())

    def epoch_s(self, name: str) -> float:
        """Seconds of an epoch of a recipe."""
        row = self.rows[name]
        return float(row["seconds"]) / len(row["curve"])

    def history(self, name: str, epochs: int) -> list[dict[str, float]]:
        """Metrics of the first epochs of a recipe."""
        row = self.rows[name]
        pairs = zip(row["curve"][:epochs], row["loss"][:epochs], strict=True)
        return [{"val_acc": accuracy, "val_loss": loss} for accuracy, loss in pairs]

    def regret(self, name: str) -> float:
        """Points below the best recipe."""
        scores = {one: score(row) for one, row in self.rows.items()}
        return 100 * (max(scores.values()) - scores[name])


@dataclass(frozen=True, kw_only=True)
class TableTrainings:
    """See `search.Trainings`: length and cost of the trainings in the table, which cannot be shortened."""

    task: TableTask

    def epochs(self, values: Mapping[str, Any]) -> int:
        """See `Trainings`."""
        return len(self.task.rows[values[RECIPE]]["curve"])

    def warm_up(self, values: Mapping[str, Any]) -> int:
        """See `Trainings`."""
        return -(-self.epochs(values) * WARM_UP_STEPS // STEPS)

    def flop(self, values: Mapping[str, Any]) -> float | None:
        """See `Trainings`."""
        return self.task.epoch_s(values[RECIPE])

    def shortened(self, values: Mapping[str, Any], epochs: int) -> dict[str, Any]:
        """See `Trainings`."""
        return dict(values)

    def adapted(self, values: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
        """See `Trainings`."""
        return dict(values)


class Notebook:
    """A journal in memory."""

    def load(self) -> list[Trial]:
        """No trials."""
        return []

    def save(self, trial: Trial) -> None:
        """The search keeps its trials."""


def ours(task: TableTask, budget_s: float, seed: int) -> str:
    """The recipe that the product's search chooses."""
    names = list(task.rows)
    setup = Setup(
        space=Space(dimensions=(Dimension(key=RECIPE, kind="choice", choices=tuple(names)),)),
        spec={RECIPE: task.own},
        goal=GOAL,
        schedule=RungSchedule(),
        budget=Budget(seconds=budget_s),
        trainings=TableTrainings(task=task),
        recipes=[Configuration(origin=name, values={RECIPE: name}) for name in task.portfolio if name != task.own],
        seed=seed,
    )
    search, spent_s = Search(setup, Notebook()), 0.0
    while (given := search.next_task(left_s=budget_s - spent_s)) is not None:
        name = given.values[RECIPE]
        if given.target == 0:
            search.succeed(given.number, [{EPOCH_S: task.epoch_s(name)}])
            continue
        cost_s = (given.target - search.trials[given.number].epochs) * task.epoch_s(name)
        spent_s += cost_s
        search.succeed(given.number, task.history(name, given.target), cost_s)
    chosen = candidates(search.trials, GOAL)
    return str(chosen[0].values[RECIPE]) if chosen else task.own


def portfolio_alone(task: TableTask, budget_s: float, seed: int) -> str:
    """The best of the portfolio's recipes, trained in full in their order."""
    order = [*task.portfolio, *(name for name in task.rows if name not in task.portfolio)]
    return _best_in_full(task, order, budget_s)


def _best_in_full(task: TableTask, order: Sequence[str], budget_s: float) -> str:
    """The best by validation of those trainings that fit; the first one in any case."""
    done = [order[0]]
    left_s = budget_s - task.rows[order[0]]["seconds"]
    for name in order[1:]:
        left_s -= task.rows[name]["seconds"]
        if left_s < 0:
            break
        done.append(name)
    return max(done, key=lambda name: max(task.rows[name]["curve"]))


def tpe(task: TableTask, budget_s: float, seed: int) -> str:
    """Optuna's TPE, full trainings only."""
    return _with_optuna(task, budget_s, seed, TPESampler(seed=seed), NopPruner())


def tpe_hyperband(task: TableTask, budget_s: float, seed: int) -> str:
    """Optuna's TPE and Hyperband pruner."""
    longest = max(len(row["curve"]) for row in task.rows.values())
    pruner = HyperbandPruner(min_resource=max(1, longest // 9), max_resource=longest)
    return _with_optuna(task, budget_s, seed, TPESampler(seed=seed), pruner)


def random_search(task: TableTask, budget_s: float, seed: int) -> str:
    """Optuna's random sampler, full trainings only."""
    return _with_optuna(task, budget_s, seed, RandomSampler(seed=seed), NopPruner())


def _with_optuna(task: TableTask, budget_s: float, seed: int, sampler: BaseSampler, pruner: BasePruner) -> str:
    """The recipe with the best epoch of all trials until the budget is spent; a repeated choice costs nothing."""
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner, study_name=f"seed {seed}")
    left_s, best, tried = budget_s, (0.0, task.own), dict[str, int]()
    for _ in range(20 * len(task.rows)):
        trial = study.ask()
        name = trial.suggest_categorical(RECIPE, list(task.rows))
        curve, pruned = task.rows[name]["curve"], False
        for epoch, accuracy in enumerate(curve, start=1):
            if epoch > tried.get(name, 0):
                left_s -= task.epoch_s(name)
                tried[name] = epoch
            if left_s < 0:
                return best[1]
            best = max(best, (accuracy, name))
            trial.report(accuracy, epoch)
            pruned = epoch < len(curve) and trial.should_prune()
            if pruned:
                break
        state = optuna.trial.TrialState.PRUNED
        study.tell(trial, *((None, state) if pruned else (max(curve),)))
    return best[1]


METHODS: Final[Mapping[str, Callable[[TableTask, float, int], str]]] = {
    "ours": ours,
    "portfolio alone": portfolio_alone,
    "TPE": tpe,
    "TPE + Hyperband": tpe_hyperband,
    "random search": random_search,
}


def main() -> None:
    """Compare the methods, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, default=TABLE, help="file of the rows")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--print", action="store_true", help="print the table, and write nothing")
    asked = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    rows = read_rows(asked.table)
    scores = complete(rows)
    names = list(next(iter(scores.values())))
    tasks = [_task(name, scores, rows) for name in scores]
    table = "\n".join(_table(tasks, asked.seeds))
    print(table)
    if not asked.print:
        own = tasks[0].own
        text = TEXT.format(recipes=len(names), tasks=len(tasks), seeds=asked.seeds, own=own, table=table)
        PAGE.write_text(text, "utf-8")


def _task(name: str, scores: Mapping[str, Mapping[str, float]], rows: Sequence[Row]) -> TableTask:
    others = {task: found for task, found in scores.items() if TASKS[task].source != TASKS[name].source}
    of_task = {row["recipe"]: row for row in rows if row["task"] == name and row["recipe"] in scores[name]}
    ordered = {one: of_task[one] for one in scores[name]}
    worst = min(scores[name], key=lambda one: sum(found[one] for found in scores.values()))
    return TableTask(rows=ordered, portfolio=choose(others or scores, MOST, cost_of(rows)), own=worst)


def _table(tasks: Sequence[TableTask], seeds: int) -> Iterator[str]:
    heads = [f"{budget} full trainings" if budget > 1 else "1 full training" for budget in BUDGETS]
    yield f"| method | {' | '.join(f'{head}: median | mean' for head in heads)} |"
    yield "|---" * (1 + 2 * len(BUDGETS)) + "|"
    for name, method in METHODS.items():
        cells = []
        for budget in BUDGETS:
            regrets = [task.regret(method(task, budget * task.full_s, seed)) for task in tasks for seed in range(seeds)]
            cells += [f"{median(regrets):.2f}", f"{sum(regrets) / len(regrets):.2f}"]
        yield f"| {name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
