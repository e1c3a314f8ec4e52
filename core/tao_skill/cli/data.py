"""`tao-skill data`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from tao_skill.cli.terminal.options import json_option
from tao_skill.cli.terminal.output import emit
from tao_skill.models import get_model
from tao_skill.outcome import ImportRequest

_FILE = click.Path(path_type=Path)


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
    then = [["run", "train", "-e", described["spec"], "--dry-run"]]
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
    described = get_model(model).inspect_data(data_path, label_path, other, other_labels)
    files = {"train_data": data_path, "train_labels": label_path, "val_data": other, "val_labels": other_labels}
    facts = [f"{name}={path}" for name, path in files.items() if path]
    emit(described, _text(described), as_json=as_json, then=[["run", "train", *facts, "--dry-run"]])


@data.command("import")
@click.argument("source", type=_FILE)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder to write to.")
@click.option("--format", "format_", metavar="kinetics|ntu|pyskl|openpose", help="Guessed where the source is plain.")
@click.option("--labels", type=_FILE, help="JSON of {clip: class}, in place of the classes in the source.")
@click.option("--split", help="Name of the files; pyskl and ntu (xsub_train, xview_val, ...) take that split's clips.")
@click.option("--frames", type=int, help="T; later frames are left out. The layout's when not given.")
@click.option("--persons", type=int, help="M, 1 to 5; the best people of each frame. The layout's when not given.")
@click.option(
    "--width", type=click.FloatRange(min=0, min_open=True), help="Of the picture in pixels, if the source lacks it."
)
@click.option(
    "--height", type=click.FloatRange(min=0, min_open=True), help="Of the picture in pixels, if the source lacks it."
)
@click.option("-m", "--model", help="Model; the only one when not given.")
@json_option
def import_(source: Path, out: Path, format_: str | None, model: str | None, as_json: bool, **options: Any) -> None:
    """Turn skeleton recordings of SOURCE into sequences and labels.

    \b
    kinetics  folder of Kinetics-skeleton JSON, a file a clip
    ntu       folder of NTU RGB+D .skeleton files
    pyskl     annotation pickle of pyskl or MMAction2; read without running anything in it
    openpose  folder of OpenPose JSON, a file a frame; needs --width and --height
    """
    request = ImportRequest(source=source, out=out.absolute(), format=format_, **options)
    described = get_model(model).import_data(request)
    then = [["data", "inspect", *(file for file in described["files"] if file.endswith((".npy", ".pkl")))]]
    emit(described, _text(described), as_json=as_json, then=then)


def _text(described: Mapping[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(dict(described), sort_keys=False, allow_unicode=True, default_flow_style=None).rstrip()
