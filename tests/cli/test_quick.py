"""What is answered before click is loaded is what click would have said; and what each start loads."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import pytest

from tao_skill.cli import program, quick
from tao_skill.jobs.record import Ending, Job, new_id, timestamp
from tao_skill.jobs.store import Store
from tests.cli.test_flow import TAO_SKILL
from tests.conftest import dataset

COLOURED = "\x1b[31mno space left\x1b[0m"
NUMPY_AND_ALL = {"click", "filelock", "jsonschema", "numpy", "psutil", "torch", "yaml"}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root, the usual one, with a job of each kind that is shown in its own way."""
    monkeypatch.setenv("TAO_SKILL_RESULTS", str(tmp_path / "results"))
    store = Store(tmp_path / "results")
    endings = {
        "train": Ending(state="COMPLETE", exit_code=0, metrics={"val_acc": 0.5, "val_loss": None}),
        "export": Ending(state="ERROR", exit_code=1, error={"code": "x", "message": COLOURED, "fix": "fr\u00e9e some"}),
        "evaluate": Ending(state="CANCELED", exit_code=130),
    }
    for minute, (action, ending) in enumerate(endings.items()):
        now = datetime(2026, 11, 21, 4, minute, tzinfo=UTC)
        job = Job(
            id=new_id(action, now=now, token="1a2b"),
            model="pose_classification",
            action=action,
            route={"policy": "off", "route": "direct", "reason": "policy off"},
            results_dir=str(store.root),
            created=timestamp(now),
        )
        opened, _ = store.open(replace(job, upload="s3://bucket/prefix") if action == "train" else job)
        store.begin_attempt(opened.id, 1)
        store.close_attempt(opened.id, 1, ending)
    damaged = store.root / "train-damaged"
    damaged.mkdir()
    (damaged / "job.json").write_text("{")
    return store.root


CALLS = {
    "list": ["jobs", "list"],
    "show": ["jobs", "show", "latest:train"],
    "an error with colours": ["jobs", "show", "export"],
    "a canceled one": ["jobs", "show", "evaluate"],
    "a damaged record": ["jobs", "show", "train-damaged"],
    "no such job": ["jobs", "show", "absent"],
    "several": ["jobs", "show", "e"],
    "a job that is no text": ["jobs", "show", "\udcff"],
    "an empty job": ["jobs", "show", ""],
}
OPTIONS = ([], ["--json"], ["--results-root", "{root}", "--json"], ["--json", "--results-root", "{root}/none"])


@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_jobs_are_told_as_click_tells_them(
    call: list[str], options: Sequence[str], root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = [*call, *(option.format(root=root) for option in options)]
    code = quick.answer(words)
    told = capfd.readouterr()
    assert (program.run(words), capfd.readouterr()) == (code, told)
    assert told.out or told.err
    assert "\x1b" not in told.out + told.err


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--version"],
        ["--help", "--json"],
        ["jobs"],
        ["jobs", "--help"],
        ["jobs", "list", "--limit", "3"],
        ["jobs", "list", "--help"],
        ["jobs", "list", "extra"],
        ["jobs", "list", "--results-root"],
        ["jobs", "list", "--results-root={root}"],
        ["jobs", "list", "--results-root", "{root}/export-20261121-040100-1a2b/job.json"],
        ["jobs", "show"],
        ["jobs", "show", "--json"],
        ["jobs", "show", "--json", "latest"],
        ["jobs", "show", "latest", "export"],
        ["jobs", "show", "latest", "--results-root", "--json", "{root}"],
    ],
)
def test_what_is_not_plain_is_left_to_click(words: list[str], root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert quick.answer([word.format(root=root) for word in words]) is None
    assert capfd.readouterr() == ("", "")


def test_what_a_shell_asks_is_left_to_click(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(quick.COMPLETION_VARIABLE, "bash_complete")
    assert quick.answer(["--help"]) is quick.answer(["jobs", "list"]) is None


@pytest.mark.parametrize("columns", ["", "80", "200", "wide"])
@pytest.mark.parametrize("word", ["-h", "--help"])
def test_the_help_is_what_click_prints(
    word: str, columns: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    code = quick.answer([word])
    told = capfd.readouterr()
    assert code == 0
    assert "Commands:" in told.out
    assert (program.run([word]), capfd.readouterr()) == (code, told)


def test_the_help_for_a_narrow_terminal_is_left_to_click(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert quick.answer(["--help"]) is None
    program.run(["--help"])
    assert max(map(len, capfd.readouterr().out.splitlines())) < 60


@pytest.mark.parametrize("words", [["--help"], ["jobs", "list"], ["jobs", "show", "latest:train"]], ids=" ".join)
def test_a_reader_that_hangs_up_is_no_error_worth_a_traceback(words: list[str], root: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*TAO_SKILL, *words], stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


def test_an_encoding_that_lacks_a_letter_is_mended_as_ever(root: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*TAO_SKILL, "jobs", "show", "export"], env=environment, capture_output=True, check=True)
    assert "fr\u00e9e some" in done.stdout.decode("utf-8")


def loaded(words: Sequence[str], environment: Mapping[str, str] = MappingProxyType({})) -> set[str]:
    """Modules that a call of the program has loaded at its end."""
    code = (
        "import sys\nfrom tao_skill.cli import main\n"
        f"try:\n    main({list(words)!r})\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "print(*sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    return set(done.stderr.splitlines()[-1].split())


def own(modules: set[str]) -> set[str]:
    return {name for name in modules if name.split(".")[0] == "tao_skill"}


def test_the_help_loads_next_to_nothing() -> None:
    modules = loaded(["--help"])
    assert not modules & {"click", "dataclasses", "json"}
    assert own(modules) == {"tao_skill", "tao_skill.cli", "tao_skill.cli.quick"}


@pytest.mark.parametrize("words", [["jobs", "list"], ["jobs", "show", "latest:train"]], ids=" ".join)
def test_looking_at_jobs_loads_no_library_and_no_parameters(words: list[str], root: Path) -> None:
    modules = loaded(words)
    assert not modules & {*NUMPY_AND_ALL, "hashlib", "socket", "subprocess", "tempfile"}
    assert "tao_skill.models.pose_classification.config" not in modules
    assert not {name for name in own(modules) if name.startswith(("tao_skill.automl", "tao_skill.spec"))}


def test_a_dry_run_on_plain_data_does_not_load_numpy(tiny: Path, tmp_path: Path) -> None:
    facts = [f"{key}={value}" for key, value in dataset(tiny).items()]
    modules = loaded(["run", "train", *facts, "--dry-run"], {"TAO_SKILL_RESULTS": str(tmp_path)})
    assert modules & NUMPY_AND_ALL == {"click", "jsonschema", "yaml"}
    assert not own(modules) & {"tao_skill.cli.jobs", "tao_skill.jobs.launch", "tao_skill.cache"}


def test_a_command_loads_no_other() -> None:
    modules = own(loaded(["completion", "bash"]))
    assert {name for name in modules if name.startswith("tao_skill.cli.")} == {
        f"tao_skill.cli.{name}" for name in ("completion", "options", "output", "program", "quick")
    }
