"""The plan of a run: all that comes before its job record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from tao_skill import bank
from tao_skill.errors import Fix, Option, Problem, SpecError, TaoSkillError
from tao_skill.inference import Inputs
from tao_skill.io.s3 import is_remote
from tao_skill.jobs.record import new_id
from tao_skill.jobs.secrets import is_private
from tao_skill.jobs.store import Store
from tao_skill.jobs.trials import find_parent
from tao_skill.model import RESULTS_DIR, TRAIN, Model, task_results_dir
from tao_skill.models import get_model
from tao_skill.planning import inputs as files
from tao_skill.planning.infer import FROM_PARENT, KEY_VARIABLE, RESUME, base_experiment_warnings, infer
from tao_skill.planning.inputs import Completed, Describe
from tao_skill.planning.lineage import as_parent, parent_warnings
from tao_skill.planning.request import Request, RequestedSpec, read_request
from tao_skill.planning.routing import Route, decide
from tao_skill.runner import Runner
from tao_skill.spec import load
from tao_skill.spec.paths import Confine, confine_paths, with_absolute_paths
from tao_skill.spec.references import Scope, escaped, resolve
from tao_skill.spec.schema import default_values
from tao_skill.spec.tree import iter_params, lookup

HIDDEN: Final = "***"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that a run would do.

    Attributes:
        spec: checked and complete, without secrets. inferred: spec key -> value (secrets hidden), function and reason.
        ignored: keys of the spec file that only other actions read. secrets: top-level or dotted key -> value.
        gpus: indices of the GPUs that the run uses, if there are any.
    """

    job_id: str
    results_dir: Path
    model: Model
    action: str
    route: Route
    spec: Mapping[str, Any]
    secrets: Mapping[str, str]
    inferred: Mapping[str, Mapping[str, Any]]
    ignored: Sequence[str]
    warnings: Sequence[str]
    gpus: Sequence[int]
    parent: str | None
    key: str | None
    upload: str | None
    search: Mapping[str, Any]
    command: Sequence[str]

    def as_dict(self) -> dict[str, Any]:
        """The JSON form of a dry run."""
        return {
            "plan": {
                "job_id": self.job_id,
                "model": self.model.name,
                "action": self.action,
                "parent": self.parent,
                "results_dir": str(self.results_dir),
                "upload": self.upload,
                "spec": self.spec,
                "inferred": self.inferred,
                "ignored": list(self.ignored),
                "warnings": list(self.warnings),
                "devices": {"num_gpus": len(self.gpus), "gpu_ids": list(self.gpus)},
            },
            "route": dict(vars(self.route)),
        }

    def hide(self, word: str) -> str:
        """A word of a command without the values of secret keys, however they are quoted, used or not."""
        name = word.partition("=")[0]
        if name.strip().lstrip("+~") in self.secrets:
            return f"{name}={HIDDEN}"
        for secret in self.secrets.values():
            word = word.replace(secret, HIDDEN)
        return word


def make_plan(
    runner: Runner,
    request: Request,
    store: Store,
    *,
    environment: Mapping[str, str],
    now: datetime,
    token: str,
    confine: Confine = lambda key, path: None,
    reads_environment: bool = True,
) -> Plan:
    """Plan a run. Nothing is written or fetched from S3; objects on S3 are looked up.

    Args:
        confine: called with every path of the spec before anything is read from it.
        reads_environment: whether the spec may refer to variables, `${oc.env:NAME}`; a server's may hold secrets.

    Raises:
        OutsideRoots: `confine` refuses a path.
        SpecError: the spec has problems, all of them named.
        BadRequest, NotFound: the request cannot be served.
        MissingDependency: S3 is needed, and the extra, credentials or the server are missing.
    """
    model = get_model(runner.model)
    info = bank.skill_info(model.name)
    metric = info["monitoring"]["metric"]
    requested = read_request(request, model, runner.action, info["spec_shorthand"])
    parent_job = find_parent(store, request.parent) if request.parent else None
    parent = as_parent(parent_job, model, store, metric) if parent_job else None
    if parent is not None:
        confine("parent", str(parent.results_dir))
    route = _route(model, runner.action, requested, request, info)
    job_id = new_id(runner.action, request.key, now=now, token=token)
    inputs = Inputs(
        action=runner.action,
        job_dir=store.folder(job_id),
        parent=parent,
        metric=metric,
        environment=environment,
        base_experiment=request.base_experiment,
        given=load.given_keys(requested.values),
        is_search=route.route == "automl",
    )
    variables = environment if reads_environment else None
    values = _without_references(runner, model, inputs, requested, request.spec_file, info["spec_shorthand"], variables)
    values = request.adapt(values)
    confine_paths(model.config, values, confine)
    describe = files.object_lookup(environment, request.upload)
    completed = _completed_files(runner, model, values, describe)
    given = load.given_keys(values) | completed.keys()
    with_files = load.override(model.config, values, [(key, file.value) for key, file in completed.items()])
    inputs = replace(inputs, given=given, spec=with_files, confine=confine)
    base_warnings = list(base_experiment_warnings(runner, request.base_experiment, given))
    inferred = {
        **{key: {"value": file.value, "by": files.FOLDER, "reason": file.reason} for key, file in completed.items()},
        **dict(infer(runner, model, inputs, given, values)),
    }
    confine_paths(model.config, _with_inferred(model, values, inferred), confine)
    # A checkpoint to resume from is found again when the job starts: it is not part of the spec.
    kept = {key: entry for key, entry in inferred.items() if entry["by"] != RESUME}
    checked = _checked(runner, model, _with_inferred(model, values, kept), has_parent=parent_job is not None)
    spec = with_absolute_paths(model.config, checked)
    config = load.build(model.config, spec)
    on_s3 = files.missing_objects(model, runner.action, spec, describe)
    advice = model.check_run(config, runner.action)
    _raise_if_any([*on_s3.problems, *files.unwritable(model, runner.action, spec, inferred), *advice.problems])
    secrets = _secrets(model, runner.action, spec)
    return Plan(
        job_id=job_id,
        results_dir=task_results_dir(config, runner.action).absolute(),
        model=model,
        action=runner.action,
        route=route,
        spec=load.override(model.config, spec, [(key, None) for key in secrets]),
        secrets=secrets,
        inferred={key: entry | ({"value": HIDDEN} if key in secrets else {}) for key, entry in inferred.items()},
        ignored=requested.ignored,
        warnings=[
            *base_warnings,
            *parent_warnings(parent_job),
            *on_s3.warnings,
            *advice.warnings,
            *(advice.direct if route.route == "direct" else ()),
        ],
        gpus=advice.gpus,
        parent=parent_job.id if parent_job else None,
        key=request.key,
        upload=request.upload,
        search=request.search,
        command=request.command,
    )


