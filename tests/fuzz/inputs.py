"""Inputs that no honest program writes: valid files bent, cut, spliced and sown with hostile pieces."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from hypothesis import strategies as st

Draw = st.DrawFn

EVERYWHERE: Final = (
    b"",
    b"\x00",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
    b"-1",
    b"NaN",
    b"1e999",
    b"-Infinity",
    b"9" * 400,
    b"[" * 2000,
    b'{"a":' * 500,
    b'"\\ud800"',
    b'"\\u0000"',
    b"null",
    b"[]",
    b"{}",
    b'""',
    b"\r\n",
    b"../../etc/passwd",
    b"A" * 5000,
    *(struct.pack("<I", value) for value in (0xFFFFFFFF, 0x7FFFFFFF, 0x80000000)),
    *(struct.pack("<Q", value) for value in (2**64 - 1, 2**63 - 1, 2**40)),
)
"""Pieces that have broken parsers, of whatever format."""


@st.composite
def hostile(draw: Draw, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    """Any bytes, or one of the seeds after some mutations."""
    if draw(st.integers(0, 19)) == 0:
        return draw(st.binary(max_size=200))
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.sampled_from((1, 1, 1, 2, 3, 6)))):
        data = draw(st.sampled_from(_MUTATIONS))(draw, data, seeds, [*tokens, *EVERYWHERE])
    return data


def _place(draw: Draw, data: bytes) -> int:
    return draw(st.integers(0, len(data)))


def _flip(draw: Draw, data: bytes, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    if not data:
        return data
    at = draw(st.integers(0, len(data) - 1))
    return data[:at] + bytes([data[at] ^ (1 << draw(st.integers(0, 7)))]) + data[at + 1 :]


def _set(draw: Draw, data: bytes, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    at = _place(draw, data)
    return data[:at] + bytes([draw(st.integers(0, 255))]) + data[at + 1 :]


def _cut(draw: Draw, data: bytes, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    return data[: _place(draw, data)]


def _remove(draw: Draw, data: bytes, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    at = _place(draw, data)
    return data[:at] + data[at + draw(st.integers(1, 64)) :]


def _repeat(draw: Draw, data: bytes, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    at, size = _place(draw, data), draw(st.integers(1, 64))
    return data[:at] + data[at : at + size] * draw(st.sampled_from((2, 3, 50))) + data[at + size :]


def _splice(draw: Draw, data: bytes, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    other = draw(st.sampled_from(seeds))
    return data[: _place(draw, data)] + other[_place(draw, other) :]


def _insert(draw: Draw, data: bytes, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    at = _place(draw, data)
    return data[:at] + draw(st.sampled_from(tokens)) + data[at:]


def _overwrite(draw: Draw, data: bytes, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    at, token = _place(draw, data), draw(st.sampled_from(tokens))
    return data[:at] + token + data[at + len(token) :]


def _replace(draw: Draw, data: bytes, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    """One word of the file (letters and digits) by a token."""
    words = sorted({word for word in data[:4096].translate(_WORDS).split() if word})
    if not words:
        return data
    return data.replace(draw(st.sampled_from(words)), draw(st.sampled_from(tokens)), 1)


_WORDS: Final = bytes(one if chr(one).isalnum() and one < 128 else 32 for one in range(256))
_MUTATIONS: Final = (_flip, _set, _cut, _remove, _repeat, _splice, _insert, _overwrite, *[_replace] * 5)
