"""The spec of a run: from the requested values to the complete, checked spec."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tao_skill import bank
from tao_skill.errors import Fix, Option, Problem, SpecError
from tao_skill.inference import Inputs
from tao_skill.io.s3 import is_remote
from tao_skill.jobs.secrets import is_private
from tao_skill.model import RESULTS_DIR, Model
from tao_skill.outcome import Advice
from tao_skill.planning.infer import FROM_PARENT, KEY_VARIABLE, RESUME, infer
from tao_skill.planning.inputs import (
    FOLDER,
    ChosenFile,
    ObjectLookup,
    actual_checkpoints,
    address_problems,
    complete_folders,
    missing_objects,
    unwritable_paths,
)
from tao_skill.planning.request import Request, RequestedSpec
from tao_skill.runner import Runner
from tao_skill.spec import load
from tao_skill.spec.paths import confine_paths, with_absolute_paths
from tao_skill.spec.references import Scope, escaped, resolve
from tao_skill.spec.schema import default_values
from tao_skill.spec.tree import iter_params, lookup

MASK: Final = "***"
"""Replaces the value of a secret in records and answers."""

Entries = Mapping[str, Mapping[str, Any]]
"""Inferred values: spec key -> value, function and reason."""


def requested_values(
    runner: Runner,
    model: Model,
    inputs: Inputs,
    request: Request,
    requested: RequestedSpec,
    variables: Mapping[str, str] | None,
) -> dict[str, Any]:
    """The requested values of the action, adapted, with references resolved and paths confined.

    Args:
        variables: environment variables that references may name; None refuses them.
    """
    resolved = _resolve_references(runner, model, inputs, request.spec_file, requested, variables)
    values = request.adapt(resolved)
    confine_paths(model.config, values, inputs.confine)
    return values


def _resolve_references(
    runner: Runner,
    model: Model,
    inputs: Inputs,
    spec_file: Path | None,
    requested: RequestedSpec,
    variables: Mapping[str, str] | None,
) -> dict[str, Any]:
    """A reference may name a value of any action, whether requested, inferred or a default."""
    config = model.config

    def referable_values() -> dict[str, Any]:
        folders = [(f"{action}.{RESULTS_DIR}", f"${{{RESULTS_DIR}}}/{action}") for action in model.actions]
        entries = infer(runner, model, inputs, set(inputs.given), requested.values)
        inferred = [(key, escaped(entry["value"])) for key, entry in entries]
        defaults = load.override(config, default_values(config), [*folders, *inferred])
        return load.merge(config, defaults, load.normalised(config, None, requested.all_values))

    scope = Scope(
        config_type=config,
        values=referable_values,
        shorthand=bank.skill_info(model.name)["spec_shorthand"],
        environment=variables,
        is_private=is_private,
        file=str(spec_file) if spec_file else None,
        overridden=requested.overridden,
    )
    return resolve(requested.values, scope)


def inferred_values(
    runner: Runner, model: Model, inputs: Inputs, values: Mapping[str, Any], look_up: ObjectLookup
) -> dict[str, dict[str, Any]]:
    """Files chosen for folders and short checkpoint names, and every inferred parameter; their paths are confined."""
    chosen = _chosen_files(runner, model, values, look_up)
    given = load.given_keys(values) | chosen.keys()
    with_files = load.override(model.config, values, [(key, file.value) for key, file in chosen.items()])
    inferred = {
        **{key: {"value": file.value, "by": FOLDER, "reason": file.reason} for key, file in chosen.items()},
        **dict(infer(runner, model, replace(inputs, given=given, spec=with_files), given, values)),
    }
    confine_paths(model.config, _with_entries(model, values, inferred), inputs.confine)
    return inferred


def _chosen_files(
    runner: Runner, model: Model, values: Mapping[str, Any], look_up: ObjectLookup
) -> dict[str, ChosenFile]:
    _raise_if_any(address_problems(model, runner.action, values))

    def is_file(path: str) -> bool:
        return look_up(path) is not None if is_remote(path) else Path(path).is_file()

    chosen, problems = complete_folders(runner.data, values, is_file)
    _raise_if_any(problems)
    return chosen | actual_checkpoints(model, runner.action, values)


def complete_spec(
    runner: Runner, model: Model, values: Mapping[str, Any], inferred: Entries, *, has_parent: bool
) -> dict[str, Any]:
    """The checked spec with inferred values, defaults and absolute paths.

    Without a parent, the fix of a missing value that a parent would supply suggests a parent.
    """
    # The checkpoint to resume from is looked up again when the job starts, so it is not part of the spec.
    entries = {key: entry for key, entry in inferred.items() if entry["by"] != RESUME}
    values = _with_entries(model, values, entries)
    try:
        return with_absolute_paths(model.config, load.check(model.config, runner.action, values))
    except SpecError as error:
        if has_parent:
            raise
        raise SpecError([_suggest_parent(runner, problem, values) for problem in error.problems]) from None


def _suggest_parent(runner: Runner, problem: Problem, values: Mapping[str, Any]) -> Problem:
    from_parent = {key for key, function in runner.inference.items() if function in FROM_PARENT}
    from_parent |= {need.key for need in runner.data if need.from_parent}
    if problem.key in from_parent and load.is_blank(lookup(values, problem.key)):
        return replace(problem, fix=Fix("give ", Option("parent", "JOB"), ", or ", problem.fix))
    return problem


def check_run(
    runner: Runner, model: Model, spec: Mapping[str, Any], inferred: Entries, look_up: ObjectLookup
) -> Advice:
    """Check the spec against its files, local and on S3, and its output paths.

    Raises:
        SpecError: the run would fail.
    """
    remote = missing_objects(model, runner.action, spec, look_up)
    advice = model.check_run(load.build(model.config, spec), runner.action)
    _raise_if_any([*remote.problems, *unwritable_paths(model, runner.action, spec, inferred), *advice.problems])
    return replace(advice, warnings=[*remote.warnings, *advice.warnings])


def secret_values(model: Model, action: str, spec: Mapping[str, Any]) -> dict[str, str]:
    """Values of the secret parameters that are set.

    Raises:
        SpecError: a value is MASK, e.g. copied from a record.
    """
    keys = [leaf.key for leaf in iter_params(model.config, action) if leaf.param.secret]
    values = {key: str(lookup(spec, key)) for key in keys if lookup(spec, key)}
    _raise_if_any(
        Problem(
            key=key,
            message=f"{key} is {MASK}, which replaces a secret value in records and answers",
            fix=f"set {key} to the secret value, or set {KEY_VARIABLE}",
        )
        for key, value in values.items()
        if value == MASK
    )
    return values


def _with_entries(model: Model, values: Mapping[str, Any], entries: Entries) -> dict[str, Any]:
    return load.override(model.config, values, [(key, entry["value"]) for key, entry in entries.items()])


def _raise_if_any(problems: Iterable[Problem]) -> None:
    if problem_list := list(problems):
        raise SpecError(problem_list)
