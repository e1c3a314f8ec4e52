"""The JSON Schema validator of specs and tool arguments; converts its errors to problems: key, message and fix."""

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

MAX_PROBLEMS: Final = 50
"""Maximum unknown keys reported for a section, as each is compared with all known keys."""

HIDDEN: Final = "hidden"


@dataclass(frozen=True, kw_only=True)
class Reader:
    """The consumer of the values, for messages: an action and its parameters, or a tool and its arguments.

    Attributes:
        name: of the action or tool. noun: `a parameter` or `an argument`.
        keys: instruction that tells where the accepted keys are listed.
        config_type: declares all keys. action: selects the keys that are read; None for all.
    """

    name: str
    noun: str
    keys: str
    config_type: type
    action: str | None = None


def find_problems(
    schema: Mapping[str, Any], values: Mapping[str, Any], reader: Reader, received: Mapping[str, Any]
) -> list[Problem]:
    """Validate values against a schema and return a problem for each key that fails.

    Args:
        received: the values before they were normalised, so that messages quote the user's input.
    """
    problems: dict[str, Problem] = {}
    for error in _validator_type()(schema).iter_errors(values):
        for problem in islice(problems_of(error, schema, reader, received), MAX_PROBLEMS):
            problems.setdefault(problem.key, problem)
    return list(problems.values())


def value_problem(key: str, schema: Mapping[str, Any], value: Any) -> Problem | None:
    """Validate a value against the schema of its parameter; None if it is valid."""
    return None if _validator_type()(schema).is_valid(value) else _bad_value(key, schema, value)


def problems_of(
    error: ValidationError, schema: Mapping[str, Any], reader: Reader, received: Mapping[str, Any]
) -> Iterator[Problem]:
    """Convert an error of the validator, about a value, the keys of a section or a section itself, to problems."""
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
                yield _unknown_key(reader, f"{prefix}{name}", given[name])
            elif name not in section["properties"]:
                yield from _unread_keys(reader, f"{prefix}{name}", given[name])
    elif error.validator == "required":
        for name in section["required"]:
            if name not in given:
                yield _missing(f"{prefix}{name}", known[f"{prefix}{name}"])
    else:
        example = next(key for key in known if key.startswith(prefix))
        yield Problem(
            key=path,
            message=f"{path} is {truncate_json(given)}; accepted: a section, i.e. a mapping of keys",
            fix=f"set keys inside {path}, e.g. {example}=...",
        )


@cache
def _validator_type() -> type[Draft202012Validator]:
    """Return the draft 2020-12 validator, extended to reject NaN and infinity, which a schema cannot express."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    types = Draft202012Validator.TYPE_CHECKER

    def is_number(_: object, value: Any) -> bool:
        return types.is_type(value, "number") and not (isinstance(value, float) and not math.isfinite(value))

    extended = extend(Draft202012Validator, type_checker=types.redefine("number", is_number))  # type: ignore[no-untyped-call]
    return cast("type[Draft202012Validator]", extended)


def _bad_value(key: str, schema: Mapping[str, Any], value: Any, *, is_secret: bool = False) -> Problem:
    accepted_values, default = accepted(schema), schema.get("default")
    close = _closest_choice(str(value), choices(schema))
    fix = f"set {key} to {accepted_values}" + (
        f" (default {truncate_json(default)})" if default not in (None, REQUIRED) else ""
    )
    if close is not None:
        fix = f"use {key}={close}"
    elif "string" in schema.get("type", ()) and not choices(schema) and not isinstance(value, str):
        fix = f"put the value of {key} in quotes"
    return Problem(
        key=key,
        message=f"{key} is {HIDDEN if is_secret else truncate_json(value)}; accepted: {accepted_values}",
        fix=fix,
    )


def _closest_choice(value: str, known: Sequence[str]) -> str | None:
    containing = [choice for choice in known if value and value.lower() in choice.lower()]
    close = containing or difflib.get_close_matches(value, known, n=1)
    return close[0] if close else None


def _missing(key: str, schema: Mapping[str, Any]) -> Problem:
    meaning = schema.get("description") or accepted(schema)
    return Problem(key=key, message=f"{key} is required: {meaning}", fix=f"set {key}=...")


def _unread_keys(reader: Reader, key: str, value: Any) -> Iterator[Problem]:
    """Report a key that is not read: an unknown key, a key of another action, or each key in a section of another."""
    sections = {node.key: node.is_section for node in walk(reader.config_type)}
    if key not in sections:
        yield _unknown_key(reader, key, value)
    elif sections[key] and isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _unread_keys(reader, f"{key}.{name}", inner)
    else:
        others = ", ".join(readers(reader.config_type, key))
        message = f"{key} is not read by {reader.name}; it is read by {others}"
        yield Problem(key=key, message=message, fix=f"leave {key} out of {reader.name}")


def _replaced(config_type: type, key: str, value: Any) -> Problem | None:
    """Report a key that older versions read, with or without its section, from the config type's `replaced` table."""
    replaced: Mapping[str, str] = getattr(config_type, "replaced", {})
    new = next((new for old, new in replaced.items() if f".{old}".endswith(f".{key}")), None)
    if new is None:
        return None
    message = f"{key} (value {value_or_hidden(config_type, key, value)}) was removed; {new} replaces it"
    return Problem(key=key, message=message, fix=f"leave {key} out, or set {new} instead")


def _unknown_key(reader: Reader, key: str, value: Any) -> Problem:
    if replaced := _replaced(reader.config_type, key, value):
        return replaced
    own_keys, all_keys = (
        [node.key for node in walk(reader.config_type, action) if not key.startswith(f"{node.key}.")]
        for action in (reader.action, None)
    )
    close, hint = closest(key, own_keys) or closest(key, all_keys), ""
    if close is None:
        fix = Fix(f"leave {key} out, or ", reader.keys)
    elif close == key:
        fix = Fix(f"write it nested, {': {'.join(key.split('.'))}: ...{'}' * key.count('.')}")
    else:
        elsewhere = "" if close in own_keys else f" (read by {', '.join(readers(reader.config_type, close))})"
        hint, fix = f"; did you mean {close}{elsewhere}?", Fix(f"use {close} instead of {key}")
    received = value_or_hidden(reader.config_type, key, value)
    received = "a section" if isinstance(value, Mapping) and received != HIDDEN else received
    return Problem(key=key, message=f"{key} (value {received}) is not {reader.noun} of {reader.name}{hint}", fix=fix)


def closest(key: str, known: list[str]) -> str | None:
    """Return the most similar known key: the same name in another section, a similar key, or a similar name."""
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
    """Return a truncated value for a message, or `hidden` if the key is, or may be a misspelling of, a secret's key."""
    return HIDDEN if may_be_secret(config_type, key) else truncate_json(value)


def may_be_secret(config_type: type, key: str) -> bool:
    """Whether an unknown key may be a misspelt secret: a similar name, or a word in common with a secret's name."""
    tail = key.rpartition(".")[2]
    names = [leaf.key.rpartition(".")[2] for leaf in iter_params(config_type) if leaf.param.secret]
    words = {word for name in names for word in name.split("_")}
    return bool(words & set(tail.lower().split("_")) or difflib.get_close_matches(tail, names, n=1, cutoff=0.5))


def _is_secret(reader: Reader, key: str) -> bool:
    return any(leaf.key == key and leaf.param.secret for leaf in iter_params(reader.config_type))
