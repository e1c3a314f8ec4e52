"""Results of actions and checks, and the request for a data import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from tao_skill.errors import Problem
from tao_skill.spec.param import Param


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """An output file of an action.

    Attributes:
        kind: checkpoint, best_checkpoint, report, predictions, log, ...
        path: absolute path.
    """

    kind: str
    path: Path


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of a finished action.

    Attributes:
        metrics: final values by name. artifacts: output files.
        chosen: spec key -> value that replaced the value of the spec, e.g. by a search.
    """

    metrics: Mapping[str, float]
    artifacts: Sequence[Artifact]
    chosen: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Advice:
    """The result of checking a spec and its data: problems stop the run, warnings do not.

    Attributes:
        direct: warnings of direct runs, which do not apply to a search. gpus: indices of the GPUs that the run uses.
    """

    problems: Sequence[Problem] = ()
    warnings: Sequence[str] = ()
    direct: Sequence[str] = ()
    gpus: Sequence[int] = ()


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A limit to the search range of a parameter that follows from the spec and its data.

    Attributes:
        low: default lower bound of the range. high: largest accepted value, also of a range that the user gives.
        inert: the reason why the parameter has no effect. unless_ranged: spec key; `inert` does not apply if the user
            gives that key a range.
    """

    low: float | None = None
    high: float | None = None
    inert: str | None = None
    unless_ranged: str | None = None


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A configuration that is known to do well on data of this kind: its name, and spec key -> value."""

    name: str
    values: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ImportRequest:
    """Recordings to convert to a data set; a subclass adds the options of a model's formats."""

    source: Annotated[Path, Param("File or folder.")]
    out: Annotated[Path, Param("Folder to write to.")]
    format: Annotated[str | None, Param("Format; default: detected from the source.")] = None
    labels: Annotated[Path | None, Param("JSON object {clip: class} that replaces the classes of the source.")] = None
    split: Annotated[
        str | None, Param("Name of the output files, and of the split to import if the source has several.")
    ] = None


@dataclass(frozen=True, kw_only=True)
class DataReport:
    """The description of a data set.

    Attributes:
        full: JSON object with `warnings` and `suggested`. brief: its most important fields.
        suggested: spec key -> suggested value.
    """

    full: Mapping[str, Any]
    brief: Mapping[str, Any]
    suggested: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """A chosen file and the reason for the choice.

    Attributes:
        facts: properties of its training data, by name.
    """

    path: Path
    reason: str
    facts: Mapping[str, int] = field(default_factory=dict)
