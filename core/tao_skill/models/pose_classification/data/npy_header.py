"""Read shape and finiteness of .npy files without NumPy, whose import takes longer than a whole plan.

Only headers as NumPy writes them are parsed; for any other file, NumPy is imported and reports the error.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PREFIX: Final = 10
"""Bytes before the header: magic, version, length of the header."""

_HEADER: Final = re.compile(
    rb"\x93NUMPY\x01\x00(?P<length>..)\{'descr': '<f(?P<bytes>[248])', 'fortran_order': False, "
    rb"'shape': \((?P<shape>[1-9]\d*(?:, [1-9]\d*){4})\), \} *\n",
    re.DOTALL,
)
"""Little-endian floats in five nonempty dimensions, version 1.0 of the format."""

_HEADER_LIMIT: Final = 256
_BLOCK_BYTES: Final = 2**16
"""Small enough to stay in the CPU cache; blocks of several megabytes take twice as long."""
_NOT_FINITE: Final = {2: bytes((*range(0x7C, 0x80), *range(0xFC, 0x100))), 4: b"\x7f\xff", 8: b"\x7f\xff"}
"""Possible highest bytes of NaN, infinity and the largest floats, by float size in bytes (IEEE 754)."""


@dataclass(frozen=True, kw_only=True)
class _Header:
    """Shape, bytes per value and byte offset of the values."""

    shape: tuple[int, ...]
    itemsize: int
    offset: int


def shape(path: str | Path) -> tuple[int, ...]:
    """Shape (N, C, T, V, M) of a data file.

    Raises:
        NotFound, BadData: as `sequences.open_sequences`.
    """
    if (header := _header(Path(path))) is not None:
        return header.shape
    from tao_skill.models.pose_classification.data.sequences import open_sequences

    return open_sequences(path).shape


def is_plainly_finite(path: str | Path) -> bool:
    """Whether every value of a data file is finite; False also if deciding it needs NumPy."""
    header = _header(Path(path))
    if header is None:
        return False
    with Path(path).open("rb") as stream:
        stream.seek(header.offset)
        while block := stream.read(_BLOCK_BYTES):
            highest = block[header.itemsize - 1 :: header.itemsize]
            if len(highest.translate(None, _NOT_FINITE[header.itemsize])) < len(highest):
                return False
    return True


def _header(path: Path) -> _Header | None:
    """The header of a file as NumPy writes it, if the file has the length that follows; None for any other file."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as stream:
            match = _HEADER.match(stream.read(_HEADER_LIMIT))
            size = os.fstat(stream.fileno()).st_size
    except OSError:
        return None
    if match is None or match.end() != _PREFIX + int.from_bytes(match["length"], "little"):
        return None
    shape, itemsize = tuple(map(int, match["shape"].split(b", "))), int(match["bytes"])
    if size != match.end() + math.prod(shape) * itemsize:
        return None
    return _Header(shape=shape, itemsize=itemsize, offset=match.end())
