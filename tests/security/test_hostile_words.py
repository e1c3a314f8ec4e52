"""Hostile names and values, in every place that takes one: nothing leaves its folder, and nothing reaches a shell."""

from __future__ import annotations

import ast
import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from tao_skill.agent_tools.context import ToolContext
from tao_skill.agent_tools.dispatch import reply
from tao_skill.agent_tools.roots import Roots
from tao_skill.cli.program import tao_skill
from tao_skill.cli.terminal.options import run_command
from tao_skill.errors import BadRequest, JobFailed, NotFound, TaoSkillError
from tao_skill.jobs import launch
from tao_skill.jobs.record import Job
from tao_skill.jobs.store import Store
from tests.support.experiments import dataset_overrides
from tests.support.folders import REPOSITORY

LEAVING = (
    "../x",
    "/etc/passwd",
    "..",
    "a/../../x",
    "..\\x",
    "\u2025/x",
    "\uff0e\uff0e/x",
    "%2e%2e/x",
    "~root",
    ".hidden",
)
HALF = '"\\ud800"'
ODD = (HALF, "x" * 300, "x" * 70_000, "", " ", "-rf", "a\nb", "\x1b[31m", "latest:../x", "\udcff", "\ud800")
SHELL = ("$(touch X)", "`touch X`", "; touch X", "| touch X", "&& touch X", "a\ntouch X\n", "' ; touch X ; '", "$IFS")
NUL = "a\0b"

PLACES = {
    "parent": "run evaluate --parent {}",
    "show": "jobs show {}",
    "logs": "jobs logs {}",
    "cancel": "jobs cancel {}",
    "resume": "automl resume {}",
    "report": "automl show {}",
    "worker": "automl worker --job {}",
    "action": "run {}",
    "model": "run train DATA -m {} --dry-run",
    "skill": "skills show {}",
    "install": "skills install {} --to skills",
    "weights": "run train DATA --base-experiment {} --dry-run",
    "key": "run train DATA --key {} --dry-run",
    "request": "run train DATA --request {} --dry-run",
    "spec": "run train -e {} --dry-run",
    "storage": "run train DATA --storage {} --dry-run",
    "search": "run train DATA --search {} --dry-run",
    "upload": "run train DATA --upload {} --dry-run",
    "name of a key": "run train DATA {}=1 --dry-run",
    "model name": "run train DATA model_name={} --dry-run",
    "results": "run train DATA train.results_dir={} --dry-run",
    "data": "run train train_data={} --dry-run",
    "inspect": "data inspect {}",
    "schema": "schema {}",
    "template": "template {}",
}
IDENTIFIERS = (
    "parent",
    "show",
    "logs",
    "cancel",
    "resume",
    "report",
    "worker",
    "action",
    "skill",
    "install",
    "weights",
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAO_SKILL_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("TAO_SKILL_PRETRAINED", str(tmp_path / "pretrained"))
    return tmp_path


def run(command: str, word: str, tiny: Path) -> tuple[int, str, str]:
    pairs = dataset_overrides(tiny)
    words: list[str] = []
    for part in command.split():
        words += pairs if part == "DATA" else [part.replace("{}", word)]
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run_command(tao_skill, "tao-skill", words)
    return code, out.getvalue(), err.getvalue()


@pytest.mark.parametrize("place", PLACES)
def test_no_word_of_a_command_leaves_a_trace_or_a_traceback(place: str, folder: Path, tiny: Path) -> None:
    for word in (*LEAVING, *ODD, *SHELL):
        code, out, err = run(PLACES[place], word, tiny)
        if place in IDENTIFIERS:
            assert code in (2, 3), (word[:80], out, err)
        assert code in (0, 2, 3, 4), (word[:80], out, err)
        assert "root:x:0" not in out + err
        assert "\x1b" not in out
    assert list(folder.iterdir()) == []


def test_a_job_reference_with_a_zero_byte_is_no_job(folder: Path) -> None:
    for ref in (NUL, f"latest:{NUL}", f"train-{NUL}"):
        with pytest.raises(TaoSkillError):
            Store(folder / "results").get(ref)


def test_a_linked_job_folder_is_no_job(folder: Path) -> None:
    """Its record, its log and its results would be somewhere else."""
    elsewhere, root = folder / "elsewhere", folder / "results"
    store = Store(root)
    facts = {"model": "pose_classification", "action": "train", "results_dir": str(elsewhere)}
    job, _ = store.open(Job(id="train-1", created="2026-01-01T00:00:00.000000+00:00", **facts))
    (root / "train-1").rename(elsewhere)
    (root / "train-1").symlink_to(elsewhere)
    with pytest.raises(NotFound):
        store.get("train-1")
    assert list(store.newest()) == []
    with pytest.raises(TaoSkillError):
        store.open(job)


def test_a_log_that_is_a_link_is_not_written_through(folder: Path) -> None:
    victim, store = folder / "profile", Store(folder / "results")
    victim.write_text("mine\n")
    facts = {"model": "pose_classification", "action": "train", "results_dir": str(folder / "results" / "train-1")}
    job, _ = store.open(Job(id="train-1", created="2026-01-01T00:00:00.000000+00:00", **facts))
    store.log_path(job.id).symlink_to(victim)
    with pytest.raises(JobFailed, match=r"log\.txt"):
        launch.start(store, job, {})
    assert victim.read_text() == "mine\n"


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "..", NUL, "a\n", "\uff0e\uff0e", "x/", "-x", ".new-1"])
def test_no_id_is_a_way_out_of_the_results_root(name: str, folder: Path) -> None:
    with pytest.raises(BadRequest):
        Store(folder).folder(name)


