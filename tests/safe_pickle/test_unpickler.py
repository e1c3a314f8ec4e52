"""The unpickler runs the instructions of its table, stops where it is told to, and is never the one in C."""

from __future__ import annotations

import pickle
import time

import pytest

from tao_skill.safe_pickle.unpickler import PLAIN, Name, Unpickler, allowed


class Plain(Unpickler):
    values = "plain values"
    dispatch = allowed(*PLAIN)


def read(content: bytes, steps: int = 2**20) -> object:
    return Plain(content, {("a", "pair"): lambda *values: values, ("a", "kind"): None}, steps=steps).load()


def test_the_unpickler_is_the_pure_python_one() -> None:
    assert issubclass(Unpickler, pickle._Unpickler)
    assert not issubclass(Unpickler, pickle.Unpickler)


@pytest.mark.parametrize("code", sorted(set(range(256)) - {*allowed(*PLAIN), pickle.STOP[0]}))
def test_an_opcode_that_is_not_in_the_table_is_refused(code: int) -> None:
    with pytest.raises(ValueError, match="builds more than plain values"):
        read(b"](K\x01K\x02" + bytes([code]) + b"\x01\x00\x00\x00\n\n.")


def test_only_stand_ins_are_called_with_a_few_arguments() -> None:
    assert read(b"ca\npair\n(K\x01K\x02tR.") == (1, 2)
    assert isinstance(read(b"ca\nkind\n."), Name)
    for content in (b"ca\nkind\n)R.", b"U\x01a)R.", b"ca\npair\n]R.", b"ca\npair\n(" + b"N" * 9 + b"tR."):
        with pytest.raises(ValueError, match="it calls"):
            read(content)


def test_a_long_tuple_is_not_copied_by_each_call() -> None:
    started = time.perf_counter()
    with pytest.raises(ValueError, match="it calls pair with more than 8 arguments"):
        read(b"(" + b"N" * 10**5 + b"tq\x00ca\npair\nq\x01" + b"h\x01h\x00R0" * 10**5 + b".")
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize(
    "content", [b"", b"]", b"]K", b"C\x09abc", b"\x8e" + b"\xff" * 7 + b"\x7fabc", b"X\x09\0\0\0a"]
)
def test_a_pickle_that_ends_before_its_stop_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="damaged"):
        read(content)
