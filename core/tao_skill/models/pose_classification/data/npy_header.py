"""What a plan needs to know of a data file, without NumPy, which takes longer to load than a plan to make.

Only what NumPy itself writes is read here. About any other file NumPy is asked, and finds words for what is wrong.
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

_PLAIN: Final = re.compile(
    rb"\x93NUMPY\x01\x00(?P<length>..)\{'descr': '<f(?P<bytes>[248])', 'fortran_order': False, "
    rb"'shape': \((?P<shape>[1-9]\d*(?:, [1-9]\d*){4})\), \} *\n",
    re.DOTALL,
)
"""Little-endian floats in five dimensions, none of them empty, version 1.0 of the format."""

_HEADER_LIMIT: Final = 256
_BLOCK_BYTES: Final = 2**16
"""So few that their memory is used again while it is in the cache; in megabytes a file takes twice as long."""
_ODD: Final = {2: bytes((*range(0x7C, 0x80), *range(0xFC, 0x100))), 4: b"\x7f\xff", 8: b"\x7f\xff"}
"""Highest byte of floats that are NaN, infinite or next to it, by the bytes of a float (IEEE 754)."""


@dataclass(frozen=True, kw_only=True)
class _Header:
    """Where the values begin, and how many bytes each has."""

    shape: tuple[int, ...]
    itemsize: int
    offset: int


def shape(path: str | Path) -> tuple[int, ...]:
    """(N, C, T, V, M) of a data file.

    Raises:
        NotFound, BadData: as `arrays.open_sequences`.
    """
    if (header := _header(Path(path))) is not None:
        return header.shape
    from tao_skill.models.pose_classification.data.sequences import open_sequences

    return open_sequences(path).shape


def is_plainly_finite(path: str | Path) -> bool:
    """Whether every value of a data file is finite; False also where that cannot be told without NumPy."""
    header = _header(Path(path))
    if header is None:
        return False
    with Path(path).open("rb") as stream:
        stream.seek(header.offset)
        while block := stream.read(_BLOCK_BYTES):
            highest = block[header.itemsize - 1 :: header.itemsize]
            if len(highest.translate(None, _ODD[header.itemsize])) < len(highest):
                return False
    return True


def _header(path: Path) -> _Header | None:
    """The header of a plain file that is as long as it says; None for any other."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as stream:
            found = _PLAIN.match(stream.read(_HEADER_LIMIT))
            size = os.fstat(stream.fileno()).st_size
    except OSError:
        return None
    if found is None or found.end() != _PREFIX + int.from_bytes(found["length"], "little"):
        return None
    shape, itemsize = tuple(map(int, found["shape"].split(b", "))), int(found["bytes"])
    if size != found.end() + math.prod(shape) * itemsize:
        return None
    return _Header(shape=shape, itemsize=itemsize, offset=found.end())
