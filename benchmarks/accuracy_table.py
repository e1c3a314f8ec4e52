"""The tables of accuracy.md, from the finished trainings."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from accuracy_grid import NO_OPTION, OPTION_SETS, SETS, Row, rows

Result = Mapping[str, Any]
Results = Sequence[Result]

Z: Final = 1.959964
"""Standard deviations of a two-sided 95 % interval."""

PAGE: Final = """# Accuracy on recorded skeletons

Written by `python benchmarks/accuracy.py --table` from `accuracy.jsonl`, which has a line for every training that
`python benchmarks/accuracy.py --data FOLDER` ran. Recipes and options are in `accuracy_grid.py`. Validation is of other
people than training, of other recordings in `tennis`, and of other pairs of people in `sbu`. Recipes were chosen by
looking at these validation sets, so that figures of the best recipe are flattered.

## Sets

{sets}

Baselines are computed alike for all sets: joints relative to the centre joint of the first person in each frame,
resampled to 32 frames; Euclidean distance; SVM with C=10, gamma=scale. Noise is the Wilson 95 % interval of our best
mean accuracy in a validation set of this size: what is within it may be luck. Published figures are of other splits, as
the README of each set quotes them.

## Networks, streams and recipes

Validation accuracy of the best epoch, whose checkpoint later actions use, in %: mean, range and number of seeds.

{best}

The same of the last epoch, which is not chosen by the validation set:

{last}

Parameters (of `{first}`), GFLOP of a forward pass of a sequence, and median seconds of an epoch with its validation, on
one thread of {machine}, beside another training:

{cost}

## What each option is worth

ST-GCN++, joint stream, best recipe with one option changed, against the same seeds without the change, in points of
the best epoch's accuracy. *All* weights sets by their sequences. Two equally good recipes differ by less than *noise*
in 95 of 100 cases (binomial, seeds taken as independent), so a smaller difference says little.

{options}
"""


def page(results: Results) -> str:
    """Markdown of the results whose specs are those of the present recipes."""
    specs = {row.name: row.spec for row in rows()}
    current = [one for one in results if "baseline" in one or specs.get(one["row"]) == one["spec"]]
    trained = list({one["row"]: one for one in current if "row" in one}.values())
    baselines = {(one["baseline"], one["set"]): one["accuracy"] for one in current if "baseline" in one}
    plain = [one for one in trained if one["option"] == NO_OPTION]
    options = [one for one in trained if one["option"] != NO_OPTION]
    names = [name for name in SETS if any(one["set"] == name for one in plain)]
    return PAGE.format(
        sets=_sets_table(plain, baselines),
        best=_accuracy_table(plain, names, "best_val_acc"),
        last=_accuracy_table(plain, names, "val_acc"),
        cost=_cost_table(plain, names),
        options=_options_table(plain, options),
        first=names[0] if names else "",
        machine=" and of ".join(sorted({one["machine"] for one in trained})),
    )


def wilson(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a binomial proportion of which `share` was found in `count` trials (Wilson 1927)."""
    spread = Z * math.sqrt(share * (1 - share) / count + Z**2 / (4 * count**2))
    low, high = (share + Z**2 / (2 * count) + sign * spread for sign in (-1, 1))
    return max(0.0, low / (1 + Z**2 / count)), min(1.0, high / (1 + Z**2 / count))


def noise(pairs: Iterable[tuple[float, float, int]]) -> float:
    """Half the 95 % interval of the mean difference of (accuracy, accuracy, sequences), weighted by sequences."""
    pooled = [((a + b) / 2, count) for a, b, count in pairs]
    variance = sum(2 * share * (1 - share) * count for share, count in pooled)
    return Z * math.sqrt(variance) / sum(count for _, count in pooled)


