"""What comes of an action, or of a look at its spec and data; and what an import is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tao_skill.errors import Problem


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A file an action leaves behind.

    Attributes:
        kind: noun of the field: checkpoint, best_checkpoint, report, predictions, log, ...
        path: absolute path.
    """

    kind: str
    path: Path


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a finished action has to say.

    Attributes:
        metrics: final ones by name. artifacts: files it left.
        chosen: values by spec key that the result was made with instead of the spec's own.
    """

    metrics: Mapping[str, float]
    artifacts: Sequence[Artifact]
    chosen: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What a check of spec and data found: problems stop the run, warnings do not.

    Attributes:
        direct: warnings that do not apply to a search. gpus: indices of the GPUs that the run uses, if there are any.
    """

    problems: Sequence[Problem] = ()
    warnings: Sequence[str] = ()
    direct: Sequence[str] = ()
    gpus: Sequence[int] = ()


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What a spec and its data leave of a parameter's search range.

    Attributes:
        low: the range is from here to `high` unless the user says otherwise. high: what no value may exceed.
        inert: why any value of it would change nothing. unless_ranged: key that, given a range by the user, lifts that.
    """

    low: float | None = None
    high: float | None = None
    inert: str | None = None
    unless_ranged: str | None = None


@dataclass(frozen=True, kw_only=True)
class ImportRequest:
    """Recordings to turn into a data set.

    Attributes:
        source: file or folder. out: folder to write to. format: None to guess. labels: file that gives classes.
        split: name of the files written, and the split to take where the source has several.
        frames, persons: sizes of the array; None for the layout's. width, height: of the picture, in pixels.
    """

    source: Path
    out: Path
    format: str | None = None
    labels: Path | None = None
    split: str | None = None
    frames: int | None = None
    persons: int | None = None
    width: float | None = None
    height: float | None = None


@dataclass(frozen=True, kw_only=True)
class Selection:
    """A chosen file and the reason for the choice.

    Attributes:
        facts: what is known of the data it was made on, by name.
    """

    path: Path
    reason: str
    facts: Mapping[str, int] = field(default_factory=dict)
