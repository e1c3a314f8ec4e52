"""Reading data and label files: real ones work, broken and hostile ones are refused with one clear line."""

from __future__ import annotations

import builtins
import mmap
import os
import pickle
import shlex
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tao_skill.errors import BadData, NotFound, TaoSkillError
from tao_skill.models.pose_classification.data.sequences import (
    LABEL_BYTES_LIMIT,
    Labels,
    open_sequences,
    read_labels,
    unpadded_lengths,
)
from tests.support.folders import REAL_DATA, needs_real_data

NAMES = ["walk", "bücken"]


def npy(path: Path, data: Any) -> Path:
    np.save(path, data, allow_pickle=True)
    return path


def pkl(path: Path, value: Any, protocol: int = 2) -> Path:
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


def one_line(error: TaoSkillError, path: Path) -> bool:
    return "\n" not in error.message and str(path) in error.message and bool(error.fix)


def tried(reader: Callable[[Path], Any], path: Path) -> Any:
    """What was read, or the refusal; any other error fails the test."""
    try:
        return reader(path)
    except BadData as error:
        return error


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
def test_any_float_type_is_mapped_not_loaded(tmp_path: Path, dtype: str) -> None:
    data = open_sequences(npy(tmp_path / "x.npy", np.ones((2, 3, 4, 5, 1), dtype=dtype)))
    assert isinstance(data, np.memmap)
    assert data.dtype == np.dtype(dtype)
    assert not data.flags.writeable


@pytest.mark.parametrize(
    "data",
    [
        np.ones((2, 3, 4, 5)),
        np.ones((2, 3, 4, 5, 1), dtype=np.int64),
        np.ones((2, 3, 4, 5, 1), dtype=np.complex64),
        np.full((2, 3, 4, 5, 1), None, dtype=object),
        np.zeros((0, 3, 4, 5, 1)),
        np.zeros((2, 3, 0, 5, 1)),
        np.float32(1.0),
    ],
    ids=["rank", "integers", "complex", "objects", "no sequences", "no frames", "scalar"],
)
def test_arrays_of_another_kind_are_refused(tmp_path: Path, data: Any) -> None:
    path = npy(tmp_path / "x.npy", data)
    with pytest.raises(BadData) as caught:
        open_sequences(path)
    assert one_line(caught.value, path)


@pytest.mark.parametrize("keep", [0, 5, 60, 200, -1], ids=["empty", "magic", "header", "data", "one byte short"])
def test_a_file_cut_short_is_refused(tmp_path: Path, keep: int) -> None:
    path = npy(tmp_path / "x.npy", np.ones((2, 3, 4, 5, 1), dtype=np.float32))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BadData) as caught:
        open_sequences(path)
    assert one_line(caught.value, path)


def test_a_missing_file_is_not_found_and_a_folder_is_bad_data(tmp_path: Path) -> None:
    for reader in (open_sequences, read_labels):
        with pytest.raises(NotFound, match=r"absent\.npy"):
            reader(tmp_path / "absent.npy")
        with pytest.raises(BadData, match="not a regular file"):
            reader(tmp_path)


def test_a_misspelt_name_is_corrected_and_another_number_is_not_a_misspelling(tmp_path: Path) -> None:
    for name in ("train_data.npy", "val_data.npy", "take_1.npy"):
        np.save(tmp_path / name, np.zeros((1, 3, 2, 4, 1)))
    fixes = {}
    for name in ("trian_data.npy", "test_data.npy", "take_2.npy"):
        with pytest.raises(NotFound) as absent:
            open_sequences(tmp_path / name)
        fixes[name] = absent.value.fix
    assert fixes.pop("trian_data.npy") == f"use {tmp_path}/train_data.npy instead of {tmp_path}/trian_data.npy"
    assert set(fixes.values()) == {"check the path; relative paths start at the working directory"}


def test_an_archive_or_text_named_npy_is_refused(tmp_path: Path) -> None:
    for name, content in (("a.npy", b"PK\x03\x04" + bytes(60)), ("t.npy", b"1,2,3\n"), ("p.npy", pickle.dumps([1]))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadData):
            open_sequences(tmp_path / name)


