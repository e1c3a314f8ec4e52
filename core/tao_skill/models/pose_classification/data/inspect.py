"""Inspect a data set before training: statistics, problems and recommended settings."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tao_skill.models.pose_classification.checks.small_sets import SMALL_SET, SMALL_SET_OVERRIDES, small_set_warning
from tao_skill.models.pose_classification.config import DatasetConfig, ModelConfig, Optim
from tao_skill.models.pose_classification.data.sequences import (
    Labels,
    blocks,
    open_sequences,
    read_labels,
    unpadded_lengths,
)
from tao_skill.models.pose_classification.network.architecture import STRIDE
from tao_skill.models.pose_classification.network.layouts import LAYOUTS
from tao_skill.outcome import DataReport

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tao_skill.models.pose_classification.data.sequences import Sequences

IMBALANCE: Final = 3.0
MUCH_PADDING: Final = 0.5
BLOCK_BYTES: Final = 64 * 2**20
EXAMPLES: Final = 10
"""Largest number of examples listed for each finding."""


@dataclass(kw_only=True)
class ValueCount:
    """Number of values with some property, and the index (n, c, t, v, m) of the first."""

    count: int = 0
    first: tuple[int, ...] | None = None

    def add(self, mask_NCTVM: NDArray[np.bool_], start: int) -> None:
        """Count the True values of a block whose first sequence has index `start`."""
        if self.first is None and mask_NCTVM.any():
            n, *rest = (int(i) for i in np.unravel_index(np.argmax(mask_NCTVM), mask_NCTVM.shape))
            self.first = (start + n, *rest)
        self.count += int(mask_NCTVM.sum())

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, for the report."""
        return {"count": self.count, "first": list(self.first) if self.first else None}


@dataclass(kw_only=True)
class Scan:
    """Results of one pass over an array.

    Attributes:
        lengths: frames of each sequence without its padding.
        digests: content hash of each sequence; None for a sequence of zeros.
        nan, inf: NaN and infinite values.
        ranges: smallest and largest finite value of each channel.
    """

    lengths: list[int] = field(default_factory=list)
    digests: list[bytes | None] = field(default_factory=list)
    nan: ValueCount = field(default_factory=ValueCount)
    inf: ValueCount = field(default_factory=ValueCount)
    ranges: list[tuple[float, float]] = field(default_factory=list)


def inspect(
    data_path: str | Path,
    label_path: str | Path | None = None,
    other_data: str | Path | None = None,
    other_labels: str | Path | None = None,
) -> dict[str, Any]:
    """Report on a data set, and on sequences that it shares with another split.

    Returns:
        JSON-able: `data`, `labels`, `frames_used`, `layouts` (those with this number of joints), `values`,
        `duplicates`, `other`, `warnings` (problems with their remedies) and `suggested` (spec overrides by key).

    Raises:
        NotFound: a file does not exist.
        BadData: a file cannot be read as sequences or labels.
    """
    data_NCTVM = open_sequences(data_path)
    labels = read_labels(label_path) if label_path else None
    scan = _scan(data_NCTVM)
    across: dict[str, Any] | None = None
    other: dict[str, Any] | None = None
    if other_data:
        other_NCTVM = open_sequences(other_data)
        other = _set_facts(other_NCTVM, other_data, read_labels(other_labels) if other_labels else None)
        across = _pairs(scan.digests, _scan(other_NCTVM).digests)
    report = _set_facts(data_NCTVM, data_path, labels) | {
        "frames_used": _length_facts(scan.lengths, data_NCTVM.shape[2]),
        "layouts": [name for name, layout in LAYOUTS.items() if layout.joints == data_NCTVM.shape[3]],
        "values": _value_facts(scan),
        "duplicates": {"within": _pairs(scan.digests), "across": across},
        "other": other,
    }
    return report | {"warnings": list(_warnings(report)), "suggested": _suggested(report)}


def data_report(
    data_path: Path, label_path: Path | None, other_data: Path | None, other_labels: Path | None
) -> DataReport:
    """The report of `inspect` in full, and in brief for a decision; the warnings describe the rest."""
    full = inspect(data_path, label_path, other_data, other_labels)
    labels = full["labels"]
    brief = {
        "data": {"shape": full["data"]["shape"]},
        "labels": {name: labels[name] for name in ("count", "classes", "imbalance")} if labels else None,
        **{name: full[name] for name in ("layouts", "warnings", "suggested")},
    }
    return DataReport(full=full, brief=brief, suggested=full["suggested"])


def count_not_finite(data_NCTVM: Sequences) -> ValueCount:
    """Count the NaN and infinite values of an array in one pass, with one block in memory at a time."""
    values = ValueCount()
    for start, block_NCTVM in blocks(data_NCTVM, _sequences_per_block(data_NCTVM)):
        values.add(~np.isfinite(block_NCTVM), start)
    return values


