"""Read data files of TAO: sequences as .npy of shape (N, C, T, V, M), labels as a pickle of [[names], [class ids]]."""

from __future__ import annotations

import mmap
import shlex
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from tao_skill.errors import BadData, Command, Fix, NotFound
from tao_skill.io.atomic import cached_by_file, similar_file
from tao_skill.io.strict_json import is_utf8, read_bytes
from tao_skill.safe_pickle.arrays import PickledArray, load_labels

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Sequences: TypeAlias = NDArray[np.floating[Any]]
    """(N, C, T, V, M): sequences, channels, frames, joints, persons."""

LABEL_BYTES_LIMIT: Final = 32 * 2**20
"""Largest accepted label file: enough for about a million labels."""

LABEL_STEPS_LIMIT: Final = 2**23
"""Largest accepted number of pickle opcodes in a label file: a label takes three to eight, by protocol."""

_HEADER_LIMIT: Final = 10_000
"""Largest accepted .npy header in bytes, the limit of numpy.load; NumPy writes about 120."""

_HEADER_ERRORS: Final = (ValueError, TypeError, SyntaxError, MemoryError, RecursionError)
"""Documented exceptions of ast.literal_eval, with which NumPy parses a header."""

_DTYPE_LIMIT: Final = 40
_MESSAGE_LIMIT: Final = 300
_PATH_FIX: Final = "check the path; relative paths start at the working directory"
_NPY_FIX: Final = "save it with numpy.save as a float array of shape (N, C, T, V, M)"
_LABEL_FIX: Final = "write it with pickle.dump([[name, ...], [class id, ...]], file), plain str and int only"
_REWRITE: Final = "pickle.dump([[str(x) for x in n], [int(x) for x in i]], open(sys.argv[2], 'wb'))"
_FROM_NPY: Final = f"import numpy, pickle, sys; i = numpy.load(sys.argv[1]); n = range(len(i)); {_REWRITE}"
_FROM_PICKLE: Final = f"import pickle, sys; n, i = pickle.load(open(sys.argv[1], 'rb'))[:2]; {_REWRITE}"


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Name and class id (0 or above) of each sequence, in the order of the array."""

    names: tuple[str, ...]
    ids: tuple[int, ...]


def open_sequences(path: str | Path) -> Sequences:
    """Memory-map an array of shape (N, C, T, V, M) and any float type.

    Raises:
        NotFound: the file does not exist.
        BadData: the file is truncated or not an .npy file, or the array has another rank, an empty dimension or
            another type.
    """
    file = _existing(path)
    if not file.stat().st_size:
        raise BadData(f"{file} is empty (0 bytes)", fix=_NPY_FIX, path=str(file))
    try:
        data = _mapped(file)
    except (*_HEADER_ERRORS, OverflowError, OSError, TokenError) as error:
        raise BadData(
            f"{file} cannot be read as .npy: {_one_line(error)}", fix=_npy_fix(error, file), path=str(file)
        ) from error
    _check_sequences(data, file)
    return data


def _mapped(file: Path) -> NDArray[Any]:
    """Map the array, after checking that the file has the length that its header states."""
    import numpy as np

    with file.open("rb") as stream:
        size = struct.Struct("<H" if np.lib.format.read_magic(stream) == (1, 0) else "<I")
        (length,) = size.unpack(stream.read(size.size).ljust(size.size, b"\0"))
    if length > _HEADER_LIMIT:
        raise ValueError(f"its header has {length} bytes, accepted: at most {_HEADER_LIMIT}")
    data = np.lib.format.open_memmap(file, mode="r")
    if rest := file.stat().st_size - data.offset - data.nbytes:
        raise ValueError(f"{rest} bytes follow the array of shape {data.shape}")
    return data


def read_labels(path: str | Path) -> Labels:
    """Read a pickle of [[names], [class ids]] (lists, tuples or NumPy arrays) without executing it.

    Raises:
        NotFound: the file does not exist.
        BadData: the file is too large, damaged or differently structured, or holds anything but strings and integers,
            of Python or NumPy.
    """
    file = _existing(path)
    size = file.stat().st_size
    if not 0 < size <= LABEL_BYTES_LIMIT:
        raise BadData(f"{file} has {size} bytes, accepted: 1 to {LABEL_BYTES_LIMIT}", fix=_LABEL_FIX, path=str(file))
    try:
        return _labels(load_labels(read_bytes(file, LABEL_BYTES_LIMIT), steps=LABEL_STEPS_LIMIT))
    except (ValueError, OSError) as error:
        message = f"{file} is not a label file: {_one_line(error)}"
        raise BadData(message, fix=_label_fix(file), path=str(file)) from error


def unpadded_lengths(data_NCTVM: Sequences, chunk: int = 64) -> NDArray[np.int64]:
    """Length of each sequence without the padding at its end, shape (N,).

    The length is 1 + the index of the last frame with a nonzero value in any channel, joint or person; 0 for a sequence
    of zeros. At most `chunk` sequences are in memory at a time.
    """
    import numpy as np

    lengths = [_block_lengths(block_nCTVM) for _, block_nCTVM in blocks(data_NCTVM, chunk)]
    return np.concatenate(lengths) if lengths else np.zeros(0, dtype=np.int64)


@cached_by_file(files=16)
def read_unpadded_lengths(data_path: Path) -> NDArray[np.int64]:
    """Length of each sequence of a file without its padding, at least 1; shape (N,), read-only.

    The result is cached until the file changes.
    """
    lengths_N = unpadded_lengths(open_sequences(data_path)).clip(1)
    lengths_N.flags.writeable = False
    return lengths_N


def blocks(data_NCTVM: Sequences, chunk: int) -> Iterator[tuple[int, Sequences]]:
    """Iterate over an array as (index of the first sequence, at most `chunk` sequences)."""
    import numpy as np

    for start in range(0, len(data_NCTVM), chunk):
        yield start, np.asarray(data_NCTVM[start : start + chunk])
        release(data_NCTVM)


def release(data_NCTVM: Sequences) -> None:
    """Release the memory of the pages read from a mapped file; the system may keep them in its cache."""
    mapping: Any = data_NCTVM.base
    if isinstance(mapping, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
        mapping.madvise(mmap.MADV_DONTNEED)


def _block_lengths(block_NCTVM: Sequences) -> NDArray[np.int64]:
    import numpy as np

    is_nonzero_NT = (block_NCTVM != 0).any(axis=(1, 3, 4))
    frames = is_nonzero_NT.shape[1]
    lengths_N = frames - np.argmax(is_nonzero_NT[:, ::-1], axis=1)
    return np.where(is_nonzero_NT.any(axis=1), lengths_N, 0).astype(np.int64)


def _existing(path: str | Path) -> Path:
    file = Path(path)
    if not file.exists():
        near = similar_file(file)
        fix = f"use {near} instead of {file}" if near else _PATH_FIX
        raise NotFound(f"there is no file {file}", fix=fix)
    if not file.is_file():
        raise BadData(f"{file} is not a regular file", fix="give the path of a file", path=str(file))
    return file


def _check_sequences(data: NDArray[Any], file: Path) -> None:
    description = f"{file} has shape {data.shape} and type {str(data.dtype)[:_DTYPE_LIMIT]}"
    if data.ndim != 5 or 0 in data.shape:
        raise BadData(
            f"{description}, accepted: five nonempty dimensions (N, C, T, V, M)", fix=_NPY_FIX, path=str(file)
        )
    if data.dtype.kind != "f" or data.dtype.itemsize > 8:
        raise BadData(
            f"{description}, accepted: float16, float32 or float64",
            fix="convert it with .astype(numpy.float32)",
            path=str(file),
        )


def _npy_fix(error: Exception, file: Path) -> str:
    if file.suffix == ".json":
        command = Command("run", f"dataset_convert dataset_convert.data={file} combine=true")
        return Fix("convert a DeepStream recording with ", command)
    if "greater than file size" in str(error):
        return "the file is cut short: copy or write it again"
    return _NPY_FIX


def _label_fix(file: Path) -> str:
    """A command that converts other label files; it executes a pickle, so the user must trust the file."""
    code, condition = (_FROM_NPY, "") if file.suffix == ".npy" else (_FROM_PICKLE, "if you trust it, ")
    target = file.with_name(f"{file.stem}_plain.pkl")
    return f'{_LABEL_FIX}; {condition}run python -c "{code}" {shlex.quote(str(file))} {shlex.quote(str(target))}'


def _labels(value: Any) -> Labels:
    if not isinstance(value, list | tuple) or len(value) != 2:
        length = f" of {len(value)}" if isinstance(value, list | tuple) else ""
        raise ValueError(f"it holds a {type(value).__name__}{length}, not the two lists [[names], [class ids]]")
    names, ids = (_flat(part) for part in value)
    _check_items(names, str, "name")
    _check_items(ids, int, "class id")
    if len(names) != len(ids):
        raise ValueError(f"it has {len(names)} names and {len(ids)} class ids")
    if ids and not 0 <= min(ids) <= max(ids) < 2**31:
        raise ValueError(f"class ids range from {min(ids)} to {max(ids)}, accepted: 0 and above")
    return Labels(names=names, ids=ids)


def _flat(part: Any) -> tuple[Any, ...]:
    if isinstance(part, PickledArray):
        part = part.items()
    if not isinstance(part, list | tuple):
        raise ValueError(f"it holds a {type(part).__name__} instead of a list of names or class ids")
    return tuple(part)


def _check_items(items: tuple[Any, ...], kind: type, noun: str) -> None:
    for index, item in enumerate(items):
        if type(item) is not kind:
            raise ValueError(f"{noun} {index} is a {type(item).__name__}, not {kind.__name__}")
        if isinstance(item, str) and not is_utf8(item):
            raise ValueError(f"{noun} {index} is {item!r:.80}, which UTF-8 cannot encode")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:_MESSAGE_LIMIT]
