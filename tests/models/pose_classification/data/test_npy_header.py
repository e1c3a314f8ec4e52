"""Facts of data files that are read without NumPy, held to what NumPy says of the same file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tao_skill.errors import BadData, NotFound
from tao_skill.models.pose_classification.data.npy_header import is_plainly_finite, shape
from tao_skill.models.pose_classification.data.sequences import open_sequences

TYPES = ("<f2", "<f4", "<f8")
ODD = (np.nan, -np.nan, np.inf, -np.inf)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.tuples(*[st.integers(1, 4)] * 5),
    kind=st.sampled_from((*TYPES, ">f4", ">f8")),
    values=st.lists(st.floats(allow_subnormal=True), min_size=1, max_size=4),
    order=st.sampled_from("CF"),
)
def test_what_is_called_finite_is(
    sizes: tuple[int, ...], kind: str, values: list[float], order: Any, tmp_path: Path
) -> None:
    path = tmp_path / "data.npy"
    with np.errstate(over="ignore"):
        np.save(path, np.resize(np.array(values), sizes).astype(kind, order=order))
    assert shape(path) == open_sequences(path).shape == sizes
    assert np.isfinite(np.load(path)).all() or not is_plainly_finite(path)


@pytest.mark.parametrize("kind", TYPES)
def test_usual_values_are_told_without_numpy(kind: str, rng: np.random.Generator, tmp_path: Path) -> None:
    data = rng.normal(scale=1000, size=(40, 3, 16, 34, 1)).astype(kind)
    np.save(tmp_path / "data.npy", data)
    assert is_plainly_finite(tmp_path / "data.npy")
    for value in ODD:
        for place in ((0,) * 5, (20, 1, 8, 3, 0), (-1,) * 5):
            odd = data.copy()
            odd[place] = value
            np.save(tmp_path / "odd.npy", odd)
            assert not is_plainly_finite(tmp_path / "odd.npy")


def test_real_recordings_are_plain(real_data: Path) -> None:
    for path in real_data.rglob("*_data.npy"):
        assert shape(path) == open_sequences(path).shape
        assert is_plainly_finite(path) == bool(np.isfinite(np.load(path, mmap_mode="r")).all()), path


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: data[:60],
        lambda data: data.replace(b"(2, 3, 4, 5, 1)", b"(2, 3, 4, 5, 0)"),
        lambda data: data.replace(b"(2, 3, 4, 5, 1)", b"(9, 3, 4, 5, 1)"),
        lambda data: data.replace(b"(2, 3, 4, 5, 1), }", b"(2, 3, 4, 5), }   "),
        lambda data: data.replace(b"<f4", b"<i4"),
        lambda data: b"",
    ],
)
def test_a_file_that_is_not_plain_is_refused_in_the_words_of_its_reader(spoil: Any, tmp_path: Path) -> None:
    path = tmp_path / "data.npy"
    np.save(path, np.zeros((2, 3, 4, 5, 1), np.float32))
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(BadData) as expected:
        open_sequences(path)
    with pytest.raises(BadData) as found:
        shape(path)
    assert found.value.as_dict() == expected.value.as_dict()
    assert not is_plainly_finite(path)


def test_a_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        shape(tmp_path / "data.npy")
    with pytest.raises(BadData):
        shape(tmp_path)
    assert not is_plainly_finite(tmp_path / "data.npy")


@pytest.mark.parametrize("version", [(2, 0), (3, 0)])
def test_a_later_version_of_the_format_is_left_to_numpy(version: tuple[int, int], tmp_path: Path) -> None:
    with (tmp_path / "data.npy").open("wb") as stream:
        np.lib.format.write_array(stream, np.zeros((2, 3, 4, 5, 1), np.float32), version=version)
    assert shape(tmp_path / "data.npy") == (2, 3, 4, 5, 1)
    assert not is_plainly_finite(tmp_path / "data.npy")
