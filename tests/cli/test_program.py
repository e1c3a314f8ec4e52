"""The program: its help, exit codes and completion, and what each start loads."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import click
import pytest

from tao_skill.cli import program
from tao_skill.jobs.record import Ending, Job, new_id, timestamp
from tao_skill.jobs.store import Store
from tests.support.command_line import TAO_SKILL
from tests.support.experiments import dataset_overrides

COLOURED = "\x1b[31mno space left\x1b[0m"
LIBRARIES = {"click", "filelock", "jsonschema", "numpy", "psutil", "torch", "yaml"}


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
    "list": (["list"], 0),
    "show": (["show", "latest:train"], 0),
    "an error with colours": (["show", "export"], 0),
    "a canceled one": (["show", "evaluate"], 0),
    "a damaged record": (["show", "train-damaged"], 2),
    "no such job": (["show", "absent"], 3),
    "several": (["show", "e"], 2),
    "a job that is no text": (["show", "\udcff"], 2),
    "an empty job": (["show", ""], 2),
    "an unknown option": (["list", "--absent"], 2),
    "too many jobs": (["show", "latest", "export"], 2),
    "a root that is a file": (["list", "--results-root", "{root}/train-damaged/job.json"], 2),
    "an absent root": (["list", "--results-root", "{root}/none"], 0),
}


@pytest.mark.parametrize(("words", "code"), CALLS.values(), ids=CALLS)
def test_a_call_has_its_code_and_with_json_one_document(
    words: list[str], code: int, root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["jobs", *(word.format(root=root) for word in words)]
    assert program.run(words) == code
    text = capfd.readouterr()
    assert text.out if code == 0 else text.err
    assert "\x1b" not in text.out + text.err
    assert program.run([*words, "--json"]) == code
    document = json.loads(capfd.readouterr().out)
    assert ("error" in document) == (code != 0 or "export" in words)


def test_the_help_lists_every_command_and_leads_to_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    assert program.run(["-h"]) == 0
    text = capfd.readouterr().out
    for name in program.COMMANDS:
        assert f"\n  {name} " in text
        assert program.run([name, "--help"]) == 0
        assert f"tao-skill {name}" in capfd.readouterr().out


def every_command(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield words
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from every_command(child, (*words, name))


def test_every_help_fits_80_columns_and_no_summary_is_cut(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for words in every_command(program.tao_skill):
        assert program.run([*words, "--help"]) == 0
        text = capfd.readouterr().out
        assert [line for line in text.splitlines() if len(line) > 80] == [], words
        assert not re.search(r"^  \w+ +.*\.\.\.$", text.partition("\nCommands:")[2], re.MULTILINE), words


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


@pytest.mark.parametrize("words", [["--help"], ["jobs", "list"], ["jobs", "show", "latest:train"]], ids=" ".join)
def test_help_and_job_queries_load_no_library_and_no_parameters(words: list[str], root: Path) -> None:
    modules = loaded(words)
    assert modules & LIBRARIES == {"click"}
    assert "tao_skill.models.pose_classification.config" not in modules


def test_a_dry_run_of_a_direct_training_on_plain_data_does_not_load_numpy(tiny: Path, tmp_path: Path) -> None:
    facts = dataset_overrides(tiny)
    modules = loaded(["run", "train", *facts, "--automl", "off", "--dry-run"], {"TAO_SKILL_RESULTS": str(tmp_path)})
    assert modules & LIBRARIES == {"click", "jsonschema", "yaml"}
    assert not own(modules) & {"tao_skill.cli.jobs", "tao_skill.jobs.launch", "tao_skill.io.s3_cache"}


def test_a_command_loads_no_other() -> None:
    modules = own(loaded(["completion", "bash"]))
    assert {name.removeprefix("tao_skill.cli.") for name in modules if name.startswith("tao_skill.cli.")} == {
        "completion",
        "program",
        "terminal",
        "terminal.options",
        "terminal.output",
    }
