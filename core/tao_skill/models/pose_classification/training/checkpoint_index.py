"""The checkpoints of a results folder: names, index, and selection for downstream actions. Imports no torch."""

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
    """A checkpoint file of a results folder.

    Attributes:
        file: name inside the folder. epoch: 0-based.
        step: number of optimizer steps; 0 if the file name has no step.
        metrics: val_acc, val_loss, ... of these weights; empty if they were not validated.
        sequence_length, num_persons: T and M of the network input; None if not recorded.
        extra: saved outside the interval, and kept only while it is the best.
    """

    file: str
    epoch: int
    step: int
    metrics: Mapping[str, float]
    sequence_length: int | None = None
    num_persons: int | None = None
    extra: bool = False


def checkpoint_name(epoch: int, step: int) -> str:
    """File name as in TAO, from the 0-based epoch and the global step."""
    return f"model_epoch_{epoch:03d}_step_{step:05d}.pth"


def read_index(results_dir: Path) -> list[Checkpoint]:
    """Checkpoints in order of training.

    Without an index, or if no file of the index exists, checkpoints are found by their file names and have no metrics.
    Files missing from the index belong to an earlier training or are incomplete, and are ignored.

    Raises:
        BadData: the index is damaged.
    """
    found_by_name = _find_by_name(results_dir)
    files = {checkpoint.file for checkpoint in found_by_name}
    indexed = [checkpoint for checkpoint in _read_entries(results_dir) if checkpoint.file in files]
    return sorted(indexed or found_by_name, key=_order)


def _find_by_name(results_dir: Path) -> list[Checkpoint]:
    """Every file with the name of a checkpoint."""
    matches = (_NAME.fullmatch(path.name) for path in results_dir.glob("model_epoch_*.pth"))
    return [
        Checkpoint(file=match[0], epoch=int(match[1]), step=int(match[2] or 0), metrics={})
        for match in matches
        if match
    ]


def _order(checkpoint: Checkpoint) -> tuple[int, int]:
    return checkpoint.epoch, checkpoint.step


def actual(path: Path) -> Path:
    """Resolve a checkpoint path without a step: if `model_epoch_001.pth` is missing, the newest file of that epoch.

    Releases of TAO differ in whether the step is part of the name. Any other path is returned unchanged.

    Raises:
        BadData: the index of the folder is damaged.
    """
    match = _NAME.fullmatch(path.name)
    if match is None or match[2] or path.exists():
        return path
    epoch = int(match[1])
    candidates = [checkpoint for checkpoint in read_index(path.parent) if checkpoint.epoch == epoch]
    candidates = candidates or [checkpoint for checkpoint in _find_by_name(path.parent) if checkpoint.epoch == epoch]
    return path.with_name(max(candidates, key=_order).file) if candidates else path


def write_index(results_dir: Path, checkpoints: list[Checkpoint]) -> None:
    """Write the index: checkpoints and their metrics."""
    atomic.write_json(results_dir / INDEX, [asdict(checkpoint) for checkpoint in checkpoints])


def latest(results_dir: Path) -> Path | None:
    """The checkpoint that training resumes from; None without the latest link, so that removing it starts anew.

    If the target of the link is missing, the newest checkpoint is returned.
    """
    link = results_dir / LATEST
    return newest(results_dir) if link.exists() or link.is_symlink() else None


def newest(results_dir: Path) -> Path | None:
    """The target of the latest link, or else the newest checkpoint."""
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
    """Remove the best link if its target is not among these checkpoints, since it belongs to an earlier training."""
    link = results_dir / BEST
    if link.is_symlink() and link.readlink().name not in {checkpoint.file for checkpoint in checkpoints}:
        link.unlink()


def newest_first(results_dir: Path) -> list[Path]:
    """Checkpoints in the order in which training tries to resume from them; none without the latest link."""
    first = latest(results_dir)
    others = (results_dir / checkpoint.file for checkpoint in reversed(read_index(results_dir)))
    return [] if first is None else [first, *(path for path in others if path.name != first.name)]


