"""Files made to harm: none runs, reads another file or takes more than its share; each is refused by name."""

from __future__ import annotations

import io
import os
import pickle
import shlex
import struct
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from tao_skill.errors import BadData, TaoSkillError
from tao_skill.io import encryption
from tao_skill.models.pose_classification.data.sequences import open_sequences, read_labels
from tao_skill.models.pose_classification.deploy import onnx_file, tensorrt_precision
from tao_skill.models.pose_classification.training import checkpoint_file
from tao_skill.safe_pickle import torch_legacy
from tao_skill.safe_pickle.arrays import load_labels, read_arrays

SECONDS = 5.0
MEMORY = 64 * 2**20


def refused(read: Callable[[Path], Any], path: Path) -> TaoSkillError:
    """The refusal of a file, which took little time and memory."""
    tracemalloc.start()
    started = time.perf_counter()
    try:
        with pytest.raises(BadData) as caught:
            read(path)
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()
    assert time.perf_counter() - started < SECONDS
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 1000
    assert caught.value.fix
    return caught.value


# Pickles

DOUBLED = b"]q\x00" + b"".join(b"]q%c(h%ch%ce" % (n, n - 1, n - 1) for n in range(1, 60))
TUPLES = b"K\x01" + b"".join(b"q" + bytes([n]) + b"h" + bytes([n]) + b"\x86" for n in range(60))

PICKLES: dict[str, bytes] = {
    "os.system": b"cos\nsystem\n(S'touch ran'\ntR.",
    "posix.system": b"cposix\nsystem\n(S'touch ran'\ntR.",
    "eval": b"\x80\x02cbuiltins\neval\nX\x0f\x00\x00\x00open('ran', 'w')\x85R.",
    "eval of Python 2": b"\x80\x02c__builtin__\neval\nX\x0f\x00\x00\x00open('ran', 'w')\x85R.",
    "a name from the stack": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x09touch ran\x85R.",
    "a name of several parts": b"\x80\x04\x8c\x05numpy\x8c\x0fdtype.__class__\x93.",
    "getattr": b"\x80\x04\x8c\x08builtins\x8c\x07getattr\x93.",
    "an instance": b"(S'touch ran'\nios\nsystem\n.",
    "an object": b"(cos\nsystem\nS'touch ran'\no.",
    "a new object": b"\x80\x02cos\nsystem\nU\x09touch ran\x85\x81.",
    "a new object with names": b"\x80\x04cos\nsystem\n)}\x92.",
    "extensions": b"\x80\x02\x82\x01.",
    "extensions of 2": b"\x80\x02\x83\x01\x00.",
    "extensions of 4": b"\x80\x02\x84\x01\x00\x00\x00.",
    "a state": b"\x80\x02]}U\x09__class__K\x01sb.",
    "a state of a type": b"cnumpy\ndtype\n(S'i8'\nI0\nI1\ntR}b.",
    "a persistent id": b"Pos.system\n.",
    "a persistent id from the stack": b"\x80\x02U\x01xQ.",
    "a buffer": b"\x80\x05\x97.",
    "an unknown instruction": b"\x80\x04\xff.",
    "a missing memo": b"\x80\x02h\x07.",
    "a far memo": b"\x80\x02]r\xff\xff\xff\xff.",
    "marks": b"\x80\x02" + b"(" * 1000 + b".",
    "an empty stack": b"\x80\x020.",
    "nothing": b"\x80\x02.",
    "no end": b"\x80\x02]",
    "a deep list": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "a deep tuple": b"\x80\x02)" + b"\x85" * 100_000 + b".",
    "lists doubled": b"\x80\x02" + DOUBLED + b".",
    "tuples doubled": b"\x80\x02" + TUPLES + b".",
    "tuples doubled as a name": b"\x80\x02" + TUPLES + b"U\x01x\x93.",
    "tuples doubled as a key": b"\x80\x02}" + TUPLES + b"K\x01s.",
    "a list in itself": b"\x80\x02]q\x00h\x00a.",
    "a long frame": b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"].",
    "long bytes": b"\x80\x05\x8e" + struct.pack("<Q", 2**62) + b"x.",
    "long bytes of 4": b"\x80\x03B" + struct.pack("<I", 2**32 - 1) + b"x.",
    "a long bytearray": b"\x80\x05\x96" + struct.pack("<Q", 2**62) + b"x.",
    "long text": b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"x.",
    "a long string": b"\x80\x02T" + struct.pack("<i", -1) + b"x.",
    "an integer of a megabyte": b"\x80\x02]]K\x00a\x86" + b"\x8b" + struct.pack("<i", 2**20) + b"\x7f" * 2**20 + b".",
    "an integer said to be longer": b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"x.",
    "an integer of negative length": b"\x80\x02\x8b" + struct.pack("<i", -1) + b"x.",
    "an integer of many digits": b"L" + b"9" * 100_000 + b"L\n.",
    "text encoded again and again": b"\x80\x02X\x00\x10\x00\x00" + b"a" * 4096 + b"q\x000"
    b"c_codecs\nencode\nq\x01" + b"h\x01h\x00X\x06\x00\x00\x00latin1\x86R0" * 2000 + b"].",
    "an array of very many items": b"\x80\x02(]c" + b"numpy._core.numeric\n_frombuffer\n(" + b"]cnumpy\ndtype\n"
    b"U\x02O8\x85R" + b"\x8a\x05\xff\xff\xff\xff\x00" + b"U\x01CtRt.",
    "a text decoded again and again": b"\x80\x03" + b"B\x00\x10\x00\x00" + b"a\0\0\0" * 1024 + b"q\x000"
    b"cnumpy\ndtype\nX\x05\x00\x00\x00U1024\x85Rq\x010cnumpy._core.multiarray\nscalar\nq\x020]"
    + b"h\x02h\x01h\x00\x86Ra" * 2000
    + b".",
    "half a pair in a name": pickle.dumps([["\ud800"], [0]]),
}


