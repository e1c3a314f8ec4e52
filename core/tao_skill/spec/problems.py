"""The one validator, and the one place that turns what it finds into problems: key, message and fix."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, cast

from tao_skill.errors import Fix, Problem
from tao_skill.io.strict_json import truncate_json
from tao_skill.spec.param import REQUIRED
from tao_skill.spec.schema import accepted, choices, leaves
from tao_skill.spec.tree import iter_params, lookup, readers, walk

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator, ValidationError

MOST_PROBLEMS: Final = 50
"""Unknown keys of a section that are looked at, each against every known one."""

HIDDEN: Final = "hidden"


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Who reads the values, as messages speak of it: an action with its parameters, or a tool with its arguments.

    Attributes:
        config_type: declares the keys, those of other actions included. action: the part of them that is read.
        keys: where all accepted keys are listed, as a step of a fix.
    """

    name: str
    noun: str
    keys: str
    config_type: type
    action: str | None = None


def find_problems(
    schema: Mapping[str, Any], values: Mapping[str, Any], reader: Reader, received: Mapping[str, Any]
) -> list[Problem]:
    """Every problem of values with a schema, one for each key.

    Args:
        received: the values before they were normalised, so that messages show what the user wrote.
    """
    found: dict[str, Problem] = {}
    for error in _validator_type()(schema).iter_errors(values):
        for problem in islice(problems_of(error, schema, reader, received), MOST_PROBLEMS):
            found.setdefault(problem.key, problem)
    return list(found.values())


def value_problem(key: str, schema: Mapping[str, Any], value: Any) -> Problem | None:
    """The problem of a single value with the schema of its parameter, if it has one."""
    return None if _validator_type()(schema).is_valid(value) else _bad_value(key, schema, value)


def problems_of(
    error: ValidationError, schema: Mapping[str, Any], reader: Reader, received: Mapping[str, Any]
) -> Iterator[Problem]:
    """The problems behind one error of the validator: with a value, with a section's keys, or with a section."""
    known, section = dict(leaves(schema)), cast(Mapping[str, Any], error.schema)
    given: Any = error.instance
    path = ".".join(str(part) for part in error.absolute_path)
    prefix = f"{path}." if path else ""
    leaf = next((key for key in known if f"{path}.".startswith(f"{key}.")), None)
    if leaf is not None:
        yield _bad_value(leaf, known[leaf], lookup(received, leaf), is_secret=_is_secret(reader, leaf))
    elif error.validator == "additionalProperties":
        for name in given:
            if "." in str(name):
                yield _misspelt(reader, f"{prefix}{name}", given[name])
            elif name not in section["properties"]:
                yield from _unknown(reader, f"{prefix}{name}", given[name])
    elif error.validator == "required":
        for name in section["required"]:
            if name not in given:
                yield _missing(f"{prefix}{name}", known[f"{prefix}{name}"])
    else:
        example = next(key for key in known if key.startswith(prefix))
        yield Problem(
            key=path,
            message=f"{path} is {truncate_json(given)}; accepted: a section, i.e. a mapping of its keys",
            fix=f"set keys inside {path}, e.g. {example}=...",
        )


