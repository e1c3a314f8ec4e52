"""Arrays out of a pickle: every value comes back, nothing in the file is run, and no file costs more than its size."""

from __future__ import annotations

import collections
import io
import os
import pickle
import struct
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tao_skill.errors import BadData
from tao_skill.models.pose_classification.data.sequences import read_labels
from tao_skill.safe_pickle.arrays import PickledArray, load_arrays, read_arrays

NUMBERS = ["<f2", ">f2", "<f4", ">f4", "<f8", "|i1", "<i2", ">i4", "<i8", "|u1", "<u2", ">u4", "<u8", "|b1"]


def unpacked(value: Any) -> Any:
    """The same with arrays in place of their stand-ins."""
    if isinstance(value, PickledArray):
        return value.array()
    if isinstance(value, dict):
        return {key: unpacked(one) for key, one in value.items()}
    return type(value)(unpacked(one) for one in value) if isinstance(value, list | tuple) else value


def read(content: bytes) -> Any:
    return unpacked(load_arrays(content, len(content)))


@pytest.mark.parametrize("protocol", range(6))
@settings(max_examples=40, deadline=None)
@given(
    array=hnp.arrays(
        st.sampled_from(NUMBERS).map(np.dtype),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    ),
    axes=st.randoms(use_true_random=False),
)
def test_every_numeric_array_comes_back(protocol: int, array: Any, axes: Any) -> None:
    order = list(range(array.ndim))
    axes.shuffle(order)
    for one in (array, np.asfortranarray(array), array.transpose(order), array[..., ::2] if array.ndim else array):
        back = read(pickle.dumps({"keypoint": one}, protocol))["keypoint"]
        assert (back.dtype, back.shape) == (one.dtype, one.shape)
        np.testing.assert_array_equal(back, one)


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_and_scalars_come_back(protocol: int) -> None:
    value = {"a": [1, 2.5, True, None], "b": {"c": (b"xyz", "text", -(2**40))}, "d": float("inf")}
    assert read(pickle.dumps(value, protocol)) == value
    scalars = [np.float16(1.5), np.float32(-2), np.int64(7), np.bool_(True)]
    back = read(pickle.dumps(scalars, protocol))
    assert back == [1.5, -2.0, 7, True]
    assert [type(one) for one in back] == [float, float, int, bool]


def test_names_of_numpy_1_are_known() -> None:
    for protocol in (2, 4, 5):
        content = pickle.dumps(np.arange(6.0).reshape(2, 3), protocol)
        older = content.replace(b"numpy._core", b"numpy.core").replace(b"\x8c\x16numpy", b"\x8c\x15numpy")
        older = older.replace(b"\x8c\x13numpy", b"\x8c\x12numpy")
        older = older.replace(content[2:11], b"\x95" + struct.pack("<Q", len(older) - 11)) if protocol > 3 else older
        np.testing.assert_array_equal(read(older), np.arange(6.0).reshape(2, 3))


