"""The plan of a run: everything that is decided before its job record is opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Any

from tao_skill import bank
from tao_skill.errors import TaoSkillError
from tao_skill.inference import Inputs, Parent
from tao_skill.jobs.record import Job, new_id
from tao_skill.jobs.store import Store
from tao_skill.jobs.trials import find_parent
from tao_skill.model import TRAIN, Model, task_results_dir
from tao_skill.models import get_model
from tao_skill.planning.completion import (
    MASK,
    check_run,
    complete_spec,
    inferred_values,
    requested_values,
    secret_values,
)
from tao_skill.planning.infer import base_experiment_warnings
from tao_skill.planning.inputs import object_lookup
from tao_skill.planning.lineage import as_parent, parent_warnings
from tao_skill.planning.request import Request, RequestedSpec, read_request
from tao_skill.planning.routing import Route, decide
from tao_skill.runner import Runner, load_runner
from tao_skill.spec import load
from tao_skill.spec.paths import Confine
from tao_skill.spec.tree import iter_params


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The decisions about a run.

    Attributes:
        spec: checked and complete, without secrets. inferred: spec key -> value (secrets masked), function and reason.
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

    def mask_secrets(self, argument: str) -> str:
        """An argument of a command with secret values masked, however they are quoted, used or not."""
        name = argument.partition("=")[0]
        if name.strip().lstrip("+~") in self.secrets:
            return f"{name}={MASK}"
        for secret in self.secrets.values():
            argument = argument.replace(secret, MASK)
        return argument


def plan_action(
    model: Model,
    action: str,
    request: Request,
    store: Store,
    environment: Mapping[str, str],
    *,
    confine: Confine = lambda key, path: None,
    reads_environment: bool = True,
) -> Plan:
    """Plan a run of a packaged action, starting now; see `make_plan`."""
    return make_plan(
        load_runner(model.name, model.action(action).name),
        request,
        store,
        environment=environment,
        now=datetime.now(UTC),
        token=token_hex(2),
        confine=confine,
        reads_environment=reads_environment,
    )


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
        now, token: time and random part of the job id.
        confine: called with every path of the spec before anything is read from it.
        reads_environment: whether the spec may refer to variables, `${oc.env:NAME}`; those of a server may be secret.

    Raises:
        OutsideRoots: `confine` refuses a path.
        SpecError: the spec has problems; it names all of them.
        BadRequest, NotFound: the request cannot be served.
        MissingDependency: S3 is needed, and the extra, credentials or the server are missing.
    """
    model = get_model(runner.model)
    requested = read_request(request, model, runner.action, bank.skill_info(model.name)["spec_shorthand"])
    parent_job = find_parent(store, request.parent) if request.parent else None
    parent = _confined_parent(parent_job, model, store, confine) if parent_job else None
    route = _route(model, runner.action, request, requested)
    job_id = new_id(runner.action, request.key, now=now, token=token)
    inputs = Inputs(
        action=runner.action,
        job_dir=store.folder(job_id),
        parent=parent,
        metric=_metric(model),
        environment=environment,
        base_experiment=request.base_experiment,
        given=load.given_keys(requested.values),
        is_search=route.route == "automl",
        confine=confine,
    )
    values = requested_values(runner, model, inputs, request, requested, environment if reads_environment else None)
    warnings = [
        *base_experiment_warnings(runner, request.base_experiment, load.given_keys(values)),
        *parent_warnings(parent_job),
    ]
    look_up = object_lookup(environment, request.upload)
    inferred = inferred_values(runner, model, inputs, values, look_up)
    spec = complete_spec(runner, model, values, inferred, has_parent=parent is not None)
    advice = check_run(runner, model, spec, inferred, look_up)
    secrets = secret_values(model, runner.action, spec)
    return Plan(
        job_id=job_id,
        results_dir=task_results_dir(load.build(model.config, spec), runner.action).absolute(),
        model=model,
        action=runner.action,
        route=route,
        spec=load.override(model.config, spec, [(key, None) for key in secrets]),
        secrets=secrets,
        inferred={key: entry | ({"value": MASK} if key in secrets else {}) for key, entry in inferred.items()},
        ignored=requested.ignored,
        warnings=[*warnings, *advice.warnings, *(advice.direct if route.route == "direct" else ())],
        gpus=advice.gpus,
        parent=parent_job.id if parent_job else None,
        key=request.key,
        upload=request.upload,
        search=_search(model, request, requested, route),
        command=request.command,
    )


def _confined_parent(job: Job, model: Model, store: Store, confine: Confine) -> Parent:
    parent = as_parent(job, model, store, _metric(model))
    confine("parent", str(parent.results_dir))
    return parent


def _search(model: Model, request: Request, requested: RequestedSpec, route: Route) -> Mapping[str, Any]:
    """Settings of the search, with the keys that the user wrote, whose values a search keeps; data files aside."""
    leaves = iter_params(model.config, TRAIN)
    written = {leaf.key for leaf in leaves if not leaf.param.reads_file or leaf.param.checkpoint}
    fixed = sorted(written & load.given_keys(requested.values))
    return {**request.search, **({"fixed": fixed} if fixed and route.route == "automl" else {})}


def _metric(model: Model) -> str:
    """The metric that the best checkpoint is chosen by."""
    return str(bank.skill_info(model.name)["monitoring"]["metric"])


def _route(model: Model, action: str, request: Request, requested: RequestedSpec) -> Route:
    return decide(
        action=action,
        explicit=requested.policy,
        request=request.user_request,
        automl_enabled=bool(bank.skill_info(model.name)["automl_enabled"]) and model.training is not None,
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
