"""`tao-skill data`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import click

from tao_skill import bank
from tao_skill.cli.terminal.options import Decorated, json_option, param_option
from tao_skill.cli.terminal.output import emit
from tao_skill.errors import BadRequest
from tao_skill.model import TRAIN, Model
from tao_skill.models import MODELS, get_model
from tao_skill.outcome import ImportRequest
from tao_skill.spec.tree import children

_FILE: Final = click.Path(path_type=Path)


@click.group()
def data() -> None:
    """Make sample data, import recordings, look at data."""


@data.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder to write to.")
@click.option("-m", "--model", help="Model; the only one when not given.")
@json_option
def sample(out: Path, model: str | None, as_json: bool) -> None:
    """Write a generated, labelled data set and a spec file for it."""
    described = get_model(model).write_sample(out.absolute())
    then = [["run", TRAIN, "-e", described["spec"], "--dry-run"]]
    emit(described, _text(described), as_json=as_json, then=then)


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
    chosen = get_model(model)
    report = chosen.inspect_data(data_path, label_path, other, other_labels)
    paths = [str(path) if path else None for path in (label_path, other, other_labels)]
    short = {key: name for name, key in reversed(bank.skill_info(chosen.name)["spec_shorthand"].items())}
    files = chosen.training_data(str(data_path), *paths)
    facts = [f"{short.get(key, key)}={path}" for key, path in files.items()]
    emit(report.full, _text(report.full), as_json=as_json, then=[["run", TRAIN, *facts, "--dry-run"]])


def _import_options(function: Decorated) -> Decorated:
    """The options of the imports of all models, each once."""
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
@click.option("-m", "--model", help="Model; the only one when not given.")
@json_option
def import_(source: Path, out: Path, model: str | None, as_json: bool, **options: Any) -> None:
    """Turn skeleton recordings of SOURCE into sequences and labels.

    \b
    kinetics  folder of Kinetics-skeleton JSON, a file a clip
    ntu       folder of NTU RGB+D .skeleton files
    pyskl     annotation pickle of pyskl or MMAction2; read without running anything in it
    openpose  folder of OpenPose JSON, a file a frame; needs --width and --height
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
