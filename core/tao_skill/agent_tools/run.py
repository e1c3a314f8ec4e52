"""Tools that plan and run actions."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

from tao_skill import bank
from tao_skill.agent_tools.context import ToolContext
from tao_skill.agent_tools.jobs import JobAnswer, job_answer
from tao_skill.agent_tools.tool import CONCISE, Answer, Detail, ModelName, Object, call
from tao_skill.automl import submit
from tao_skill.automl.settings import PRUNERS, SAMPLERS
from tao_skill.jobs.trials import split_reference
from tao_skill.models import get_model
from tao_skill.planning.routing import POLICIES
from tao_skill.runner import Plan, Request, load_runner, open_job
from tao_skill.runner import plan as make_plan
from tao_skill.spec.keys import override_texts
from tao_skill.spec.param import Param

Count = int | None

SETTINGS: Final[Mapping[str, str]] = {
    "trials": "trials",
    "max_epochs": "max_epochs",
    "epochs_total": "epochs_total",
    "time_budget": "time_budget_s",
    "search": "search",
    "no_search": "no_search",
    "sampler": "sampler",
    "pruner": "pruner",
    "min_epochs": "min_epochs",
    "metric": "metric",
    "workers": "workers",
}
"""Arguments that shape a search, by their names in automl.settings.Settings."""

USUAL: Final = ("results_dir", "encryption_key")
"""What is inferred in every plan, and tells little."""


@dataclass(frozen=True, kw_only=True)
class PlanArguments:
    """What to run."""

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
    request: Annotated[str | None, Param("User's words; may turn AutoML off.")] = None
    trials: Annotated[Count, Param("Search: configurations, default 20.", minimum=1)] = None
    max_epochs: Annotated[Count, Param("Search: epochs of one.", minimum=1)] = None
    epochs_total: Annotated[Count, Param("Search: epochs of all.", minimum=1)] = None
    time_budget: Annotated[float | None, Param("Search: seconds.", above=0)] = None
    search: Annotated[list[str], Param("KEY, KEY=low:high[:log], KEY=a,b.")] = field(default_factory=list)
    no_search: Annotated[list[str], Param("Keys to leave.")] = field(default_factory=list)
    sampler: Annotated[str | None, Param("", choices=SAMPLERS)] = None
    pruner: Annotated[str | None, Param("", choices=PRUNERS)] = None
    min_epochs: Annotated[Count, Param("Search: lowest rung.", minimum=1)] = None
    metric: Annotated[str | None, Param("Default val_acc.")] = None
    workers: Annotated[Count, Param("Search: processes.", minimum=1)] = None
    model: ModelName = None
    detail: Detail = CONCISE


@dataclass(frozen=True, kw_only=True)
class RunArguments(PlanArguments):
    """What to run, and how to wait for it."""

    key: Annotated[str | None, Param("Same key: same job, resumed.")] = None
    wait_s: Annotated[float, Param("0 returns at once.", minimum=0, maximum=3600)] = 0.0


@dataclass(frozen=True, kw_only=True)
class PlanAnswer(Answer):
    """What a run would do."""

    plan: Annotated[Object, Param("")]
    route: Annotated[Object, Param("direct or automl, and why.")]
    automl: Annotated[Object | None, Param("The search.")] = None
    warnings: Annotated[list[str] | None, Param("")] = None


def plan(asked: PlanArguments, here: ToolContext) -> PlanAnswer:
    """What a run would do; nothing is written.

    Raises:
        OutsideRoots, SpecError, BadRequest, NotFound, MissingDependency: it could not be done as asked.
    """
    planned = _planned(asked, here, None)
    review = submit.review_search(planned, here.store, here.roots.confine)
    document = planned.as_dict() | review
    warnings = submit.warnings(planned) or None
    if asked.detail == CONCISE:
        document = _in_short(planned, review)
    else:
        warnings = None if warnings == list(planned.warnings) else warnings
    again = {name: value for name, value in asdict(asked).items() if name != "detail"}
    again["overrides"] = [planned.hide(one) for one in _override_words(asked)]
    return PlanAnswer(**document, warnings=warnings, next=[call("run_action", **again)])


def run_action(asked: RunArguments, here: ToolContext) -> JobAnswer:
    """Start a job in a process of its own, and wait for it so long.

    Raises:
        OutsideRoots, SpecError, BadRequest, NotFound, MissingDependency: it cannot be done as asked.
        KeyConflict: the key belongs to another request. JobFailed: no process could be started.
    """
    planned = _planned(asked, here, asked.key)
    submit.review_search(planned)
    store = here.store
    job, _ = open_job(planned, store, now=datetime.now(UTC))
    process = submit.start(job, store, planned.secrets)
    if process is not None:
        here.processes[job.id] = process
    return job_answer(here.wait(job.id, asked.wait_s), here, asked.detail, submit.warnings(planned))


def command(asked: PlanArguments) -> list[str]:
    """The call as a command line, for the record."""
    words = ["tao-skill", "run", asked.action, *_override_words(asked)]
    for name, value in asdict(asked).items():
        if name not in ("action", "overrides", "detail", "wait_s") and value is not None:
            for one in value if isinstance(value, list) else [value]:
                words += [f"--{name.replace('_', '-')}", str(one)]
    return words


def _override_words(asked: PlanArguments) -> list[str]:
    """The overrides as KEY=VALUE, in which form they are shown and kept."""
    if isinstance(asked.overrides, list):
        return asked.overrides
    model = get_model(asked.model)
    return override_texts(model.config, asked.overrides, bank.skill_info(model.name)["spec_shorthand"])


def _planned(asked: PlanArguments, here: ToolContext, key: str | None) -> Plan:
    model = get_model(asked.model)
    if asked.spec is not None:
        here.roots.confine("spec", asked.spec)
    if asked.parent is not None:
        here.find(split_reference(asked.parent)[0])
    given = {there: getattr(asked, name) for name, there in SETTINGS.items()}
    request = Request(
        spec_file=Path(asked.spec) if asked.spec is not None else None,
        overrides=asked.overrides,
        parent=asked.parent,
        base_experiment=asked.base_experiment,
        automl=asked.automl,
        words=asked.request,
        key=key,
        search={name: value for name, value in given.items() if value not in (None, [])},
        command=command(asked),
    )
    return make_plan(
        load_runner(model.name, model.action(asked.action).name),
        request,
        here.store,
        environment=here.environment,
        now=datetime.now(UTC),
        token=secrets.token_hex(2),
        confine=here.roots.confine,
        reads_environment=False,
    )


def _in_short(planned: Plan, review: Mapping[str, Any]) -> dict[str, Any]:
    shown = {"action": planned.action, "parent": planned.parent}
    inferred = {key: one["value"] for key, one in planned.inferred.items() if key not in USUAL}
    document: dict[str, Any] = {"plan": shown | {"inferred": inferred}, "route": dict(vars(planned.route))}
    if "automl" in review:
        search = review["automl"]
        budget = {name: search["budget"][name] for name in ("trials", "max_epochs", "expected_epochs")}
        time = {"expected_s": round(seconds)} if (seconds := search["cost"]["expected_s"]) is not None else {}
        searched = list(search["space"]["search"])
        document["automl"] = {"metric": search["goal"]["metric"], **budget, **time, "search": searched}
    return document
