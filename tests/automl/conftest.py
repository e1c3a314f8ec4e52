from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgresql_server import INSTALL, PostgreSQLServer, programs


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQLServer]:
    found = programs()
    if found is None:
        pytest.skip(f"PostgreSQL is not installed; set {INSTALL}=1 as root to let the tests do it")
    server = PostgreSQLServer(found)
    yield server
    server.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/automl/study.db"
    server: PostgreSQLServer = request.getfixturevalue("postgresql")
    return server.database(uuid.uuid4().hex)
