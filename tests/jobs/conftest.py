from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tao_skill.jobs.record import Job, new_id, timestamp
from tao_skill.jobs.store import Store
from tests.support.jobs import MakeJob


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


@pytest.fixture
def make(store: Store) -> MakeJob:
    made = iter(range(100))

    def make_job(action: str = "complete", key: str | None = None, **changes: Any) -> Job:
        now = datetime(2026, 11, 21, 4, 28, next(made), tzinfo=UTC)
        job_id = new_id(action, key, now=now, token="1a2b")
        results_dir = store.folder(job_id)
        facts: dict[str, Any] = {
            "model": "tiny",
            "spec": {"results_dir": str(results_dir)},
            "results_dir": str(results_dir),
            "created": timestamp(now),
        }
        return Job(id=job_id, action=action, key=key, **facts | changes)

    return make_job