@cache
def _validator_type() -> type[Draft202012Validator]:
    """Of draft 2020-12, except that a number must be finite, which no schema can say."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    types = Draft202012Validator.TYPE_CHECKER

    def is_number(_: object, value: Any) -> bool:
        return types.is_type(value, "number") and not (isinstance(value, float) and not math.isfinite(value))

    extended = extend(Draft202012Validator, type_checker=types.redefine("number", is_number))  # type: ignore[no-untyped-call]
    return cast("type[Draft202012Validator]", extended)


def _bad_value(key: str, schema: Mapping[str, Any], value: Any, *, is_secret: bool = False) -> Problem:
    wanted, default = accepted(schema), schema.get("default")
    close = _closest_choice(str(value), choices(schema))
    fix = f"set {key} to {wanted}" + (f" (default {truncate_json(default)})" if default not in (None, REQUIRED) else "")
    if close is not None:
        fix = f"use {key}={close}"
    elif "string" in schema.get("type", ()) and not choices(schema) and not isinstance(value, str):
        fix = f"put the value of {key} in quotes"
    return Problem(
        key=key, message=f"{key} is {HIDDEN if is_secret else truncate_json(value)}; accepted: {wanted}", fix=fix
    )


def _closest_choice(value: str, known: Sequence[str]) -> str | None:
    inside = [choice for choice in known if value and value.lower() in choice.lower()]
    close = inside or difflib.get_close_matches(value, known, n=1)
    return close[0] if close else None


def _missing(key: str, schema: Mapping[str, Any]) -> Problem:
    meaning = schema.get("description") or accepted(schema)
    return Problem(key=key, message=f"{key} is required: {meaning}", fix=f"set {key}=...")


def _unknown(reader: Reader, key: str, value: Any) -> Iterator[Problem]:
    """A key that is not read: a typo, or one of another action; a section of another action is looked into."""
    sections = {node.key: node.is_section for node in walk(reader.config_type)}
    if key not in sections:
        yield _misspelt(reader, key, value)
    elif sections[key] and isinstance(value, Mapping) and value:
        for name, below in value.items():
            yield from _unknown(reader, f"{key}.{name}", below)
    else:
        others = ", ".join(readers(reader.config_type, key))
        message = f"{key} is not read by {reader.name}; it is read by {others}"
        yield Problem(key=key, message=message, fix=f"leave {key} out of {reader.name}")


def _replaced(config_type: type, key: str, value: Any) -> Problem | None:
    """A key that older versions read, in full or without its section, as the config type's `replaced` lists them."""
    replaced: Mapping[str, str] = getattr(config_type, "replaced", {})
    new = next((new for old, new in replaced.items() if f".{old}".endswith(f".{key}")), None)
    if new is None:
        return None
    message = f"{key} (value {value_or_hidden(config_type, key, value)}) was removed; {new} replaces it"
    return Problem(key=key, message=message, fix=f"leave {key} out, or set {new} instead")


def _misspelt(reader: Reader, key: str, value: Any) -> Problem:
    if replaced := _replaced(reader.config_type, key, value):
        return replaced
    own, every = (
        [node.key for node in walk(reader.config_type, action) if not key.startswith(f"{node.key}.")]
        for action in (reader.action, None)
    )
    close, hint = closest(key, own) or closest(key, every), ""
    if close is None:
        fix = Fix(f"leave {key} out, or ", reader.keys)
    elif close == key:
        fix = Fix(f"write it nested, {': {'.join(key.split('.'))}: ...{'}' * key.count('.')}")
    else:
        elsewhere = "" if close in own else f" (read by {', '.join(readers(reader.config_type, close))})"
        hint, fix = f"; did you mean {close}{elsewhere}?", Fix(f"use {close} instead of {key}")
    received = value_or_hidden(reader.config_type, key, value)
    received = "a section" if isinstance(value, Mapping) and received != HIDDEN else received
    return Problem(key=key, message=f"{key} (value {received}) is not {reader.noun} of {reader.name}{hint}", fix=fix)


def closest(key: str, known: list[str]) -> str | None:
    """The known key meant by a wrong one: the same name in another section, a similar key, a similar name."""
    tail = key.rpartition(".")[2]
    same_name = [candidate for candidate in known if candidate.rpartition(".")[2] == tail]
    names = {candidate.rpartition(".")[2]: candidate for candidate in known}
    close = (
        difflib.get_close_matches(key, same_name, n=1, cutoff=0.0)
        or difflib.get_close_matches(key, known, n=1, cutoff=0.75)
        or [names[name] for name in difflib.get_close_matches(tail, names, n=1, cutoff=0.7)]
    )
    return close[0] if close else None


def value_or_hidden(config_type: type, key: str, value: Any) -> str:
    """A value in a message, truncated; hidden where its key is, or could be meant as, that of a secret."""
    return HIDDEN if may_be_secret(config_type, key) else truncate_json(value)


def may_be_secret(config_type: type, key: str) -> bool:
    """Whether a wrong key could be a misspelt secret: a similar name, or a word in common with one."""
    tail = key.rpartition(".")[2]
    names = [leaf.key.rpartition(".")[2] for leaf in iter_params(config_type) if leaf.param.secret]
    words = {word for name in names for word in name.split("_")}
    return bool(words & set(tail.lower().split("_")) or difflib.get_close_matches(tail, names, n=1, cutoff=0.5))


def _is_secret(reader: Reader, key: str) -> bool:
    return any(leaf.key == key and leaf.param.secret for leaf in iter_params(reader.config_type))