ARGUMENTS: dict[str, list[dict[str, Any]]] = {
    "describe_action": [{"action": "{}"}, {"action": "train", "model": "{}"}],
    "inspect_data": [{"data": "{}"}, {"data": "data/train_data.npy", "labels": "{}"}],
    "plan": [
        {"action": "{}"},
        {"action": "train", "spec": "{}"},
        {"action": "train", "request": "{}", "overrides": "DATA"},
        {"action": "train", "base_experiment": "{}", "overrides": "DATA"},
        {"action": "train", "search": ["{}"], "overrides": "DATA"},
        {"action": "evaluate", "parent": "{}"},
        {"action": "train", "overrides": ["model_name={}"]},
        {"action": "train", "overrides": ["train.results_dir={}"]},
        {"action": "train", "overrides": ["{}"]},
    ],
    **{name: [{"job": "{}"}] for name in ("job_status", "wait_for_job", "job_logs", "cancel_job", "read_report")},
    "{}": [{}],
}


def filled(value: Any, word: str, data: list[str]) -> Any:
    if value == "DATA":
        return data
    if isinstance(value, dict):
        return {name: filled(one, word, data) for name, one in value.items()}
    return [filled(one, word, data) for one in value] if isinstance(value, list) else value.replace("{}", word)


def test_no_argument_of_a_tool_leaves_the_roots_or_breaks_it(folder: Path, tiny: Path) -> None:
    here = ToolContext(roots=Roots(folders=(folder,)), results_root=folder / "results", environment=os.environ)
    data = dataset_overrides(tiny)
    for word in (*LEAVING, *ODD, *SHELL, NUL):
        for name, calls in ARGUMENTS.items():
            for arguments in calls:
                answered = reply(filled(name, word, data), filled(arguments, word, data), here)
                assert set(answered.document) & {"error", "next"}
                json.loads(answered.text.encode("utf-8"))
                assert "root:x:0" not in answered.text
    assert list(folder.iterdir()) == []


def test_nothing_of_ours_calls_a_shell_or_evaluates_text() -> None:
    forbidden = {"eval", "exec", "os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}
    for path in (REPOSITORY / "core").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                assert ast.unparse(node.func) not in forbidden, f"{path}:{node.lineno}"
                assert not any(one.arg == "shell" for one in node.keywords), f"{path}:{node.lineno}"


def test_a_job_that_really_runs_hands_no_value_to_a_shell(folder: Path, tiny: Path) -> None:
    """Names of keys, requests and models, in a real process that fails late, after it has looked at all of them."""
    bait = folder / "bait"
    for word in ("$(touch bait)", "`touch bait`", "x; touch bait; #", "x\ntouch bait\n"):
        checkpoint = folder / f"{word.replace('/', '')}.pth"
        checkpoint.write_bytes(b"no checkpoint")
        words = ["run", "export", "--key", word, "--request", word, f"model_name={json.dumps(word)}"]
        words += [f"export.checkpoint={json.dumps(str(checkpoint))}", f"encryption_key={json.dumps(word)}", "--json"]
        command = [sys.executable, "-P", "-m", "tao_skill", *words]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode in (1, 2), done.stdout + done.stderr
        assert not bait.exists()
    assert any((folder / "results").glob("export-*/log.txt"))


def test_no_module_is_taken_from_the_folder_that_a_job_is_started_in(folder: Path) -> None:
    """A folder of data may hold anything, and so may the one that a server works in."""
    for name in ("tao_skill", "torch", "numpy", "json", "filelock", "random", "psutil"):
        (folder / f"{name}.py").write_text(f"open({str(folder / 'ran')!r}, 'w').write({name!r})\nraise SystemExit(9)\n")
    program = Path(sys.executable).with_name("tao-skill")
    start = "import sys; sys.path.pop(0); from tao_skill.cli import main; main()"
    begin = [str(program)] if program.exists() else [sys.executable, "-P", "-c", start]
    (folder / "x.pth").write_bytes(b"no checkpoint")
    done = subprocess.run(
        [*begin, "run", "export", "export.checkpoint=x.pth", "--json"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "job" in json.loads(done.stdout), done.stdout + done.stderr
    assert not (folder / "ran").exists()
