"""The folders of the tests: what tests share is in support/ or a fixture, and no folder is too large to read."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.support.folders import REPOSITORY

TESTS = REPOSITORY / "tests"
SOURCES = sorted(TESTS.rglob("*.py"))
TEST_MODULE = re.compile(r"\btests(\.\w+)*\.(test_\w+|conftest)\b")
MOST_FILES = 15


def imports(source: str) -> Iterator[str]:
    """Every module that is imported, and every name that is imported from one, with dots."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def programs(source: str) -> Iterator[str]:
    """Texts with an import in them: programs that a test runs in a process of its own."""
    texts = (node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant))
    yield from (text for text in texts if isinstance(text, str) and "import " in text)


def borrowed(source: str) -> list[str]:
    """What is taken from test modules and conftest files."""
    return [one for one in (*imports(source), *programs(source)) if TEST_MODULE.search(one)]


@pytest.mark.parametrize("module", ["test_launch", "conftest"])
@pytest.mark.parametrize(
    "source",
    [
        "from tests.jobs.{} import begin",
        "from tests.jobs import {}",
        "import tests.{}",
        "def later():\n    from tests.{} import begin",
        "CODE = 'import json; from tests.jobs.{} import begin'",
    ],
)
def test_an_import_of_a_test_module_is_found_wherever_it_is(source: str, module: str) -> None:
    assert borrowed(source.format(module))
    assert not borrowed(source.format("launches"))


def test_no_file_imports_a_test_module_or_a_conftest() -> None:
    found = {str(path): borrowed(path.read_text("utf-8")) for path in SOURCES}
    assert {path: names for path, names in found.items() if names} == {}


def test_no_folder_has_too_many_files() -> None:
    folders = {path.parent for path in SOURCES}
    counts = {str(folder): sum(path.is_file() for path in folder.iterdir()) for folder in folders}
    assert {folder: count for folder, count in counts.items() if count > MOST_FILES} == {}
