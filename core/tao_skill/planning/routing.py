"""The AutoML policy: whether a train runs directly or as a search, and the reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from tao_skill.errors import BadRequest, Fix, Option
from tao_skill.model import TRAIN

Policy = Literal["auto", "on", "off"]
POLICIES: Final[tuple[Policy, ...]] = ("auto", "on", "off")

_MAX_QUOTE: Final = 120
"""Characters of a request that are quoted at most."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """The route of a run, its policy, and the reason."""

    policy: Policy
    route: Literal["direct", "automl"]
    reason: str


def parse_policy(value: Any) -> Policy:
    """Parse a policy from a file or an argument; YAML reads on and off as booleans.

    Raises:
        BadRequest: it is not auto, on or off.
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
    """Decide the route of a run.

    Args:
        action: only train can be searched.
        explicit: policy of a flag or workflow argument; on and off override the request, auto leaves it to the request.
        request: the user's request in plain words.
        automl_enabled: whether AutoML is enabled for the model.
        missing: why the packaged schema or template cannot be used by AutoML; None if both can.

    Raises:
        BadRequest: the run could be a search, and the request is unclear about it.
    """
    outcome, quote = _judge(request) if request and explicit not in ("on", "off") else ("auto", "")
    policy: Policy = "off" if outcome == "off" else explicit or "auto"
    if action != TRAIN:
        return Route(policy=policy, route="direct", reason=f"{action} always runs directly; only train is searched")
    if policy == "off":
        reason = f"the request says {quote}, for this run only" if quote else "automl_policy is off"
        return Route(policy=policy, route="direct", reason=reason)
    if not automl_enabled:
        return Route(policy=policy, route="direct", reason="AutoML is not enabled for this model")
    if missing:
        reason = f"AutoML is enabled but not runnable for this model until schemas are generated: {missing}"
        return Route(policy=policy, route="direct", reason=reason)
    if outcome == "unclear":
        raise BadRequest(
            f"the request says {quote}, which leaves open whether to search hyperparameters",
            fix=Fix("use ", Option("automl", "off"), " to train once, or use ", Option("automl", "on"), " to search"),
            path="request",
        )
    return Route(
        policy=policy, route="automl", reason=f"automl_policy is {policy} and AutoML is enabled for this model"
    )


def _judge(request: str) -> tuple[str, str]:
    """Judge a request: off, auto or unclear, and the quoted words that decided."""
    from tao_skill.planning.user_request.verdict import judge

    outcome, words = judge(request)
    return outcome, repr(words if len(words) <= _MAX_QUOTE else f"{words[:_MAX_QUOTE]}...")
