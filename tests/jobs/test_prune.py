"""Old jobs go, and never one that another is built on."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tao_skill.cli import main
from tao_skill.errors import BadData
from tao_skill.jobs.prune import REMOVED, old_jobs, remove
from tao_skill.jobs.record import Ending, Job
from tao_skill.jobs.store import Store
from tests.support.jobs import MakeJob

LONG_AGO = "2020-01-01T00:00:00.000000+00:00"
LIMIT = datetime(2024, 1, 1, tzinfo=UTC)


def ended(store: Store, job: Job, when: str | None = LONG_AGO, **facts: Any) -> str:
    opened, _ = store.open(replace(job, **facts))
    store.begin_attempt(opened.id, 1)
    store.close_attempt(opened.id, 1, Ending(state="COMPLETE", exit_code=0, ended=when))
    (store.folder(opened.id) / "weights").write_bytes(b"0" * 1000)
    return opened.id


@pytest.fixture
def line(store: Store, make: MakeJob) -> dict[str, str]:
    """A model that a recent job names by path, one that a recent job's parent needs, and what nobody needs."""
    ids = {"root": ended(store, make("train"))}
    ids["between"] = ended(store, make("evaluate"), parent=ids["root"])
    ids["recent"] = ended(store, make("inference"), None, parent=ids["between"])
    ids["named"] = ended(store, make("export"))
    path = str(store.folder(ids["named"]) / "export" / "model.onnx")
    ids["by path"] = ended(store, make("inference"), None, spec={"inference": {"checkpoint": path}})
    ids["alone"] = ended(store, make("train"))
    ids["its child"] = ended(store, make("evaluate"), parent=ids["alone"])
    ids["running"] = store.open(make("train"))[0].id
    return ids


def test_only_what_nothing_needs_may_go(store: Store, line: dict[str, str]) -> None:
    found = {one.job.id: one.needed_by for one in old_jobs(store, LIMIT)}
    assert found == {
        line["root"]: line["between"],
        line["between"]: line["recent"],
        line["named"]: line["by path"],
        line["alone"]: None,
        line["its child"]: None,
    }
    assert {one.job.id for one in remove(store, LIMIT)} == {line["alone"], line["its child"]}
    assert set(store.ids()) == set(line.values()) - {line["alone"], line["its child"]}
    assert not list(store.root.glob(f"{REMOVED}*"))


def test_an_unreadable_record_stops_it_before_anything_is_deleted(store: Store, line: dict[str, str]) -> None:
    (store.folder(line["recent"]) / "job.json").write_text("{")
    with pytest.raises(BadData, match=line["recent"]):
        remove(store, LIMIT)
    assert set(store.ids()) == set(line.values())


def test_what_an_earlier_removal_left_goes_with_the_next(store: Store, line: dict[str, str]) -> None:
    half = store.root / f"{REMOVED}{line['alone']}"
    store.folder(line["alone"]).rename(half)
    remove(store, LIMIT)
    assert not half.exists()


def test_the_command_says_first_and_deletes_when_told(
    store: Store, line: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    def call(*words: str) -> dict[str, Any]:
        with pytest.raises(SystemExit) as exited:
            main(["jobs", "prune", *words, "--json", "--results-root", str(store.root)])
        assert exited.value.code == 0
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        return document

    proposed = call("--older-than", "30d")
    assert {job["id"] for job in proposed["jobs"] if not job["needed_by"]} == {line["alone"], line["its child"]}
    assert proposed["bytes"] > 2000
    assert set(store.ids()) == set(line.values())
    assert proposed["next"][0].startswith("tao-skill jobs prune --older-than 2592000s --apply")
    assert call("--older-than", "30d", "--apply")["bytes"] == proposed["bytes"]
    assert len(store.ids()) == len(line) - 2
    assert call("--older-than", "99999999999d")["jobs"] == []


def test_a_root_that_is_not_there_has_nothing_to_delete(tmp_path: Path) -> None:
    assert old_jobs(Store(tmp_path / "none"), LIMIT) == []
