"""A tool context over a folder with the generated set in it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tao_skill.agent_tools.context import ToolContext
from tao_skill.agent_tools.dispatch import Reply, reply
from tao_skill.agent_tools.roots import Roots
from tests.support.tools import Call


@pytest.fixture(scope="module")
def root(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with data/ in it."""
    folder = tmp_path_factory.mktemp("root").resolve()
    shutil.copytree(tiny, folder / "data")
    return folder


@pytest.fixture(scope="module")
def here(root: Path) -> ToolContext:
    return ToolContext(roots=Roots(folders=(root,)), results_root=root / "results", environment=os.environ)


@pytest.fixture(scope="module")
def call(here: ToolContext) -> Call:
    def call_tool(name: str, **arguments: Any) -> Reply:
        return reply(name, arguments, here)

    return call_tool


@pytest.fixture(scope="module")
def overrides(root: Path) -> list[str]:
    """A training of the generated set that takes a moment."""
    files = {
        f"{split}_{name}": root / "data" / f"{split}_{kind}"
        for split in ("train", "val")
        for name, kind in (("data", "data.npy"), ("labels", "label.pkl"))
    }
    return [f"{key}={path}" for key, path in files.items()] + ["epochs=1", "batch_size=6", "num_workers=0", "lr=0.02"]