@pytest.mark.parametrize("name", PICKLES)
def test_a_hostile_label_file_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "y.pkl").write_bytes(PICKLES[name])
    refused(read_labels, tmp_path / "y.pkl")
    assert [one.name for one in tmp_path.iterdir()] == ["y.pkl"]


HARMLESS = (
    "a far memo",
    "a long frame",
    "a deep list",
    "a deep tuple",
    "lists doubled",
    "tuples doubled",
    "a list in itself",
    "half a pair in a name",
)
"""Values of plain lists, tuples and texts, which importing annotations refuses by their form."""


@pytest.mark.parametrize("name", [name for name in PICKLES if name not in HARMLESS])
def test_a_hostile_pickle_of_arrays_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "y.pkl").write_bytes(PICKLES[name])
    with pytest.raises(ValueError):
        read_arrays(tmp_path / "y.pkl")
    assert [one.name for one in tmp_path.iterdir()] == ["y.pkl"]


def test_a_pickle_of_too_many_instructions_is_refused() -> None:
    assert load_labels(b"]0" * 40 + b"K\x01.", steps=100) == 1
    with pytest.raises(ValueError, match="more than 100 instructions"):
        load_labels(b"]0" * 80 + b"K\x01.", steps=100)


# Checkpoints


def saved(value: Any) -> dict[str, bytes]:
    """The members of a checkpoint."""
    made = io.BytesIO()
    torch.save(value, made)
    with zipfile.ZipFile(made) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def archive(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", compression) as written:
        for name, content in members.items():
            written.writestr(name, content)
    return made.getvalue()


GOOD = {"state_dict": {"x": torch.ones(2, 3), "y": torch.ones(4)}}
ROOT = "archive/"


def with_pickle(change: Callable[[bytes], bytes]) -> bytes:
    members = saved(GOOD)
    return archive(members | {f"{ROOT}data.pkl": change(members[f"{ROOT}data.pkl"])})


def only_pickle(content: bytes) -> bytes:
    return with_pickle(lambda _: b"\x80\x02" + content + b".")


def called(module: str, name: str, arguments: bytes) -> bytes:
    return only_pickle(f"c{module}\n{name}\n".encode() + arguments + b"R")


def replaced(old: bytes, new: bytes) -> bytes:
    def change(pickled: bytes) -> bytes:
        assert old in pickled
        return pickled.replace(old, new, 1)

    return with_pickle(change)


def central(offset: int, value: bytes) -> bytes:
    """A checkpoint whose first central entry says something else at `offset`."""
    data = bytearray(archive(saved(GOOD)))
    at = data.index(b"PK\x01\x02") + offset
    data[at : at + len(value)] = value
    return bytes(data)


def legacy(value: Any = GOOD) -> bytes:
    """The format before torch 1.6."""
    made = io.BytesIO()
    torch.save(value, made, _use_new_zipfile_serialization=False)
    return made.getvalue()


def in_legacy(old: bytes, new: bytes) -> bytes:
    """A checkpoint before torch 1.6 with other bytes in place of the first `old`."""
    data = legacy()
    assert old in data
    return data.replace(old, new, 1)


def legacy_of(saved: bytes = b"}", version: bytes = b"M\xe9\x03", system: bytes = b"}", keys: bytes = b"]") -> bytes:
    """A checkpoint before torch 1.6 of these pickles, without storages."""
    return torch_legacy.SIGNATURE + b"".join(b"\x80\x02" + part + b"." for part in (version, system, saved, keys))


def reference(key: bytes, items: bytes = b"K\x00", kind: bytes = b"FloatStorage", view: bytes = b"N") -> bytes:
    parts = b"U\x07storagectorch\n" + kind + b"\nU" + bytes([len(key)]) + key + b"U\x03cpu" + items + view
    return b"(" + parts + b"tQ"


NONE_LEFT = b"\x00" * 8
SYSTEM = b"cos\nsystem\nX\x09\x00\x00\x00touch ran\x85R"


BEYOND = "larger than its storage"

CHECKPOINTS: dict[str, tuple[Callable[[], bytes], str]] = {
    "a bomb of zeros": (
        lambda: archive(saved(GOOD) | {f"{ROOT}data/9": bytes(50 * 2**20)}, zipfile.ZIP_DEFLATED),
        "is compressed",
    ),
    "a member that says 4 GiB": (lambda: central(24, b"\xf0\xff\xff\xff"), "members claim"),
    "a member that says more than it has": (lambda: central(20, struct.pack("<II", 2000, 2000)), "archive is damaged|"),
    "a compression of its own": (lambda: central(10, b"\x63\x00"), "is compressed"),
    "an encrypted member": (lambda: central(8, b"\x01\x00"), "damaged"),
    "another checksum": (lambda: central(16, b"\x00\x00\x00\x00"), "damaged"),
    "members without end": (
        lambda: archive({f"{ROOT}data/{n}": b"" for n in range(50_100)}),
        "members, accepted",
    ),
    "no pickle": (lambda: archive({f"{ROOT}version": b"3"}), "no data.pkl"),
    "two folders": (lambda: archive(saved(GOOD) | {"other/data.pkl": b"\x80\x02N."}), "more than one directory"),
    "a storage said to be larger": (lambda: replaced(b"K\x06tq", b"J\x00\x00\x00\x40tq"), "has 24 bytes"),
    "a storage said to be smaller": (lambda: replaced(b"K\x06tq", b"K\x05tq"), "has 24 bytes"),
    "a storage that is missing": (lambda: replaced(b"X\x01\x00\x00\x000q", b"X\x01\x00\x00\x007q"), "has no bytes"),
    "a tensor larger than its storage": (
        lambda: replaced(b"K\x02K\x03\x86", b"K\x09K\x03\x86"),
        BEYOND,
    ),
    "a tensor beyond its storage": (
        lambda: replaced(b"QK\x00K\x02K\x03", b"QK\x01K\x02K\x03"),
        BEYOND,
    ),
    "a tensor repeated by its strides": (
        lambda: replaced(b"K\x02K\x03\x86q\x0aK\x03K\x01\x86", b"J\x00\x00\x00\x40K\x03\x86q\x0aK\x00K\x00\x86"),
        BEYOND,
    ),
    "a negative size": (lambda: replaced(b"K\x02K\x03\x86", b"J\xff\xff\xff\xffK\x03\x86"), "tensor is malformed"),
    "os.system": (lambda: called("os", "system", b"X\x09\x00\x00\x00touch ran\x85"), "names os.system"),
    "a bytearray of a terabyte": (
        lambda: called("builtins", "bytearray", b"\x8a\x06\x00\x00\x00\x00\x00\x01\x85"),
        "names builtins.bytearray",
    ),
    "text encoded again and again": (
        lambda: only_pickle(
            b"X\x00\x10\x00\x00" + b"a" * 4096 + b"q\x000c_codecs\nencode\nq\x01"
            b"](" + b"h\x01h\x00X\x06\x00\x00\x00latin1\x86R" * 2000 + b"e"
        ),
        "encoded",
    ),
    "lists doubled": (lambda: only_pickle(DOUBLED), "aliases expanded"),
    "a deep list": (lambda: only_pickle(b"]" * 5000 + b"a" * 4999), "levels deep"),
    "a deep tuple as a key": (lambda: only_pickle(b"})" + b"\x85" * 5000 + b"K\x01s"), "as keys"),
    "tuples doubled as a key": (lambda: only_pickle(b"}" + TUPLES + b"K\x01s"), "as keys"),
    "tuples doubled to be counted": (
        lambda: called("collections", "Counter", b"](" + TUPLES + b"e\x85"),
        "other than a dictionary",
    ),
    "a dictionary counted again and again": (
        lambda: only_pickle(
            b"}(" + b"".join(b"M" + struct.pack("<H", n) + b"N" for n in range(1000)) + b"uq\x00"
            b"0](ccollections\nCounter\nq\x01" + b"h\x01h\x00\x85R" * 1000 + b"e"
        ),
        "copies of a dictionary",
    ),
    "an integer of a kilobyte": (lambda: only_pickle(b"\x8b\x00\x04\x00\x00" + b"\x7f" * 1024), "bits, accepted"),
    "a tensor made of no memory": (
        lambda: called("torch._utils", "_rebuild_meta_tensor_no_storage", b")"),
        "names torch._utils._rebuild_meta_tensor_no_storage",
    ),
    "attributes set again and again": (
        lambda: only_pickle(
            b"}(" + b"".join(b"M" + struct.pack("<H", n) + b"N" for n in range(1000)) + b"uq\x00"
            b"0](ccollections\nOrderedDict\nq\x01" + b"h\x01)Rh\x00b" * 1000 + b"e"
        ),
        "copies of a dictionary",
    ),
    "pairs copied again and again": (
        lambda: only_pickle(
            b"](" + b"".join(b"K\x01K\x02\x86" for n in range(1000)) + b"eq\x00"
            b"0](ccollections\nOrderedDict\nq\x01" + b"h\x01h\x00\x85R" * 1000 + b"e"
        ),
        "copies of a dictionary",
    ),
    "pairs that are none": (
        lambda: called("collections", "OrderedDict", b"]U\x02aba\x85"),
        "other than keys and values",
    ),
    "pairs with doubled tuples as keys": (
        lambda: called("collections", "OrderedDict", b"](" + TUPLES + b"Ne\x85"),
        "other than keys and values",
    ),
    "a tar": (lambda: b"sys_info" + bytes(600), "not a file of torch.save"),
    "the format before torch 0.1.10": (lambda: b"sys_info" + bytes(249) + b"ustar  \0" + bytes(300), "0.1.10"),
    "a pickle of Python": (lambda: pickle.dumps({"state_dict": {}}, 2), "a pickle that torch.save did not write"),
    "legacy: another version": (lambda: legacy_of(version=b"M\xe8\x03"), "another format version"),
    "legacy: a version of many values": (lambda: legacy_of(version=TUPLES), "aliases expanded"),
    "legacy: code as the version": (lambda: legacy_of(version=SYSTEM), "names os.system"),
    "legacy: code as the system": (lambda: legacy_of(system=SYSTEM), "names os.system"),
    "legacy: code as the object": (lambda: legacy_of(saved=SYSTEM), "names os.system"),
    "legacy: code as the keys": (lambda: legacy_of(keys=SYSTEM), "names os.system"),
    "legacy: a whole network": (
        lambda: legacy_of(saved=b"(U\x06modulectorch\nfloat32\nU\x01aU\x01atQ"),
        "other than a storage",
    ),
    "legacy: a storage of a terabyte": (
        lambda: legacy_of(saved=reference(b"1", b"\x8a\x06\x00\x00\x00\x00\x00\x01"), keys=b"]U\x011a") + NONE_LEFT,
        "has 0 items",
    ),
    "legacy: a storage that says it is of a terabyte": (
        lambda: (
            legacy_of(saved=reference(b"1", b"\x8a\x06\x00\x00\x00\x00\x00\x01"), keys=b"]U\x011a")
            + struct.pack("<q", 2**40)
        ),
        "before the end of storage",
    ),
    "legacy: a negative storage": (
        lambda: legacy_of(saved=reference(b"1", b"J\xff\xff\xff\xff"), keys=b"]U\x011a") + b"\xff" * 8,
        "reference to a storage is malformed",
    ),
    "legacy: a storage without bytes": (lambda: legacy_of(saved=reference(b"1")), "list of storages"),
    "legacy: a storage listed twice": (
        lambda: legacy_of(saved=reference(b"1"), keys=b"](U\x011U\x011e") + NONE_LEFT * 2,
        "list of storages",
    ),
    "legacy: a storage that no tensor has": (lambda: legacy_of(keys=b"]U\x011a") + NONE_LEFT, "list of storages"),
    "legacy: keys that are numbers": (lambda: legacy_of(keys=b"]K\x01a") + NONE_LEFT, "list of storages"),
    "legacy: a tensor among the keys": (lambda: legacy_of(keys=b"]" + reference(b"1") + b"a"), "outside of the saved"),
    "legacy: one storage of two types": (
        lambda: (
            legacy_of(saved=reference(b"1") + reference(b"1", kind=b"LongStorage") + b"\x86", keys=b"]U\x011a")
            + NONE_LEFT
        ),
        "is also storage",
    ),
    "legacy: a key that two decoders read differently": (
        lambda: legacy_of(saved=reference(b"\xc3\xa9"), keys=b"]U\x02\xc3\xa9a") + NONE_LEFT,
        "reference to a storage is malformed",
    ),
    "legacy: a part of a storage": (
        lambda: legacy_of(saved=reference(b"1", view=b"U\x012K\x00K\x00\x87"), keys=b"]U\x011a") + NONE_LEFT,
        "a part of another one",
    ),
    "legacy: a reference of an archive": (
        lambda: legacy_of(saved=reference(b"1", view=b""), keys=b"]U\x011a") + NONE_LEFT,
        "reference to a storage is malformed",
    ),
    "legacy: a tensor larger than its storage": (lambda: in_legacy(b"K\x02K\x03\x86", b"K\x09K\x03\x86"), BEYOND),
    "legacy: lists doubled": (lambda: legacy_of(saved=DOUBLED), "aliases expanded"),
    "legacy: more bytes": (lambda: legacy() + b"\x00", "1 bytes after its last storage"),
    "an archive with a reference before torch 1.6": (
        lambda: replaced(b"K\x06tq", b"K\x06Ntq"),
        "reference to a storage is malformed",
    ),
    "only the beginning of an archive": (lambda: b"PK\x03\x04", "damaged"),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
@pytest.mark.parametrize("key", [None, "a secret"], ids=["plain", "sealed"])
def test_a_hostile_checkpoint_is_refused(
    name: str, key: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make, said = CHECKPOINTS[name]
    (tmp_path / "c.pth").write_bytes(encryption.encrypt(make(), key))
    assert any(
        part in refused(lambda path: checkpoint_file.load(path, key), tmp_path / "c.pth").message
        for part in said.split("|")
    )
    assert [one.name for one in tmp_path.iterdir()] == ["c.pth"]


@pytest.mark.parametrize("zipped", [True, False], ids=["archive", "legacy"])
def test_what_torch_saves_is_loaded_as_it_was(zipped: bool, tmp_path: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)).half()
    wide = torch.arange(12.0).reshape(3, 4).t()[1:]
    state = {"net": net.state_dict(), "own": torch.nn.Parameter(torch.ones(2)), "wide": wide, "none": torch.ones(0, 3)}
    value = {"state_dict": state, "counts": {0: 1, 5: 2**40}, "texts": ("a", None, True, b"xy", 0.5)}
    torch.save(value, tmp_path / "c.pth", _use_new_zipfile_serialization=zipped)
    loaded = checkpoint_file.load(tmp_path / "c.pth")
    torch.testing.assert_close(loaded["state_dict"], state)
    assert loaded["counts"] == value["counts"]
    assert loaded["texts"] == value["texts"]


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("make", [lambda: archive(saved(GOOD)), legacy], ids=["archive", "legacy"])
def test_a_checkpoint_cut_short_is_refused(make: Callable[[], bytes], share: float, tmp_path: Path) -> None:
    whole = make()
    (tmp_path / "c.pth").write_bytes(whole[: int(len(whole) * share)])
    refused(checkpoint_file.load, tmp_path / "c.pth")


@pytest.mark.parametrize("length", [15, 16, 17, 31, 32, 33, 43, 44, 45, 60])
def test_an_encrypted_file_cut_short_is_refused(length: int, tmp_path: Path) -> None:
    sealed = encryption.encrypt(b"x" * 100, "a secret")
    (tmp_path / "c.pth").write_bytes(sealed[:length])
    refused(lambda path: checkpoint_file.load(path, "a secret"), tmp_path / "c.pth")


@pytest.mark.parametrize("read", [checkpoint_file.load, lambda path: onnx_file.load(path, None)], ids=["torch", "onnx"])
def test_a_model_of_gigabytes_is_not_read(read: Callable[[Path], Any], tmp_path: Path) -> None:
    with (tmp_path / "m").open("wb") as stream:
        stream.truncate(2**40)
    assert "larger than" in refused(read, tmp_path / "m").message


# Arrays


def npy(header: str | bytes, data: bytes = b"", version: bytes = b"\x01\x00", length: int | None = None) -> bytes:
    text = header.encode("latin-1") if isinstance(header, str) else header
    form = "<H" if version == b"\x01\x00" else "<I"
    return b"\x93NUMPY" + version + struct.pack(form, len(text) if length is None else length) + text + data


def described(shape: str, descr: str = "'<f4'", order: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}}}"