def _sequences_per_block(data_NCTVM: Sequences) -> int:
    return max(1, BLOCK_BYTES // int(data_NCTVM[0].nbytes))


def _scan(data_NCTVM: Sequences) -> Scan:
    scan = Scan()
    for start, block_NCTVM in blocks(data_NCTVM, _sequences_per_block(data_NCTVM)):
        lengths_N = unpadded_lengths(block_NCTVM, len(block_NCTVM))
        scan.lengths += lengths_N.tolist()
        scan.digests += [_digest(x_CTVM, int(length)) for x_CTVM, length in zip(block_NCTVM, lengths_N, strict=True)]
        scan.nan.add(np.isnan(block_NCTVM), start)
        scan.inf.add(np.isinf(block_NCTVM), start)
        known = scan.ranges or [(math.inf, -math.inf)] * block_NCTVM.shape[1]
        scan.ranges = [_extended(one, block_NCTVM[:, c]) for c, one in enumerate(known)]
    return scan


def _extended(limits: tuple[float, float], values: NDArray[np.floating[Any]]) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    low, high = limits
    return (min(low, float(finite.min())), max(high, float(finite.max()))) if finite.size else limits


def _digest(x_CTVM: Sequences, length: int) -> bytes | None:
    """Hash of the first `length` frames, independent of float type and padding; None if `length` is 0."""
    if not length:
        return None
    return blake2b(x_CTVM[:, :length].astype("<f8").tobytes(), digest_size=16).digest()


def _set_facts(data_NCTVM: Sequences, path: str | Path, labels: Labels | None) -> dict[str, Any]:
    sizes = zip(("sequences", "channels", "frames", "joints", "persons"), data_NCTVM.shape, strict=True)
    data = {"path": str(path), "shape": list(data_NCTVM.shape), "dtype": str(data_NCTVM.dtype)}
    return {"data": data | dict(sizes), "labels": _label_facts(labels)}


def _length_facts(lengths: Sequence[int], frames: int) -> dict[str, Any]:
    return {
        "min": min(lengths),
        "median": float(np.median(lengths)),
        "mean": float(np.mean(lengths)),
        "max": max(lengths),
        "padding_share": 1.0 - float(np.mean(lengths)) / frames,
    }


def _value_facts(scan: Scan) -> dict[str, Any]:
    zero = [index for index, length in enumerate(scan.lengths) if not length]
    return {
        "nan": scan.nan.as_dict(),
        "inf": scan.inf.as_dict(),
        "zero_sequences": {"count": len(zero), "indices": zero[:EXAMPLES]},
        "ranges": [list(limits) if limits[0] <= limits[1] else None for limits in scan.ranges],
    }


def _label_facts(labels: Labels | None) -> dict[str, Any] | None:
    if labels is None:
        return None
    counts = Counter(labels.ids)
    return {
        "count": len(labels.ids),
        "classes": len(counts),
        "min": min(counts, default=None),
        "max": max(counts, default=None),
        "per_class": {str(class_id): counts[class_id] for class_id in sorted(counts)},
        "imbalance": max(counts.values()) / min(counts.values()) if counts else None,
    }


def _pairs(digests: Sequence[bytes | None], others: Sequence[bytes | None] | None = None) -> dict[str, Any]:
    """Count sequences that equal an earlier sequence or, with `others`, one of another split; list the first pairs."""
    first: dict[bytes, int] = {}
    pairs: list[list[int]] = []
    for index, digest in enumerate(digests):
        if digest is not None and first.setdefault(digest, index) != index and others is None:
            pairs.append([first[digest], index])
    for index, digest in enumerate(others or ()):
        if digest is not None and digest in first:
            pairs.append([first[digest], index])
    return {"count": len(pairs), "pairs": pairs[:EXAMPLES]}


def _warnings(report: dict[str, Any]) -> Iterator[str]:
    yield from _value_warnings(report)
    yield from _frame_warnings(report)
    yield from _label_warnings(report)
    yield from _duplicate_warnings(report["duplicates"])
    n, batch_size = report["data"]["sequences"], DatasetConfig().batch_size
    if small := small_set_warning(n, Optim().lr, batch_size):
        yield small
    if n < batch_size:
        yield f"the default dataset.batch_size {batch_size} is larger than the set ({n}): set dataset.batch_size={n}"


def _value_warnings(report: dict[str, Any]) -> Iterator[str]:
    for kind, adjective in (("nan", "NaN"), ("inf", "infinite")):
        if (values := report["values"][kind])["count"]:
            yield (
                f"{values['count']} values are {adjective}, the first at (n, c, t, v, m) = {tuple(values['first'])}: "
                "replace them, since a single one makes the loss NaN"
            )
    if (zero := report["values"]["zero_sequences"])["count"]:
        yield f"{zero['count']} sequences are all zero, the first has index {zero['indices'][0]}: remove them"
    if not report["layouts"]:
        known = ", ".join(f"{name} {layout.joints}" for name, layout in LAYOUTS.items())
        yield (
            f"{report['data']['joints']} joints fit no layout: describe them in a layout file, or convert the data to "
            f"one of {known}"
        )
    yield from _channel_warnings(report)


def _channel_warnings(report: dict[str, Any]) -> Iterator[str]:
    """A third channel that cannot be the confidence of a layout in the image plane."""
    names, ranges = report["layouts"], report["values"]["ranges"]
    if (
        not names
        or len(ranges) < len("xyz")
        or any(LAYOUTS[name].coordinates in _coordinates(ranges) for name in names)
    ):
        return
    if limits := ranges[len("xy")]:
        yield (
            f"the third channel has values from {limits[0]:.3g} to {limits[1]:.3g}: no confidence. If it is z, "
            f"set model.graph_layout to a layout file of three lines, name: {names[0]}_3d, base: {names[0]}, "
            "coordinates: 3, so that it counts as a coordinate"
        )


def _coordinates(ranges: Sequence[Sequence[float] | None]) -> tuple[int, ...]:
    """Numbers of coordinates that the channels may have; a third channel with values outside 0 to 1 is z."""
    if len(ranges) != len("xyz"):
        return (len("xy"),) if len(ranges) < len("xyz") else (len("xyz"),)
    limits = ranges[len("xy")]
    return (len("xy"), len("xyz")) if limits is None or (limits[0] >= 0 and limits[1] <= 1) else (len("xyz"),)


def _likely(report: dict[str, Any]) -> list[str]:
    """The layouts with this number of joints, and of several those whose coordinates the channels have."""
    names, possible = report["layouts"], _coordinates(report["values"]["ranges"])
    fitting = [name for name in names if LAYOUTS[name].coordinates == possible[0]]
    return fitting if len(names) > 1 and fitting else names


def _frame_warnings(report: dict[str, Any]) -> Iterator[str]:
    lengths, frames = report["frames_used"], report["data"]["frames"]
    if 0 < lengths["max"] < frames:
        yield (
            f"no sequence uses more than {lengths['max']} of the {frames} frames: save data[:, :, :{lengths['max']}] "
            f"to train {frames / lengths['max']:.1f} times as fast"
        )
    if lengths["padding_share"] > MUCH_PADDING:
        yield (
            f"{lengths['padding_share']:.0%} of the frames are padding, which slows training down: set "
            f"dataset.resample_frames={_resample_frames(lengths)}, as half of the sequences use at most "
            f"{int(lengths['median'])} of {frames} frames"
        )


def _resample_frames(lengths: dict[str, Any]) -> int:
    """Median length, rounded up to a multiple of the network's temporal stride."""
    strides = math.ceil(float(lengths["median"]) / STRIDE)
    return STRIDE * max(4, strides)


def _label_warnings(report: dict[str, Any]) -> Iterator[str]:
    facts, n = report["labels"], report["data"]["sequences"]
    if facts is None:
        return
    if facts["count"] != n:
        yield f"there are {facts['count']} labels for {n} sequences: give the label file that belongs to this array"
    if facts["imbalance"] and facts["imbalance"] > IMBALANCE:
        yield (
            f"the largest class has {facts['imbalance']:.1f} times as many sequences as the smallest: "
            "balance the set, and compare models by average class accuracy"
        )
    if facts["classes"] and (missing := _absent(facts)):
        yield f"no sequence has the class ids {missing}: number the classes 0, 1, 2, ... without gaps"
    if (other := (report["other"] or {}).get("labels")) and (unseen := _unseen(other, facts)):
        yield f"only the other split has the class ids {unseen}: add sequences of these classes to this one"


def _absent(facts: dict[str, Any]) -> list[int]:
    missing = (class_id for class_id in range(facts["max"]) if str(class_id) not in facts["per_class"])
    return [class_id for class_id, _ in zip(missing, range(EXAMPLES), strict=False)]


def _unseen(other: dict[str, Any], facts: dict[str, Any]) -> list[int]:
    return [int(class_id) for class_id in other["per_class"] if class_id not in facts["per_class"]]


def _duplicate_warnings(duplicates: dict[str, Any]) -> Iterator[str]:
    if within := duplicates["within"]["count"]:
        yield f"{within} sequences repeat an earlier one: remove them, since they count twice"
    if across := (duplicates["across"] or {}).get("count"):
        yield (
            f"{across} sequences of the other split are also in this one (leakage): "
            "remove them from either split, since they inflate the measured accuracy"
        )


def _suggested(report: dict[str, Any]) -> dict[str, Any]:
    """Recommended overrides by spec key, without those that are the default."""
    overrides: dict[str, Any] = {}
    if report["labels"] and report["labels"]["count"]:
        overrides["dataset.num_classes"] = report["labels"]["max"] + 1
    if len(likely := _likely(report)) == 1:
        overrides["model.graph_layout"] = likely[0]
    if report["data"]["channels"] != ModelConfig().input_channels:
        overrides["model.input_channels"] = report["data"]["channels"]
    if report["frames_used"]["padding_share"] > MUCH_PADDING:
        overrides["dataset.resample_frames"] = _resample_frames(report["frames_used"])
    n = report["data"]["sequences"]
    if n < SMALL_SET:
        overrides |= SMALL_SET_OVERRIDES | {
            "dataset.batch_size": min(n, int(SMALL_SET_OVERRIDES["dataset.batch_size"]))
        }
    return overrides
