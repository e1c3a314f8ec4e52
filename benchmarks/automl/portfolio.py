"""The table of recipes by tasks, and the portfolio that is chosen from it.

    python benchmarks/automl/portfolio.py --data FOLDER [--jobs 2] [--hours 8] [--only 'ST-GCN++/*']
    python benchmarks/automl/portfolio.py --write

FOLDER has the recorded sets. Every row of the table is a training on one thread; finished rows are appended to
portfolio.jsonl and not run again while the recipe stays the same. --write chooses the portfolio from the recipes whose
rows are complete and writes it to references/pose_classification/recipes.yaml, and what it is worth to portfolio.md.

The portfolio is built as in auto-sklearn 2.0 (Feurer et al., arXiv 2007.04074, section 4): the recipe that lowers the
mean regret over all tasks the most is added, until no other lowers it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

sys.path.append(str(Path(__file__).parents[1]))
from recipe_grid import RECIPES, TASKS, write_task

from row_file import append, read_rows
from tao_skill import __version__
from tao_skill.models.pose_classification.config import ExperimentConfig
from tao_skill.models.pose_classification.recipes import data_facts, fitting
from tao_skill.spec import load

HERE: Final = Path(__file__).parent
TABLE: Final = HERE / "portfolio.jsonl"

Row = dict[str, Any]
"""A line of portfolio.jsonl."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """A row to train."""

    recipe: str
    task: str
    seed: int = 0

    @property
    def name(self) -> str:
        """What `--only` compares with."""
        return f"{self.recipe}/{self.task}/{self.seed}"

    def is_done(self, rows: Sequence[Row]) -> bool:
        """Whether a row has this name and the present spec of the recipe."""
        spec = dict(RECIPES[self.recipe].spec)
        return any(row["row"] == self.name and spec.items() <= row["recipe_spec"].items() for row in rows)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the recorded sets")
    parser.add_argument("--only", default="*", help="pattern of RECIPE/TASK/SEED")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time (default: 2)")
    parser.add_argument("--hours", type=float, default=float("inf"), help="stop starting trainings after this long")
    parser.add_argument("--table", type=Path, default=TABLE, help="file of the finished rows")
    parser.add_argument("--write", action="store_true", help="choose the portfolio, write it, and stop")
    asked = parser.parse_args()
    rows = read_rows(asked.table)
    if asked.write:
        from portfolio_choice import write

        write(rows)
        return
    if asked.data is None:
        parser.error("--data is missing")
    remaining = [one for one in trainings() if fnmatchcase(one.name, asked.only) and not one.is_done(rows)]
    train_all(remaining, asked.data.absolute(), asked.table, asked.jobs, asked.hours)


def trainings() -> Iterator[Training]:
    """All rows, the first recipes on the first tasks first, so that a part of the table is of use."""
    names, tasks = list(RECIPES), list(TASKS)
    parts = ((names[:8], tasks[:6]), (names[8:16], tasks[:6]), (names[:8], tasks[6:]), (names[16:], tasks[:6]))
    for some_names, some_tasks in (*parts, (names[8:], tasks[6:])):
        yield from (Training(recipe=name, task=task) for task in some_tasks for name in some_names)


def train_all(remaining: Sequence[Training], data: Path, path: Path, jobs: int, hours: float) -> None:
    """Train the rows, `jobs` at a time, and append each as it ends."""
    until = time.monotonic() + 3600 * hours
    queue, running = list(remaining), dict[Future[Row], Training]()
    context = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory(prefix="portfolio-", ignore_cleanup_errors=True) as folder,
        ProcessPoolExecutor(jobs, context, max_tasks_per_child=1) as pool,
    ):
        while running or (queue and time.monotonic() < until):
            while queue and len(running) < jobs and time.monotonic() < until:
                training = queue.pop(0)
                running[pool.submit(train, training, data, Path(folder))] = training
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                row = done.result()
                del running[done]
                append(path, row)
                print(f"{row['row']}: {100 * max(row['curve']):.1f} % in {row['seconds']:.0f} s", flush=True)


def train(training: Training, data: Path, folder: Path) -> Row:
    """Train a row in this process; its line of the table."""
    from tao_skill.models.pose_classification.model import MODEL

    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as work:
        keys = write_task(TASKS[training.task], data, Path(work) / "data")
        config = build(keys)
        facts = data_facts(config)
        assert facts is not None
        recipe = RECIPES[training.recipe]
        values = fitting(recipe, config, facts)
        extra = {"results_dir": work, "train.seed": training.seed, "train.checkpoint_interval": 10**6}
        config = build(keys | values | extra)
        flop = MODEL.epoch_flop(config)
        began = time.perf_counter()
        epochs = MODEL.train_until(config, config.train.num_epochs, "val_acc")
        seconds = time.perf_counter() - began
    return {
        "row": training.name,
        "recipe": training.recipe,
        "task": training.task,
        "seed": training.seed,
        "curve": [round(one["val_acc"], 4) for one in epochs],
        "loss": [round(one["val_loss"], 4) for one in epochs],
        "train_acc": round(epochs[-1]["train_acc"], 4),
        "seconds": round(seconds, 1),
        "epoch_gflop": None if flop is None else round(flop / 1e9, 2),
        "epochs": config.train.num_epochs,
        "frames": values["dataset.resample_frames"],
        "recipe_spec": dict(recipe.spec),
        "version": __version__,
    }


def build(keys: dict[str, Any]) -> ExperimentConfig:
    """The config of some spec keys."""
    config = load.build(ExperimentConfig, load.override(ExperimentConfig, {}, keys.items()))
    assert isinstance(config, ExperimentConfig)
    return config


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    sys.exit(main())