@given(position=st.integers(0, 127), value=st.integers(0, 255))
def test_a_damaged_header_is_refused_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int
) -> None:
    path = npy(tmp_path_factory.mktemp("npy") / "x.npy", np.ones((2, 3, 4, 5, 1), dtype=np.float32))
    content = bytearray(path.read_bytes())
    content[position] = value
    path.write_bytes(content)
    outcome = tried(open_sequences, path)
    assert outcome.ndim == 5 if isinstance(outcome, np.ndarray) else one_line(outcome, path)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (NAMES, [0, 300]),
        (tuple(NAMES), (1, 70000)),
        (NAMES, [np.int64(3), np.uint8(200)]),
        (NAMES, [np.dtype(">i2").type(5), 2**31 - 1]),
        (NAMES, np.array([4, 5], dtype=">i4").tolist()),
    ],
)
def test_labels_of_any_protocol_are_read(tmp_path: Path, protocol: int, names: Any, ids: Any) -> None:
    labels = read_labels(pkl(tmp_path / "y.pkl", [names, ids], protocol))
    assert labels.names == tuple(NAMES)
    assert labels.ids == tuple(int(i) for i in ids)
    assert {type(i) for i in labels.ids} == {int}


@pytest.mark.parametrize("numpy", ["numpy 1", "numpy 2"])
@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize(
    ("names", "ids"),
    [
        ([np.str_("walk"), np.str_("größe")], [np.int64(0), np.int64(300)]),
        (["walk", "größe"], np.array([0, 300])),
        (("walk", "größe"), np.array([0, 300], ">i2")),
        (np.array(["walk", "größe"]), np.array([0, 300], np.uint16)),
        (np.array(["walk", "größe"], ">U9"), [0, 300]),
        (np.array(["walk", "größe"], object), np.array([0, 300], object)),
        (np.array(["walk", "größe", "x"])[:2], np.array([0, 1, 300, 1])[::2]),
    ],
    ids=["scalars", "ids", "big-endian ids", "both", "big-endian names", "objects", "parts"],
)
@pytest.mark.parametrize("whole", [list, tuple])
def test_labels_of_numpy_are_read(
    tmp_path: Path, names: Any, ids: Any, protocol: int, numpy: str, whole: Callable[[Any], Any]
) -> None:
    content = pickle.dumps(whole([names, ids]), protocol)
    (tmp_path / "y.pkl").write_bytes(as_numpy_1(content) if numpy == "numpy 1" else content)
    labels = read_labels(tmp_path / "y.pkl")
    assert labels == Labels(names=("walk", "größe"), ids=(0, 300))
    assert {type(one) for one in (*labels.names, *labels.ids)} == {str, int}


def as_numpy_1(content: bytes) -> bytes:
    """The same pickle with the names that modules of numpy 1 have, and the length that its frame then has."""
    for module in (b"multiarray", b"numeric"):
        for opcode in (b"\x8c", b"c"):  # with the length of the name before it, and without
            newer, older = b"numpy._core." + module, b"numpy.core." + module
            length = (bytes([len(newer)]), bytes([len(older)])) if opcode == b"\x8c" else (b"", b"")
            content = content.replace(opcode + length[0] + newer, opcode + length[1] + older)
    if content[2:3] == b"\x95":
        content = content[:3] + struct.pack("<Q", len(content) - 11) + content[11:]
    return content


@pytest.mark.parametrize(
    ("names", "ids", "said"),
    [
        (["a", "b"], np.array([0.5, 1.0]), "type 'f8', accepted: integers or text"),
        (["a", "b"], np.array([[0], [1]]), "not one-dimensional"),
        (["a", "b"], np.array([True, False]), "type 'b1'"),
        (["a", "b"], np.array([0, 1, 2]), "2 names and 3 class ids"),
        (np.array([0, 1]), np.array([0, 1]), "name 0 is a int"),
        (np.array(["a", None], object), [0, 1], "name 1 is a NoneType"),
    ],
)
def test_arrays_that_are_no_labels_are_refused(tmp_path: Path, names: Any, ids: Any, said: str) -> None:
    path = pkl(tmp_path / "y.pkl", [names, ids])
    with pytest.raises(BadData, match=said) as caught:
        read_labels(path)
    assert one_line(caught.value, path)


