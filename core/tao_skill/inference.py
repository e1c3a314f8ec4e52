"""Inference functions: they derive a spec parameter from the job, its parent job or the environment."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tao_skill.outcome import Selection


@dataclass(frozen=True, kw_only=True)
class Parent:
    """The job that a run builds on.

    Attributes:
        id, results_dir: id and output folder of the nearest job that makes a model: the parent or an ancestor of it.
        spec: its checked spec, merged with the specs of its ancestors.
        select: chooses the file to start from; raises NotFound if the job has none.
    """

    id: str
    results_dir: Path
    spec: Mapping[str, Any]
    select: Callable[[], Selection]


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The inputs of an inference function.

    Attributes:
        job_dir: folder of the planned job.
        metric: metric that the best checkpoint is chosen by.
        base_experiment: name of pretrained weights in the registry.
        given: spec keys that the request sets.
        is_search: whether the run is an AutoML search.
        spec: values that the request sets, with files in place of folders.
        confine: called with a spec key and a path; raises if the path must not be read.
    """

    action: str
    job_dir: Path
    parent: Parent | None
    metric: str
    environment: Mapping[str, str]
    base_experiment: str | None = None
    given: Collection[str] = ()
    is_search: bool = False
    spec: Mapping[str, Any] = field(default_factory=dict)
    confine: Callable[[str, str], None] = lambda key, path: None


@dataclass(frozen=True, kw_only=True)
class Inferred:
    """An inferred value and the reason for it."""

    value: Any
    reason: str


Function = Callable[[Inputs], Inferred | None]
"""Returns None if the value cannot be inferred."""