class Call:
    """Pickles as a call of anything, or as a state set on it."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None) -> None:
        self.call = (function, arguments, state) if state is not None else (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("kind", ["system", "getattr", "objects", "structured", "text", "complex", "dates", "counter"])
def test_anything_else_is_refused_and_not_run(tmp_path: Path, protocol: int, kind: str) -> None:
    proof = tmp_path / "proof"
    evil = Call(os.system, f"touch {proof}")
    value = {
        "system": evil,
        "getattr": Call(getattr, "text", "join"),
        "objects": np.array([evil, 1], dtype=object),
        "structured": np.zeros(2, dtype=[("x", "f4")]),
        "text": np.array(["a"]),
        "complex": np.zeros(2, dtype=complex),
        "dates": np.array(["2020-01-01"], dtype="M8[D]"),
        "counter": collections.Counter("a"),
    }[kind]
    with pytest.raises(ValueError):
        read(pickle.dumps({"annotations": [{"keypoint": value}]}, protocol))
    assert not proof.exists()


ARRAY = pickle.dumps(np.arange(24, dtype="f4").reshape(2, 3, 4), 2)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x02cos\nsystem\nU\x0atouch prooftR.",
        b"\x80\x02cnumpy\nndarray\n(K\x01\x85tR.",
        b"\x80\x02cnumpy\nload\n.",
        b"\x80\x02c__builtin__\nbytes\nJ\xff\xff\xff\x7f\x85R.",
        b"\x80\x02}K\x01K\x02s.",
        b"\x80\x02}]K\x02s.",
        b"\x80\x02}(U\x01au.",
        b"\x80\x02](U\x01aK\x01u.",
        b"\x80\x02U\x01sd.",
        b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"x.",
        b"\x80\x05\x97.",
        ARRAY.replace(b"K\x02K\x03K\x04\x87", b"K\x02K\x03K\x05\x87"),
        ARRAY.replace(b"K\x02K\x03K\x04\x87", b"J\xff\xff\xff\xffK\x03K\x04\x87"),
        ARRAY.replace(b"X\x02\x00\x00\x00f4", b"X\x02\x00\x00\x00O8"),
        ARRAY.replace(b"X\x02\x00\x00\x00f4", b"X\x02\x00\x00\x00f8"),
        ARRAY.replace(b"X\x01\x00\x00\x00<", b"X\x01\x00\x00\x00="),
    ],
)
def test_handmade_files_are_refused(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.pkl").write_bytes(content)
    with pytest.raises(ValueError):
        unpacked(read_arrays(tmp_path / "a.pkl"))
    assert [file.name for file in tmp_path.iterdir()] == ["a.pkl"]


NESTED = b")" + b"q\x01h\x01\x86" * 60
"""A tuple of two of itself, 60 times over: a few bytes that stand for 2**60 values."""

DTYPE = b"cnumpy\ndtype\nU\x02i4\x89\x88\x87R"


@pytest.mark.parametrize(
    "body",
    [
        NESTED + b"h\x01\x93",
        b"cnumpy\ndtype\n" + NESTED + b"\x89\x88\x87R",
        DTYPE + b"(K\x03" + NESTED + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb",
        b"}" + NESTED + b"K\x01s",
        b"cnumpy.core.multiarray\n_reconstruct\n)R(K\x01" + NESTED + DTYPE + b"\x89U\x00tb",
        b"cnumpy.core.numeric\n_frombuffer\n(U\x00" + DTYPE + b")" + NESTED + b"tR",
    ],
    ids=["name", "type", "order", "key", "shape", "array order"],
)
def test_no_value_is_hashed_or_shown_that_would_take_for_ever(body: bytes, tmp_path: Path) -> None:
    content = b"\x80\x02" + body + b"."
    began = time.monotonic()
    with pytest.raises(ValueError):
        read(content)
    (tmp_path / "y.pkl").write_bytes(content)
    with pytest.raises(BadData):
        read_labels(tmp_path / "y.pkl")
    assert time.monotonic() - began < 5


def test_a_small_file_cannot_ask_for_much_memory() -> None:
    """Text kept once in the memo and encoded again and again."""
    text = b"X" + struct.pack("<I", 100_000) + b"a" * 100_000
    again = b"c_codecs\nencode\nh\x01X\x06\x00\x00\x00latin1\x86R"
    content = b"\x80\x02(" + text + b"q\x01" + again * 1000 + b"l."
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="encoded"):
            read(content)
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


SAMPLES = [
    pickle.dumps(
        {
            "split": {"train": ["a"]},
            "annotations": [
                {
                    "frame_dir": "a",
                    "label": np.int64(0),
                    "img_shape": (240, 320),
                    "keypoint": np.ones((1, 2, 17, 2), "f2"),
                    "keypoint_score": np.ones((17, 2, 1), "f4").transpose(2, 1, 0),
                }
            ],
        },
        protocol,
    )
    for protocol in range(2, 6)
]


@settings(max_examples=400, deadline=2000)
@given(
    sample=st.sampled_from(SAMPLES),
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6),
    keep=st.floats(0, 1),
)
def test_a_damaged_file_is_refused_or_harmless(sample: bytes, edits: list[tuple[float, int]], keep: float) -> None:
    content = bytearray(sample)
    for where, byte in edits:
        content[int(where * len(content))] = byte
    if keep < 0.3:
        del content[int(keep / 0.3 * len(content)) :]
    tracemalloc.start()
    try:
        load_arrays(io.BytesIO(bytes(content)), len(content))
    except ValueError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 2**20
