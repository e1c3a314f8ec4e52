"""Searches on recorded skeletons, given only data and layout and a time: which accuracy do they reach?

    python benchmarks/automl/skeletons.py --data FOLDER [--only 'search/utkinect/*'] [--hours 5]
    python benchmarks/automl/skeletons.py --table

FOLDER has the recorded sets. Every row is a job on all cores by the command line; finished rows are appended to
skeletons.jsonl and not run again. Run nothing else meanwhile: the budgets are seconds. --table writes skeletons.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from statistics import median
from typing import Any, Final

sys.path.append(str(Path(__file__).parents[1]))
from accuracy_grid import SETS
from machine import machine
from row_file import append, read_rows
from tao_skill import __version__, bank
from tao_skill.automl.search.verdict import interval

HERE: Final = Path(__file__).parent
RESULTS: Final = HERE / "skeletons.jsonl"
TAO_SKILL: Final = (sys.executable, "-m", "tao_skill")

SEARCH, RECIPE, DEFAULT, RANDOM = "search", "first recipe", "default", "random search"
WAYS: Final = (SEARCH, RECIPE, DEFAULT, RANDOM)

COMPARED: Final = ("utkinect", "kard", "irds")
"""Sets on which the search is compared with other ways to spend ten minutes."""

SEEDED: Final = ("utkinect", "sbu")
"""Sets with three seeds."""

LONG: Final = ("kard", "tennis")
"""Sets with thirty minutes."""

TEXT: Final = """# Searches on recorded skeletons

Written by `python benchmarks/automl/skeletons.py --table` from `skeletons.jsonl`. Only data files, layout and a time
were given, on {machine}. Validation is of other people than training, of other recordings in `tennis`, and of other
pairs in `sbu`. None of these sets has a test set, and the recipes were chosen on parts of them: figures are flattered.

Validation accuracy of the winner in % and its 95 % interval, trials, and minutes of the whole job:

{search}

Beside it, the same ten minutes spent otherwise: on the first recipe alone, on TAO's defaults, on random search over the
same space without recipes.

{others}
"""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A row: a way to spend minutes on a set."""

    way: str
    set: str
    minutes: int
    seed: int = 0

    @property
    def name(self) -> str:
        """What `--only` compares with."""
        return f"{self.way}/{self.set}/{self.minutes}/{self.seed}"


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the sets")
    parser.add_argument("--only", default="*", help="pattern of WAY/SET/MINUTES/SEED")
    parser.add_argument("--hours", type=float, default=float("inf"), help="stop starting jobs after this long")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file of the finished rows")
    parser.add_argument("--table", action="store_true", help="write the Markdown file beside --results, and stop")
    asked = parser.parse_args()
    rows = read_rows(asked.results)
    if asked.table:
        asked.results.with_suffix(".md").write_text(page(rows), "utf-8")
        return
    if asked.data is None:
        parser.error("--data is missing")
    done, until = {row["row"] for row in rows}, time.monotonic() + 3600 * asked.hours
    for job in jobs():
        if job.name not in done and fnmatchcase(job.name, asked.only) and time.monotonic() < until:
            row = run(job, asked.data.absolute() / job.set)
            append(asked.results, row)
            print(f"{job.name}: {100 * row['accuracy']:.1f} % in {row['seconds'] / 60:.1f} min", flush=True)


def jobs() -> Iterator[Job]:
    """All rows, most informative first."""
    for minutes in (10, 3):
        yield from (Job(way=SEARCH, set=name, minutes=minutes) for name in SETS)
    yield from (Job(way=way, set=name, minutes=10) for name in COMPARED for way in WAYS[1:])
    yield from (Job(way=SEARCH, set=name, minutes=10, seed=seed) for name in SEEDED for seed in (1, 2))
    yield from (Job(way=SEARCH, set=name, minutes=30) for name in LONG)


