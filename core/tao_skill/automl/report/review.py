"""The review of a search before it starts: space, budget and expected cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
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
    """Expected and greatest time of a search in seconds; None where the time of an epoch is unknown.

    Attributes:
        learnt_from: job that the time of an epoch was measured in.
    """

    seconds_per_epoch: float | None
    learnt_from: str | None
    workers: int
    expected_s: float | None
    most_s: float | None


@dataclass(frozen=True, kw_only=True)
class SearchReview:
    """A search that has not started. trial_0: values of the user's spec for the searched parameters."""

    goal: GoalSummary
    space: SpaceSummary
    trial_0: Mapping[str, Any]
    validation: str
    budget: BudgetReport
    sampler: str
    seed: int
    cost: SearchCost


def review(
    setup: Setup, *, seconds_per_epoch: float | None = None, learnt_from: str | None = None, workers: int = 1
) -> SearchReview:
    """The review of a search.

    Args:
        learnt_from: job that the time of an epoch was measured in. workers: number of trials trained at once.
    """
    budget = budget_report(setup)
    rate = math.nan if seconds_per_epoch is None else seconds_per_epoch / max(1, workers)
    reviewed = SearchReview(
        goal=GoalSummary(metric=setup.goal.metric, direction=direction(setup.goal)),
        space=setup.space.summary(),
        trial_0={dimension.key: lookup(setup.spec, dimension.key) for dimension in setup.space.dimensions},
        validation=setup.validation,
        budget=budget,
        sampler=setup.sampler,
        seed=setup.seed,
        cost=SearchCost(
            seconds_per_epoch=seconds_per_epoch,
            learnt_from=learnt_from,
            workers=workers,
            expected_s=budget.expected_epochs * rate,
            most_s=budget.most_epochs * rate,
        ),
    )
    sanitized: SearchReview = sanitize(reviewed)
    return sanitized
