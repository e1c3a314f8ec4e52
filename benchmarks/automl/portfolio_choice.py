"""Chooses the portfolio from the table, and writes it with what it is worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any, Final

from recipe_grid import RECIPES, SHOWN, TASKS

from tao_skill.io.strict_yaml import dump_yaml

HERE: Final = Path(__file__).parent
PAGE: Final = HERE / "portfolio.md"
PORTFOLIO: Final = HERE.parents[1] / "references" / "pose_classification" / "recipes.yaml"

MOST: Final = 6
"""Recipes of the portfolio, at most."""

CHEAP: Final = 1.1
"""Cost of the first recipe in that of the median, at most."""

HOPELESS: Final = 10.0
"""Mean regret in points above which a recipe is chosen only if it lowers that of the portfolio."""

BASE_RECIPE: Final = next(iter(RECIPES))
"""The recipe that costs are relative to."""

TOP: Final = 3
"""Best epochs whose mean is the score of a training: less lucky than the best one."""

LONGER: Final = 2
"""A packaged recipe shows the network so many times the sequences of a training of the table."""

Scores = Mapping[str, Mapping[str, float]]
"""Validation accuracy by task and recipe, 0 to 1."""

TEXT: Final = """# The portfolio of recipes

Written by `python benchmarks/automl/portfolio.py --write` from `portfolio.jsonl`, which has a line for every training:
its recipe, task, validation accuracy after every epoch and seconds on one thread. Recipes and tasks are in
`recipe_grid.py`: at most {train} training and {val} validation sequences, {batches} batches of 16. The accuracy of a
training is the mean of its {top} best epochs.

{complete} of {all} recipes are complete on {tasks} tasks.

## The table

Accuracy in %, the best of each task in bold; cost of a training in that of the first row.

{table}

## What the portfolio is worth

Regret: points below the best of all recipes of the table on a task. *Left out*: the portfolio is chosen without any
task of the same recordings.

{regret}

| choice | mean regret | left out |
|---|---|---|
{sizes}
"""


def write(rows: Sequence[Mapping[str, Any]]) -> None:
    """Choose, and write recipes.yaml and portfolio.md."""
    scores = complete(rows)
    costs = cost_of(rows)
    chosen = choose(scores, MOST, costs)
    documents = [document(name, scores, rows) for name in chosen]
    PORTFOLIO.write_text(HEADER + dump_yaml({"recipes": documents}), "utf-8")
    PAGE.write_text(page(scores, chosen, costs), "utf-8")


HEADER: Final = """\
# Recipes for a search, the best known first; benchmarks/automl/portfolio.py writes them from its table.
# shown: sequences that a training on up to 100 sequences shows the network, repetitions included; it grows with the
# square root of the sequences. frames: frames to resample to, at most. provenance: accuracy in % by task.
"""


def complete(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Scores by task and recipe: the largest part of the table that is complete, of the first tasks."""
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        if row["recipe"] in RECIPES and row["task"] in TASKS:
            found.setdefault(row["recipe"], {})[row["task"]] = score(row)
    parts = []
    for count in range(1, len(TASKS) + 1):
        tasks = list(TASKS)[:count]
        names = [name for name in RECIPES if found.get(name, {}).keys() >= set(tasks)]
        parts.append({task: {name: found[name][task] for name in names} for task in tasks})
    return max(parts, key=lambda part: sum(map(len, part.values())))


def score(row: Mapping[str, Any]) -> float:
    """Accuracy of a training, 0 to 1."""
    return fmean(sorted(row["curve"])[-TOP:])


def choose(scores: Scores, most: int, costs: Mapping[str, float]) -> list[str]:
    """Recipes in the order in which they lower the mean regret the most; of equal ones, the best alone.

    The first is one of those that cost about the median or less, since it is what a small budget trains.
    """
    chosen: list[str] = []
    names = list(next(iter(scores.values())))
    cheap = [name for name in names if costs[name] <= CHEAP * median(costs[one] for one in names)]
    while len(chosen) < min(most, len(names)):
        left = [name for name in (names if chosen else cheap) if name not in chosen]
        found = min(left, key=lambda name: (mean_regret(scores, [*chosen, name]), mean_regret(scores, [name])))
        helps = not chosen or mean_regret(scores, [*chosen, found]) < mean_regret(scores, chosen)
        if not helps and mean_regret(scores, [found]) > HOPELESS:
            break
        chosen.append(found)
    return chosen


