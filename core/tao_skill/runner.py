"""What every generated runner calls: load the spec, infer, check, route, and open the job.

A plan is that path stopped before the job record; `submit` takes it up from there.
"""

from __future__ import annotations

import runpy
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from tao_skill import bank
from tao_skill.errors import BadRequest, Fix, NotFound, Option, Problem, SpecError, TaoSkillError
from tao_skill.io import atomic, s3
from tao_skill.jobs.record import Job, new_id, timestamp
from tao_skill.jobs.secrets import is_private
from tao_skill.jobs.store import Store
from tao_skill.jobs.trials import find_parent
from tao_skill.model import Model, task_results_dir
from tao_skill.models import get_model
from tao_skill.planning import inputs as sources
from tao_skill.planning.infer import FUNCTIONS, KEY_VARIABLE, Inferred, Inputs, Parent
from tao_skill.planning.inputs import Confine, DataRequirement
from tao_skill.planning.routing import Policy, Route, decide, parse_policy
from tao_skill.spec import load
from tao_skill.spec.keys import full_keys, override_pairs
from tao_skill.spec.references import Scope, escaped, resolve
from tao_skill.spec.schema import default_values
from tao_skill.spec.tree import iter_params, lookup

POLICY_ARGUMENT: Final = "automl_policy"
RESUME: Final = "resume_model"
PRETRAINED: Final = "ptm_if_no_resume_model"
MODEL_FUNCTIONS: Final = ("parent_model",)
HIDDEN: Final = "***"
SPEC_FILE: Final = "spec.yaml"
"""The spec used, in the job's folder; `-e` takes it as it is."""


