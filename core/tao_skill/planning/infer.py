"""Inferred spec parameters of a run, and the inference functions of all models.

Names and meanings follow NVIDIA TAO's skill configurations; SKILL.md maps keys to functions.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from tao_skill import pretrained
from tao_skill.errors import BadRequest
from tao_skill.inference import Function, Inferred, Inputs
from tao_skill.io.encryption import PUBLIC_KEY
from tao_skill.model import TRAIN, Model
from tao_skill.runner import Runner
from tao_skill.spec.tree import iter_params, lookup

KEY_VARIABLE: Final = "TAO_SKILL_ENCRYPTION_KEY"
RESUME: Final = "resume_model"
PRETRAINED: Final = "ptm_if_no_resume_model"
FROM_PARENT: Final = ("parent_model",)
"""Functions that require a parent."""


def _key(model: Model, inputs: Inputs) -> Inferred:
    if key := inputs.environment.get(KEY_VARIABLE):
        return Inferred(value=key, reason=f"from {KEY_VARIABLE}")
    return Inferred(value=PUBLIC_KEY, reason="TAO's default key, which is public: files are not encrypted")


def _output_dir(model: Model, inputs: Inputs) -> Inferred:
    return Inferred(value=str(inputs.job_dir), reason="the job's own folder")


def _parent_model(model: Model, inputs: Inputs) -> Inferred | None:
    if inputs.parent is None:
        return None
    selection = inputs.parent.select()
    return Inferred(value=str(selection.path), reason=f"{selection.reason}, of job {inputs.parent.id}")


def _ptm_if_no_resume_model(model: Model, inputs: Inputs) -> Inferred | None:
    if inputs.base_experiment is not None:
        return _pretrained_weights(model, inputs, inputs.base_experiment)
    if inferred := _parent_model(model, inputs):
        return Inferred(value=inferred.value, reason=f"{inferred.reason}; used unless the job resumes")
    return None


def _pretrained_weights(model: Model, inputs: Inputs, name: str) -> Inferred:
    weights = pretrained.find(
        name,
        inputs.environment,
        model.checkpoint_suffix,
        lambda folder: model.select_result(TRAIN, folder, inputs.metric).path,
    )
    reason = f"--base-experiment {name} of {pretrained.registry(inputs.environment)}; used unless the job resumes"
    return Inferred(value=str(weights), reason=reason)


def _resume_model(model: Model, inputs: Inputs) -> Inferred | None:
    latest = model.latest_result(inputs.job_dir / inputs.action)
    return Inferred(value=str(latest), reason="the job's own latest checkpoint") if latest else None


_GENERAL: Final[Mapping[str, Callable[[Model, Inputs], Inferred | None]]] = MappingProxyType(
    {
        "key": _key,
        "output_dir": _output_dir,
        "parent_model": _parent_model,
        PRETRAINED: _ptm_if_no_resume_model,
        RESUME: _resume_model,
    }
)


def inference_functions(model: Model) -> dict[str, Function]:
    """Inference functions by name: the general functions and those of the model."""
    general = {name: partial(function, model) for name, function in _GENERAL.items()}
    return {**general, **model.inference_functions()}


def infer(
    runner: Runner, model: Model, inputs: Inputs, given: Collection[str], values: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Infer every parameter that is not given and can be inferred; yield its key, and value, function and reason."""
    functions = inference_functions(model)
    for key, function in runner.inference.items():
        if key not in given and (inferred := functions[function](inputs)):
            yield key, {"value": inferred.value, "by": function, "reason": inferred.reason}
    yield from _inherited(runner, model, inputs, given, values)


def _inherited(
    runner: Runner, model: Model, inputs: Inputs, given: Collection[str], values: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Inherit parameters of the parent's model, and the parent's data of each section without given data."""
    parent = inputs.parent
    if parent is None:
        return
    for leaf in iter_params(model.config, runner.action):
        value = lookup(parent.spec, leaf.key)
        if leaf.param.inherit and leaf.key not in given and value is not None:
            yield leaf.key, {"value": value, "by": "parent", "reason": f"as in job {parent.id}"}
    # A section with given data inherits nothing, so that the user's data never get the parent's labels.
    given_sections = {need.section for need in runner.data if need.key in given}
    for need in runner.data:
        value = lookup(parent.spec, need.from_parent) if need.from_parent else None
        if (
            need.section not in given_sections
            and value is not None
            and _has_effect(model, runner.action, need.key, values)
        ):
            yield need.key, {"value": value, "by": "parent", "reason": f"{need.from_parent} of job {parent.id}"}


def _has_effect(model: Model, action: str, key: str, values: Mapping[str, Any]) -> bool:
    """Whether the parameter that `key` depends on has the required value."""
    leaf = next(leaf for leaf in iter_params(model.config, action) if leaf.key == key)
    if leaf.param.depends_on is None:
        return True
    other, required = leaf.param.depends_on
    return str(lookup(values, other)).casefold() == str(required).casefold()


def base_experiment_warnings(runner: Runner, name: str | None, given: Collection[str]) -> Iterator[str]:
    """Warn of each given key that replaces the named weights.

    Raises:
        BadRequest: the action does not start from pretrained weights.
    """
    if name is None:
        return
    keys = [key for key, function in runner.inference.items() if function == PRETRAINED]
    if not keys:
        raise BadRequest(
            f"base experiment {name} cannot be used: {runner.action} does not start from pretrained weights",
            fix="leave it out, or run train",
        )
    for key in keys:
        if key in given:
            yield f"base experiment {name} is not used, because {key} is given"
