"""JSON and YAML of others: what is ambiguous, boundless or cannot be written again is refused, and named."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tao_skill import bank
from tao_skill.errors import TaoSkillError
from tao_skill.io.strict_json import bounded, conform, parse_json, read_bytes, read_json
from tao_skill.io.strict_yaml import YAML_BYTES, dump_yaml, parse_yaml
from tests.fuzz.parsers import PARSERS

PRINTED = st.characters(exclude_categories=("C",))
LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
LONG_TEXT = "a: &a " + "x" * 100_000 + "\nb: [" + "*a, " * 30_000 + "]"

JSON: dict[str, tuple[bytes, str]] = {
    "deep": (b"[" * 100_000, "nested too deeply"),
    "deep and closed": (b'{"a":' * 200 + b"1" + b"}" * 200, "levels deep"),
    "a key twice": (b'{"a": 1, "b": {"seed": 1, "seed": 2}}', "duplicate key 'seed'"),
    "a number beyond floats": (b'{"a": 1e999}', "larger than any float"),
    "many digits": (b'{"a": ' + b"9" * 10_000 + b"}", "10000 digits"),
    "no number": (b'{"a": NaN}', "NaN is not JSON"),
    "infinity": (b'{"a": -Infinity}', "-Infinity is not JSON"),
    "no UTF-8": (b'{"a": "\xff"}', "utf-8"),
    "a NUL byte": (b'{"a": \x00}', "Expecting value"),
    "a NUL": (b'{"a": "x\\u0000"}', "paths cannot have"),
    "half a pair": (b'{"a": "\\ud800"}', "paths cannot have"),
    "a long key": (b'{"' + b"k" * 5000 + b'": 1}', "key of more than"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "utf-8"),
    "cut": (b'{"a": [1, 2', "Expecting"),
}
YAML: dict[str, tuple[str, str]] = {
    "laughs": (LAUGHS, "aliases expanded"),
    "a long text a thousand times": (LONG_TEXT, "aliases expanded"),
    "itself": ("&a [*a]", "levels deep"),
    "deep": ("[" * 50_000, "nested too deeply"),
    "deep and closed": ("{a: " * 100 + "1" + "}" * 100, "levels deep"),
    "a key twice": ("train: {seed: 1, seed: 2}", "duplicate key 'seed'"),
    "many digits": ("a: " + "9" * 10_000, "10000 digits"),
    "many digits of base 16": ("a: 0x" + "f" * 10_000, "10002 digits"),
    "a NUL": ('a: "\\0"', "paths cannot have"),
    "half a pair": ('a: "\\ud800"', "paths cannot have"),
    "no character": ('a: "\\UFFFFFFFF"', "forbidden character"),
    "an empty float": ("a: !!float ''", "could not convert"),
    "a float of base 60": ("a: !!float 1" + ":1" * 400, "could not convert"),
    "no mapping": ("!!map [a]", "mapping is expected"),
    "code": ("a: !!python/object/apply:os.system [touch ran]", "tag"),
    "too long": ("a: " + "b" * YAML_BYTES, "longer than"),
}


def refused(read: Callable[[], Any]) -> str:
    started = time.perf_counter()
    with pytest.raises(ValueError) as caught:
        read()
    assert time.perf_counter() - started < 10
    return str(caught.value)


@pytest.mark.parametrize("name", JSON)
def test_json_that_cannot_be_trusted_is_refused(name: str) -> None:
    content, said = JSON[name]
    assert said in refused(lambda: bounded(parse_json(content.decode("utf-8")), 1000))


@pytest.mark.parametrize("name", YAML)
def test_yaml_that_cannot_be_trusted_is_refused(name: str) -> None:
    text, said = YAML[name]
    assert said in refused(lambda: parse_yaml(text))


@pytest.mark.parametrize("name", [name for name, parser in PARSERS.items() if parser.file.endswith(".json")])
def test_every_reader_of_json_refuses_the_same(name: str, tmp_path: Path) -> None:
    parser = PARSERS[name]
    path = tmp_path / parser.file
    path.parent.mkdir(parents=True, exist_ok=True)
    for content, _ in JSON.values():
        path.write_bytes(content)
        if name in PASSED_OVER:
            parser.read(path)
            continue
        with pytest.raises(TaoSkillError) as caught:
            parser.read(path)
        assert str(path) in caught.value.message
        assert "\n" not in caught.value.message
        assert caught.value.fix


PASSED_OVER = ("status.json", "progress.json", "cache entry")
"""What is only shown, or made anew, is as if it were not there."""


def test_a_byte_order_mark_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(tmp_path / "x.json", dict[str, int], what="w", fix="f") == {"a": 1}


def test_a_file_beyond_its_limit_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as stream:
        stream.truncate(2**40)
    assert "larger than 1000 bytes" in refused(lambda: read_bytes(tmp_path / "sparse", 1000))


@dataclass(frozen=True, kw_only=True)
class Row:
    name: str
    state: Literal["on", "off"]
    share: float | None = None
    inner: tuple[dict[str, int], ...] = field(default_factory=tuple)


def test_a_value_takes_the_form_of_a_type_or_says_where_it_does_not() -> None:
    good = {"name": "a", "state": "on", "share": 1, "inner": [{"x": 1}]}
    assert conform([good], list[Row]) == [Row(name="a", state="on", share=1, inner=({"x": 1},))]
    for change, said in (
        ({"name": 5}, r"\[0\]\.name is 5, accepted: text"),
        ({"state": "odd"}, r"\[0\]\.state is 'odd'"),
        ({"share": True}, r"\[0\]\.share is True, accepted: float"),
        ({"inner": [{"x": None}]}, r"\[0\]\.inner\[0\]\.x is None, accepted: int"),
        ({"more": 1}, r"\[0\] has an unknown field more"),
    ):
        with pytest.raises(ValueError, match=said):
            conform([good | change], list[Row])
    with pytest.raises(ValueError, match="it has no state"):
        conform({"name": "a"}, Row)


def test_packaged_yaml_is_read_alike_by_both_loaders() -> None:
    files = sorted(bank.root().glob("references/*/*.yaml"))
    assert len(files) > 5
    for path in files:
        assert parse_yaml(path.read_text("utf-8"), trusted=True) == parse_yaml(path.read_text("utf-8"))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False) | st.text(PRINTED),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(PRINTED), below, max_size=3),
    max_leaves=8,
)


@settings(max_examples=50, deadline=None)
@given(VALUES)
@example(["1e-4", "0o17", "yes", "~", "null", "", "1:20", "- a", "a: b", "???", "x " * 60])
def test_what_is_written_as_yaml_reads_as_the_same(value: Any) -> None:
    assert parse_yaml(dump_yaml(value)) == value
