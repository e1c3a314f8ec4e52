"""The format of torch before 1.6: every tensor comes back, also of Python 2; a damaged file is refused or harmless."""

from __future__ import annotations

import io
import os
import pickle
import struct
import tracemalloc
from collections import OrderedDict
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tao_skill.errors import BadData
from tao_skill.models.pose_classification.training import checkpoint_file
from tao_skill.safe_pickle import torch_archive, torch_legacy

VALUE = {
    "state_dict": OrderedDict(a=torch.arange(6.0).reshape(2, 3), b=torch.arange(4), c=torch.tensor(True)),
    "epoch": 3,
    "lr": [0.5, None],
}


def saved(value: Any = VALUE) -> bytes:
    made = io.BytesIO()
    torch.save(value, made, _use_new_zipfile_serialization=False)
    return made.getvalue()


def read(data: bytes) -> Any:
    return torch.load(torch_archive.validated(data), map_location="cpu", weights_only=True)


def test_the_signature_is_what_torch_writes() -> None:
    assert saved().startswith(torch_legacy.SIGNATURE)


@settings(max_examples=50, deadline=None)
@given(
    dtype=st.sampled_from(
        [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.uint8, torch.int8, torch.int64, torch.bool]
    ),
    shape=st.lists(st.integers(0, 4), max_size=4),
    shared=st.booleans(),
)
def test_every_tensor_comes_back(dtype: torch.dtype, shape: list[int], shared: bool) -> None:
    whole = torch.randint(0, 2, shape).to(dtype)
    value = {"whole": whole, "turned": whole.permute(list(range(len(shape)))[::-1]), "one": whole if shared else 1}
    torch.testing.assert_close(read(saved(value)), value, rtol=0, atol=0)


class OldPickler(pickle._Pickler):
    """Pickles tensors as torch 0.3 did; text as Python 2 did, and dictionaries as its lists of pairs."""

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream, 2)
        self.storages: dict[str, torch.Tensor] = {}

    def persistent_id(self, value: Any) -> Any:
        if not isinstance(value, Flat):
            return None
        key = str(100 + len(self.storages))
        self.storages[key] = value.values
        return "storage", torch.FloatStorage, key, "cuda:0", value.values.numel(), None

    def save_text(self, text: str) -> None:
        self.write(pickle.SHORT_BINSTRING + bytes([len(text)]) + text.encode("ascii"))
        self.memoize(text)

    dispatch: ClassVar = {**pickle._Pickler.dispatch, str: save_text}


class Flat:
    def __init__(self, tensor: torch.Tensor) -> None:
        self.values = tensor.flatten()


class Tensor3:
    """A tensor of torch 0.3."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor

    def __reduce__(self) -> Any:
        return torch._utils._rebuild_tensor, (Flat(self.tensor), 0, self.tensor.shape, self.tensor.stride())


class Pairs:
    """An OrderedDict of Python 2."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    def __reduce__(self) -> Any:
        return OrderedDict, ([[key, value] for key, value in self.values.items()],), {"_metadata": {}}


def of_torch_0_3(state: dict[str, torch.Tensor]) -> bytes:
    stream = io.BytesIO()
    stream.write(torch_legacy.SIGNATURE + pickle.dumps(torch_legacy.VERSION, 2) + pickle.dumps({"type_sizes": {}}, 2))
    pickler = OldPickler(stream)
    pickler.dump(Pairs({name: Tensor3(value) for name, value in state.items()}))
    keys = sorted(pickler.storages)
    OldPickler(stream).dump(keys)
    for key in keys:
        stream.write(struct.pack("<q", pickler.storages[key].numel()) + pickler.storages[key].numpy().tobytes())
    return stream.getvalue()


def test_a_file_of_torch_0_3_and_python_2_is_read() -> None:
    state = {"data_bn.weight": torch.rand(4), "fcn.weight": torch.rand(2, 3, 1, 1)}
    torch.testing.assert_close(dict(read(of_torch_0_3(state))), state, rtol=0, atol=0)


class Evil:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.proof}",)


DATA = saved()


def refused_or_harmless(data: bytes, path: Path) -> None:
    """Load the file: only `BadData` comes of it, with one line, and no memory beyond that of a small file."""
    path.write_bytes(data)
    tracemalloc.start()
    try:
        checkpoint_file.load(path)
        said = ""
    except BadData as error:
        said = error.message
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert "\n" not in said
    assert peak < 2**20


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    for length in range(len(torch_legacy.SIGNATURE), len(DATA)):
        (tmp_path / "c.pth").write_bytes(DATA[:length])
        with pytest.raises(BadData):  # cut within a name, the name is said to be unknown
            checkpoint_file.load(tmp_path / "c.pth")


def test_a_flipped_byte_anywhere_is_refused_or_harmless(tmp_path: Path) -> None:
    for at in range(len(DATA)):
        for mask in (0x01, 0x80):
            data = bytearray(DATA)
            data[at] ^= mask
            refused_or_harmless(bytes(data), tmp_path / "c.pth")


@settings(max_examples=300, deadline=2000)
@given(
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=9), st.integers(0, 9)), min_size=1),
    evil=st.booleans(),
)
def test_a_damaged_file_is_refused_or_harmless(
    edits: list[tuple[float, bytes, int]], evil: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp()
    data = bytearray(saved(VALUE | {"e": Evil(folder / "proof")}) if evil else DATA)
    for where, put, removed in edits:
        at = int(where * len(data))
        data[at : at + removed] = put
    refused_or_harmless(bytes(data), folder / "c.pth")
    assert not (folder / "proof").exists()


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "c.pth").write_bytes(saved(VALUE | {"e": Evil(tmp_path / "proof")}))
    with pytest.raises(BadData, match=r"names (posix|nt)\.system, .* was not run"):
        checkpoint_file.load(tmp_path / "c.pth")
    assert not (tmp_path / "proof").exists()
