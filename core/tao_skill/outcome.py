"""Results of actions and of checks, and the request for a data import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from tao_skill.errors import Problem
from tao_skill.spec.param import Param


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
    """The result of a finished action.

    Attributes:
        metrics: final values by name. artifacts: files it left.
        chosen: spec key -> value that the result was made with in place of the value in the spec.
    """

    metrics: Mapping[str, float]
    artifacts: Sequence[Artifact]
    chosen: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Advice:
    """The result of a check of spec and data: problems stop the run, warnings do not.

    Attributes:
        direct: warnings that do not apply to a search. gpus: indices of the GPUs that the run uses, if there are any.
    """

    problems: Sequence[Problem] = ()
    warnings: Sequence[str] = ()
    direct: Sequence[str] = ()
    gpus: Sequence[int] = ()


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A limit that a spec and its data set to the search range of a parameter.

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
    """Recordings to turn into a data set; a model adds the options of its formats."""

    source: Annotated[Path, Param("File or folder.")]
    out: Annotated[Path, Param("Folder to write to.")]
    format: Annotated[str | None, Param("Guessed where the source is plain.")] = None
    labels: Annotated[Path | None, Param("JSON of {clip: class}, in place of the classes in the source.")] = None
    split: Annotated[str | None, Param("Name of the files, and of the split to take where the source has several.")] = (
        None
    )


@dataclass(frozen=True, kw_only=True)
class DataReport:
    """The description of a data set.

    Attributes:
        full: everything, ready for JSON, `warnings` and `suggested` included. brief: the part that decides.
        suggested: spec key -> value to try.
    """

    full: Mapping[str, Any]
    brief: Mapping[str, Any]
    suggested: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """A chosen file and the reason for the choice.

    Attributes:
        facts: facts about the data it was trained on, by name.
    """

    path: Path
    reason: str
    facts: Mapping[str, int] = field(default_factory=dict)
