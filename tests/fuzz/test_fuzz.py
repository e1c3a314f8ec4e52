"""A few dozen hostile files for every parser; `make fuzz` tries thousands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.parsers import PARSERS, Parser
from tests.fuzz.run import tally

INPUTS = 30


@pytest.mark.parametrize("name", PARSERS)
def test_a_valid_file_is_read(name: str, tmp_path: Path) -> None:
    parser = PARSERS[name]
    path = tmp_path / parser.file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(parser.wrap(parser.seeds()[0]))
    if name not in UNFIT:
        parser.read(path)


@pytest.mark.parametrize("name", PARSERS)
def test_hostile_files_are_refused_or_harmless(name: str, tmp_path: Path) -> None:
    parser = PARSERS[name]
    found = tally(parser, tmp_path, max(1, int(INPUTS * parser.weight)))
    assert found.crash == ""
    assert found.refused + found.accepted > 0


def test_any_other_error_is_a_crash_whose_input_stays(tmp_path: Path) -> None:
    def read(path: Path) -> None:
        if b"[" in path.read_bytes():
            raise KeyError("bracket")

    found = tally(Parser(read=read, file="x", seeds=lambda: [b"{}"]), tmp_path, 200)
    assert found.crash.startswith("KeyError at test_fuzz.py")
    assert b"[" in (tmp_path / "x").read_bytes()


UNFIT = ("checkpoint", "checkpoint before torch 1.6", "sealed", "spec, yaml", "spec, json")
"""Parsers whose seeds are whole files, but not of the network and spec that the test has."""