def recover(results_dir: Path, metric: str) -> int:
    """Clean up after a process that was killed while saving; no other process may be writing to the folder.

    Checkpoints that are not in the index are deleted, and the links are set by the index.

    Returns:
        Number of finished epochs of the newest checkpoint.
    """
    indexed = {checkpoint.file for checkpoint in _read_entries(results_dir)}
    incomplete = (path for path in results_dir.glob("model_epoch_*.pth") if path.name not in indexed)
    for path in (*incomplete, *results_dir.glob(".*.tmp")):
        path.unlink(missing_ok=True)
    checkpoints = read_index(results_dir)
    if not checkpoints:
        return 0
    atomic.replace_link(results_dir / LATEST, checkpoints[-1].file)
    if best_checkpoint := best(checkpoints, metric):
        atomic.replace_link(results_dir / BEST, best_checkpoint.file)
    return checkpoints[-1].epoch + 1


def _read_entries(results_dir: Path) -> list[Checkpoint]:
    """The entries of the index file, including those whose files do not exist."""
    path = results_dir / INDEX
    if not path.exists():
        return []
    fix = f"restore it or move it away; without it, the checkpoints of {results_dir} are found by name"
    checkpoints: list[Checkpoint] = read_json(path, list[Checkpoint], what="an index of checkpoints", fix=fix)
    return checkpoints


def best(checkpoints: list[Checkpoint], metric: str) -> Checkpoint | None:
    """The best checkpoint by `metric`, then by lower val_loss, then the latest; None if none was validated.

    Metrics are maximised, losses minimised.
    """
    sign = -1.0 if metric.endswith(_MINIMISED) else 1.0
    scored = [checkpoint for checkpoint in checkpoints if metric in checkpoint.metrics]
    return max(
        scored,
        key=lambda checkpoint: (
            sign * checkpoint.metrics[metric],
            -checkpoint.metrics.get("val_loss", math.inf),
            checkpoint.step,
        ),
        default=None,
    )


def select(action: str, results_dir: Path, metric: str, artifacts: Mapping[str, Path]) -> Selection:
    """Select the model file that a downstream action reads from a job of `action`.

    Args:
        artifacts: recorded files of the job by kind.

    Raises:
        NotFound: the job has no model file.
        BadRequest: jobs of this action produce no model.
    """
    if action not in _SELECT:
        raise BadRequest(
            f"a job of action {action} produces no model",
            fix=Fix("give ", Option("parent", f"latest:{next(iter(_SELECT))}"), f", or a job of {', '.join(_SELECT)}"),
        )
    return _SELECT[action](results_dir, metric, artifacts)


def _of_train(results_dir: Path, metric: str, artifacts: Mapping[str, Path]) -> Selection:
    index = read_index(results_dir)
    checkpoint = best(index, metric)
    if checkpoint is not None:
        reason = f"best {metric} {checkpoint.metrics[metric]:.4f}, epoch {checkpoint.epoch}"
        return Selection(path=results_dir / checkpoint.file, reason=reason, facts=_facts(checkpoint))
    if (results_dir / BEST).exists():
        return Selection(path=(results_dir / BEST).resolve(), reason=f"{BEST}, as the folder has no index")
    last = newest(results_dir)
    if last is None:
        raise NotFound(f"no checkpoint in {results_dir}", fix="let the train job run until its first checkpoint")
    facts = next((_facts(entry) for entry in index if entry.file == last.name), {})
    return Selection(path=last, reason=f"latest checkpoint, as no validation computed {metric}", facts=facts)


def _facts(checkpoint: Checkpoint) -> dict[str, int]:
    facts = {"sequence_length": checkpoint.sequence_length, "num_persons": checkpoint.num_persons}
    return {name: value for name, value in facts.items() if value is not None}


def _artifact(kind: str) -> _Select:
    def choose(results_dir: Path, metric: str, artifacts: Mapping[str, Path]) -> Selection:
        if kind not in artifacts:
            raise NotFound(f"the job in {results_dir} has no {kind} file", fix="run the job to completion")
        return Selection(path=artifacts[kind], reason=f"the {kind} file of the job")

    return choose


_SELECT: Final[Mapping[str, _Select]] = MappingProxyType(
    {"train": _of_train, "export": _artifact("onnx"), "gen_trt_engine": _artifact("engine")}
)
