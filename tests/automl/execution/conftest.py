from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from tests.support.servers.postgresql import PostgreSQLServer


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/automl/study.db"
    server: PostgreSQLServer = request.getfixturevalue("postgresql")
    return server.database(uuid.uuid4().hex)