ARRAYS: dict[str, bytes] = {
    "a shape larger than the file": npy(described("(9, 3, 4, 5, 1)"), bytes(480)),
    "a shape smaller than the file": npy(described("(1, 3, 4, 5, 1)"), bytes(480)),
    "a shape of a petabyte": npy(described("(10**3, 3, 4, 5, 1)".replace("10**3", "281474976710656")), bytes(480)),
    "a shape beyond 64 bits": npy(described("(99999999999999999999, 3, 4, 5, 1)"), bytes(480)),
    "a shape whose product wraps": npy(described("(4294967296, 4294967296, 1, 1, 1)"), bytes(480)),
    "a negative size": npy(described("(-2, 3, 4, 5, 1)"), bytes(480)),
    "two negative sizes": npy(described("(-2, -3, 4, 5, 1)"), bytes(480)),
    "no frames": npy(described("(2, 3, 0, 5, 1)")),
    "a size that is no integer": npy(described("(2.0, 3, 4, 5, 1)"), bytes(480)),
    "no tuple": npy(described("[2, 3, 4, 5, 1]"), bytes(480)),
    "sixty dimensions": npy(described("(" + "1, " * 70 + ")"), bytes(4)),
    "objects": npy(described("(2, 3, 4, 5, 1)", "'|O'"), bytes(960)),
    "objects in parts": npy(described("(2, 3, 4, 5, 1)", "[('a', '|O')]"), bytes(960)),
    "parts": npy(described("(1, 3, 4, 5, 1)", "[('a', '<f4'), ('b', '<f4')]"), bytes(480)),
    "long floats": npy(described("(1, 1, 1, 1, 1)", "'<f16'"), bytes(16)),
    "text": npy(described("(1, 1, 1, 1, 1)", "'<U4'"), bytes(16)),
    "no type": npy(described("(1, 1, 1, 1, 1)", "'nothing'"), bytes(16)),
    "a type of many names": npy(described("(1, 1, 1, 1, 1)", repr([(f"a{n}", "<f4") for n in range(100)])), bytes(400)),
    "another order": npy(described("(1, 1, 1, 1, 1)", order="5"), bytes(4)),
    "more keys": npy(described("(1, 1, 1, 1, 1)")[:-1] + ", 'x': 1}", bytes(4)),
    "a call": npy("__import__('os').system('touch ran')"),
    "brackets": npy("(" * 5000),
    "signs": npy("-" * 9000 + "1"),
    "a sum": npy("1" + "+1" * 4000),
    "a list as a key": npy("{[]: 1}"),
    "no header": npy(""),
    "a header longer than the file": npy(described("(1, 1, 1, 1, 1)"), length=60000),
    "a header of gigabytes": npy(described("(1, 1, 1, 1, 1)"), version=b"\x02\x00", length=2**32 - 1),
    "a version of its own": npy(described("(1, 1, 1, 1, 1)"), bytes(4), version=b"\x09\x00"),
    "cut in the length": b"\x93NUMPY\x01\x00\x40",
    "an archive": b"PK\x03\x04" + bytes(100),
}


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::SyntaxWarning")
def test_a_hostile_array_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.npy").write_bytes(ARRAYS[name])
    refused(open_sequences, tmp_path / "x.npy")
    assert [one.name for one in tmp_path.iterdir()] == ["x.npy"]


