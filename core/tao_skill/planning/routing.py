"""The automl policy: who decides whether a train is searched, and the route that follows, with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from tao_skill.errors import BadRequest, Fix, Option
from tao_skill.model import TRAIN

Policy = Literal["auto", "on", "off"]
POLICIES: Final[tuple[Policy, ...]] = ("auto", "on", "off")

_MOST_QUOTED: Final = 120
"""Characters of a request that are quoted."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """How a run goes on: `direct` or `automl`, under which policy, and why."""

    policy: Policy
    route: Literal["direct", "automl"]
    reason: str


def parse_policy(value: Any) -> Policy:
    """A policy as written in a file or an argument; YAML's on and off arrive as booleans.

    Raises:
        BadRequest: not auto, on or off.
    """
    if isinstance(value, bool):
        return "on" if value else "off"
    for policy in POLICIES:
        if str(value).lower() == policy:
            return policy
    raise BadRequest(
        f"automl_policy is {value!r}, accepted: {', '.join(POLICIES)}",
        fix="use automl_policy=off",
        path="automl_policy",
    )


def decide(
    *, action: str, explicit: Policy | None, request: str | None, automl_enabled: bool, missing: str | None
) -> Route:
    """Route a run.

    Args:
        action: only train can be searched.
        explicit: a flag's or workflow argument's policy; on and off beat the request, auto leaves it to that.
        request: the user's own words.
        automl_enabled: what the model's skill_info says.
        missing: what AutoML needs of the packaged schema and template and does not find; None if all is there.

    Raises:
        BadRequest: the run could be a search, and the request does not say plainly whether it shall be one.
    """
    outcome, words = _read(request) if request and explicit not in ("on", "off") else ("auto", "")
    policy: Policy = "off" if outcome == "off" else explicit or "auto"
    if action != TRAIN:
        return Route(policy=policy, route="direct", reason=f"{action} always runs directly; only train is searched")
    if policy == "off":
        reason = f"the request says {words}, for this run only" if words else "automl_policy is off"
        return Route(policy=policy, route="direct", reason=reason)
    if not automl_enabled:
        return Route(policy=policy, route="direct", reason="AutoML is not enabled for this model")
    if missing:
        reason = f"AutoML is enabled but not runnable for this model until schemas are generated: {missing}"
        return Route(policy=policy, route="direct", reason=reason)
    if outcome == "unclear":
        raise BadRequest(
            f"the request says {words}, which leaves open whether to search hyperparameters",
            fix=Fix("use ", Option("automl", "off"), " to train once, or use ", Option("automl", "on"), " to search"),
            path="request",
        )
    return Route(
        policy=policy, route="automl", reason=f"automl_policy is {policy} and AutoML is enabled for this model"
    )


def _read(request: str) -> tuple[str, str]:
    """What a request says about AutoML: off, auto or unclear; and the words that decided, quoted."""
    from tao_skill.planning.user_request.verdict import judge

    outcome, words = judge(request)
    return outcome, repr(words if len(words) <= _MOST_QUOTED else f"{words[:_MOST_QUOTED]}...")