def test_the_fix_rewrites_labels_of_another_form(tmp_path: Path) -> None:
    pkl(tmp_path / "y of three.pkl", (["a", "b"], np.array([3, 1]), [20, 30]))
    np.save(tmp_path / "y.npy", np.array([3, 1]))
    for name, names in (("y of three.pkl", ("a", "b")), ("y.npy", ("0", "1"))):
        with pytest.raises(BadData) as caught:
            read_labels(tmp_path / name)
        assert caught.value.fix
        words = shlex.split(caught.value.fix.partition("run python ")[2])
        subprocess.run([sys.executable, *words], check=True)
        rewritten = tmp_path / f"{Path(name).stem}_plain.pkl"
        assert read_labels(rewritten) == Labels(names=names, ids=(3, 1))


def test_labels_written_by_python_2_are_read(tmp_path: Path) -> None:
    (tmp_path / "y.pkl").write_bytes(b"(lp0\n(lp1\nS'walk'\np2\naS'run'\np3\naa(lp4\nI0\naI1\naa.")
    assert read_labels(tmp_path / "y.pkl").names == ("walk", "run")


def test_big_endian_numpy_integers_keep_their_value(tmp_path: Path) -> None:
    kind = b"cnumpy\ndtype\n(S'i2'\nI0\nI1\ntR(I3\nS'>'\nNNNI-1\nI-1\nI0\ntb"
    scalar = b"cnumpy.core.multiarray\nscalar\n(" + kind + b"S'\\x01\\x02'\ntR"
    (tmp_path / "y.pkl").write_bytes(b"((lS'a'\na(l" + scalar + b"at.")
    assert read_labels(tmp_path / "y.pkl").ids == (0x0102,)


