"""The server as clients start it: a process of its own over a folder with the generated set."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers.mcp import TOKEN, serving


@pytest.fixture(scope="session")
def root(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with data/ in it."""
    folder = tmp_path_factory.mktemp("served").resolve()
    shutil.copytree(tiny, folder / "data")
    return folder


@pytest.fixture(scope="module")
def address(root: Path) -> Iterator[str]:
    """A server over HTTP that asks for a token."""
    with serving(root, token=TOKEN) as url:
        yield url
