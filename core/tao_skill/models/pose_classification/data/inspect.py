"""Look at a data set before training on it: what it holds, what is wrong with it, what to try."""

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
from tao_skill.models.pose_classification.data.sequences import Labels, blocks, frames_used, open_sequences, read_labels
from tao_skill.models.pose_classification.network.architecture import STRIDE
from tao_skill.models.pose_classification.network.graph import LAYOUTS
from tao_skill.outcome import DataReport

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tao_skill.models.pose_classification.data.sequences import Sequences

IMBALANCE: Final = 3.0
MUCH_PADDING: Final = 0.5
BLOCK_BYTES: Final = 64 * 2**20
SHOWN: Final = 10
"""Examples listed of each kind of finding."""


@dataclass(kw_only=True)
class Oddity:
    """How many values are odd, and (n, c, t, v, m) of the first."""

    count: int = 0
    first: tuple[int, ...] | None = None

    def look(self, odd_NCTVM: NDArray[np.bool_], start: int) -> None:
        """Count the odd values of a block whose first sequence is number `start`."""
        if self.first is None and odd_NCTVM.any():
            n, *rest = (int(i) for i in np.unravel_index(np.argmax(odd_NCTVM), odd_NCTVM.shape))
            self.first = (start + n, *rest)
        self.count += int(odd_NCTVM.sum())

    def as_dict(self) -> dict[str, Any]:
        """For the report."""
        return {"count": self.count, "first": list(self.first) if self.first else None}


@dataclass(kw_only=True)
class Scan:
    """One pass over an array: frames used and content hash of each sequence (None where all is zero), odd values."""

    used: list[int] = field(default_factory=list)
    digests: list[bytes | None] = field(default_factory=list)
    nan: Oddity = field(default_factory=Oddity)
    inf: Oddity = field(default_factory=Oddity)


