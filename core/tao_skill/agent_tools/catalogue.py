"""Tools that describe models, actions and data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from tao_skill import bank
from tao_skill.agent_tools.context import ToolContext
from tao_skill.agent_tools.tool import CONCISE, Answer, Detail, ModelName, Object, call
from tao_skill.model import TRAIN, Action, Model
from tao_skill.models import MODELS, get_model
from tao_skill.runner import DataRequirement, load_runner
from tao_skill.spec.param import REQUIRED, Param
from tao_skill.spec.schema import accepted, value_schema
from tao_skill.spec.tree import Leaf, iter_params


@dataclass(frozen=True, kw_only=True)
class NoArguments:
    """No arguments."""


@dataclass(frozen=True, kw_only=True)
class Models(Answer):
    """The models of the bank."""

    models: Annotated[list[Object], Param("")]


def list_models(_: NoArguments, context: ToolContext) -> Models:
    """List every model with its actions."""
    return Models(models=describe_models(), next=[call("describe_action", action=TRAIN)])


def describe_models() -> list[dict[str, Any]]:
    """Describe every model: name, skill, actions, and whether AutoML is enabled."""
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
    """The action, and the level of detail."""

    action: Annotated[str, Param("From list_models.")]
    model: ModelName = None
    detail: Detail = CONCISE


@dataclass(frozen=True, kw_only=True)
class ActionDescription(Answer):
    """The data and parameters of an action."""

    action: Annotated[str, Param("")]
    summary: Annotated[str, Param("")]
    data: Annotated[Object, Param("Files by spec key.")]
    popular: Annotated[Object, Param("Spec keys.")]
    schema: Annotated[Object | None, Param("Of the spec; full only.")] = None
    template: Annotated[str | None, Param("Spec file; full only.")] = None


def describe_action(arguments: DescribeArguments, context: ToolContext) -> ActionDescription:
    """Describe the files and popular keys of an action; with full detail, its schema and template too.

    Raises:
        NotFound: the model or action does not exist.
    """
    model = get_model(arguments.model)
    action = model.action(arguments.action)
    is_full = arguments.detail != CONCISE
    runner = load_runner(model.name, action.name)
    popular = {leaf.key: leaf for leaf in iter_params(model.config, action.name) if leaf.param.popular}
    short = bank.short_keys(model.name)
    files = {need.key for need in runner.data}
    return ActionDescription(
        action=action.name,
        summary=action.summary,
        data={short.get(need.key, need.key): _describe_file(need) for need in runner.data},
        popular={short.get(key, key): _describe_value(leaf) for key, leaf in popular.items() if key not in files},
        schema=bank.load_schema(model.name, action.name) if is_full else None,
        template=bank.template_path(model.name, action.name).read_text("utf-8") if is_full else None,
        next=[_plan_call(model, action)],
    )


def _plan_call(model: Model, action: Action) -> Object:
    """A plan of the action on the newest job that makes its model; without such a job its error names that job."""
    makers = [maker.name for maker in model.actions.values() if maker.makes_model and action.name in maker.next]
    return call("plan", action=action.name, parent=f"latest:{makers[0]}" if makers else None)


def _describe_file(need: DataRequirement) -> str:
    text = f"{'required' if need.required else 'optional'}, e.g. {need.files[0]}"
    return text + (", else from the parent" if need.from_parent else "")


def _describe_value(leaf: Leaf) -> str:
    """The accepted values and the default of a key, as text."""
    default = "no default" if leaf.default in (REQUIRED, None) else f"default {leaf.default}"
    return f"{accepted(value_schema(leaf)).removesuffix(' or null')}; {default}"


@dataclass(frozen=True, kw_only=True)
class InspectArguments:
    """Sequences and labels, and optionally those of another split."""

    data: Annotated[str, Param(".npy (N, C, T, V, M).")]
    labels: Annotated[str | None, Param(".pkl of [[names], [ids]].")] = None
    other: Annotated[str | None, Param("Validation .npy.")] = None
    other_labels: Annotated[str | None, Param("Validation .pkl.")] = None
    model: ModelName = None
    detail: Detail = CONCISE


@dataclass(frozen=True, kw_only=True)
class Inspection(Answer):
    """The description of a data set, its defects, and suggested settings."""

    data: Annotated[Object, Param("")]
    labels: Annotated[Object | None, Param("")] = None
    warnings: Annotated[list[str], Param("")] = field(default_factory=list)
    suggested: Annotated[Object, Param("Overrides.")] = field(default_factory=dict)
    more: Annotated[Object, Param("")] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The answer as JSON; fields that only this model reports are merged into it."""
        document = super().as_dict()
        return {**document.pop("more"), **document}


def inspect_data(arguments: InspectArguments, context: ToolContext) -> Inspection:
    """Describe a data set.

    Raises:
        OutsideRoots, NotFound, BadData: a file cannot be used.
    """
    files = {name: getattr(arguments, name) for name in ("data", "labels", "other", "other_labels")}
    for name, path in files.items():
        if path is not None:
            context.roots.confine(name, path)
    paths = [Path(path) if path is not None else None for path in files.values()]
    report = get_model(arguments.model).inspect_data(Path(arguments.data), *paths[1:])
    document = dict(report.brief if arguments.detail == CONCISE else report.full)
    common = {name: document.pop(name) for name in ("data", "labels", "warnings", "suggested") if name in document}
    return Inspection(**common, more=document, next=[_training_call(arguments, report.suggested)])


def _training_call(arguments: InspectArguments, suggested: Mapping[str, Any]) -> Object:
    """A training on these data if they have labels; otherwise inference, which needs none."""
    if arguments.labels is None:
        return call("describe_action", action="inference")
    model = get_model(arguments.model)
    files = model.training_data(arguments.data, arguments.labels, arguments.other, arguments.other_labels)
    short = bank.short_keys(model.name)  # full keys would override short keys that a client adds
    pairs = {short.get(key, key): value for key, value in {**files, **suggested}.items()}
    return call("run_action", action=TRAIN, overrides=[f"{key}={value}" for key, value in pairs.items()])
