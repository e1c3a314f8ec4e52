from __future__ import annotations

import pytest

from tao_skill.errors import BadRequest
from tao_skill.policy import decide, parse_policy, words_turn_off

OFF = [
    "turn off AutoML please",
    "Turn AutoML off",
    "disable AutoML",
    "with AutoML disabled",
    "AutoML off",
    "automl=false",
    "no HPO",
    "no automl for this one",
    "don't use AutoML",
    "don\u2019t tune",
    "do not run HPO",
    "train without hyperparameter search",
    "train with no hyper-parameter optimisation",
    "skip the hyperparameter tuning",
    "switch off auto-ml",
    "plain training",
    "do a plain training run",
    "train directly",
]
NOT_OFF = [
    "",
    "train a model on walking data",
    "train with AutoML",
    "use HPO",
    "tune it",
    "don't disable AutoML",
    "do not turn off AutoML",
    "never switch off automl",
    "please turn on automl",
    "I have no labels; use AutoML",
    "plain English labels please",
    "instead of plain training, search",
    "run the training on plain data",
    "off we go with AutoML",
]


@pytest.mark.parametrize("request_text", OFF)
def test_plain_words_turn_automl_off(request_text: str) -> None:
    assert words_turn_off(request_text)


@pytest.mark.parametrize("request_text", NOT_OFF)
def test_other_words_do_not(request_text: str) -> None:
    assert words_turn_off(request_text) is None


def route(**facts: object) -> tuple[str, str]:
    given = {"action": "train", "explicit": None, "request": None, "automl_enabled": True, "missing": None} | facts
    found = decide(**given)  # type: ignore[arg-type]
    return found.policy, found.route


def test_an_explicit_policy_beats_words_and_words_beat_auto() -> None:
    assert route() == ("auto", "automl")
    assert route(request="no HPO") == ("off", "direct")
    assert route(request="no HPO", explicit="on") == ("on", "automl")
    assert route(explicit="off") == ("off", "direct")


def test_only_train_is_searched() -> None:
    assert route(action="evaluate", explicit="on") == ("on", "direct")


def test_missing_schemas_route_direct_and_say_so() -> None:
    found = decide(action="train", explicit="on", request=None, automl_enabled=True, missing="no train schema")
    assert found.route == "direct"
    assert "enabled but not runnable for this model until schemas are generated: no train schema" in found.reason
    assert route(automl_enabled=False) == ("auto", "direct")


@pytest.mark.parametrize(("value", "policy"), [(False, "off"), (True, "on"), ("AUTO", "auto"), ("off", "off")])
def test_a_policy_is_read_as_yaml_gives_it(value: object, policy: str) -> None:
    assert parse_policy(value) == policy


def test_another_policy_is_refused_by_value() -> None:
    with pytest.raises(BadRequest, match="'maybe', accepted: auto, on, off"):
        parse_policy("maybe")
