"""Dataclasses as strict JSON documents."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass, replace
from typing import Any

from tao_skill.automl.format import clean


def sanitize(value: Any) -> Any:
    """The same dataclass, mapping, list or scalar, fit for a JSON file and a terminal.

    Non-finite numbers become None, lists become tuples, keys become text, and control characters are escaped.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: sanitize(getattr(value, field.name)) for field in fields(value)})
    if isinstance(value, Mapping):
        return {clean(str(key)): sanitize(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return tuple(map(sanitize, value))
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int) else clean(str(value))


def to_json(value: Any) -> Any:
    """A dataclass as objects and lists, in declaration order; optional fields that have their default are omitted.

    The inverse is `io.strict_json.conform`.
    """
    if is_dataclass(value):
        present = (field for field in fields(value) if not _has_default(value, field))
        return {field.name: to_json(getattr(value, field.name)) for field in present}
    if isinstance(value, Mapping):
        return {key: to_json(item) for key, item in value.items()}
    return [to_json(item) for item in value] if isinstance(value, list | tuple) else value


def _has_default(value: Any, field: Field[Any]) -> bool:
    default = field.default if field.default_factory is MISSING else field.default_factory()
    return default is not MISSING and bool(getattr(value, field.name) == default)
