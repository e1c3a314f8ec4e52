"""`tao-skill skills`: copies are whole, are never overwritten unasked, and a second call changes nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import skills_ref
from click.testing import CliRunner

from tao_skill.cli.program import tao_skill
from tao_skill.cli.terminal.options import run_command
from tao_skill.errors import BadRequest, CannotWrite, NotFound
from tao_skill.skills import AGENT_FOLDERS, get_skills, install_skills, list_skills, replace_folder
from tests.support.folders import REPOSITORY

NAMES = sorted(path.parent.name for path in (REPOSITORY / "skills").glob("*/SKILL.md"))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def call_json(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    code = run_command(tao_skill, "tao-skill", ["skills", *words, "--json"])
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, document


def test_the_list_has_every_skill_with_its_description() -> None:
    assert [skill.name for skill in list_skills()] == NAMES
    shown = CliRunner().invoke(tao_skill, ["skills", "list"]).output
    assert all(skill.name in shown and skill.description in shown for skill in list_skills())


def test_show_prints_the_skill_and_as_json_its_files(capsys: pytest.CaptureFixture[str]) -> None:
    text = (REPOSITORY / "skills" / NAMES[0] / "SKILL.md").read_text("utf-8")
    assert CliRunner().invoke(tao_skill, ["skills", "show", NAMES[0]]).stdout == text
    code, document = call_json(capsys, "show", NAMES[0])
    assert (code, document["text"]) == (0, text)
    assert document["files"] == sorted(contents(REPOSITORY / "skills" / NAMES[0]))


def test_an_unknown_skill_is_not_found_and_the_known_ones_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    code, document = call_json(capsys, "show", "tao-fly")
    assert (code, document["error"]["code"]) == (3, "not_found")
    assert all(name in document["error"]["fix"] for name in NAMES)


@pytest.mark.parametrize("agent", AGENT_FOLDERS)
def test_a_project_gets_valid_copies_where_its_agent_looks(
    agent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, document = call_json(capsys, "install", "--agent", agent)
    folder = tmp_path / AGENT_FOLDERS[agent]
    assert (code, Path(document["folder"])) == (0, folder)
    assert [(one["name"], one["state"]) for one in document["skills"]] == [(name, "installed") for name in NAMES]
    assert sorted(path.name for path in folder.iterdir()) == NAMES
    for name in NAMES:
        assert contents(folder / name) == contents(REPOSITORY / "skills" / name)
        assert skills_ref.validate(folder / name) == []


def test_only_the_named_skills_are_installed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call_json(capsys, "install", NAMES[1], "--to", str(tmp_path / "to"))
    assert [path.name for path in (tmp_path / "to").iterdir()] == [NAMES[1]]


def test_a_second_install_touches_nothing(tmp_path: Path) -> None:
    skills = list_skills()
    install_skills(skills, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert {one["state"] for one in install_skills(skills, tmp_path, force=True)} == {"unchanged"}
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_folder_that_differs_is_refused_file_by_file_and_replaced_by_force(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install_skills(get_skills([NAMES[0]]), tmp_path)
    copy = tmp_path / NAMES[0]
    (copy / "SKILL.md").write_text("mine")
    (copy / "notes.md").write_text("mine")
    (copy / "references" / "formats.md").unlink()
    before = contents(tmp_path)
    code, document = call_json(capsys, "install", "--to", str(tmp_path))
    message = document["error"]["message"]
    assert (code, document["error"]["code"]) == (2, "bad_request")
    assert "references/formats.md is missing, SKILL.md is changed, notes.md is extra" in message
    assert contents(tmp_path) == before, "a skill that could have been installed has been, beside one that was refused"
    code, document = call_json(capsys, "install", "--to", str(tmp_path), "--force")
    assert [one["state"] for one in document["skills"]] == ["replaced", "installed", "installed"]
    assert contents(copy) == contents(REPOSITORY / "skills" / NAMES[0])
    assert sorted(path.name for path in tmp_path.iterdir()) == NAMES, "nothing temporary is left"


def test_a_file_or_a_dead_link_in_the_place_is_refused_and_replaced_by_force(tmp_path: Path) -> None:
    skills = get_skills(NAMES[:2])
    (tmp_path / NAMES[0]).write_text("a file")
    (tmp_path / NAMES[1]).symlink_to(tmp_path / "nowhere")
    with pytest.raises(BadRequest, match="it is not a directory"):
        install_skills(skills, tmp_path)
    install_skills(skills, tmp_path, force=True)
    assert all((tmp_path / name / "SKILL.md").is_file() for name in NAMES[:2])


def test_a_link_to_the_skill_itself_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / NAMES[0]).symlink_to(REPOSITORY / "skills" / NAMES[0])
    (done,) = install_skills(get_skills([NAMES[0]]), tmp_path)
    assert done["state"] == "unchanged"
    assert (tmp_path / NAMES[0]).is_symlink()


def test_a_copy_that_fails_leaves_the_old_folder_whole(tmp_path: Path) -> None:
    (skill,) = get_skills([NAMES[0]])
    install_skills([skill], tmp_path)
    (tmp_path / NAMES[0] / "SKILL.md").write_text("mine")
    before = contents(tmp_path)
    torn = tmp_path.parent / f"{tmp_path.name}-torn"
    torn.mkdir()
    (torn / "SKILL.md").write_text(skill.text)
    (torn / "broken").symlink_to(torn / "nowhere")
    with pytest.raises(CannotWrite):
        replace_folder(tmp_path / NAMES[0], torn)
    assert contents(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == [NAMES[0]]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(CannotWrite, match="cannot be written"):
        install_skills(list_skills(), tmp_path / "to")


def test_a_file_where_the_folder_should_be_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    code, document = call_json(capsys, "install", "--to", str(tmp_path / "file" / "to"))
    assert (code, document["error"]["code"]) == (2, "cannot_write")


@pytest.mark.parametrize("words", [[], ["--to", "somewhere", "--agent", "claude"]])
def test_one_place_must_be_named(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, document = call_json(capsys, "install", *words)
    assert code == 2
    assert document["error"]["fix"] == "give either --to DIRECTORY or --agent NAME"


def test_a_skill_without_a_description_is_named(tmp_path: Path) -> None:
    (tmp_path / "schemas").mkdir()
    (tmp_path / "skills" / "bare").mkdir(parents=True)
    (tmp_path / "skills" / "bare" / "SKILL.md").write_text("---\nname: bare\n---\n")
    with pytest.raises(NotFound, match=r"bare/SKILL\.md has no name and description"):
        list_skills(tmp_path)
