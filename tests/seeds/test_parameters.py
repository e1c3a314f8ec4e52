"""The parameter tables of TAO's page: every key is known, with TAO's default, and every accepted value is accepted."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tao_skill.models import get_model
from tao_skill.spec.param import REQUIRED
from tao_skill.spec.tree import iter_params
from tests.support.tao import SEEDS

PARAMETERS: dict[str, Any] = yaml.safe_load((SEEDS / "parameters.yaml").read_text())
CHOICES: dict[str, list[str]] = yaml.safe_load((SEEDS / "choices.yaml").read_text())
LEAVES = {leaf.key: leaf for leaf in iter_params(get_model(None).config)}


@pytest.mark.parametrize("key", PARAMETERS)
def test_a_parameter_has_taos_default(key: str) -> None:
    default = LEAVES[key].default
    assert (default() if callable(default) else default) == (
        REQUIRED if PARAMETERS[key] == "required" else PARAMETERS[key]
    )


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in CHOICES.items() for value in values])
def test_a_value_of_taos_page_is_accepted(key: str, value: str) -> None:
    assert value in LEAVES[key].param.choices
