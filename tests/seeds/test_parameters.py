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


@pytest.mark.parametrize("section", ["model", "dataset", "train"])
def test_own_parameters_are_those_that_taos_tables_lack(section: str) -> None:
    keys = {
        leaf.key: leaf for leaf in iter_params(get_model(None).config, "train") if leaf.key.startswith(f"{section}.")
    }
    assert {key for key, leaf in keys.items() if leaf.param.own} == keys.keys() - PARAMETERS.keys()


@pytest.mark.parametrize("key", [key for key in CHOICES if LEAVES[key].param.may_search])
def test_own_choices_of_searched_parameters_are_those_that_taos_page_lacks(key: str) -> None:
    param = LEAVES[key].param
    assert set(param.own_choices) == set(param.choices) - set(CHOICES[key])
    assert all(param.is_own(value) == (value not in CHOICES[key]) for value in param.choices)
