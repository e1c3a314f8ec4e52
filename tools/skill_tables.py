"""Read and validate the two tables in SKILL.md from which runners are generated."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tao_skill.model import Model
from tao_skill.spec.param import REQUIRED
from tao_skill.spec.tree import iter_params

DATA: Final = "Per-Action Dataset Requirements"
INFERENCE: Final = "Spec Param / Parent Model Inference"
COLUMNS: Final = {
    DATA: ("Action", "Spec key", "Files", "Required", "From parent"),
    INFERENCE: ("Action", "Spec key", "Function"),
}
EVERY: Final = "every"
YES_NO: Final = {"yes": True, "no": False}


class TableError(Exception):
    """A table has an unknown name or is malformed; the message has file and line."""


@dataclass(frozen=True, kw_only=True)
class DataRow:
    """A file that an action reads."""

    key: str
    files: tuple[str, ...]
    required: bool
    from_parent: str | None


@dataclass(frozen=True, kw_only=True)
class ActionTable:
    """The rows of both tables for an action."""

    data: tuple[DataRow, ...]
    inference: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class _Row:
    """The cells of a table row, and `file:line` for messages."""

    location: str
    cells: tuple[str, ...]


def read_tables(path: Path, model: Model, functions: Collection[str]) -> dict[str, ActionTable]:
    """Read both tables, by action, in the order of the model's actions.

    Raises:
        TableError: a name does not exist, or a required parameter has no row.
    """
    text = path.read_text(encoding="utf-8")
    data, inference = (list(_rows(text, path.name, heading)) for heading in (DATA, INFERENCE))
    for row in [*data, *inference]:
        _check_name(row, "action", row.cells[0], [*model.actions, EVERY])
    tables = {}
    for action in model.actions:
        table = ActionTable(
            data=tuple(_data_row(row, model, action) for row in data if row.cells[0] in (action, EVERY)),
            inference=dict(
                _inference(row, model, action, functions) for row in inference if row.cells[0] in (action, EVERY)
            ),
        )
        _check_complete(path.name, model, action, table)
        _check_file_counts(path.name, action, table)
        tables[action] = table
    return tables


def _rows(text: str, name: str, heading: str) -> Iterator[_Row]:
    lines = text.splitlines()
    if f"## {heading}" not in lines:
        raise TableError(f"{name}: no section {heading!r}")
    in_table = False
    for number, line in enumerate(lines[lines.index(f"## {heading}") + 1 :], start=lines.index(f"## {heading}") + 2):
        if line.startswith("## "):
            break
        if not line.startswith("|"):
            continue
        row = _Row(location=f"{name}:{number}", cells=tuple(cell.strip() for cell in line.strip("|").split("|")))
        if not in_table and row.cells != COLUMNS[heading]:
            raise TableError(f"{row.location}: columns are {row.cells}, expected {COLUMNS[heading]}")
        if len(row.cells) != len(COLUMNS[heading]):
            raise TableError(f"{row.location}: {len(row.cells)} cells, expected {len(COLUMNS[heading])}")
        if in_table and set(line) - set("|-: "):
            yield row
        in_table = True
    if not in_table:
        raise TableError(f"{name}: no table in section {heading!r}")


def _data_row(row: _Row, model: Model, action: str) -> DataRow:
    _, key, files, required, from_parent = row.cells
    leaves = {leaf.key: leaf for leaf in iter_params(model.config, action)}
    _check_name(row, f"spec key of {action}", key, leaves)
    _check_name(row, "Required value", required, YES_NO)
    if YES_NO[required] != (leaves[key].default == REQUIRED):
        raise TableError(f"{row.location}: Required of {key} is {required}, but the config differs")
    parent = None if from_parent in ("", "-") else from_parent
    if parent is not None:
        _check_name(row, "spec key of a parent", parent, [leaf.key for leaf in iter_params(model.config)])
    names = tuple(name.strip() for name in files.split(",") if name.strip())
    return DataRow(key=key, files=names, required=YES_NO[required], from_parent=parent)


def _inference(row: _Row, model: Model, action: str, functions: Collection[str]) -> tuple[str, str]:
    _, key, function = row.cells
    _check_name(row, f"spec key of {action}", key, [leaf.key for leaf in iter_params(model.config, action)])
    _check_name(row, "inference function", function, functions)
    return key, function


def _check_name(row: _Row, kind: str, name: str, accepted: Collection[str]) -> None:
    if name not in accepted:
        options = f"; accepted: {', '.join(accepted)}" if len(accepted) < 12 else ""
        raise TableError(f"{row.location}: {name!r} is not a known {kind}{options}")


def _check_file_counts(name: str, action: str, table: ActionTable) -> None:
    """The keys of a section must have the same number of files, which are paired by position."""
    counts: dict[str, int] = {}
    for row in table.data:
        if counts.setdefault(row.key.rpartition(".")[0], len(row.files)) != len(row.files):
            raise TableError(
                f"{name}: {row.key} of {action} has a different number of files than other keys of its section"
            )


def _check_complete(name: str, model: Model, action: str, table: ActionTable) -> None:
    described = {row.key for row in table.data} | set(table.inference)
    for leaf in iter_params(model.config, action):
        if leaf.default == REQUIRED and leaf.key not in described:
            raise TableError(f"{name}: {leaf.key} is required by {action} and is in neither table")
