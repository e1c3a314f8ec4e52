"""`tao-skill data`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from tao_skill.cli.output import emit, json_option
from tao_skill.models import get_model

_FILE = click.Path(path_type=Path)


@click.group()
def data() -> None:
    """Make sample data, look at data."""


@data.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder to write to.")
@click.option("-m", "--model", help="Model; the only one when not given.")
@json_option
def sample(out: Path, model: str | None, as_json: bool) -> None:
    """Write a generated, labelled data set and a spec file for it."""
    described = get_model(model).write_sample(out.absolute())
    emit(described, _text(described), as_json=as_json)


@data.command()
@click.argument("data_path", metavar="DATA.npy", type=_FILE)
@click.argument("label_path", metavar="[LABEL.pkl]", type=_FILE, required=False)
@click.option("--other", type=_FILE, help="Another split, to look for duplicates across the two.")
@click.option("--other-labels", type=_FILE, help="Labels of the other split.")
@click.option("-m", "--model", help="Model; the only one when not given.")
@json_option
def inspect(
    data_path: Path,
    label_path: Path | None,
    other: Path | None,
    other_labels: Path | None,
    model: str | None,
    as_json: bool,
) -> None:
    """Describe sequences and labels, and warn of what will go badly."""
    described = get_model(model).inspect_data(data_path, label_path, other, other_labels)
    emit(described, _text(described), as_json=as_json)


def _text(described: Mapping[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(dict(described), sort_keys=False, allow_unicode=True, default_flow_style=None).rstrip()
