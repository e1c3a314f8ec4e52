"""Artifacts are as the job left them, or it is said which is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tao_skill.cli import main
from tao_skill.jobs.artifacts import artifact_record, damage_error, verify
from tao_skill.jobs.record import Ending
from tao_skill.jobs.store import Store
from tests.support.jobs import MakeJob


@pytest.mark.parametrize(
    ("state", "code"), [("ok", 0), ("changed", 2), ("missing", 2), ("a folder", 2), ("unknown", 0)], ids=str
)
def test_each_artifact_is_compared_with_its_checksum(
    store: Store, make: MakeJob, tmp_path: Path, capsys: pytest.CaptureFixture[str], state: str, code: int
) -> None:
    model, logs = tmp_path / "model.onnx", tmp_path / "csv"
    model.write_bytes(b"weights")
    logs.mkdir()
    left = [artifact_record("onnx", model), artifact_record("csv", logs)]
    assert [sorted(one) for one in left] == [["kind", "path", "sha256"], ["kind", "path"]]
    if state == "unknown":  # a record of before there were checksums
        left[0].pop("sha256")
    job, _ = store.open(make("export"))
    store.begin_attempt(job.id, 1)
    store.close_attempt(job.id, 1, Ending(state="COMPLETE", exit_code=0, artifacts=tuple(left)))
    if state == "changed":
        model.write_bytes(b"weightz")
    if state in ("missing", "a folder"):
        model.unlink()
    if state == "a folder":
        model.mkdir()
    with pytest.raises(SystemExit) as exited:
        main(["jobs", "verify", job.id, "--json", "--results-root", str(store.root)])
    document = json.loads(capsys.readouterr().out)
    said = "changed" if state == "a folder" else state
    assert (exited.value.code, document["artifacts"][0]["state"]) == (code, said)
    assert document["artifacts"][1] == {"kind": "csv", "path": str(logs), "state": "unknown"}
    if code:
        assert (document["error"]["path"], document["error"]["code"]) == (str(model), "bad_data")
        assert f"{model} is {said}" in document["error"]["message"]


def test_where_a_copy_is_is_said(store: Store, make: MakeJob, tmp_path: Path) -> None:
    job, _ = store.open(make("export"))
    store.begin_attempt(job.id, 1)
    left = {"kind": "onnx", "path": str(tmp_path / "gone.onnx"), "sha256": "0"}
    uploaded = {"uri": "s3://models/export-1", "files": 3, "bytes": 9}
    closed = store.close_attempt(job.id, 1, Ending(state="COMPLETE", exit_code=0, artifacts=(left,), uploaded=uploaded))
    error = damage_error(closed, verify(closed))
    assert error is not None
    assert error.fix == "copy it back from s3://models/export-1"