def run(job: Job, data: Path) -> dict[str, Any]:
    """Run a job; its line of the results."""
    with tempfile.TemporaryDirectory(prefix="skeletons-") as folder:
        root, environment = Path(folder), dict(os.environ)
        options = ["--time-budget", f"{job.minutes}m", "--search-seed", str(job.seed)]
        values: Mapping[str, Any] = {}
        if job.way == RANDOM:
            environment[bank.VARIABLE] = str(without_recipes(root / "bank"))
            options += ["--sampler", "random"]
        elif job.way == DEFAULT:
            options += ["--search-scope", "schema", "--trials", "1"]
        elif job.way == RECIPE:
            values, options = first_recipe(job, data), [*options, "--search-scope", "schema", "--trials", "1"]
        began = time.monotonic()
        document = train(job, data, options, values, root, environment)
        seconds = time.monotonic() - began
        report = json.loads((root / "results" / document["job"]["id"] / "report.json").read_text("utf-8"))
    return {
        "row": job.name,
        **vars(job),
        "accuracy": document["metrics"]["best_val_acc"],
        "seconds": round(seconds, 1),
        "trials": report["progress"]["trials"],
        "origin": next(one["origin"] for one in report["trials"] if one["number"] == report["winner"]["number"]),
        "sentence": report["winner"]["sentence"],
        "values": report["winner"]["values"],
        "version": __version__,
        "machine": machine(),
    }


def train(
    job: Job,
    data: Path,
    options: Sequence[str],
    values: Mapping[str, Any],
    root: Path,
    environment: Mapping[str, str],
) -> dict[str, Any]:
    """The document of a finished search with only data and layout given, besides `values`."""
    command = [*TAO_SKILL, "run", "train", "--json", "--results-root", str(root / "results"), *options]
    command += [f"{key}={json.dumps(value)}" for key, value in (facts(job, data) | dict(values)).items()]
    done = subprocess.run(command, cwd=HERE.parent, env=environment, stdout=subprocess.PIPE, check=True)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def facts(job: Job, data: Path) -> dict[str, Any]:
    """Spec keys of the data and the layout."""
    known = SETS[job.set]
    return {
        "model.graph_layout": known.layout,
        "dataset.num_classes": known.classes,
        **{
            f"dataset.{split}_dataset.{key}_path": str(data / f"{split}_{key}.{ending}")
            for split in ("train", "val")
            for key, ending in (("data", "npy"), ("label", "pkl"))
        },
    }


def first_recipe(job: Job, data: Path) -> dict[str, Any]:
    """Values of the first recipe for a set."""
    from tao_skill.models.pose_classification.config import ExperimentConfig
    from tao_skill.models.pose_classification.recipes import recipes
    from tao_skill.spec import load

    keys = facts(job, data)
    keys["model.graph_layout"] = known if (known := SETS[job.set].layout).isidentifier() else str(HERE.parent / known)
    config = load.build(ExperimentConfig, load.override(ExperimentConfig, {}, keys.items()))
    return dict(recipes(config, ())[0].values)


def without_recipes(folder: Path) -> Path:
    """A copy of the bank without recipes."""
    for part in ("schemas", "references", "runners", "skills"):
        shutil.copytree(bank.root() / part, folder / part)
    (folder / "references" / "pose_classification" / "recipes.yaml").unlink()
    return folder


def page(rows: Sequence[Mapping[str, Any]]) -> str:
    """The Markdown page."""
    return TEXT.format(
        machine=" and ".join(sorted({row["machine"] for row in rows})),
        search="\n".join(_search_table(rows)),
        others="\n".join(_others_table(rows)),
    )


def _search_table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "| set | 3 minutes | 10 minutes | 30 minutes | winner of the longest |"
    yield "|---|---|---|---|---|"
    for name in SETS:
        found = [row for row in rows if row["set"] == name and row["way"] == SEARCH]
        cells = [_cell(name, [row for row in found if row["minutes"] == minutes]) for minutes in (3, 10, 30)]
        longest = max(found, key=lambda row: row["minutes"], default=None)
        yield f"| {name} | {' | '.join(cells)} | {longest['origin'] if longest else ''} |"


def _cell(name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    middle = median(row["accuracy"] for row in rows)
    low, high = interval(middle, SETS[name].val)
    seeds = f" ({min(100 * row['accuracy'] for row in rows):.1f} to {max(100 * row['accuracy'] for row in rows):.1f})"
    minutes = median(row["seconds"] for row in rows) / 60
    trials = median(row["trials"] for row in rows)
    return (
        f"{100 * middle:.1f}{seeds if len(rows) > 1 else ''} [{100 * low:.1f}, {100 * high:.1f}], "
        f"{trials:.0f} trials, {minutes:.1f} min"
    )


def _others_table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield f"| set | {' | '.join(WAYS)} |"
    yield "|---" * (1 + len(WAYS)) + "|"
    for name in COMPARED:
        found = {row["way"]: row for row in rows if row["set"] == name and row["minutes"] == 10 and row["seed"] == 0}
        cells = [f"{100 * found[way]['accuracy']:.1f}" if way in found else "" for way in WAYS]
        yield f"| {name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
