"""Importance of parameters.

Source: PED-ANOVA, Watanabe et al., IJCAI 2023 (arXiv 2304.10255), as implemented in Optuna.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tao_skill.automl.search.asha import Trial
from tao_skill.automl.search.samplers import Observation, frozen_trials, make_study
from tao_skill.automl.space.space import Space

MIN_CONFIGURATIONS: Final = 8
"""Configurations with a result below which importance is not computed."""

_MIN_TOP: Final = 5
"""Size of the group of best configurations, at least; otherwise a tenth of all."""


@dataclass(frozen=True, kw_only=True)
class Importances:
    """Share of each parameter, the largest first, from `trials` configurations, and a caveat for the reader."""

    method: str
    shares: Mapping[str, float]
    trials: int
    caveat: str


def importances(
    space: Space, spec: Mapping[str, Any], trials: Sequence[Trial], scores: Mapping[int, float]
) -> Importances | None:
    """Importance of the searched parameters; None with too few results, or where the parameters make no difference.

    Args:
        spec: the user's own. scores: a finite number by trial, larger is better; trials without one are left out.
    """
    observations = [
        Observation(values=trial.values, score=scores[trial.number]) for trial in trials if trial.number in scores
    ]
    frozen = [trial for trial in frozen_trials(space, spec, observations) if trial.params]
    if len(frozen) < MIN_CONFIGURATIONS:
        return None
    from optuna.importance import PedAnovaImportanceEvaluator

    top = min(0.5, max(0.1, _MIN_TOP / len(frozen)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about parameters that act only in a few trials, which the caveat covers
        spread = PedAnovaImportanceEvaluator(target_quantile=top).evaluate(make_study(frozen))
    total = sum(spread.values())
    if total <= 0:
        return None
    ranked = sorted(spread.items(), key=lambda item: (-item[1], item[0]))
    return Importances(
        method="PED-ANOVA",
        shares={key: value / total for key, value in ranked},
        trials=len(frozen),
        caveat=(
            f"Compares how each parameter is distributed among the best {top:.0%} and among all of {len(frozen)} "
            "configurations. These were not drawn uniformly, most were trained in part, and parameters interact: "
            "a hint where to look, not a proof, and weak below about 50 configurations."
        ),
    )
