"""Calls with plain JSON: what is refused, how it is said, and how long an answer gets."""

from __future__ import annotations

import ast
import json
import math
import os
import re
from pathlib import Path

import pytest

from tao_skill.agent_tools.dispatch import MAX_CHARACTERS
from tao_skill.agent_tools.formats import definitions
from tao_skill.errors import BadRequest, Command, Fix, Option
from tao_skill.models.pose_classification.config import ExperimentConfig
from tao_skill.spec.check import check
from tests.support.folders import REPOSITORY
from tests.support.tools import Call, tokens


@pytest.mark.parametrize(
    ("name", "arguments", "message", "fix"),
    [
        (
            "plan",
            {"action": "train", "spc": "a"},
            'spc (value "a") is not an argument of plan; did you mean spec?',
            "use spec instead of spc",
        ),
        ("job_logs", {"job": "x", "zzz": 1}, "zzz (value 1) is not an argument", "leave zzz out, or use one of job"),
        ("plan", {}, "action is required: text", "set action=..."),
        ("plan", {"action": "train", "trials": 0}, "trials is 0", "set trials to an integer of at least 1"),
        ("plan", {"action": "train", "overrides": "lr=1"}, 'overrides is "lr=1"', "set overrides to a list of texts"),
        ("plan", {"action": "train", "automl": "no"}, 'automl is "no"', "set automl to one of auto, on, off"),
        (
            "wait_for_job",
            {"job": "x", "timeout_s": math.nan},
            "timeout_s is",
            "set timeout_s to a number from 0 to 3600",
        ),
        ("job_logs", {"job": "x", "lines": 2.5}, "lines is 2.5", "set lines to an integer from 1 to 1000"),
        ("job_logs", {"job": "x", "lines": True}, "lines is true", "set lines to an integer from 1 to 1000"),
    ],
)
def test_arguments_that_do_not_fit_are_named_with_their_fix(
    call: Call, name: str, arguments: dict[str, object], message: str, fix: str
) -> None:
    refused = call(name, **arguments)
    error = refused.document["error"]
    assert refused.is_error
    assert error["code"] == "bad_request"
    assert message in error["message"]
    assert fix in error["fix"]


def test_an_argument_of_null_is_as_not_given(call: Call) -> None:
    assert call("list_jobs", limit=None).document == call("list_jobs").document


def test_a_whole_number_may_come_with_a_point(call: Call) -> None:
    assert call("list_jobs", limit=3.0).document == call("list_jobs", limit=3).document


def test_an_unknown_tool_is_an_error_that_names_the_nearest(call: Call) -> None:
    assert call("run_acton").document["error"]["fix"] == "call run_action"


def test_errors_speak_of_tools_and_not_of_commands(call: Call, overrides: list[str]) -> None:
    assert "parent" in call("plan", action="evaluate").document["error"]["fix"]
    for name, arguments in (
        ("plan", {"action": "evaluate"}),
        ("plan", {"action": "fly"}),
        ("plan", {"action": "train", "model": "none"}),
        ("job_status", {"job": "gone"}),
        ("plan", {"action": "evaluate", "base_experiment": "x", "overrides": overrides[:1]}),
    ):
        error = call(name, **arguments).document["error"]
        assert error["fix"]
        assert not re.search(r"tao-skill|--\w|-m ", error["message"] + error["fix"]), error


def test_a_recording_given_as_data_is_to_be_converted_first(call: Call, root: Path) -> None:
    (root / "recording.json").write_text("[]")
    fix = call("inspect_data", data=str(root / "recording.json")).document["error"]["fix"]
    assert f"run_action dataset_convert dataset_convert.data={root / 'recording.json'} combine=true" in fix