def inspect(
    data_path: str | Path,
    label_path: str | Path | None = None,
    other_data: str | Path | None = None,
    other_labels: str | Path | None = None,
) -> dict[str, Any]:
    """Report on a data set, and on what it shares with another split of it.

    Returns:
        JSON-able: `data`, `labels`, `frames_used`, `layouts` (that have these joints), `values`, `duplicates`, `other`,
        `warnings` (sentences saying what to try) and `suggested` (spec overrides by key).

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
        "frames_used": _frame_facts(scan.used, data_NCTVM.shape[2]),
        "layouts": [name for name, layout in LAYOUTS.items() if layout.joints == data_NCTVM.shape[3]],
        "values": _value_facts(scan),
        "duplicates": {"within": _pairs(scan.digests), "across": across},
        "other": other,
    }
    return report | {"warnings": list(_warnings(report)), "suggested": _suggested(report)}


def data_report(
    data_path: Path, label_path: Path | None, other_data: Path | None, other_labels: Path | None
) -> DataReport:
    """`inspect` in full, and in brief: what a decision rests on; the warnings describe the rest."""
    full = inspect(data_path, label_path, other_data, other_labels)
    labels = full["labels"]
    brief = {
        "data": {"shape": full["data"]["shape"]},
        "labels": {name: labels[name] for name in ("count", "classes", "imbalance")} if labels else None,
        **{name: full[name] for name in ("layouts", "warnings", "suggested")},
    }
    return DataReport(full=full, brief=brief, suggested=full["suggested"])


def not_finite(data_NCTVM: Sequences) -> Oddity:
    """The values of an array that are NaN or infinite; one pass, a block in memory at a time."""
    odd = Oddity()
    for start, block_NCTVM in blocks(data_NCTVM, _sequences_in_block(data_NCTVM)):
        odd.look(~np.isfinite(block_NCTVM), start)
    return odd


def _sequences_in_block(data_NCTVM: Sequences) -> int:
    return max(1, BLOCK_BYTES // int(data_NCTVM[0].nbytes))


def _scan(data_NCTVM: Sequences) -> Scan:
    scan = Scan()
    for start, block_NCTVM in blocks(data_NCTVM, _sequences_in_block(data_NCTVM)):
        used_N = frames_used(block_NCTVM, len(block_NCTVM))
        scan.used += used_N.tolist()
        scan.digests += [_digest(one, int(used)) for one, used in zip(block_NCTVM, used_N, strict=True)]
        scan.nan.look(np.isnan(block_NCTVM), start)
        scan.inf.look(np.isinf(block_NCTVM), start)
    return scan


def _digest(x_CTVM: Sequences, used: int) -> bytes | None:
    """Hash of the frames used, the same for any float type and any padding; None where all is zero."""
    if not used:
        return None
    return blake2b(x_CTVM[:, :used].astype("<f8").tobytes(), digest_size=16).digest()


def _set_facts(data_NCTVM: Sequences, path: str | Path, labels: Labels | None) -> dict[str, Any]:
    sizes = zip(("sequences", "channels", "frames", "joints", "persons"), data_NCTVM.shape, strict=True)
    data = {"path": str(path), "shape": list(data_NCTVM.shape), "dtype": str(data_NCTVM.dtype)}
    return {"data": data | dict(sizes), "labels": _label_facts(labels)}


def _frame_facts(used: Sequence[int], frames: int) -> dict[str, Any]:
    return {
        "min": min(used),
        "median": float(np.median(used)),
        "mean": float(np.mean(used)),
        "max": max(used),
        "padding_share": 1.0 - float(np.mean(used)) / frames,
    }


def _value_facts(scan: Scan) -> dict[str, Any]:
    zero = [index for index, used in enumerate(scan.used) if not used]
    return {
        "nan": scan.nan.as_dict(),
        "inf": scan.inf.as_dict(),
        "zero_sequences": {"count": len(zero), "indices": zero[:SHOWN]},
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
    """Sequences equal to an earlier one, or to one of another split: their number, and the first few pairs."""
    first: dict[bytes, int] = {}
    pairs: list[list[int]] = []
    for index, digest in enumerate(digests):
        if digest is not None and first.setdefault(digest, index) != index and others is None:
            pairs.append([first[digest], index])
    for index, digest in enumerate(others or ()):
        if digest is not None and digest in first:
            pairs.append([first[digest], index])
    return {"count": len(pairs), "pairs": pairs[:SHOWN]}


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
    for kind, shown in (("nan", "NaN"), ("inf", "infinite")):
        if (found := report["values"][kind])["count"]:
            yield (
                f"{found['count']} values are {shown}, the first at (n, c, t, v, m) = {tuple(found['first'])}: "
                "replace them, one is enough to ruin a training"
            )
    if (zero := report["values"]["zero_sequences"])["count"]:
        yield f"{zero['count']} sequences are all zero, the first is number {zero['indices'][0]}: remove them"
    if not report["layouts"]:
        known = ", ".join(f"{name} {layout.joints}" for name, layout in LAYOUTS.items())
        yield f"{report['data']['joints']} joints fit no layout: convert the data to one of {known}"


def _frame_warnings(report: dict[str, Any]) -> Iterator[str]:
    used, frames = report["frames_used"], report["data"]["frames"]
    if 0 < used["max"] < frames:
        yield (
            f"no sequence uses more than {used['max']} of the {frames} frames: save data[:, :, :{used['max']}] "
            f"to train {frames / used['max']:.1f} times as fast"
        )
    if used["padding_share"] > MUCH_PADDING:
        yield (
            f"{used['padding_share']:.0%} of the frames are padding, which costs as much time as the rest unless "
            f"dataset.resample_frames={_resampled(used)}: half of the sequences use at most {int(used['median'])} of "
            f"{frames} frames"
        )


def _resampled(used: dict[str, Any]) -> int:
    """Frames that keep half of the sequences whole, in whole strides."""
    strides = math.ceil(float(used["median"]) / STRIDE)
    return STRIDE * max(4, strides)


def _label_warnings(report: dict[str, Any]) -> Iterator[str]:
    facts, n = report["labels"], report["data"]["sequences"]
    if facts is None:
        return
    if facts["count"] != n:
        yield f"there are {facts['count']} labels for {n} sequences: give the label file of this array"
    if facts["imbalance"] and facts["imbalance"] > IMBALANCE:
        yield (
            f"the largest class has {facts['imbalance']:.1f} times the sequences of the smallest: "
            "balance the set, and read the average class accuracy beside the accuracy"
        )
    if facts["classes"] and (missing := _absent(facts)):
        yield f"no sequence has the class ids {missing}: number the classes 0, 1, 2, ... without gaps"
    if (other := (report["other"] or {}).get("labels")) and (unseen := _unseen(other, facts)):
        yield f"the other split has class ids that this one lacks: {unseen}; a model cannot learn them from here"


def _absent(facts: dict[str, Any]) -> list[int]:
    missing = (class_id for class_id in range(facts["max"]) if str(class_id) not in facts["per_class"])
    return [class_id for class_id, _ in zip(missing, range(SHOWN), strict=False)]


def _unseen(other: dict[str, Any], facts: dict[str, Any]) -> list[int]:
    return [int(class_id) for class_id in other["per_class"] if class_id not in facts["per_class"]]


def _duplicate_warnings(duplicates: dict[str, Any]) -> Iterator[str]:
    if within := duplicates["within"]["count"]:
        yield f"{within} sequences repeat an earlier one: remove them, they count double"
    if across := (duplicates["across"] or {}).get("count"):
        yield (
            f"{across} sequences of the other split are also in this one (leakage): "
            "remove them from one of the two, or the measured accuracy is too high"
        )


def _suggested(report: dict[str, Any]) -> dict[str, Any]:
    """Overrides that the data call for, by spec key; what is already the default is left out."""
    wanted: dict[str, Any] = {}
    if report["labels"] and report["labels"]["count"]:
        wanted["dataset.num_classes"] = report["labels"]["max"] + 1
    if len(report["layouts"]) == 1:
        wanted["model.graph_layout"] = report["layouts"][0]
    if report["data"]["channels"] != ModelConfig().input_channels:
        wanted["model.input_channels"] = report["data"]["channels"]
    if report["frames_used"]["padding_share"] > MUCH_PADDING:
        wanted["dataset.resample_frames"] = _resampled(report["frames_used"])
    n = report["data"]["sequences"]
    if n < SMALL_SET:
        wanted |= SMALL_SET_OVERRIDES | {"dataset.batch_size": min(n, int(SMALL_SET_OVERRIDES["dataset.batch_size"]))}
    return wanted