@dataclass(frozen=True, kw_only=True)
class Runner:
    """One action of one model with what its SKILL.md says of it.

    Attributes:
        inference: spec key -> name of an inference function.
    """

    model: str
    action: str
    inference: Mapping[str, str]
    data: Sequence[DataRequirement]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a user or agent asks for.

    Attributes:
        overrides: `KEY=VALUE` texts, or an object of nested, dotted or short keys.
        parent: a job reference, `JOB/3` for trial 3 of a search.
        automl: policy flag. words: the request in plain words.
        base_experiment: name of pretrained weights to start from, before a parent's.
        key: idempotency key. upload: S3 prefix that results go to. command: how to repeat the call, for the record.
        search: settings of an AutoML search that differ from their defaults.
        adapt: changes what file and overrides give before anything else looks at it.
    """

    spec_file: Path | None = None
    overrides: Sequence[str] | Mapping[str, Any] = ()
    parent: str | None = None
    base_experiment: str | None = None
    automl: str | None = None
    words: str | None = None
    key: str | None = None
    upload: str | None = None
    search: Mapping[str, Any] = field(default_factory=dict)
    command: Sequence[str] = ()
    adapt: Callable[[Mapping[str, Any]], dict[str, Any]] = dict


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
        """A word of a command; what is set for a secret key is hidden, however it is quoted, used or not."""
        name = word.partition("=")[0]
        if name.strip().lstrip("+~") in self.secrets:
            return f"{name}={HIDDEN}"
        for secret in self.secrets.values():
            word = word.replace(secret, HIDDEN)
        return word


def load_runner(model: str, action: str) -> Runner:
    """The generated runner of an action, from the bank.

    Raises:
        NotFound: the bank has none.
    """
    path = bank.runner_path(model, action)
    if not path.is_file():
        raise NotFound(f"the bank has no runner {path}", fix="run tools/generate.py, or reinstall", path=str(path))
    runner: Runner = runpy.run_path(str(path))["RUNNER"]
    return runner


def plan(
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
    """Do all of a run that comes before its job record. Nothing is fetched from S3; what shall be is looked for.

    Args:
        confine: looks at every path of the spec before anything is read from it.
        reads_environment: whether the spec may refer to variables, `${oc.env:NAME}`; a server's may hold secrets.

    Raises:
        OutsideRoots: `confine` refuses a path.
        SpecError: the spec has problems, all of them named.
        BadRequest, NotFound: the request cannot be served.
        MissingDependency: S3 is needed, and the extra, credentials or the server are missing.
    """
    model = get_model(runner.model)
    info = bank.skill_info(model.name)
    values, written, ignored, policy = _given(runner, model, request, info)
    parent_job = find_parent(store, request.parent) if request.parent else None
    parent = _as_parent(parent_job, model, store) if parent_job else None
    if parent is not None:
        confine("parent", str(parent.results_dir))
    route = _route(model, runner.action, policy, request.words, info)
    job_id = new_id(runner.action, request.key, now=now, token=token)
    inputs = Inputs(
        model=model,
        action=runner.action,
        job_dir=store.folder(job_id),
        parent=parent,
        metric=info["monitoring"]["metric"],
        environment=environment,
        base_experiment=request.base_experiment,
        given=load.given_keys(values),
        is_search=route.route == "automl",
    )
    values = _resolved(runner, inputs, values, written, environment if reads_environment else None)
    values = request.adapt(values)
    sources.confine_paths(model, values, confine)
    describe = sources.look(environment, request.upload)
    _stop(sources.address_problems(model, runner.action, values))
    completed, problems = sources.complete_folders(
        runner.data, values, lambda text: describe(text) is not None if s3.is_remote(text) else Path(text).is_file()
    )
    _stop(problems)
    completed |= sources.actual_checkpoints(model, runner.action, values)
    given = load.given_keys(values) | completed.keys()
    chosen = load.override(model.config, values, [(key, one.value) for key, one in completed.items()])
    inputs = replace(inputs, given=given, spec=chosen, confine=confine)
    base_warnings = list(_base_experiment(runner, request.base_experiment, given))
    inferred = {
        **{key: {"value": one.value, "by": sources.FOLDER, "reason": one.reason} for key, one in completed.items()},
        **dict(_infer(runner, inputs, given, values)),
    }
    everything = load.override(model.config, values, [(key, one["value"]) for key, one in inferred.items()])
    sources.confine_paths(model, everything, confine)
    pairs = [(key, one["value"]) for key, one in inferred.items() if one["by"] != RESUME]
    spec = sources.with_absolute_paths(
        model, _checked(runner, model, load.override(model.config, values, pairs), parent_job)
    )
    config = load.build(model.config, spec)
    distant = sources.missing_objects(model, runner.action, spec, describe)
    advice = model.check_run(config, runner.action)
    _stop([*distant.problems, *sources.unwritable(model, runner.action, spec, inferred), *advice.problems])
    secrets = {key: str(lookup(spec, key)) for key in _secret_keys(model, runner.action) if lookup(spec, key)}
    _stop(_still_hidden(secrets))
    shown = {key: one | ({"value": HIDDEN} if key in secrets else {}) for key, one in inferred.items()}
    direct = advice.direct if route.route == "direct" else ()
    return Plan(
        job_id=job_id,
        results_dir=task_results_dir(config, runner.action).absolute(),
        model=model,
        action=runner.action,
        route=route,
        spec=load.override(model.config, spec, [(key, None) for key in secrets]),
        secrets=secrets,
        inferred=shown,
        ignored=ignored,
        warnings=[*base_warnings, *_parent_warnings(parent_job), *distant.warnings, *advice.warnings, *direct],
        gpus=advice.gpus,
        parent=parent_job.id if parent_job else None,
        key=request.key,
        upload=request.upload,
        search=request.search,
        command=request.command,
    )


def open_job(planned: Plan, store: Store, *, now: datetime) -> tuple[Job, bool]:
    """Open the job record of a plan; with a key used before, the job of that key.

    Returns:
        The job, and whether it is new.

    Raises:
        KeyConflict: the key belongs to another request.
    """
    job = Job(
        id=planned.job_id,
        model=planned.model.name,
        action=planned.action,
        parent=planned.parent,
        key=planned.key,
        upload=planned.upload,
        route=dict(vars(planned.route)),
        command=tuple(map(planned.hide, planned.command)),
        spec=dict(planned.spec),
        automl=dict(planned.search) if planned.route.route == "automl" else None,
        results_dir=str(planned.results_dir),
        created=timestamp(now),
    )
    opened, is_new = store.open(job)
    written = store.folder(opened.id) / SPEC_FILE
    if not written.exists():  # also where an earlier call was killed just here
        from tao_skill.io.strict_yaml import dump_yaml

        atomic.write_text(written, dump_yaml(escaped(opened.spec)))
    return opened, is_new


def _stop(problems: Iterable[Problem]) -> None:
    if found := list(problems):
        raise SpecError(found)


@dataclass(frozen=True, kw_only=True)
class _Written:
    """All that a request gives, of every action.

    Attributes:
        overridden: keys that the file does not give.
    """

    values: Mapping[str, Any]
    file: Path | None
    overridden: Collection[str]
    shorthand: Mapping[str, str]


def _given(
    runner: Runner, model: Model, request: Request, info: Mapping[str, Any]
) -> tuple[dict[str, Any], _Written, list[str], Policy | None]:
    """Template <- file <- shorthand <- overrides, all that was written, what was ignored, and the explicit policy."""
    shorthand: Mapping[str, str] = info["spec_shorthand"]
    written = load.read_spec_file(request.spec_file) if request.spec_file else {}
    policies = [written.pop(POLICY_ARGUMENT)] if POLICY_ARGUMENT in written else []
    file = load.override(model.config, {}, full_keys(model.config, written, shorthand, str(request.spec_file)))
    kept, ignored = load.project(model.config, runner.action, file)
    pairs = override_pairs(model.config, request.overrides, shorthand)
    policies += [value for key, value in pairs if key == POLICY_ARGUMENT]
    policies += [request.automl] if request.automl else []
    pairs = [pair for pair in pairs if pair[0] != POLICY_ARGUMENT]
    everything = _Written(
        values=load.override(model.config, file, pairs),
        file=request.spec_file,
        overridden={key for key, _ in pairs},
        shorthand=shorthand,
    )
    values = load.override(model.config, kept, pairs)
    return values, everything, ignored, parse_policy(policies[-1]) if policies else None


def _resolved(
    runner: Runner,
    inputs: Inputs,
    values: Mapping[str, Any],
    written: _Written,
    variables: Mapping[str, str] | None,
) -> dict[str, Any]:
    """Values without references, which may be to whatever is given, inferred or a default, of any action."""
    config = inputs.model.config

    def referable() -> dict[str, Any]:
        folders = [(f"{action}.results_dir", f"${{results_dir}}/{action}") for action in inputs.model.actions]
        inferred = [(key, escaped(one["value"])) for key, one in _infer(runner, inputs, set(inputs.given), values)]
        defaults = load.override(config, default_values(config), [*folders, *inferred])
        return load.merge(config, defaults, load.normalised(config, None, written.values))

    scope = Scope(
        config_type=config,
        values=referable,
        shorthand=written.shorthand,
        environment=variables,
        is_private=is_private,
        file=str(written.file) if written.file else None,
        overridden=written.overridden,
    )
    return resolve(values, scope)


def _as_parent(job: Job, model: Model, store: Store) -> Parent:
    """The job with what it was built on: an evaluation stands for the training behind it."""
    line = list(_line(job, store))
    maker = next((one for one in line if model.action(one.action).makes_model), job)
    spec = load.merge(model.config, *(_made_with(one, model) for one in reversed(line)))
    return Parent(
        id=maker.id,
        action=maker.action,
        results_dir=Path(maker.results_dir),
        artifacts={one["kind"]: Path(one["path"]) for one in maker.artifacts},
        spec=spec,
        metric=(maker.automl or {}).get("metric"),
    )


def _made_with(job: Job, model: Model) -> dict[str, Any]:
    """The spec that a job's result was made with."""
    return load.override(model.config, job.spec, job.chosen.items())