def test_the_list_of_tools_and_short_answers_are_small(call: Call, root: Path) -> None:
    assert tokens(json.dumps(definitions("mcp"), separators=(",", ":"))) < 5000
    data = root / "data"
    inspected = call("inspect_data", data=str(data / "train_data.npy"), labels=str(data / "train_label.pkl"))
    for answer in (inspected, call("list_models"), call("describe_action", action="train"), call("list_jobs")):
        assert not answer.is_error
        assert tokens(answer.text) < 500, answer.text


def test_every_action_is_described_in_full_within_the_limit(call: Call) -> None:
    for action in call("list_models").document["models"][0]["actions"]:
        full = call("describe_action", action=action["name"], detail="full")
        assert set(full.document) >= {"schema", "template"}
        assert tokens(full.text) < 25_000
        assert "cut" not in full.document


def test_an_answer_too_long_is_cut_and_says_so(call: Call, root: Path) -> None:
    log = root / "results" / "train-long" / "log.txt"
    log.parent.mkdir(parents=True)
    record = {"id": "train-long", "model": "pose_classification", "action": "evaluate", "results_dir": str(log.parent)}
    record |= {"created": "2026-01-01T00:00:00.000000+00:00", "command": []}
    classes = [{"name": f"class {i}", "id": i, "sequences": 400, "accuracy": 1.0} for i in range(400)]
    report = {"accuracy": 1, "avg_accuracy": 1, "classes": classes, "confusion_matrix": [[1] * 400] * 400}
    (log.parent / "evaluation.json").write_text(json.dumps(report))
    record |= {"artifacts": [{"kind": "report", "path": str(log.parent / "evaluation.json")}], "attempts": []}
    (log.parent / "job.json").write_text(json.dumps(record))
    log.write_text("\n".join("x" * 200 for _ in range(2000)))
    logs = call("job_logs", job="train-long", lines=1000)
    assert len(logs.text) <= MAX_CHARACTERS
    assert logs.document["log"].endswith("x" * 200)
    whole = call("read_report", job="train-long", detail="full")
    assert len(whole.text) <= MAX_CHARACTERS
    assert whole.document["cut"]
    short = call("read_report", job="train-long")
    assert tokens(short.text) < 500
    assert len(short.document["report"]["confusions"]) == 10


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_results_root_that_cannot_be_written_is_said(call: Call, root: Path, overrides: list[str]) -> None:
    (root / "results").chmod(0o500)
    try:
        assert call("run_action", action="train", overrides=overrides).document["error"]["code"] == "cannot_write"
    finally:
        (root / "results").chmod(0o700)


ONLY_COMMANDS = ("cli/*", "cli/terminal/*", "mcp_server/*", "models/*/data/imports/*", "skills.py", "doctor.py")
"""Modules whose errors no tool meets."""


def test_no_fix_or_message_that_tools_meet_spells_an_option_or_a_command() -> None:
    """They are data there (`Option`, `Command`), worded once for the command line and once for tools."""
    spelt = re.compile(r"(?<![\w-])--(?!save-pose)[a-z]|(?<![\w-])-[me] |tao-skill (?!jobs upload)\w")
    found = []
    for path in (REPOSITORY / "core" / "tao_skill").rglob("*.py"):
        if any(path.relative_to(REPOSITORY / "core" / "tao_skill").match(one) for one in ONLY_COMMANDS):
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and any(one.arg == "fix" for one in node.keywords):
                texts = [one.value for one in ast.walk(node) if isinstance(one, ast.Constant)]
                found += [(path.name, text) for text in texts if isinstance(text, str) and spelt.search(text)]
    assert found == []


def test_a_fix_is_worded_for_whoever_meets_it(call: Call) -> None:
    with pytest.raises(BadRequest) as refused:
        check(ExperimentConfig, "train", {"quux": 1})
    assert "`tao-skill template train`" in refused.value.fix
    assert "`describe_action train`" in call("plan", action="train", overrides=["quux=1"]).document["error"]["fix"]
    assert Fix("give ", Option("base_experiment", "X"), ", or ", Command("jobs list")) == (
        "give --base-experiment X, or tao-skill jobs list"
    )
