"""Inference functions: how a spec parameter gets its value from the job, its parent job or the environment."""

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
        id, results_dir: of the nearest job that makes a model: the parent itself or a job it was built on.
        spec: its checked spec, completed by the specs of the jobs it was built on.
        select: chooses the file to start from; raises NotFound where the job left none.
    """

    id: str
    results_dir: Path
    spec: Mapping[str, Any]
    select: Callable[[], Selection]


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """All that an inference function may read.

    Attributes:
        job_dir: folder of the planned job.
        metric: metric that the best checkpoint is chosen by.
        base_experiment: name of pretrained weights in the registry.
        given: spec keys that the request sets.
        is_search: whether the run is an AutoML search.
        spec: values that the request sets, folders replaced by files.
        confine: raises for a spec key and a path that must not be read.
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
"""Returns None where the value cannot be inferred."""