def _raise_if_any(problems: Iterable[Problem]) -> None:
    if found := list(problems):
        raise SpecError(found)


def _with_inferred(
    model: Model, values: Mapping[str, Any], inferred: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    return load.override(model.config, values, [(key, entry["value"]) for key, entry in inferred.items()])


def _without_references(
    runner: Runner,
    model: Model,
    inputs: Inputs,
    requested: RequestedSpec,
    spec_file: Path | None,
    shorthand: Mapping[str, str],
    variables: Mapping[str, str] | None,
) -> dict[str, Any]:
    """The values without references. A reference may be to any value of any action: given, inferred or default."""
    config = model.config

    def referable() -> dict[str, Any]:
        folders = [(f"{action}.{RESULTS_DIR}", f"${{{RESULTS_DIR}}}/{action}") for action in model.actions]
        pairs = infer(runner, model, inputs, set(inputs.given), requested.values)
        inferred = [(key, escaped(entry["value"])) for key, entry in pairs]
        defaults = load.override(config, default_values(config), [*folders, *inferred])
        return load.merge(config, defaults, load.normalised(config, None, requested.all_values))

    scope = Scope(
        config_type=config,
        values=referable,
        shorthand=shorthand,
        environment=variables,
        is_private=is_private,
        file=str(spec_file) if spec_file else None,
        overridden=requested.overridden,
    )
    return resolve(requested.values, scope)


def _completed_files(
    runner: Runner, model: Model, values: Mapping[str, Any], describe: Describe
) -> dict[str, Completed]:
    """Files that stand for folders, and checkpoints that were named without their step."""
    _raise_if_any(files.address_problems(model, runner.action, values))

    def is_file(path: str) -> bool:
        return describe(path) is not None if is_remote(path) else Path(path).is_file()

    completed, problems = files.complete_folders(runner.data, values, is_file)
    _raise_if_any(problems)
    return completed | files.actual_checkpoints(model, runner.action, values)


def _checked(runner: Runner, model: Model, values: Mapping[str, Any], *, has_parent: bool) -> dict[str, Any]:
    """The complete spec; where a parent would have filled what is missing, the fix says so."""
    try:
        return load.check(model.config, runner.action, values)
    except SpecError as error:
        if has_parent:
            raise
        raise SpecError([_parent_would_help(runner, problem, values) for problem in error.problems]) from None


def _parent_would_help(runner: Runner, problem: Problem, values: Mapping[str, Any]) -> Problem:
    from_parent = {key for key, function in runner.inference.items() if function in FROM_PARENT}
    from_parent |= {need.key for need in runner.data if need.from_parent}
    if problem.key in from_parent and load.is_blank(lookup(values, problem.key)):
        return replace(problem, fix=Fix("give ", Option("parent", "JOB"), ", or ", problem.fix))
    return problem


def _secrets(model: Model, action: str, spec: Mapping[str, Any]) -> dict[str, str]:
    """Values of secret keys.

    Raises:
        SpecError: a value is the mark that records and answers show in place of it.
    """
    keys = [leaf.key for leaf in iter_params(model.config, action) if leaf.param.secret]
    secrets = {key: str(lookup(spec, key)) for key in keys if lookup(spec, key)}
    _raise_if_any(_hidden_values(secrets))
    return secrets


def _hidden_values(secrets: Mapping[str, str]) -> Iterator[Problem]:
    for key in (key for key, value in secrets.items() if value == HIDDEN):
        message = f"{key} is {HIDDEN}, which stands in for a value that is not shown"
        yield Problem(key=key, message=message, fix=f"set {key} to the value itself, or give it in {KEY_VARIABLE}")


def _route(model: Model, action: str, requested: RequestedSpec, request: Request, info: Mapping[str, Any]) -> Route:
    return decide(
        action=action,
        explicit=requested.policy,
        request=request.words,
        automl_enabled=bool(info["automl_enabled"]) and model.training is not None,
        missing=_missing_for_automl(model) if action == TRAIN else None,
    )


def _missing_for_automl(model: Model) -> str | None:
    """The reason why the packaged train schema or template cannot be used; None if both can."""
    try:
        bank.load_schema(model.name, TRAIN)
        bank.load_template(model.name, TRAIN)
    except TaoSkillError as error:
        return error.message
    return None
