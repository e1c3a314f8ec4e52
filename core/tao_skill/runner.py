"""Runners: an action of a model with the inference mappings and data requirements in its SKILL.md.

`tools/generate.py` writes a runner for each action into runners/.
"""

from __future__ import annotations

import runpy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tao_skill import bank
from tao_skill.errors import NotFound


@dataclass(frozen=True, kw_only=True)
class DataRequirement:
    """An input file of an action.

    Attributes:
        key: spec key.
        files: its names in a data folder, preferred name first; names of a section correspond by position.
        from_parent: key of the parent's spec whose value is the default.
    """

    key: str
    files: tuple[str, ...]
    required: bool
    from_parent: str | None = None

    @property
    def section(self) -> str:
        """The section of the spec that holds the key."""
        return self.key.rpartition(".")[0]


@dataclass(frozen=True, kw_only=True)
class Runner:
    """An action of a model.

    Attributes:
        inference: spec key -> name of an inference function.
    """

    model: str
    action: str
    inference: Mapping[str, str]
    data: Sequence[DataRequirement]


def load_runner(model: str, action: str) -> Runner:
    """The generated runner of an action, from the bank.

    Raises:
        NotFound: the bank has no such runner.
    """
    path = bank.runner_path(model, action)
    if not path.is_file():
        raise NotFound(f"the bank has no runner {path}", fix="run tools/generate.py, or reinstall", path=str(path))
    runner: Runner = runpy.run_path(str(path))["RUNNER"]
    return runner
