"""What is wrong with a spec, in words: key, value, what is accepted, and a fix."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from tao_skill.errors import Problem
from tao_skill.spec.param import REQUIRED
from tao_skill.spec.tree import Leaf, accepted, iter_params, lookup, readers, shape, walk

if TYPE_CHECKING:
    from jsonschema import ValidationError

MAX_SHOWN: Final = 80
"""Characters of a value that a message shows."""

HIDDEN: Final = "hidden"


def explain(config_type: type, action: str, values: Mapping[str, Any], error: ValidationError) -> Iterator[Problem]:
    """The problems behind one error of the validator: with a value, with a section's keys, or with a section.

    `values` is the spec as received, so that messages show what the user wrote.
    """
    schema = cast(Mapping[str, Any], error.schema)
    received: Any = error.instance
    path = ".".join(str(part) for part in error.absolute_path)
    prefix = f"{path}." if path else ""
    leaves = {leaf.key: leaf for leaf in iter_params(config_type, action)}
    leaf = next((leaf for leaf in leaves.values() if f"{path}.".startswith(f"{leaf.key}.")), None)
    if leaf is not None:
        yield bad_value(leaf, lookup(values, leaf.key))
    elif error.validator == "additionalProperties":
        for name in received:
            if "." in str(name):
                yield _typo(config_type, action, f"{prefix}{name}", received[name])
            elif name not in schema["properties"]:
                yield from _unknown(config_type, action, f"{prefix}{name}", received[name])
    elif error.validator == "required":
        for name in schema["required"]:
            if name not in received:
                yield _missing(leaves[f"{prefix}{name}"])
    else:
        yield Problem(
            key=path,
            message=f"{path} is {_shown(received)}; accepted: a section, i.e. a mapping of its keys",
            fix=f"set keys inside {path}, e.g. {_example(leaves, path)}=...",
        )


def bad_value(leaf: Leaf, value: Any) -> Problem:
    """A value outside of what its parameter accepts."""
    key, param, declared, default = leaf
    wanted = accepted(param, declared)
    close = _closest_choice(str(value), param.choices)
    needs_quotes = shape(declared).item is str and not param.choices and not isinstance(value, str)
    usual = f" (default {_shown(default)})" if default not in (None, REQUIRED) else ""
    quoted = f"put the value of {key} in quotes" if needs_quotes else f"set {key} to {wanted}{usual}"
    fix = f"use {key}={close}" if close else quoted
    return Problem(
        key=key,
        message=f"{key} is {HIDDEN if param.secret else _shown(value)}; accepted: {wanted}",
        fix=fix,
    )


def shown_value(config_type: type, key: str, value: Any) -> str:
    """A value in a message, shortened; hidden where its key is, or could be meant as, that of a secret."""
    return HIDDEN if may_be_secret(config_type, key) else _shown(value)


def _closest_choice(value: str, choices: Sequence[str]) -> str | None:
    inside = [choice for choice in choices if value and value.lower() in choice.lower()]
    close = inside or difflib.get_close_matches(value, choices, n=1, cutoff=0.4)
    return close[0] if close else None


def _missing(leaf: Leaf) -> Problem:
    return Problem(key=leaf.key, message=f"{leaf.key} is required: {leaf.param.description}", fix=f"set {leaf.key}=...")


def _unknown(config_type: type, action: str, key: str, value: Any) -> Iterator[Problem]:
    """A key the action has not: a typo, or one of another action; a section of another action is looked into."""
    sections = {node.key: node.is_section for node in walk(config_type)}
    if key not in sections:
        yield _typo(config_type, action, key, value)
    elif sections[key] and isinstance(value, Mapping) and value:
        for name, below in value.items():
            yield from _unknown(config_type, action, f"{key}.{name}", below)
    else:
        names = readers(config_type, key)
        yield Problem(
            key=key,
            message=f"{key} is not read by {action}; it is read by {', '.join(names)}",
            fix=f"leave {key} out of {action}",
        )


def _replaced(config_type: type, key: str, value: Any) -> Problem | None:
    """A key that older versions read, in full or without its section, as the config type's `replaced` lists them."""
    replaced: Mapping[str, str] = getattr(config_type, "replaced", {})
    new = next((new for old, new in replaced.items() if f".{old}".endswith(f".{key}")), None)
    if new is None:
        return None
    message = f"{key} (value {shown_value(config_type, key, value)}) was removed; {new} replaces it"
    return Problem(key=key, message=message, fix=f"leave {key} out, or set {new} instead")


def _typo(config_type: type, action: str, key: str, value: Any) -> Problem:
    if replaced := _replaced(config_type, key, value):
        return replaced
    own, every = (
        [node.key for node in walk(config_type, name) if not key.startswith(f"{node.key}.")] for name in (action, None)
    )
    close = closest(key, own) or closest(key, every)
    shown = "a section" if isinstance(value, Mapping) else _shown(value)
    shown = HIDDEN if may_be_secret(config_type, key) else shown
    if close is None:
        hint, fix = "", f"leave {key} out, or take a key from `tao-skill template {action}`"
    elif close == key:
        hint, fix = "", f"write it nested, {': {'.join(key.split('.'))}: ...{'}' * key.count('.')}"
    else:
        elsewhere = "" if close in own else f" (read by {', '.join(readers(config_type, close))})"
        hint, fix = f"; did you mean {close}{elsewhere}?", f"use {close} instead of {key}"
    return Problem(key=key, message=f"{key} (value {shown}) is not a parameter of {action}{hint}", fix=fix)


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


def may_be_secret(config_type: type, key: str) -> bool:
    """Whether a wrong key could be a misspelt secret: a similar name, or a word in common with one."""
    tail = key.rpartition(".")[2]
    names = [leaf.key.rpartition(".")[2] for leaf in iter_params(config_type) if leaf.param.secret]
    words = {word for name in names for word in name.split("_")}
    return bool(words & set(tail.lower().split("_")) or difflib.get_close_matches(tail, names, n=1, cutoff=0.5))


def _example(leaves: Mapping[str, Leaf], section: str) -> str:
    return next(key for key in leaves if key.startswith(f"{section}."))


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
