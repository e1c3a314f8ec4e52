"""From data to predictions with nothing but the answers, and the same answers from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from tao_skill.agent_tools.registry import TOOLS
from tao_skill.cli.program import tao_skill
from tests.support.tools import Call, tokens

Transcript = list[tuple[str, dict[str, Any], dict[str, Any]]]


def command_line(root: Path, *words: str) -> dict[str, Any]:
    """What `tao-skill ... --json` prints."""
    done = CliRunner().invoke(tao_skill, [*words, "--json"], env={"TAO_SKILL_RESULTS": str(root / "results")})
    assert done.exit_code == 0, done.output
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def proposed(document: dict[str, Any], tool: str, **arguments: Any) -> dict[str, Any]:
    """The arguments of the call that an answer proposes."""
    return next(
        one["arguments"]
        for one in document["next"]
        if one["tool"] == tool and arguments.items() <= one["arguments"].items()
    )


@pytest.fixture(scope="module")
def transcript(call: Call, overrides: list[str]) -> Transcript:
    """Search, evaluation, export and inference; each call but the first is one that an answer proposed."""
    done: Transcript = []

    def go(name: str, **arguments: Any) -> dict[str, Any]:
        answer = call(name, **arguments)
        assert not answer.is_error, answer.text
        assert Draft202012Validator(TOOLS[name].output_schema).is_valid(answer.document), answer.text
        assert all(one["tool"] in TOOLS for one in answer.document["next"])
        assert answer.document["next"]
        done.append((name, arguments, dict(answer.document)))
        return done[-1][2]

    planned = go("plan", action="train", overrides=overrides, trials=2, min_epochs=1)
    started = go("run_action", **proposed(planned, "run_action"), key="workflow")
    assert started["job"]["state"] in ("PENDING", "RUNNING")
    trained = go("wait_for_job", **proposed(started, "wait_for_job") | {"timeout_s": 300})
    go("read_report", **proposed(trained, "read_report"))
    for action in ("evaluate", "export", "inference"):
        ended = go("run_action", **proposed(trained, "run_action", action=action) | {"wait_s": 300})
        assert ended["job"]["state"] == "COMPLETE", ended
    return done


def answers(transcript: Transcript) -> dict[str, dict[str, Any]]:
    """The last answer about each action's job."""
    return {answer["job"]["action"]: answer for _, _, answer in transcript if isinstance(answer.get("job"), dict)}


def test_the_way_from_data_to_predictions_takes_few_calls_and_tokens(transcript: Transcript) -> None:
    words = sum(tokens(json.dumps(one[1:], separators=(",", ":"))) for one in transcript)
    assert len(transcript) <= 10
    assert words < 4000, words
    jobs = answers(transcript)
    assert jobs["train"]["metrics"]["best_val_acc"] >= 0
    assert Path(jobs["export"]["artifacts"][0]["path"]).suffix == ".onnx"
    assert {one["kind"] for one in jobs["inference"]["artifacts"]} == {"predictions", "probabilities"}


def test_the_command_line_says_the_same(transcript: Transcript, call: Call, root: Path, overrides: list[str]) -> None:
    job = answers(transcript)["evaluate"]["job"]["id"]
    train = answers(transcript)["train"]["job"]["id"]
    data = [str(root / "data" / name) for name in ("train_data.npy", "train_label.pkl")]
    same = [
        (call("job_status", job=job, detail="full"), ("jobs", "show", job)),
        (call("job_logs", job=job, lines=5), ("jobs", "logs", job, "--lines", "5")),
        (call("list_jobs", limit=2), ("jobs", "list", "--limit", "2")),
        (call("list_models"), ("models",)),
        (call("inspect_data", data=data[0], labels=data[1], detail="full"), ("data", "inspect", *data)),
    ]
    for reply, words in same:
        printed = command_line(root, *words)
        assert _without_next(reply.document) == _without_next(printed), words
    schema = call("describe_action", action="train", detail="full").document["schema"]
    assert schema == command_line(root, "schema", "train")
    searched = call("read_report", job=train, detail="full").document["report"]
    assert _without_next(searched) == _without_next(command_line(root, "automl", "show", train))
    planned = call("plan", action="train", overrides=overrides, trials=2, key=None, detail="full").document
    printed = command_line(root, "run", "train", *overrides, "--trials", "2", "--dry-run")
    for document in (planned, printed):
        document["plan"]["job_id"] = document["plan"]["results_dir"] = document["plan"]["spec"]["results_dir"] = ""
        document["plan"]["inferred"].pop("results_dir")
    assert _without_next(planned) == _without_next(printed)


def _without_next(document: Any) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "next" and value is not None}


def test_short_answers_are_parts_of_the_full_ones(transcript: Transcript, call: Call) -> None:
    for answer in answers(transcript).values():
        full = call("job_status", job=answer["job"]["id"], detail="full").document
        assert answer["job"].items() <= full["job"].items()
        assert {one["kind"] for one in answer.get("artifacts", [])} <= {one["kind"] for one in full["artifacts"]}