def _table(header: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    cells = [header, ["---"] * len(header), *lines]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in cells)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _by_network(plain: Results) -> dict[str, dict[str, list[Result]]]:
    """Results of each network, streams and recipe, by set; in the order of the grid."""
    order = {row.name: place for place, row in enumerate(rows())}
    found: dict[str, dict[str, list[Result]]] = {}
    for one in sorted(plain, key=lambda one: order[one["row"]]):
        name = f"{one['network']} | {one['streams']} | {one['recipe']}"
        found.setdefault(name, {}).setdefault(one["set"], []).append(one)
    return found


def _mean(seeds: Results, key: str) -> float:
    return statistics.mean(one[key] for one in seeds)


def _sets_table(plain: Results, baselines: Mapping[tuple[str, str], float]) -> str:
    methods = list(dict.fromkeys(method for method, _ in baselines))
    header = ["set", "layout", "classes", "training", "validation", *methods, "our best", "noise", "published, %"]
    lines = []
    for name, data in SETS.items():
        means = [_mean(sets[name], "best_val_acc") for sets in _by_network(plain).values() if name in sets]
        interval = "to".join(f" {_percent(end)} " for end in wilson(max(means), data.val)).strip() if means else ""
        ours = [_percent(max(means)) if means else "", interval]
        simple = [_percent(baselines[method, name]) if (method, name) in baselines else "" for method in methods]
        sizes = [data.classes, data.train, data.val]
        lines.append([name, data.layout, *sizes, *simple, *ours, data.published or "none alike"])
    return _table(header, lines)


def _accuracy_table(plain: Results, names: Sequence[str], key: str) -> str:
    lines = [[name, *(_spread(sets.get(one, ()), key) for one in names)] for name, sets in _by_network(plain).items()]
    return _table(["network", "streams", "recipe", *names], lines)


def _spread(seeds: Results, key: str) -> str:
    """Mean, and the range of several seeds."""
    if len(seeds) < 2:
        return "".join(_percent(one[key]) for one in seeds)
    low, high = (end(one[key] for one in seeds) for end in (min, max))
    return f"{_percent(_mean(seeds, key))} ({_percent(low)} to {_percent(high)}, {len(seeds)})"


def _cost_table(plain: Results, names: Sequence[str]) -> str:
    lines = []
    for name, sets in _by_network(plain).items():
        first = next(iter(sets.values()))[0]
        costs = [_cost(sets[one]) if one in sets else "" for one in names]
        lines.append([name, f"{first['parameters'] / 1e6:.2f} M", *costs])
    return _table(["network", "streams", "recipe", "parameters", *names], lines)


def _cost(seeds: Results) -> str:
    epoch_s = statistics.median(one["epoch_s"] for one in seeds)
    return f"{seeds[0]['forward_gflop']:.2f}, {epoch_s:.1f} s"


def _options_table(plain: Results, options: Results) -> str:
    known = {one["row"]: one for one in plain}
    names = [name for name in SETS if name in OPTION_SETS or any(one["set"] == name for one in options)]
    pairs: dict[str, dict[str, list[tuple[float, float, int]]]] = {}
    for one in options:
        without = Row(
            network=one["network"], streams=one["streams"], recipe=one["recipe"], set=one["set"], seed=one["seed"]
        )
        if (other := known.get(without.name)) is not None:
            pair = (one["best_val_acc"], other["best_val_acc"], SETS[one["set"]].val)
            pairs.setdefault(one["option"], {}).setdefault(one["set"], []).append(pair)
    lines = []
    for option, sets in pairs.items():
        every = [pair for found in sets.values() for pair in found]
        cells = [_gain(sets.get(name, [])) for name in names]
        lines.append([option, *cells, _gain(every), f"±{100 * noise(every):.1f}"])
    return _table(["option", *names, "all", "noise"], lines)


def _gain(pairs: Sequence[tuple[float, float, int]]) -> str:
    if not pairs:
        return ""
    gained = sum((with_it - without) * count for with_it, without, count in pairs)
    return f"{100 * gained / sum(count for *_, count in pairs):+.1f}"
