"""The models of the bank."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from tao_skill import bank
from tao_skill.errors import BadRequest, Fix, NotFound, Option
from tao_skill.model import Model
from tao_skill.models.pose_classification.model import MODEL as POSE_CLASSIFICATION

MODELS: Final[Mapping[str, Model]] = MappingProxyType({model.name: model for model in (POSE_CLASSIFICATION,)})


def get_model(name: str | None = None) -> Model:
    """Find a model by its name or an alias in its skill_info; without a name, return the only model.

    Raises:
        NotFound: the model does not exist. BadRequest: there are several models, and no name is given.
    """
    if name is None:
        if len(MODELS) > 1:
            choice = Option("model", "|".join(MODELS))
            raise BadRequest(f"there are several models: {', '.join(MODELS)}", fix=Fix("give ", choice))
        return next(iter(MODELS.values()))
    canonical_name = name if name in MODELS else _by_alias(name)
    if canonical_name is None:
        import difflib

        close = difflib.get_close_matches(name, MODELS, n=1, cutoff=0.5)
        raise NotFound(f"no model {name!r}", fix=Fix("use ", Option("model", close[0] if close else "|".join(MODELS))))
    return MODELS[canonical_name]


def _by_alias(name: str) -> str | None:
    for model in MODELS:
        if name.casefold() in (alias.casefold() for alias in bank.skill_info(model)["aliases"]):
            return model
    return None