def test_reports_tell_what_each_job_found(transcript: Transcript, call: Call) -> None:
    jobs = {action: answer["job"]["id"] for action, answer in answers(transcript).items()}
    search = call("read_report", job=jobs["train"]).document["report"]
    assert search["trials"] == 2
    assert search["winner"]["sentence"]
    scored = call("read_report", job=jobs["evaluate"]).document["report"]
    whole = call("read_report", job=jobs["evaluate"], detail="full").document["report"]
    assert scored["accuracy"] == pytest.approx(whole["accuracy"], rel=1e-3)
    wrong = sum(map(sum, whole["confusion_matrix"])) - sum(row[i] for i, row in enumerate(whole["confusion_matrix"]))
    assert sum(count for *_, count in scored["confusions"]) == wrong
    predicted = call("read_report", job=jobs["inference"]).document["report"]["predicted"]
    assert sum(predicted.values()) == 6
    exported = call("read_report", job=jobs["export"]).document["report"]
    assert exported["artifacts"][0]["kind"] == "onnx"


def test_the_same_key_is_the_same_job_and_another_request_is_refused(transcript: Transcript, call: Call) -> None:
    _, arguments, started = transcript[1]
    again = call("run_action", **arguments)
    assert again.document["job"] == {**started["job"], "state": "COMPLETE"}
    other = call("run_action", **arguments | {"overrides": [*arguments["overrides"], "lr=0.03"]})
    assert other.document["error"]["code"] == "key_conflict"
    assert "use key workflow-2" in other.document["error"]["fix"]


def test_the_record_has_the_call_as_a_command(transcript: Transcript, root: Path) -> None:
    started = transcript[1][2]
    record = json.loads((root / "results" / started["job"]["id"] / "job.json").read_text())
    assert record["command"][:3] == ["tao-skill", "run", "train"]
    assert record["command"][-6:] == ["--trials", "2", "--min-epochs", "1", "--key", "workflow"]
    again = CliRunner().invoke(
        tao_skill, [*record["command"][1:], "--dry-run", "--json"], env={"TAO_SKILL_RESULTS": str(root / "results")}
    )
    assert again.exit_code == 0


@pytest.mark.parametrize("action", ["dataset_convert", "train"])
def test_the_call_proposed_for_an_action_asks_for_what_it_needs(call: Call, action: str) -> None:
    described = call("describe_action", action=action).document
    refused = call("plan", **proposed(described, "plan")).document["error"]
    assert refused["code"] == "bad_spec"
    assert all(fix.startswith("set ") and fix.endswith("=...") for fix in refused["fix"].split("; ")), refused


def test_what_is_added_to_a_proposed_training_counts(call: Call, root: Path) -> None:
    data = root / "data"
    inspected = call("inspect_data", data=str(data / "train_data.npy"), labels=str(data / "train_label.pkl"))
    proposed_call = proposed(inspected.document, "run_action")
    planned = call("plan", **proposed_call | {"overrides": [*proposed_call["overrides"], "lr=0.5"]}, detail="full")
    assert planned.document["plan"]["spec"]["train"]["optim"]["lr"] == 0.5


def test_a_failed_job_says_why_and_what_to_do(call: Call, root: Path, overrides: list[str]) -> None:
    torch.save({"state_dict": {}}, root / "wrong.pth")
    asked = [*overrides, f"pretrained_model={root / 'wrong.pth'}"]
    ended = call("run_action", action="train", automl="off", overrides=asked, wait_s=300).document
    assert ended["job"]["state"] == "ERROR"
    assert "other tensors than the network" in ended["error"]["message"]
    assert "tao-skill" not in ended["error"]["fix"]
    assert ended["next"][0]["tool"] == "job_logs"


def test_a_running_job_is_seen_and_canceled(call: Call, overrides: list[str]) -> None:
    started = call("run_action", action="train", automl="off", overrides=[*overrides, "epochs=900"]).document
    job = started["job"]["id"]
    waited = call("wait_for_job", job=job, timeout_s=1).document
    assert waited["job"]["state"] in ("PENDING", "RUNNING")
    assert call("cancel_job", job=job).document["job"]["state"] == "CANCELED"
    assert call("cancel_job", job=job).document["error"]["code"] == "bad_state"


def test_a_dead_worker_is_recorded_with_its_signal(call: Call, here: Any, overrides: list[str]) -> None:
    job = call("run_action", action="train", automl="off", overrides=[*overrides, "epochs=900"]).document["job"]["id"]
    here.processes[job].kill()
    here.processes[job].wait()
    told = call("job_status", job=job).document
    assert told["error"]["code"] == "process_died"
    assert "SIGKILL" in told["error"]["message"]
