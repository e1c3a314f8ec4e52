"""Tools that plan and run actions."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

from tao_skill import bank
from tao_skill.agent_tools.context import ToolContext
from tao_skill.agent_tools.jobs import JobAnswer, job_answer
from tao_skill.agent_tools.tool import CONCISE, Answer, Detail, ModelName, Object, call, given
from tao_skill.automl import submit
from tao_skill.automl.document import to_json
from tao_skill.automl.report.review import SearchReview
from tao_skill.automl.settings import SearchOptions
from tao_skill.jobs.trials import split_reference
from tao_skill.models import get_model
from tao_skill.planning.job import open_job
from tao_skill.planning.plan import Plan, plan_action
from tao_skill.planning.request import Request
from tao_skill.planning.routing import POLICIES
from tao_skill.spec.keys import override_texts
from tao_skill.spec.param import Param

ALWAYS_INFERRED: Final = ("results_dir", "encryption_key")
"""Keys that every plan infers; a concise plan leaves them out."""


@dataclass(frozen=True, kw_only=True)
class RequestArguments:
    """The action and its spec."""

    action: Annotated[str, Param("")]
    overrides: Annotated[list[str] | Object, Param('Spec: "KEY=VALUE", e.g. lr=0.01, or values by key.')] = field(
        default_factory=list
    )
    spec: Annotated[str | None, Param("Spec file.")] = None
    parent: Annotated[str | None, Param("Job to build on: latest:train, JOB/3 (trial 3); gives model, data.")] = None
    base_experiment: Annotated[str | None, Param("Pretrained weights, by name.")] = None
    automl: Annotated[str | None, Param("A train is a search unless off; auto: request decides.", choices=POLICIES)] = (
        None
    )
    request: Annotated[str | None, Param("User's request; may turn AutoML off.")] = None


@dataclass(frozen=True, kw_only=True)
class PlanArguments(SearchOptions, RequestArguments):
    """The action, its spec, and the settings of a search."""

    model: ModelName = None
    detail: Detail = CONCISE


@dataclass(frozen=True, kw_only=True)
class RunArguments(PlanArguments):
    """The run, and the time to wait for its end."""

    key: Annotated[str | None, Param("Same key: same job, resumed.")] = None
    wait_s: Annotated[float, Param("0 returns at once.", minimum=0, maximum=3600)] = 0.0


@dataclass(frozen=True, kw_only=True)
class PlanAnswer(Answer):
    """The plan of a run."""

    plan: Annotated[Object, Param("")]
    route: Annotated[Object, Param("direct or automl, and why.")]
    automl: Annotated[Object | None, Param("The search.")] = None
    warnings: Annotated[list[str] | None, Param("")] = None


def plan(arguments: PlanArguments, context: ToolContext) -> PlanAnswer:
    """Plan a run; nothing is written.

    Raises:
        OutsideRoots, SpecError, BadRequest, NotFound, MissingDependency: the run is not possible with these arguments.
    """
    planned = _plan(arguments, context, None)
    review = submit.review_search(planned, context.store, context.roots.confine)
    document = planned.as_dict() | ({"automl": to_json(review)} if review else {})
    warnings = submit.warnings(planned) or None
    if arguments.detail == CONCISE:
        document = _concise(planned, review)
    else:
        warnings = None if warnings == list(planned.warnings) else warnings
    run_arguments = {name: value for name, value in given(arguments).items() if name != "detail"}
    run_arguments["overrides"] = [planned.mask_secrets(text) for text in _override_texts(arguments)]
    return PlanAnswer(**document, warnings=warnings, next=[call("run_action", **run_arguments)])


def run_action(arguments: RunArguments, context: ToolContext) -> JobAnswer:
    """Start a job in its own process, and wait for it for at most `wait_s`.

    Raises:
        OutsideRoots, SpecError, BadRequest, NotFound, MissingDependency: the run is not possible with these arguments.
        KeyConflict: the key belongs to another request. JobFailed: its process could not be started.
    """
    planned = _plan(arguments, context, arguments.key)
    submit.review_search(planned)
    store = context.store
    job, _ = open_job(planned, store, now=datetime.now(UTC))
    process = submit.start(job, store, planned.secrets)
    if process is not None:
        context.processes[job.id] = process
    return job_answer(context.wait(job.id, arguments.wait_s), context, arguments.detail, submit.warnings(planned))


def command(arguments: PlanArguments) -> list[str]:
    """The equivalent command line, for the job record."""
    command_words = ["tao-skill", "run", arguments.action, *_override_texts(arguments)]
    for name, value in given(arguments).items():
        if name not in ("action", "overrides", "detail", "wait_s"):
            option = f"--{name.replace('_', '-')}"
            if isinstance(value, bool):
                command_words += [option] * value
                continue
            for item in value if isinstance(value, list) else [value]:
                command_words += [option, str(item)]
    return command_words


def _override_texts(arguments: PlanArguments) -> list[str]:
    """The overrides as KEY=VALUE, their form in answers and records."""
    if isinstance(arguments.overrides, list):
        return arguments.overrides
    model = get_model(arguments.model)
    return override_texts(model.config, arguments.overrides, bank.skill_info(model.name)["spec_shorthand"])


def _plan(arguments: PlanArguments, context: ToolContext, key: str | None) -> Plan:
    model = get_model(arguments.model)
    if arguments.spec is not None:
        context.roots.confine("spec", arguments.spec)
    if arguments.parent is not None:
        context.find(split_reference(arguments.parent)[0])
    settings = {field.name for field in fields(SearchOptions)}
    request = Request(
        spec_file=Path(arguments.spec) if arguments.spec is not None else None,
        overrides=arguments.overrides,
        parent=arguments.parent,
        base_experiment=arguments.base_experiment,
        automl=arguments.automl,
        user_request=arguments.request,
        key=key,
        search={name: value for name, value in given(arguments).items() if name in settings},
        command=command(arguments),
    )
    return plan_action(
        model,
        arguments.action,
        request,
        context.store,
        context.environment,
        confine=context.roots.confine,
        reads_environment=False,
    )


def _concise(planned: Plan, review: SearchReview | None) -> dict[str, Any]:
    inferred = {key: entry["value"] for key, entry in planned.inferred.items() if key not in ALWAYS_INFERRED}
    document: dict[str, Any] = {
        "plan": {"action": planned.action, "parent": planned.parent, "inferred": inferred},
        "route": dict(vars(planned.route)),
    }
    if review is not None:
        limits = {"trials": review.budget.trials, "expected_s": review.cost.expected_s}
        budget = {name: round(limit) for name, limit in limits.items() if limit is not None}
        searched = {"recipes": list(review.recipes), "search": list(review.space.search)}
        document["automl"] = {"metric": review.goal.metric, **budget, **searched}
    return document
