"""Names of the files that training leaves, and which of them a downstream action starts from. Imports no torch."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tao_skill.errors import BadRequest, Fix, NotFound, Option
from tao_skill.io import atomic
from tao_skill.io.strict_json import read_json
from tao_skill.outcome import Selection

LATEST: Final = "pc_model_latest.pth"
BEST: Final = "pc_model_best.pth"
INDEX: Final = "checkpoints.json"
_NAME: Final = re.compile(r"model_epoch_(\d+)(?:_step_(\d+))?\.pth")
_MINIMISED: Final = ("loss",)

_Select = Callable[[Path, str, Mapping[str, Path]], Selection]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """One checkpoint file of a results folder.

    Attributes:
        file: name inside the folder. epoch: 0-based. step: optimiser steps done (0 in files named by epoch alone).
        metrics: val_acc, val_loss, ... of that very model; empty if no validation ran on it.
        sequence_length, num_persons: T and M of the sequences it was last run on; None where that is not recorded.
        extra: kept beyond the interval as long as it is the best.
    """

    file: str
    epoch: int
    step: int
    metrics: Mapping[str, float]
    sequence_length: int | None = None
    num_persons: int | None = None
    extra: bool = False


def checkpoint_name(epoch: int, step: int) -> str:
    """TAO's file name: 0-based epoch, global step."""
    return f"model_epoch_{epoch:03d}_step_{step:05d}.pth"


def read_index(results_dir: Path) -> list[Checkpoint]:
    """Checkpoints in order of training; names alone where a folder has no index, or one of files that are gone.

    Files that an index does not name are those of an earlier training, or were not saved to the end.

    Raises:
        BadData: the index is damaged.
    """
    named = _named(results_dir)
    files_there = {one.file for one in named}
    indexed = [entry for entry in _indexed(results_dir) if entry.file in files_there]
    return sorted(indexed or named, key=_order)


def _named(results_dir: Path) -> list[Checkpoint]:
    """Every file that is called as a checkpoint."""
    matches = (_NAME.fullmatch(path.name) for path in results_dir.glob("model_epoch_*.pth"))
    return [
        Checkpoint(file=match[0], epoch=int(match[1]), step=int(match[2] or 0), metrics={})
        for match in matches
        if match
    ]


def _order(checkpoint: Checkpoint) -> tuple[int, int]:
    return checkpoint.epoch, checkpoint.step


def actual(path: Path) -> Path:
    """The file that a checkpoint's path means: where `model_epoch_001.pth` is missing, the newest of that epoch.

    Releases of TAO differ in whether the step is part of the name. Any other path is given back.

    Raises:
        BadData: the index of the folder is damaged.
    """
    match = _NAME.fullmatch(path.name)
    if match is None or match[2] or path.exists():
        return path
    known = [one for one in read_index(path.parent) if one.epoch == int(match[1])]
    known = known or [one for one in _named(path.parent) if one.epoch == int(match[1])]
    return path.with_name(max(known, key=_order).file) if known else path


def write_index(results_dir: Path, checkpoints: list[Checkpoint]) -> None:
    """Record the checkpoints and their metrics."""
    atomic.write_json(results_dir / INDEX, [asdict(checkpoint) for checkpoint in checkpoints])


def latest(results_dir: Path) -> Path | None:
    """The checkpoint training continues from; None without the latest link, whose removal starts a training anew.

    A link that leads nowhere stands for the newest file.
    """
    link = results_dir / LATEST
    return newest(results_dir) if link.exists() or link.is_symlink() else None


def newest(results_dir: Path) -> Path | None:
    """The checkpoint that the latest link leads to, or the newest file where there is no such link."""
    link = results_dir / LATEST
    if link.exists():
        return link.resolve()
    index = read_index(results_dir)
    return results_dir / index[-1].file if index else None


def result_files(results_dir: Path) -> list[Path]:
    """Every checkpoint, the links to checkpoints and the index; nothing where there is no checkpoint."""
    checkpoints = sorted(results_dir.glob("*.pth"))
    index = results_dir / INDEX
    return [*checkpoints, *([index] if checkpoints and index.exists() else [])]


def keep_only_best(results_dir: Path, metric: str) -> None:
    """Delete every checkpoint and link but the best by `metric`; where no checkpoint was written, nothing happens."""
    paths = list(results_dir.glob("*.pth"))
    if len(paths) < 2:  # an earlier call did it: reading the index of every trial again would take long
        return
    try:
        best_file = _of_train(results_dir, metric, {}).path
    except NotFound:
        return
    for path in paths:
        if path.name != best_file.name:
            path.unlink(missing_ok=True)


