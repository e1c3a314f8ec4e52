"""Parameters whose values are paths or S3 addresses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tao_skill.io.s3 import is_remote
from tao_skill.spec import load
from tao_skill.spec.tree import Leaf, iter_params, lookup

Confine = Callable[[str, str], None]
"""Raises OutsideRoots for a spec key and a path that must not be used."""


def remote_values(config_type: type, action: str, values: Mapping[str, Any]) -> Iterator[tuple[Leaf, str]]:
    """Parameters of an action whose value is the address of a file or folder."""
    for leaf in iter_params(config_type, action):
        value = lookup(values, leaf.key)
        if leaf.param.names_path(value) and is_remote(value):
            yield leaf, value


def confine_paths(config_type: type, values: Mapping[str, Any], confine: Confine) -> None:
    """Call `confine` with every file and folder that a spec names, whichever action reads it."""
    for leaf in iter_params(config_type):
        value = lookup(values, leaf.key)
        if leaf.param.names_path(value):
            confine(leaf.key, value)


def with_absolute_paths(config_type: type, spec: Mapping[str, Any]) -> dict[str, Any]:
    """The spec with relative paths made absolute, so that a job record means the same in every working directory."""
    values = [(leaf, lookup(spec, leaf.key)) for leaf in iter_params(config_type)]
    return load.override(
        config_type,
        spec,
        [
            (leaf.key, str(Path(value).absolute()))
            for leaf, value in values
            if leaf.param.names_path(value) and "://" not in value
        ],
    )
