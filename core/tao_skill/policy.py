"""The automl policy: who decides whether a train is searched, and the route that follows, with its reason."""

from __future__ import annotations

import re
from typing import Any, Final, Literal

from tao_skill.errors import BadRequest
from tao_skill.records import dataclass

Policy = Literal["auto", "on", "off"]
POLICIES: Final[tuple[Policy, ...]] = ("auto", "on", "off")

_SUBJECT: Final = (
    r"(?:auto[\s-]?ml|hpo|hyper[\s-]?param(?:eter)?s?(?:[\s-](?:optimi[sz]ation|search(?:ing)?|tuning|sweep))?|tuning)"
)
_FILLER: Final = r"(?:(?:the|any|use|using|run|running|do|doing|of|with)\s+){0,3}"
_OFF: Final = (
    rf"\b(?:turn(?:ing)?|switch(?:ing)?)\s+off\s+{_FILLER}{_SUBJECT}\b"
    rf"|\b(?:turn|switch)\s+{_FILLER}{_SUBJECT}\s+off\b"
    rf"|\b(?:disabl(?:e|ed|ing)|skip(?:ping)?|without|no|not|don'?t|avoid|omit|bypass)\s+{_FILLER}{_SUBJECT}\b"
    rf"|\b{_SUBJECT}\s*(?:[:=]\s*|is\s+|to\s+be\s+)?(?:off|disabled|false)\b"
    r"|\b(?:plain|direct|ordinary|normal|regular|single)\s+(?:train(?:ing)?(?:\s+run)?|run)\b"
    r"|\b(?:just|simply)\s+(?:a\s+)?(?:plain\s+)?(?:train(?:ing)?)\s+(?:once|directly|plainly)\b"
    r"|\btrain\s+(?:it\s+|this\s+|the\s+model\s+)?(?:directly|plainly)\b"
    r"|\b(?:don'?t|do\s+not|no\s+need\s+to)\s+(?:tune|search|optimi[sz]e)\b"
)
_DENIED: Final = (
    r"\b(?:don'?t|do\s+not|never|not|no\s+need\s+to|instead\s+of|rather\s+than|without|n'?t)\s+(?:\w+\s+)?$"
)


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


def words_turn_off(request: str) -> str | None:
    """The words of a request that turn AutoML off; None if there are none, or if they are denied ("don't disable")."""
    text = request.replace("\u2019", "'")
    for match in re.finditer(_OFF, text, re.IGNORECASE):
        if not re.search(_DENIED, text[: match.start()], re.IGNORECASE):
            return match.group(0)
    return None


def decide(
    *, action: str, explicit: Policy | None, request: str | None, automl_enabled: bool, missing: str | None
) -> Route:
    """Route a run.

    Args:
        action: only train can be searched.
        explicit: a flag's or workflow argument's policy; it beats everything.
        request: the user's own words.
        automl_enabled: what the model's skill_info says.
        missing: what AutoML needs of the packaged schema and template and does not find; None if all is there.
    """
    words = words_turn_off(request) if request and explicit is None else None
    policy: Policy = explicit or ("off" if words else "auto")
    if action != "train":
        return Route(policy=policy, route="direct", reason=f"{action} always runs directly; only train is searched")
    if policy == "off":
        reason = f"the request says {words!r}, for this run only" if words else "automl_policy is off"
        return Route(policy=policy, route="direct", reason=reason)
    if not automl_enabled:
        return Route(policy=policy, route="direct", reason="AutoML is not enabled for this model")
    if missing:
        reason = f"AutoML is enabled but not runnable for this model until schemas are generated: {missing}"
        return Route(policy=policy, route="direct", reason=reason)
    return Route(
        policy=policy, route="automl", reason=f"automl_policy is {policy} and AutoML is enabled for this model"
    )
