"""The review of a search before it starts: space, budget and expected cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tao_skill.automl.document import sanitize
from tao_skill.automl.report.builder import budget_report, direction
from tao_skill.automl.report.report import BudgetReport, GoalSummary
from tao_skill.automl.search.search import Setup
from tao_skill.automl.space.summary import SpaceSummary
from tao_skill.spec.tree import lookup


@dataclass(frozen=True, kw_only=True)
class SearchCost:
    """Expected time of a search in seconds; None where it is unknown.

    Attributes:
        full_s: of a full training of the first recipe, or of the spec. learnt_from: job that its speed was measured in.
        is_proposed: whether the time budget is proposed, as the request has none.
    """

    full_s: float | None
    learnt_from: str | None
    expected_s: float | None
    is_proposed: bool


@dataclass(frozen=True, kw_only=True)
class SearchReview:
    """A search that has not started.

    Attributes:
        trial_0: values of the user's spec for the searched parameters. recipes: values by origin.
        not_in_tao: keys of the user's spec and of recipes whose values NVIDIA TAO cannot hold.
    """

    goal: GoalSummary
    space: SpaceSummary
    trial_0: Mapping[str, Any]
    recipes: Mapping[str, Mapping[str, Any]]
    not_in_tao: tuple[str, ...]
    validation: str
    budget: BudgetReport
    sampler: str
    seed: int
    cost: SearchCost


def review(
    setup: Setup,
    *,
    full_s: float | None = None,
    learnt_from: str | None = None,
    is_proposed: bool = False,
    own_keys: Sequence[str] = (),
) -> SearchReview:
    """The review of a search.

    Args:
        full_s: seconds of a full training, learnt from a job. is_proposed: whether the time budget is proposed.
        own_keys: keys that NVIDIA TAO lacks.
    """
    reviewed = SearchReview(
        goal=GoalSummary(metric=setup.goal.metric, direction=direction(setup.goal)),
        space=setup.space.summary(),
        trial_0={dimension.key: lookup(setup.spec, dimension.key) for dimension in setup.space.dimensions},
        recipes={recipe.origin: recipe.values for recipe in setup.recipes},
        not_in_tao=tuple(own_keys),
        validation=setup.validation,
        budget=budget_report(setup),
        sampler=setup.sampler,
        seed=setup.seed,
        cost=SearchCost(
            full_s=full_s,
            learnt_from=learnt_from,
            expected_s=setup.budget.seconds,
            is_proposed=is_proposed,
        ),
    )
    sanitized: SearchReview = sanitize(reviewed)
    return sanitized