def test_a_sparse_file_of_a_long_header_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(ARRAYS["a header of gigabytes"])
    with path.open("ab") as stream:
        stream.truncate(2**33)
    assert "its header has 4294967295 bytes" in refused(open_sequences, path).message


def test_an_array_in_fortran_order_is_read_as_it_is(tmp_path: Path) -> None:
    data = np.random.default_rng(0).normal(size=(2, 3, 4, 5, 1))
    np.save(tmp_path / "x.npy", np.asfortranarray(data))
    np.testing.assert_array_equal(open_sequences(tmp_path / "x.npy"), data)


# ONNX


def outside(location: str) -> TensorProto:
    """A weight that is kept in another file."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return tensor


def model(place: str, tensor: TensorProto) -> onnx.ModelProto:
    """A model with the tensor at a place in it."""
    shape = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, 4, 18, 1])
    result = helper.make_tensor_value_info("fc_pred", TensorProto.FLOAT, ["n", 3, 4, 18, 1])
    inner = helper.make_graph([], "inner", [], [result], [tensor])
    nodes = {
        "weight": [helper.make_node("Add", ["input", "w"], ["fc_pred"])],
        "constant": [helper.make_node("Constant", [], ["w"], value=tensor)],
        "inner graph": [helper.make_node("If", ["c"], ["fc_pred"], then_branch=inner, else_branch=inner)],
        "function": [helper.make_node("Own", ["input"], ["fc_pred"], domain="own")],
    }[place]
    graph = helper.make_graph(nodes, "g", [shape], [result], [tensor] if place == "weight" else [])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("own", 1)])
    if place == "function":
        body = [helper.make_node("Constant", [], ["y"], value=tensor)]
        made.functions.append(helper.make_function("own", "Own", ["x"], ["y"], body, made.opset_import[:1]))
    return made


OPENERS: dict[str, Callable[[Path], Any]] = {
    "to run": lambda path: onnx_file.load(path, None),
    "to convert": lambda path: tensorrt_precision.read_onnx(path, None),
}


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize("place", ["weight", "constant", "inner graph", "function"])
@pytest.mark.parametrize(
    "location", ["weights.bin", "../weights.bin", "{folder}/weights.bin", "linked.bin", "", "*/_ORT_MEM_ADDR_/*"]
)
def test_weights_in_other_files_are_refused_and_not_read(
    opener: str, place: str, location: str, tmp_path: Path
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    for one in (tmp_path, folder):  # who opens one of them waits for a writer for ever
        os.mkfifo(one / "weights.bin")
    (folder / "linked.bin").symlink_to(tmp_path / "weights.bin")
    path = folder / "m.onnx"
    path.write_bytes(model(place, outside(location.format(folder=tmp_path))).SerializeToString())
    error = refused(OPENERS[opener], path)
    assert "in another file, which was not read" in error.message
    assert shlex.split(error.fix)[-1] == str(path)


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize("content", [b"\x0a\xff\xff\xff\xff\x0f", b"\x3a" * 300, b"PK\x03\x04", bytes(100)])
def test_damaged_onnx_is_refused(opener: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    refused(OPENERS[opener], tmp_path / "m.onnx")


def test_a_weight_that_says_another_shape_is_refused(tmp_path: Path) -> None:
    tensor = numpy_helper.from_array(np.ones(1, np.float32), "w")
    tensor.dims[:] = [1_000_000_000_000]
    (tmp_path / "m.onnx").write_bytes(model("weight", tensor).SerializeToString())
    refused(lambda path: tensorrt_precision.read_onnx(path, None), tmp_path / "m.onnx")
    with pytest.raises(BadData, match="cannot be run"):
        onnx_file.open_session((tmp_path / "m.onnx").read_bytes(), tmp_path / "m.onnx")
