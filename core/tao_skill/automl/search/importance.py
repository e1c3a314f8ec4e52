"""Which parameters told good configurations from the rest.

Source: PED-ANOVA, Watanabe et al., IJCAI 2023 (arXiv 2304.10255), as Optuna has it.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tao_skill.automl.search.asha import Trial
from tao_skill.automl.search.samplers import Seen, frozen_trials, make_study
from tao_skill.automl.space.space import Space

AT_LEAST: Final = 8
"""Configurations with a result below which nothing is said."""

_TOP: Final = 5
"""Configurations that stand for the good ones, at least; of many, a tenth."""


def importances(
    space: Space, spec: Mapping[str, Any], trials: Sequence[Trial], scores: Mapping[int, float]
) -> dict[str, Any] | None:
    """Share of each parameter, the largest first, from how many configurations, and what the shares do not say.

    Args:
        spec: the user's own. scores: one finite number by trial, larger better; trials without one are left out.

    Returns:
        None where too few configurations have a result, or the parameters show no difference.
    """
    seen = [Seen(values=one.values, score=scores[one.number]) for one in trials if one.number in scores]
    told = [found for found in frozen_trials(space, spec, seen) if found.params]
    if len(told) < AT_LEAST:
        return None
    from optuna.importance import PedAnovaImportanceEvaluator

    share = min(0.5, max(0.1, _TOP / len(told)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # parameters that act only in a few trials; the caveat says so
        spread = PedAnovaImportanceEvaluator(target_quantile=share).evaluate(make_study(told))
    total = sum(spread.values())
    if total <= 0:
        return None
    ranked = sorted(spread.items(), key=lambda pair: (-pair[1], pair[0]))
    return {
        "method": "PED-ANOVA",
        "shares": {key: value / total for key, value in ranked},
        "trials": len(told),
        "caveat": (
            f"How differently each parameter is spread among the best {share:.0%} and among all of {len(told)} "
            "configurations. Those were not drawn evenly, most were trained in part, and parameters act together: "
            "a hint where to look, no proof, and of little weight below about 50 configurations."
        ),
    }