class Call:
    """Pickles as a call of anything."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("place", ["whole", "name", "id"])
@pytest.mark.parametrize("kind", ["system", "eval", "exec", "getattr", "objects", "array", "float"])
def test_a_pickle_that_names_anything_else_is_refused_and_not_run(
    tmp_path: Path, protocol: int, place: str, kind: str
) -> None:
    proof = tmp_path / "proof"
    evil = {
        "system": Call(os.system, f"touch {proof}"),
        "eval": Call(builtins.eval, f"open({str(proof)!r}, 'w')"),
        "exec": Call(builtins.exec, f"open({str(proof)!r}, 'w')"),
        "getattr": Call(getattr, "text", "join"),
        "objects": np.array([Call(os.system, f"touch {proof}")], dtype=object),
        "array": np.array([1, 2]),
        "float": np.float64(1.0),
    }[kind]
    value = {"whole": evil, "name": [["a", evil], [0, 1]], "id": [["a", "b"], [0, evil]]}[place]
    path = pkl(tmp_path / "y.pkl", value, protocol)
    with pytest.raises(BadData) as caught:
        read_labels(path)
    assert one_line(caught.value, path)
    assert not proof.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"cos\nsystem\n(S'touch proof'\ntR.",
        b"(S'touch proof'\nios\nsystem\n.",
        b"(cos\nsystem\nS'touch proof'\no.",
        b"\x80\x02cposix\nsystem\nU\x01x\x81.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
        b"\x80\x02\x82\x01.",
        b"Pid\n.",
        b"\x80\x02}.",
        b"\x80\x02cnumpy.core.multiarray\nscalar\n}U\x0b__globals__K\x01sb.",
        b"\x80\x02ccopy_reg\n_reconstructor\n.",
        b"\x80\x05\x8e" + struct.pack("<Q", 2**62) + b"x.",
        b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"x.",
        b"\x80\x04\x95" + struct.pack("<Q", 2**60) + b"].",
        b"\x80\x02X" + struct.pack("<I", 2**32 - 1) + b"x.",
        b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"x.",
        b"\x80\x02]r" + struct.pack("<I", 2**32 - 1) + b".",
        b"\x80\x02]q\x00h\x00ah\x00a.",
        b"a.",
        b"\x80\x02.",
        b"\x80\x63].",
    ],
)
def test_handmade_opcodes_and_huge_claims_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "y.pkl").write_bytes(content)
    with pytest.raises(BadData) as caught:
        read_labels(tmp_path / "y.pkl")
    assert one_line(caught.value, tmp_path / "y.pkl")
    assert not (tmp_path / "proof").exists()


@given(st.binary(max_size=60))
def test_any_bytes_are_refused_or_plain_labels(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("pkl") / "y.pkl"
    path.write_bytes(content)
    outcome = tried(read_labels, path)
    assert isinstance(outcome, Labels) or one_line(outcome, path)


@pytest.mark.parametrize(
    "value",
    [
        {"names": ["a"], "ids": [0]},
        [["a", "b"]],
        [["a", "b"], [0]],
        [["a"], [-1]],
        [["a"], [2**40]],
        [["a"], [True]],
        [["a"], [0.5]],
        [["a"], ["0"]],
        [[b"a"], [0]],
        [[0], ["a"]],
        ["ab", [0, 1]],
        None,
    ],
)
def test_labels_of_another_form_are_refused(tmp_path: Path, value: Any) -> None:
    path = pkl(tmp_path / "y.pkl", value)
    with pytest.raises(BadData) as caught:
        read_labels(path)
    assert one_line(caught.value, path)


def test_an_oversized_label_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "y.pkl"
    with path.open("wb") as stream:
        stream.truncate(LABEL_BYTES_LIMIT + 1)
    with pytest.raises(BadData, match="bytes"):
        read_labels(path)


@pytest.mark.parametrize("chunk", [1, 2, 100])
def test_frames_used_ends_at_the_last_nonzero_frame(chunk: int) -> None:
    data = np.zeros((4, 3, 6, 5, 2), dtype=np.float16)
    data[0, 2, 3, 4, 1] = -1.0
    data[1, :, :] = 1.0
    data[2, 0, 0, 0, 0] = np.nan
    assert unpadded_lengths(data, chunk).tolist() == [4, 6, 1, 0]


@needs_real_data
@pytest.mark.parametrize(
    ("folder", "shape", "classes"), [("irds", (1401, 3, 150, 25, 1), 9), ("utkinect", (100, 3, 100, 24, 1), 10)]
)
def test_real_sets_are_read(folder: str, shape: tuple[int, ...], classes: int) -> None:
    data = open_sequences(REAL_DATA / folder / "train_data.npy")
    labels = read_labels(REAL_DATA / folder / "train_label.pkl")
    assert data.shape == shape
    assert len(labels.names) == len(labels.ids) == shape[0]
    assert set(labels.ids) == set(range(classes))
    assert 0 < unpadded_lengths(data).min() <= unpadded_lengths(data).max() <= shape[2]


def test_a_memo_index_costs_no_memory(tmp_path: Path) -> None:
    """A few bytes that make the standard unpickler allocate a gigabyte for its memo."""
    path = tmp_path / "label.pkl"
    path.write_bytes(b"\x80\x02]r" + struct.pack("<I", 2**31 - 1) + b".")
    tracemalloc.start()
    try:
        with pytest.raises(BadData):
            read_labels(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_stand_in_keeps_no_state_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "label.pkl"
    path.write_bytes(b"\x80\x02c_codecs\nencode\nN}U\x0c__defaults__U\x06latin1\x85s\x86b.")
    with pytest.raises(BadData):
        read_labels(path)


@pytest.mark.skipif(not hasattr(mmap, "MADV_DONTNEED"), reason="memory of mapped files cannot be given back here")
def test_what_was_read_of_a_file_does_not_stay_in_memory(tmp_path: Path) -> None:
    path, shape = tmp_path / "large.npy", (256, 1, 1024, 64, 2)
    np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)  # 128 MiB of zeros that take no room
    data = open_sequences(path)
    unpadded_lengths(data[:8], 8)
    before = psutil.Process().memory_info().rss
    assert not unpadded_lengths(data, 8).any()
    assert psutil.Process().memory_info().rss - before < 32 * 2**20
