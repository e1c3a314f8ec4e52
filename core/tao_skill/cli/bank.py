"""`tao-skill models`, `schema` and `template`."""

from __future__ import annotations

import click

from tao_skill.cli.terminal.options import json_option, model_option
from tao_skill.cli.terminal.output import emit
from tao_skill.models import get_model


@click.command()
@json_option
def models(as_json: bool) -> None:
    """List the models and their actions."""
    from tao_skill.agent_tools.catalogue import describe_models

    described = describe_models()
    lines = []
    for model in described:
        lines += [f"{model['name']}  (skill {model['skill']})"]
        lines += [f"  {action['name']:<16} {action['summary']}" for action in model["actions"]]
    emit({"models": described}, "\n".join(lines), as_json=as_json, then=[["template", "train"]])


@click.command()
@click.argument("action")
@model_option
@json_option
def schema(action: str, model: str | None, as_json: bool) -> None:
    """Print the JSON Schema of ACTION's spec."""
    from tao_skill import bank

    chosen = get_model(model)
    click.echo(bank.schema_path(chosen.name, chosen.action(action).name).read_text("utf-8"), nl=False)


@click.command()
@click.argument("action")
@model_option
@json_option
def template(action: str, model: str | None, as_json: bool) -> None:
    """Print a commented spec template of ACTION."""
    from tao_skill import bank

    chosen = get_model(model)
    text = bank.template_path(chosen.name, chosen.action(action).name).read_text("utf-8")
    then = [["run", action, "-e", "spec.yaml", "--dry-run"]]
    emit({"action": action, "template": text}, text.rstrip("\n"), as_json=as_json, then=then)
