"""Parsers for untrusted text: strict JSON, and bounds on time and memory for any format."""

from __future__ import annotations

import json
import math
import os
import re
import reprlib
import stat
import types
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from tao_skill.errors import BadData

RECORD_BYTES: Final = 1 << 24
"""Maximum size of a record: a job, a checkpoint index, a progress file."""

REPORT_BYTES: Final = 1 << 28
"""Maximum size of a report: room for a million predictions."""

MAX_DEPTH: Final = 64
MAX_DIGITS: Final = 64
"""Maximum digits of an integer. Python does not convert one of more than 4300 digits to text."""

MAX_KEY: Final = 1024
MAX_SHOWN: Final = 80
"""Maximum characters of a value in a message."""

_BASES: Final = {"0x": 16, "0o": 8}
_TEXT_UNIT: Final = 16
"""A string counts as one value for every so many characters."""


def parse_json(text: str) -> Any:
    """Parse strict JSON.

    Raises:
        ValueError: the text is not JSON, is nested too deeply, or has NaN, Infinity, a number too large for a float, an
            integer of more than MAX_DIGITS digits, or a duplicate key.
    """
    try:
        return _DECODER.decode(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def bounded(value: Any, most: int) -> Any:
    """Return a parsed value unchanged after checking its depth, size and text.

    Raises:
        ValueError: the value is nested more than MAX_DEPTH levels deep, has more than `most` values with YAML aliases
            expanded, a key of more than MAX_KEY characters, or text that UTF-8 or a path cannot represent.
    """
    level, count = [value], 0
    for _ in range(MAX_DEPTH):
        if not level:
            return value
        count += sum(map(_weight, level))
        if count > most:
            raise ValueError(f"it has more than {most} values with aliases expanded")
        level = list(islice(chain.from_iterable(map(_children, level)), most + 1))
    raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")


def read_text(path: Path, most: int) -> str:
    """Read a UTF-8 file of at most `most` bytes, with or without a byte order mark.

    Raises:
        ValueError: the file is larger or is not UTF-8.
        OSError: the file cannot be read.
    """
    return read_bytes(path, most).decode("utf-8-sig")


def read_bytes(path: Path, most: int) -> bytes:
    """Read a file or a pipe of at most `most` bytes.

    Raises:
        ValueError: the file is larger.
        OSError: the file cannot be read.
    """
    with path.open("rb") as stream:
        status = os.fstat(stream.fileno())
        size = status.st_size if stat.S_ISREG(status.st_mode) else most
        data = stream.read(size + 1) if size <= most else b""
    if max(size, len(data)) > most:
        raise ValueError(f"it is larger than {most} bytes")
    return data


def read_json(path: Path, kind: Any, *, what: str, fix: str, most: int = RECORD_BYTES) -> Any:
    """Read a strict JSON file as a value of type `kind` (see `conform`).

    Args:
        what: description of the file for the error message, e.g. "a job record". fix: the fix of the error.
        most: maximum size in bytes, and maximum number of values.

    Raises:
        BadData: the file cannot be read, is too large or damaged, or has content of another type.
    """
    try:
        return conform(bounded(parse_json(read_text(path, most)), most), kind)
    except (OSError, ValueError) as error:
        raise BadData(f"{path} is not {what}: {error}", fix=fix, path=str(path)) from error


def conform(value: Any, kind: Any, path: str = "") -> Any:
    """Convert a JSON value to a type: objects to dataclasses or mappings, lists to lists or tuples of one item type.

    A list becomes a tuple where the type is Sequence.

    Raises:
        ValueError: the value does not match the type; the message has its path.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        (inner,) = (argument for argument in arguments if argument is not types.NoneType)
        return None if value is None else conform(value, inner, path)
    if origin in (list, tuple, Sequence) and isinstance(value, list):
        make = list if origin is list else tuple
        return make(conform(item, arguments[0], f"{path}[{index}]") for index, item in enumerate(value))
    if origin in (dict, Mapping) and isinstance(value, dict):
        return {name: conform(item, arguments[1], f"{path}.{name}") for name, item in value.items()}
    if is_dataclass(kind) and isinstance(value, dict):
        return _as_dataclass(value, kind, path)
    fits = kind is Any or type(value) is kind or (kind is float and type(value) is int)
    if fits or (origin is Literal and value in arguments):
        return value
    raise ValueError(f"{path.lstrip('.') or 'it'} is {truncate(value)}, accepted: {_describe_type(kind)}")


def finite(value: Any) -> Any:
    """Convert NaN and infinity to None, as strict JSON has neither; return other values unchanged."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def is_utf8(text: str) -> bool:
    """Whether a string can be encoded as UTF-8: it has no lone surrogates, as undecodable file names do."""
    return text.isascii() or not _SURROGATE.search(text)


def truncate(value: Any) -> str:
    """Return a shortened `repr` of a value of any size or depth."""
    return reprlib.repr(value)


def truncate_json(value: Any) -> str:
    """Return a value as JSON, cut after MAX_SHOWN characters."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def mask_password(text: str) -> str:
    """Replace the password in a database URL or a command-line argument by `***`."""
    return _PASSWORDS[1].sub(r"\1=***", _PASSWORDS[0].sub(r"\1:***@", text))


def _describe_type(kind: Any) -> str:
    origin = get_origin(kind) or kind
    names = {dict: "an object", Mapping: "an object", list: "a list", tuple: "a list", Sequence: "a list", str: "text"}
    return names.get(origin, "an object" if is_dataclass(kind) else str(getattr(kind, "__name__", kind)))


_type_hints = cache(get_type_hints)


def _as_dataclass(value: dict[str, Any], kind: Any, path: str) -> Any:
    hints = _type_hints(kind)
    required = {field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING}
    if wrong := sorted(value.keys() - hints.keys()) or sorted(required - value.keys()):
        problem = "an unknown field" if wrong[0] in value else "no"
        raise ValueError(f"{path.lstrip('.') or 'it'} has {problem} {wrong[0]}")
    return kind(**{name: conform(item, hints[name], f"{path}.{name}") for name, item in value.items()})


def _weight(value: Any) -> int:
    return 1 + len(value) // _TEXT_UNIT if isinstance(value, str) else 1


def _children(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        if any(isinstance(name, str) and len(name) > MAX_KEY for name in value):
            raise ValueError(f"it has a key of more than {MAX_KEY} characters")
        return chain(value.keys(), value.values())
    if isinstance(value, str) and ("\0" in value or not is_utf8(value)):
        raise ValueError(f"it has the text {truncate(value)} with a character that UTF-8 files and paths cannot have")
    return iter(value if isinstance(value, list | tuple) else ())


def parse_integer(text: str) -> int:
    """Parse a decimal, hexadecimal (0x) or octal (0o) integer.

    Raises:
        ValueError: the text is not an integer, or is longer than MAX_DIGITS.
    """
    if len(text) > MAX_DIGITS:
        raise ValueError(f"the number {text[:MAX_DIGITS]}... has {len(text)} digits, accepted: {MAX_DIGITS}")
    return int(text, _BASES.get(text[:2], 10))


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"the number {text[:MAX_DIGITS]} is larger than any float")
    return value


def _reject_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build a JSON object; the `object_pairs_hook` of a decoder.

    Raises:
        ValueError: a key occurs more than once.
    """
    members = dict(pairs)
    if len(members) != len(pairs):
        ((name, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"duplicate key {truncate(name)}")
    return members


_PASSWORDS: Final = (re.compile(r"(://[^:@/]*):.*@"), re.compile(r"([?&]password)=[^&\s]*"))
_SURROGATE: Final = re.compile("[\ud800-\udfff]")

_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=unique_keys, parse_float=_finite, parse_int=parse_integer, parse_constant=_reject_constant
)