def _line(job: Job, store: Store) -> Iterator[Job]:
    """The job, its parent, and so on as far as their records are still there."""
    yield job
    while job.parent is not None:
        try:
            job = find_parent(store, job.parent)
        except NotFound:
            return
        yield job


def _base_experiment(runner: Runner, name: str | None, given: set[str]) -> Iterator[str]:
    """What stands in the way of the named weights; refuses them where the action starts from none."""
    if name is None:
        return
    keys = [key for key, function in runner.inference.items() if function == PRETRAINED]
    if not keys:
        raise BadRequest(
            f"base experiment {name} does not go with {runner.action}, which starts from no pretrained weights",
            fix="leave it out, or run train",
        )
    for key in set(keys) & given:
        yield f"base experiment {name} is not used, as {key} is given"


def _parent_warnings(parent: Job | None) -> Iterator[str]:
    if parent is not None and parent.state != "COMPLETE":
        yield f"parent job {parent.id} is {parent.state}: what it has left so far is used"


def _infer(
    runner: Runner, inputs: Inputs, given: set[str], values: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every parameter that can be inferred and was not given, with its value, function and reason."""
    for key, function in runner.inference.items():
        if key not in given and (found := FUNCTIONS[function](inputs)):
            yield key, _entry(found, function)
    if inputs.parent is None:
        return
    for leaf in iter_params(inputs.model.config, runner.action):
        value = lookup(inputs.parent.spec, leaf.key)
        if leaf.param.inherit and leaf.key not in given and value is not None:
            yield leaf.key, {"value": value, "by": "parent", "reason": f"as in job {inputs.parent.id}"}
    begun = {need.section for need in runner.data if need.key in given}
    for need in runner.data:
        value = lookup(inputs.parent.spec, need.from_parent) if need.from_parent else None
        if need.section not in begun and value is not None and _acts(inputs, need.key, values):
            # one's own data never get the parent's labels
            reason = f"{need.from_parent} of job {inputs.parent.id}"
            yield need.key, {"value": value, "by": "parent", "reason": reason}


def _acts(inputs: Inputs, key: str, values: Mapping[str, Any]) -> bool:
    """Whether what a parameter depends on is so."""
    leaf = next(leaf for leaf in iter_params(inputs.model.config, inputs.action) if leaf.key == key)
    if leaf.param.depends_on is None:
        return True
    other, wanted = leaf.param.depends_on
    return str(lookup(values, other)).casefold() == str(wanted).casefold()


def _entry(found: Inferred, function: str) -> dict[str, Any]:
    return {"value": found.value, "by": function, "reason": found.reason}


def _checked(runner: Runner, model: Model, values: Mapping[str, Any], parent: Job | None) -> dict[str, Any]:
    """The complete spec; where a parent would have filled what is missing, the fix says so."""
    try:
        return load.check(model.config, runner.action, values)
    except SpecError as error:
        if parent is not None:
            raise
        raise SpecError([_parent_would_help(runner, problem, values) for problem in error.problems]) from None


def _parent_would_help(runner: Runner, problem: Problem, values: Mapping[str, Any]) -> Problem:
    from_parent = {key for key, function in runner.inference.items() if function in MODEL_FUNCTIONS}
    from_parent |= {need.key for need in runner.data if need.from_parent}
    if problem.key in from_parent and load.is_blank(lookup(values, problem.key)):
        return replace(problem, fix=Fix("give ", Option("parent", "JOB"), ", or ", problem.fix))
    return problem


def _still_hidden(secrets: Mapping[str, str]) -> Iterator[Problem]:
    """Secrets of a command that was taken from a record or an answer, where they are hidden."""
    for key in (key for key, value in secrets.items() if value == HIDDEN):
        message = f"{key} is {HIDDEN}, which stands in for a value that is not shown"
        yield Problem(key=key, message=message, fix=f"set {key} to the value itself, or give it in {KEY_VARIABLE}")


def _secret_keys(model: Model, action: str) -> list[str]:
    return [leaf.key for leaf in iter_params(model.config, action) if leaf.param.secret]


def _route(model: Model, action: str, policy: Policy | None, words: str | None, info: Mapping[str, Any]) -> Route:
    return decide(
        action=action,
        explicit=policy,
        request=words,
        automl_enabled=bool(info["automl_enabled"]),
        missing=_missing_for_automl(model) if action == "train" else None,
    )


def _missing_for_automl(model: Model) -> str | None:
    """What AutoML lacks of the packaged train schema and template; None if both are there and parse."""
    try:
        bank.load_schema(model.name, "train")
        bank.load_template(model.name, "train")
    except TaoSkillError as error:
        return error.message
    return None