def drop_stale_best(results_dir: Path, checkpoints: list[Checkpoint]) -> None:
    """Remove a best link that leads to none of these checkpoints, as it is an earlier training's."""
    link = results_dir / BEST
    if link.is_symlink() and link.readlink().name not in {one.file for one in checkpoints}:
        link.unlink()


def newest_first(results_dir: Path) -> list[Path]:
    """Checkpoints in the order in which training tries to continue from them; none without the latest link."""
    first = latest(results_dir)
    others = (results_dir / one.file for one in reversed(read_index(results_dir)))
    return [] if first is None else [first, *(path for path in others if path.name != first.name)]


def settle(results_dir: Path, metric: str) -> int:
    """Finish or undo what a process that was killed while saving left half done, in a folder that no other writes to.

    A checkpoint counts from when the index names it: any other is deleted, and the links follow the index.

    Returns:
        Epochs that the newest checkpoint has behind it.
    """
    named = {entry.file for entry in _indexed(results_dir)}
    left = (path for path in results_dir.glob("model_epoch_*.pth") if path.name not in named)
    for path in (*left, *results_dir.glob(".*.tmp")):
        path.unlink(missing_ok=True)
    checkpoints = read_index(results_dir)
    if not checkpoints:
        return 0
    atomic.replace_link(results_dir / LATEST, checkpoints[-1].file)
    if winner := best(checkpoints, metric):
        atomic.replace_link(results_dir / BEST, winner.file)
    return checkpoints[-1].epoch + 1


def _indexed(results_dir: Path) -> list[Checkpoint]:
    path = results_dir / INDEX
    if not path.exists():
        return []
    fix = f"restore it, or move it away: the checkpoints of {results_dir} are then known by their names alone"
    found: list[Checkpoint] = read_json(path, list[Checkpoint], what="an index of checkpoints", fix=fix)
    return found


def best(checkpoints: list[Checkpoint], metric: str) -> Checkpoint | None:
    """The best by `metric` (a loss is minimised), ties by val_loss, then the later; None if none was validated."""
    sign = -1.0 if metric.endswith(_MINIMISED) else 1.0
    scored = [checkpoint for checkpoint in checkpoints if metric in checkpoint.metrics]
    return max(
        scored,
        key=lambda one: (sign * one.metrics[metric], -one.metrics.get("val_loss", math.inf), one.step),
        default=None,
    )


def select(action: str, results_dir: Path, metric: str, artifacts: Mapping[str, Path]) -> Selection:
    """The file a downstream action takes from a finished `action`, with the reason.

    Args:
        artifacts: what the job recorded, by kind.

    Raises:
        NotFound: the job left no such file.
        BadRequest: jobs of this action make no model.
    """
    if action not in _SELECT:
        raise BadRequest(
            f"a job of action {action} makes no model to go on with",
            fix=Fix("give ", Option("parent", f"latest:{next(iter(_SELECT))}"), f", or a job of {', '.join(_SELECT)}"),
        )
    return _SELECT[action](results_dir, metric, artifacts)


def _of_train(results_dir: Path, metric: str, artifacts: Mapping[str, Path]) -> Selection:
    index = read_index(results_dir)
    winner = best(index, metric)
    if winner is not None:
        reason = f"best {metric} {winner.metrics[metric]:.4f}, epoch {winner.epoch}"
        return Selection(path=results_dir / winner.file, reason=reason, facts=_facts(winner))
    if (results_dir / BEST).exists():
        return Selection(path=(results_dir / BEST).resolve(), reason=f"{BEST}, as the folder has no index")
    last = newest(results_dir)
    if last is None:
        raise NotFound(f"no checkpoint in {results_dir}", fix="let the train job reach its first checkpoint")
    known = next((_facts(one) for one in index if one.file == last.name), {})
    return Selection(path=last, reason=f"latest checkpoint, as no validation measured {metric}", facts=known)


def _facts(checkpoint: Checkpoint) -> dict[str, int]:
    facts = {"sequence_length": checkpoint.sequence_length, "num_persons": checkpoint.num_persons}
    return {name: value for name, value in facts.items() if value is not None}


def _artifact(kind: str) -> _Select:
    def choose(results_dir: Path, metric: str, artifacts: Mapping[str, Path]) -> Selection:
        if kind not in artifacts:
            raise NotFound(f"the job of {results_dir} has left no {kind} file", fix="run that job to its end")
        return Selection(path=artifacts[kind], reason=f"the {kind} file the job wrote")

    return choose


_SELECT: Final[Mapping[str, _Select]] = MappingProxyType(
    {"train": _of_train, "export": _artifact("onnx"), "gen_trt_engine": _artifact("engine")}
)
