"""The two tables of a SKILL.md that runners are made from, read and checked name by name."""

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
    """A table names something that does not exist; the message says file, line and name."""


@dataclass(frozen=True, kw_only=True)
class DataRow:
    """One file an action reads."""

    key: str
    files: tuple[str, ...]
    required: bool
    from_parent: str | None


@dataclass(frozen=True, kw_only=True)
class ActionTable:
    """What both tables say of one action."""

    data: tuple[DataRow, ...]
    inference: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class _Row:
    """Cells of one table line, and `path:line` for messages."""

    where: str
    cells: tuple[str, ...]


def read_tables(path: Path, model: Model, functions: Collection[str]) -> dict[str, ActionTable]:
    """Both tables, by action, in the order of the model's actions.

    Raises:
        TableError: a name in a table does not exist, or a required parameter is in no row.
    """
    text = path.read_text(encoding="utf-8")
    data, inference = (list(_rows(text, path.name, heading)) for heading in (DATA, INFERENCE))
    for row in [*data, *inference]:
        _known(row, "action", row.cells[0], [*model.actions, EVERY])
    tables = {}
    for action in model.actions:
        table = ActionTable(
            data=tuple(_data_row(row, model, action) for row in data if row.cells[0] in (action, EVERY)),
            inference=dict(
                _inference(row, model, action, functions) for row in inference if row.cells[0] in (action, EVERY)
            ),
        )
        _complete(path.name, model, action, table)
        _paired(path.name, action, table)
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
        row = _Row(where=f"{name}:{number}", cells=tuple(cell.strip() for cell in line.strip("|").split("|")))
        if not in_table and row.cells != COLUMNS[heading]:
            raise TableError(f"{row.where}: columns are {row.cells}, expected {COLUMNS[heading]}")
        if len(row.cells) != len(COLUMNS[heading]):
            raise TableError(f"{row.where}: {len(row.cells)} cells, expected {len(COLUMNS[heading])}")
        if in_table and set(line) - set("|-: "):
            yield row
        in_table = True
    if not in_table:
        raise TableError(f"{name}: no table in section {heading!r}")


def _data_row(row: _Row, model: Model, action: str) -> DataRow:
    _, key, files, required, from_parent = row.cells
    leaves = {leaf.key: leaf for leaf in iter_params(model.config, action)}
    _known(row, f"spec key of {action}", key, leaves)
    _known(row, "Required value", required, YES_NO)
    if YES_NO[required] != (leaves[key].default == REQUIRED):
        raise TableError(f"{row.where}: Required of {key} is {required}, the config says otherwise")
    parent = None if from_parent in ("", "-") else from_parent
    if parent is not None:
        _known(row, "spec key of a parent", parent, [leaf.key for leaf in iter_params(model.config)])
    names = tuple(name.strip() for name in files.split(",") if name.strip())
    return DataRow(key=key, files=names, required=YES_NO[required], from_parent=parent)


def _inference(row: _Row, model: Model, action: str, functions: Collection[str]) -> tuple[str, str]:
    _, key, function = row.cells
    _known(row, f"spec key of {action}", key, [leaf.key for leaf in iter_params(model.config, action)])
    _known(row, "inference function", function, functions)
    return key, function


def _known(row: _Row, kind: str, name: str, accepted: Collection[str]) -> None:
    if name not in accepted:
        shown = f"; accepted: {', '.join(accepted)}" if len(accepted) < 12 else ""
        raise TableError(f"{row.where}: {name!r} is no {kind}{shown}")


def _paired(name: str, action: str, table: ActionTable) -> None:
    """Files of one section go together by position, so each key has as many names."""
    counts: dict[str, int] = {}
    for row in table.data:
        if counts.setdefault(row.key.rpartition(".")[0], len(row.files)) != len(row.files):
            raise TableError(f"{name}: {row.key} of {action} has another number of files than the key it goes with")


def _complete(name: str, model: Model, action: str, table: ActionTable) -> None:
    described = {row.key for row in table.data} | set(table.inference)
    for leaf in iter_params(model.config, action):
        if leaf.default == REQUIRED and leaf.key not in described:
            raise TableError(f"{name}: {leaf.key} is required by {action} and is in neither table")
