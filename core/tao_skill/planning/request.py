"""The request for a run, and the spec values and AutoML policy in it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tao_skill.model import Model
from tao_skill.planning.routing import Policy, parse_policy
from tao_skill.spec import load
from tao_skill.spec.keys import full_keys, override_pairs

POLICY_ARGUMENT: Final = "automl_policy"
"""Key of a spec file or an override that is not a spec key."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """The request of a user or agent.

    Attributes:
        overrides: `KEY=VALUE` texts, or an object of nested, dotted or short keys.
        parent: a job reference, `JOB/3` for trial 3 of a search.
        base_experiment: name of pretrained weights to start from, before a parent's.
        automl: policy flag. user_request: the request of a user in plain words, which may turn AutoML off.
        key: idempotency key. upload: S3 prefix to upload results to.
        search: settings of an AutoML search that differ from their defaults.
        command: the command line that repeats the call, for the job record.
        adapt: transforms the values of file and overrides before they are used.
    """

    spec_file: Path | None = None
    overrides: Sequence[str] | Mapping[str, Any] = ()
    parent: str | None = None
    base_experiment: str | None = None
    automl: str | None = None
    user_request: str | None = None
    key: str | None = None
    upload: str | None = None
    search: Mapping[str, Any] = field(default_factory=dict)
    command: Sequence[str] = ()
    adapt: Callable[[Mapping[str, Any]], dict[str, Any]] = dict


@dataclass(frozen=True, kw_only=True)
class RequestedSpec:
    """Spec values of a request: the values of the file, replaced by the overrides.

    Attributes:
        values: values that the action reads. ignored: keys of the file that only other actions read.
        all_values: values of all actions. overridden: keys that the overrides set.
        policy: the explicit AutoML policy.
    """

    values: Mapping[str, Any]
    ignored: Sequence[str]
    all_values: Mapping[str, Any]
    overridden: Collection[str]
    policy: Policy | None


def read_request(request: Request, model: Model, action: str, shorthand: Mapping[str, str]) -> RequestedSpec:
    """Read the spec file and apply the overrides.

    Args:
        shorthand: short key -> full key.

    Raises:
        SpecError, BadRequest, NotFound: a key, value or file is invalid.
    """
    config = model.config
    from_file = load.read_spec_file(request.spec_file) if request.spec_file else {}
    policies = [from_file.pop(POLICY_ARGUMENT)] if POLICY_ARGUMENT in from_file else []
    file_values = load.override(config, {}, full_keys(config, from_file, shorthand, str(request.spec_file)))
    of_action, ignored = load.project(config, action, file_values)
    pairs = override_pairs(config, request.overrides, shorthand)
    policies += [value for key, value in pairs if key == POLICY_ARGUMENT]
    policies += [request.automl] if request.automl else []
    pairs = [pair for pair in pairs if pair[0] != POLICY_ARGUMENT]
    return RequestedSpec(
        values=load.override(config, of_action, pairs),
        ignored=ignored,
        all_values=load.override(config, file_values, pairs),
        overridden={key for key, _ in pairs},
        policy=parse_policy(policies[-1]) if policies else None,
    )