def cost_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Operations of a full training by recipe, in those of the base recipe; the mean over tasks."""
    by_task: dict[str, dict[str, float]] = {}
    for row in rows:
        by_task.setdefault(row["task"], {})[row["recipe"]] = row["epoch_gflop"] * row["epochs"]
    shares: dict[str, list[float]] = {}
    for found in by_task.values():
        base = found.get(BASE_RECIPE)
        for name, flop in found.items():
            if base:
                shares.setdefault(name, []).append(flop / base)
    return {name: fmean(known) for name, known in shares.items()}


def regret(of_task: Mapping[str, float], chosen: Sequence[str]) -> float:
    """Points below the best of all recipes."""
    return 100 * (max(of_task.values()) - max(of_task[name] for name in chosen))


def mean_regret(scores: Scores, chosen: Sequence[str]) -> float:
    """Over all tasks."""
    return fmean(regret(of_task, chosen) for of_task in scores.values())


def left_out_regret(scores: Scores, size: int, costs: Mapping[str, float]) -> float:
    """Mean regret on tasks whose recordings the choice did not see."""
    regrets = []
    for source in dict.fromkeys(TASKS[task].source for task in scores):
        others = {task: found for task, found in scores.items() if TASKS[task].source != source}
        chosen = choose(others or scores, size, costs)
        regrets += [regret(found, chosen) for task, found in scores.items() if TASKS[task].source == source]
    return fmean(regrets)


def document(name: str, scores: Scores, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A recipe as it is packaged."""
    recipe = RECIPES[name]
    own = [row for row in rows if row["recipe"] == name and row["task"] in scores]
    parts = {
        "name": name,
        "shown": LONGER * SHOWN,
        "frames": recipe.frames,
        "spec": dict(recipe.spec),
        "planar": dict(recipe.planar),
        "several_persons": dict(recipe.several_persons),
    }
    return parts | {
        "provenance": {
            "seeds": sorted({row["seed"] for row in own}),
            "version": own[-1]["version"],
            "accuracy": {task: round(100 * found[name], 1) for task, found in scores.items()},
        }
    }


def page(scores: Scores, chosen: Sequence[str], costs: Mapping[str, float]) -> str:
    """The Markdown page."""
    names = list(next(iter(scores.values())))
    from recipe_grid import TRAIN, VAL

    return TEXT.format(
        train=TRAIN,
        val=VAL,
        batches=SHOWN // 16,
        top=TOP,
        complete=len(names),
        tasks=len(scores),
        all=len(RECIPES),
        table="\n".join(_table(scores, names, costs)),
        regret=f"The portfolio, in this order: {', '.join(chosen)}.",
        sizes="\n".join(_sizes(scores, chosen, costs)),
    )


def _table(scores: Scores, names: Sequence[str], costs: Mapping[str, float]) -> Iterator[str]:
    yield "| recipe | cost | " + " | ".join(scores) + " | median |"
    yield "|---" * (len(scores) + 3) + "|"
    for name in names:
        cells = [
            f"**{100 * found[name]:.1f}**" if found[name] == max(found.values()) else f"{100 * found[name]:.1f}"
            for found in scores.values()
        ]
        yield (
            f"| {name} | {costs[name]:.2f} | "
            + " | ".join(cells)
            + f" | {100 * median(f[name] for f in scores.values()):.1f} |"
        )


def _sizes(scores: Scores, chosen: Sequence[str], costs: Mapping[str, float]) -> Iterator[str]:
    for size in range(1, len(chosen) + 1):
        name = "the first recipe" if size == 1 else f"the best of {size}"
        yield f"| {name} | {mean_regret(scores, chosen[:size]):.2f} | {left_out_regret(scores, size, costs):.2f} |"
