"""Text of others as plain values: strict JSON, and bounds on time and memory for any format."""

from __future__ import annotations

import json
import math
import os
import re
import reprlib
import stat
import types
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from tao_skill.errors import BadData

RECORD_BYTES: Final = 1 << 24
"""Largest record: a job, an index, a progress."""

REPORT_BYTES: Final = 1 << 28
"""Largest report: one of a million predictions."""

MAX_DEPTH: Final = 64
MAX_DIGITS: Final = 64
"""Of an integer: more than anything counts, and few enough to be shown and written again."""

MAX_KEY: Final = 1024
MAX_SHOWN: Final = 80
"""Characters of a value that a message shows."""

_BASES: Final = {"0x": 16, "0o": 8}
_TEXT_UNIT: Final = 16
"""Characters of a text that count as a value."""


def parse_json(text: str) -> Any:
    """Parse strict JSON.

    Raises:
        ValueError: it is not JSON, is nested too deeply, or holds NaN, Infinity, a number too large for a float or an
            integer too long, or a duplicate key.
    """
    try:
        return DECODER.decode(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def bounded(value: Any, most: int) -> Any:
    """Give back a value that can be walked, shown and written again.

    Raises:
        ValueError: it is nested too deeply, has more than `most` values once aliases are written out, or holds a key or
            an integer that is too long, or a character that no UTF-8 file or path can have.
    """
    level, seen = [value], 0
    for _ in range(MAX_DEPTH):
        if not level:
            return value
        seen += sum(map(_weight, level))
        if seen > most:
            raise ValueError(f"it holds more than {most} values once aliases are written out")
        level = list(islice(chain.from_iterable(map(_inside, level)), most + 1))
    raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")


def read_text(path: Path, most: int) -> str:
    """A UTF-8 file of at most `most` bytes, with or without a byte order mark.

    Raises:
        ValueError: it is larger, or no UTF-8.
        OSError: it cannot be read.
    """
    return read_bytes(path, most).decode("utf-8-sig")


def read_bytes(path: Path, most: int) -> bytes:
    """A file of at most `most` bytes, or what a pipe gives.

    Raises:
        ValueError: it is larger.
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        facts = os.fstat(stream.fileno())
        size = facts.st_size if stat.S_ISREG(facts.st_mode) else most
        data = stream.read(size + 1) if size <= most else b""
    if max(size, len(data)) > most:
        raise ValueError(f"it is larger than {most} bytes")
    return data


def read_json(path: Path, kind: Any, *, what: str, fix: str, most: int = RECORD_BYTES) -> Any:
    """The value of a strict JSON file, as the type `kind` (see `conform`) says.

    Args:
        what: what the file should be, e.g. "a job record". fix: what to do if it is not.

    Raises:
        BadData: it cannot be read, is too large or damaged, or holds something else.
    """
    try:
        return conform(bounded(parse_json(read_text(path, most)), most), kind)
    except (OSError, ValueError) as error:
        raise BadData(f"{path} is not {what}: {error}", fix=fix, path=str(path)) from error


def conform(value: Any, kind: Any, at: str = "") -> Any:
    """A value of JSON as a type says: objects as dataclasses or mappings, lists as lists or tuples of one item type.

    Raises:
        ValueError: it is of another form; says where.
    """
    origin, inside = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        (inner,) = (one for one in inside if one is not types.NoneType)
        return None if value is None else conform(value, inner, at)
    if origin in (list, tuple) and isinstance(value, list):
        return origin(conform(one, inside[0], f"{at}[{index}]") for index, one in enumerate(value))
    if origin in (dict, Mapping) and isinstance(value, dict):
        return {name: conform(one, inside[1], f"{at}.{name}") for name, one in value.items()}
    if is_dataclass(kind) and isinstance(value, dict):
        return _as_dataclass(value, kind, at)
    fits = kind is Any or type(value) is kind or (kind is float and type(value) is int)
    if fits or (origin is Literal and value in inside):
        return value
    raise ValueError(f"{at.lstrip('.') or 'it'} is {truncate(value)}, accepted: {_words(kind)}")


def is_utf8(text: str) -> bool:
    """Whether a text can be written as UTF-8; half of a surrogate pair and a stray byte of a file name cannot."""
    return text.isascii() or not _SURROGATE.search(text)


def truncate(value: Any) -> str:
    """A few characters of any value, however large or deep it is, as Python writes it."""
    return reprlib.repr(value)


def truncate_json(value: Any) -> str:
    """The first characters of a value, as JSON writes it."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def mask_password(text: str) -> str:
    """A database's address, or a word of a command, without the password in it, for logs, records and errors."""
    return _PASSWORDS[1].sub(r"\1=***", _PASSWORDS[0].sub(r"\1:***@", text))


def _words(kind: Any) -> str:
    origin = get_origin(kind) or kind
    return {dict: "an object", Mapping: "an object", list: "a list", tuple: "a list", str: "text"}.get(
        origin, "an object" if is_dataclass(kind) else str(getattr(kind, "__name__", kind))
    )


def _as_dataclass(value: dict[str, Any], kind: Any, at: str) -> Any:
    hints = get_type_hints(kind)
    needed = {one.name for one in fields(kind) if one.default is MISSING and one.default_factory is MISSING}
    if odd := sorted(value.keys() - hints.keys()) or sorted(needed - value.keys()):
        raise ValueError(f"{at.lstrip('.') or 'it'} has {'an unknown' if odd[0] in value else 'no'} {odd[0]}")
    return kind(**{name: conform(one, hints[name], f"{at}.{name}") for name, one in value.items()})


def _weight(value: Any) -> int:
    return 1 + len(value) // _TEXT_UNIT if isinstance(value, str) else 1


def _inside(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        if any(isinstance(name, str) and len(name) > MAX_KEY for name in value):
            raise ValueError(f"it has a key of more than {MAX_KEY} characters")
        return chain(value.keys(), value.values())
    if isinstance(value, str) and ("\0" in value or not is_utf8(value)):
        raise ValueError(f"it holds the text {truncate(value)}, with a character that no file can hold")
    return iter(value if isinstance(value, list | tuple) else ())


def integer(text: str) -> int:
    """A decimal number, or one with 0x or 0o.

    Raises:
        ValueError: it is none, or longer than MAX_DIGITS.
    """
    if len(text) > MAX_DIGITS:
        raise ValueError(f"the number {text[:MAX_DIGITS]}... has {len(text)} digits, accepted: {MAX_DIGITS}")
    return int(text, _BASES.get(text[:2], 10))


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"the number {text[:MAX_DIGITS]} is larger than any float")
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The members of a JSON object.

    Raises:
        ValueError: two have one name.
    """
    found = dict(pairs)
    if len(found) != len(pairs):
        ((name, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"duplicate key {truncate(name)}")
    return found


_PASSWORDS: Final = (re.compile(r"(://[^:@/]*):.*@"), re.compile(r"([?&]password)=[^&\s]*"))
_SURROGATE: Final = re.compile("[\ud800-\udfff]")

DECODER: Final = json.JSONDecoder(
    object_pairs_hook=unique, parse_float=_finite, parse_int=integer, parse_constant=_refuse_constant
)
"""Reads strict JSON: every number fits, every key occurs once."""
