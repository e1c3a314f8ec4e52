"""Tools that say what there is: models, actions, data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from tao_skill import bank
from tao_skill.agent_tools.context import ToolContext
from tao_skill.agent_tools.tool import CONCISE, Answer, Detail, ModelName, Object, call
from tao_skill.model import Action, Model
from tao_skill.models import MODELS, get_model
from tao_skill.runner import Runner, load_runner
from tao_skill.spec.param import REQUIRED, Param
from tao_skill.spec.schema import accepted, value_schema
from tao_skill.spec.tree import Leaf, iter_params


@dataclass(frozen=True, kw_only=True)
class Nothing:
    """No arguments."""


@dataclass(frozen=True, kw_only=True)
class Models(Answer):
    """The models of the bank."""

    models: Annotated[list[Object], Param("")]


def list_models(_: Nothing, here: ToolContext) -> Models:
    """Every model with its actions."""
    return Models(models=described_models(), next=[call("describe_action", action="train")])


def described_models() -> list[dict[str, Any]]:
    """Name, skill, actions of every model, and whether its training may be searched."""
    return [
        {
            "name": model.name,
            "skill": model.skill,
            "automl_enabled": bank.skill_info(model.name)["automl_enabled"],
            "actions": [{"name": action.name, "summary": action.summary} for action in model.actions.values()],
        }
        for model in MODELS.values()
    ]


@dataclass(frozen=True, kw_only=True)
class DescribeArguments:
    """Which action, and how much of it."""

    action: Annotated[str, Param("From list_models.")]
    model: ModelName = None
    detail: Detail = CONCISE


@dataclass(frozen=True, kw_only=True)
class ActionDescription(Answer):
    """What an action reads."""

    action: Annotated[str, Param("")]
    summary: Annotated[str, Param("")]
    data: Annotated[Object, Param("Files by spec key.")]
    popular: Annotated[Object, Param("Spec keys.")]
    schema: Annotated[Object | None, Param("Of the spec; full only.")] = None
    template: Annotated[str | None, Param("Spec file; full only.")] = None


def describe_action(asked: DescribeArguments, here: ToolContext) -> ActionDescription:
    """Files and popular keys of an action; in full its schema and template.

    Raises:
        NotFound: there is no such model or action.
    """
    model = get_model(asked.model)
    action = model.action(asked.action)
    full = asked.detail != CONCISE
    runner = load_runner(model.name, action.name)
    popular = {leaf.key: leaf for leaf in iter_params(model.config, action.name) if leaf.param.popular}
    short = _short_keys(model)
    files = {need.key for need in runner.data}
    return ActionDescription(
        action=action.name,
        summary=action.summary,
        data={short.get(need.key, need.key): _need(runner, need.key) for need in runner.data},
        popular={short.get(key, key): _accepts(leaf) for key, leaf in popular.items() if key not in files},
        schema=bank.load_schema(model.name, action.name) if full else None,
        template=bank.template_path(model.name, action.name).read_text("utf-8") if full else None,
        next=[_start(model, action)],
    )


def _short_keys(model: Model) -> dict[str, str]:
    """The short name of each full key that has one."""
    return {key: name for name, key in reversed(bank.skill_info(model.name)["spec_shorthand"].items())}


def _start(model: Model, action: Action) -> Object:
    """A plan of the action, on the newest job that makes what it starts from; else it names what has to be given."""
    makers = [one.name for one in model.actions.values() if one.makes_model and action.name in one.next]
    return call("plan", action=action.name, parent=f"latest:{makers[0]}" if makers else None)


def _need(runner: Runner, key: str) -> str:
    need = next(need for need in runner.data if need.key == key)
    text = f"{'required' if need.required else 'optional'}, e.g. {need.files[0]}"
    return text + (", else from the parent" if need.from_parent else "")


def _accepts(leaf: Leaf) -> str:
    """What a key accepts and its default, in words."""
    given = "no default" if leaf.default in (REQUIRED, None) else f"default {leaf.default}"
    return f"{accepted(value_schema(leaf)).removesuffix(' or null')}; {given}"


@dataclass(frozen=True, kw_only=True)
class InspectArguments:
    """Sequences and labels, and those of another split."""

    data: Annotated[str, Param(".npy (N, C, T, V, M).")]
    labels: Annotated[str | None, Param(".pkl of [[names], [ids]].")] = None
    other: Annotated[str | None, Param("Validation .npy.")] = None
    other_labels: Annotated[str | None, Param("Validation .pkl.")] = None
    model: ModelName = None
    detail: Detail = CONCISE


@dataclass(frozen=True, kw_only=True)
class Inspection(Answer):
    """What data hold, what is wrong with them, what to try."""

    data: Annotated[Object, Param("")]
    labels: Annotated[Object | None, Param("")] = None
    frames_used: Annotated[Object | None, Param("")] = None
    layouts: Annotated[list[str], Param("That have these joints.")] = field(default_factory=list)
    values: Annotated[Object | None, Param("Full only.")] = None
    duplicates: Annotated[Object | None, Param("Full only.")] = None
    other: Annotated[Object | None, Param("Full only.")] = None
    warnings: Annotated[list[str], Param("")] = field(default_factory=list)
    suggested: Annotated[Object, Param("Overrides.")] = field(default_factory=dict)


def inspect_data(asked: InspectArguments, here: ToolContext) -> Inspection:
    """Describe a data set.

    Raises:
        OutsideRoots, NotFound, BadData: a file cannot be used.
    """
    given = {name: getattr(asked, name) for name in ("data", "labels", "other", "other_labels")}
    for name, path in given.items():
        if path is not None:
            here.roots.confine(name, path)
    paths = [Path(path) if path is not None else None for path in given.values()]
    found = get_model(asked.model).inspect_data(Path(asked.data), *paths[1:])
    if asked.detail == CONCISE:
        found = _in_short(found)
    return Inspection(**found, next=[_training(asked, found["suggested"])])


def _in_short(found: Mapping[str, Any]) -> dict[str, Any]:
    """What decides; the warnings tell what is odd about the rest."""
    labels = found["labels"]
    return {
        "data": {"shape": found["data"]["shape"]},
        "labels": {name: labels[name] for name in ("count", "classes", "imbalance")} if labels else None,
        "layouts": found["layouts"],
        "warnings": found["warnings"],
        "suggested": found["suggested"],
    }


def _training(asked: InspectArguments, suggested: Mapping[str, Any]) -> Object:
    """A training on these data, where they have labels; what can be done without, elsewhere."""
    if asked.labels is None:
        return call("describe_action", action="inference")
    files = {
        "train_data": asked.data,
        "train_labels": asked.labels,
        "val_data": asked.other,
        "val_labels": asked.other_labels,
    }
    short = _short_keys(get_model(asked.model))  # full keys would win over the short ones that a client adds
    pairs = {name: path for name, path in files.items() if path is not None}
    pairs |= {short.get(key, key): value for key, value in suggested.items()}
    return call("run_action", action="train", overrides=[f"{key}={value}" for key, value in pairs.items()])
