"""`tao-skill data`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import click

from tao_skill import bank
from tao_skill.cli.terminal.options import Decorated, json_option, model_option, param_option
from tao_skill.cli.terminal.output import emit
from tao_skill.errors import BadRequest
from tao_skill.model import TRAIN, Model
from tao_skill.models import MODELS, get_model
from tao_skill.outcome import ImportRequest
from tao_skill.spec.tree import children

_FILE: Final = click.Path(path_type=Path)


@click.group()
def data() -> None:
    """Generate sample data, import recordings, inspect data."""


@data.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder to write to.")
@model_option
@json_option
def sample(out: Path, model: str | None, as_json: bool) -> None:
    """Generate a labelled data set and a spec file for it."""
    described = get_model(model).write_sample(out.absolute())
    then = [["run", TRAIN, "-e", described["spec"], "--dry-run"]]
    emit(described, _text(described), as_json=as_json, then=then)


@data.command()
@click.argument("data_path", metavar="DATA.npy", type=_FILE)
@click.argument("label_path", metavar="[LABEL.pkl]", type=_FILE, required=False)
@click.option("--other", type=_FILE, help="Another split; sequences in both splits are reported.")
@click.option("--other-labels", type=_FILE, help="Labels of the other split.")
@model_option
@json_option
def inspect(
    data_path: Path,
    label_path: Path | None,
    other: Path | None,
    other_labels: Path | None,
    model: str | None,
    as_json: bool,
) -> None:
    """Describe sequences and labels, and warn of defects."""
    chosen = get_model(model)
    report = chosen.inspect_data(data_path, label_path, other, other_labels)
    paths = [str(path) if path else None for path in (label_path, other, other_labels)]
    short = bank.short_keys(chosen.name)
    files = chosen.training_data(str(data_path), *paths)
    overrides = [f"{short.get(key, key)}={path}" for key, path in files.items()]
    emit(report.full, _text(report.full), as_json=as_json, then=[["run", TRAIN, *overrides, "--dry-run"]])


def _import_options(function: Decorated) -> Decorated:
    """Add the import options of all models, without duplicates."""
    requests: list[type] = [model.import_request or ImportRequest for model in MODELS.values()]
    nodes = {
        node.name: node for request in requests for node in children(request) if node.name not in ("source", "out")
    }
    for node in reversed(nodes.values()):
        function = param_option(node)(function)
    return function


@data.command("import")
@click.argument("source", type=_FILE)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder to write to.")
@_import_options
@model_option
@json_option
def import_(source: Path, out: Path, model: str | None, as_json: bool, **options: Any) -> None:
    """Convert skeleton recordings in SOURCE to sequences and labels.

    \b
    Formats:
      kinetics  folder of Kinetics-skeleton JSON, a file per clip
      ntu       folder of NTU RGB+D .skeleton files
      pyskl     annotation pickle of pyskl or MMAction2, read without executing it
      openpose  folder of OpenPose JSON, a file per frame; needs --width, --height
    """
    chosen = get_model(model)
    given = {name: value for name, value in options.items() if value is not None}
    request = _import_request(chosen, source=source, out=out.absolute(), **given)
    described = chosen.import_data(request)
    then = [["data", "inspect", *(file for file in described["files"] if file.endswith((".npy", ".pkl")))]]
    emit(described, _text(described), as_json=as_json, then=then)


def _import_request(model: Model, **values: Any) -> ImportRequest:
    request_type = model.import_request or ImportRequest
    accepted = {field.name for field in fields(request_type)}
    if unknown := [name for name in values if name not in accepted]:
        raise BadRequest(f"model {model.name} does not read --{unknown[0]}", fix="leave it out")
    return request_type(**values)


def _text(described: Mapping[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(dict(described), sort_keys=False, allow_unicode=True, default_flow_style=None).rstrip()
