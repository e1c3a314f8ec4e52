"""Search real but cheap trainings with the product's loop and with others, and compare what they find.

Prints one figure a line and writes results.md beside this file. Takes some minutes on one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import optuna
from methods import METHODS, Found
from tasks import EPOCHS, TASKS

BUDGETS: Final = (270, 540)
OURS: Final = "tao-skill"
RANDOM: Final = "random search"
RESULTS: Final = Path(__file__).parent / "results.md"

PAGE: Final = """# A search on cheap real trainings

Written by `OMP_NUM_THREADS=1 python benchmarks/automl/cheap.py --seeds {seeds}`, on one core of a shared virtual
machine without a GPU.

Perceptrons learn scikit-learn's handwritten digits by SGD over learning rate, momentum, weight decay, dropout and
decay; a full training has {epochs} epochs. `digits 500` has 500 training images and a default that learns too slowly;
`digits 150` has 150, one layer more and TAO's default, which learns too fast. The other images validate. Every method
begins with the default and gets the same epochs; a value is the best epoch's validation accuracy. A gap is what is
missing, in percentage points, to the best that any method found with {most} epochs and the same seed. Ours counts only
configurations trained in full; the others count every epoch, those of pruned trials too. Optuna's samplers and its
Hyperband pruner are as they come, the pruner with our lowest rung and reduction factor.

{table}

{figures}

Seeds 100 to 123 were used to look at the loop's own settings (how partial results are projected, draws before the
model, TPE's candidates and quantile, reduction factor, rungs); none of them was better by more than seeds vary.
"""

Runs = Mapping[tuple[str, int, str], Sequence[Found]]
"""What was found with each seed, by task, budget and method."""


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=12, help="seeds 0 to N-1 (default: 12)")
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    runs = {
        (task.name, budget, name): [method(task, seed, budget) for seed in range(given.seeds)]
        for task in TASKS
        for budget in BUDGETS
        for name, method in METHODS.items()
    }
    table = list(_table(runs))
    figures = dict(_figures(runs))
    print("\n".join(table))
    print("\n".join(f"{name}: {value}" for name, value in figures.items()))
    RESULTS.write_text(_page(given.seeds, table, figures), encoding="utf-8")


def _values(runs: Runs, task: str, budget: int, method: str) -> np.ndarray:
    return np.array([found.best for found in runs[task, budget, method]])


def _gaps(runs: Runs, task: str, budget: int, method: str) -> np.ndarray:
    """Per seed, what is missing to the best that any method found with the largest budget."""
    tops = np.max([_values(runs, task, BUDGETS[-1], name) for name in METHODS], axis=0)
    return tops - _values(runs, task, budget, method)


def _table(runs: Runs) -> Iterator[str]:
    yield "| task | epochs | method | median gap | mean gap | worst gap | median accuracy | configurations |"
    yield "|---|---|---|---|---|---|---|---|"
    for (task, budget, name), found in runs.items():
        gaps = _gaps(runs, task, budget, name)
        spread = " | ".join(f"{100 * one:.2f}" for one in (np.median(gaps), gaps.mean(), gaps.max()))
        best = 100 * np.median([one.best for one in found])
        count = np.median([one.trials for one in found])
        yield f"| {task} | {budget} | {name} | {spread} | {best:.2f} | {count:.0f} |"


def _figures(runs: Runs) -> Iterator[tuple[str, str]]:
    seeds = len(next(iter(runs.values())))
    ours = [one for (_, _, name), found in runs.items() if name == OURS for one in found]
    yield "runs worse than the default", f"{sum(one.best < one.default for one in ours)} of {len(ours)}"
    yield (
        "seconds of deciding per configuration",
        f"{sum(one.overhead_s for one in ours) / sum(o.trials for o in ours):.3f}",
    )
    over = sum(found.epochs > budget for (_, budget, _), runs_ in runs.items() for found in runs_)
    yield "runs over their budget", str(over)
    for budget in BUDGETS:
        pairs = [[runs[task.name, budget, name] for name in (OURS, RANDOM)] for task in TASKS]
        wins = sum(
            mine.best > chance.best for ours_, random_ in pairs for mine, chance in zip(ours_, random_, strict=True)
        )
        yield f"{budget} epochs, runs of all tasks better than random search", f"{wins} of {seeds * len(TASKS)}"
    for task in TASKS:
        default = [found.default for found in runs[task.name, BUDGETS[0], OURS]]
        yield f"{task.name}, median accuracy of the default", f"{100 * np.median(default):.2f} %"
        for budget in BUDGETS:
            place = f"{task.name}, {budget} epochs"
            medians = {name: float(np.median(_gaps(runs, task.name, budget, name))) for name in METHODS}
            others = min(gap for name, gap in medians.items() if name != OURS)
            yield (
                f"{place}, median gap in points, ours and the best other",
                f"{100 * medians[OURS]:.2f}, {100 * others:.2f}",
            )
            mine, chance = (_values(runs, task.name, budget, name) for name in (OURS, RANDOM))
            better, equal = int((mine > chance).sum()), int((mine == chance).sum())
            yield f"{place}, seeds better than random search", f"{better} of {seeds}, equal {equal}"


def _page(seeds: int, table: Sequence[str], figures: Mapping[str, str]) -> str:
    lines = "\n".join(f"- {name}: {value}" for name, value in figures.items())
    return PAGE.format(seeds=seeds, epochs=EPOCHS, most=BUDGETS[-1], table="\n".join(table), figures=lines)


if __name__ == "__main__":
    main()
