from __future__ import annotations

import re
import time
from collections import Counter
from itertools import chain, product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tao_skill.errors import BadRequest
from tao_skill.io.strict_yaml import parse_yaml
from tao_skill.jobs.store import Store
from tao_skill.planning.plan import make_plan
from tao_skill.planning.request import Request
from tao_skill.planning.routing import decide, parse_policy
from tao_skill.planning.user_request.clauses import PHRASES
from tao_skill.planning.user_request.lexicon import LANGUAGES
from tao_skill.planning.user_request.verdict import MAX_CHARACTERS, judge
from tao_skill.runner import load_runner
from tests.support.experiments import dataset_overrides
from tests.support.folders import REPOSITORY
from tests.support.plans import NOW

GROUPS: list[dict[str, Any]] = parse_yaml(Path(__file__).with_name("policy_phrases.yaml").read_text("utf-8"))
OUTCOMES = ("off", "auto", "unclear")
PHRASE_LISTS = [
    pytest.param(outcome, group[outcome], id=f"{group['about']}: {outcome}")
    for group in GROUPS
    for outcome in OUTCOMES
    if outcome in group
]
MISREAD = {
    phrase: outcome
    for group in GROUPS
    for outcome, phrases in group.get("known_misread", {}).items()
    for phrase in phrases
}


@pytest.mark.parametrize(("outcome", "phrases"), PHRASE_LISTS)
def test_a_request_means_what_its_writer_means(outcome: str, phrases: list[str]) -> None:
    misread = {phrase: judge(phrase).outcome for phrase in phrases if judge(phrase).outcome != outcome}
    assert misread == {}


def test_a_known_misreading_is_one_and_starts_no_search() -> None:
    found = {phrase: judge(phrase).outcome for phrase in MISREAD}
    assert [phrase for phrase, outcome in found.items() if outcome == MISREAD[phrase]] == []
    assert [phrase for phrase, outcome in found.items() if outcome == "auto"] == []


def test_the_phrases_are_many_and_each_is_there_once() -> None:
    right = chain.from_iterable(group.get(outcome, []) for group in GROUPS for outcome in OUTCOMES)
    every = Counter([*right, *MISREAD])
    assert sum(every.values()) > 2000
    assert [phrase for phrase, count in every.items() if count > 1] == []
    assert len(MISREAD) < 0.05 * sum(every.values())


def test_a_phrase_is_of_one_kind_in_its_language() -> None:
    for table in LANGUAGES:
        phrases = Counter(" ".join(phrase.split()) for text in table.values() for phrase in text.split(","))
        assert [phrase for phrase, count in phrases.items() if count > 1 or not phrase] == []


@pytest.mark.parametrize("change", [str.upper, str.lower, str.title, "{}!".format, "  {}  ".format, "Hello. {}".format])
def test_case_spaces_and_a_greeting_change_nothing(change: Any) -> None:
    for phrase in GROUPS[0]["off"] + GROUPS[1]["off"]:
        assert judge(change(phrase)).outcome == "off", change(phrase)


BEFORE = (
    "",
    "Hi, please ",
    "The data is in data/. ",
    "I have no labels for the test set, so ",
    "We used AutoML yesterday. Now ",
    "train on the new recordings, ",
    "could you ",
)
AFTER = (
    "",
    ", thanks",
    " because it takes too long",
    " on this data",
    ", lr=0.1",
    " it takes too long",
    " and don't resume",
    " as the labels are noisy",
    " without the last class",
    ". Don't overwrite the checkpoint.",
    " even if it is the default",
)
REFUSALS = (
    "no {}",
    "don't use {}",
    "turn {} off",
    "{} off",
    "skip {}",
    "never run {}",
    "train without {}",
    "I don't want {}",
    "{} is not needed",
    "{} should be off",
    "there is no need for {}",
    "do a plain training",
    "just train once",
    "use exactly my settings",
)
WISHES = (
    "use {}",
    "turn on {}",
    "train with {}",
    "I want {}",
    "don't skip {}",
    "never turn off {}",
    "don't train without {}",
    "limit {} to 10 trials",
    "tune lr and dropout",
    "find the best hyperparameters",
)
SUBJECTS = ("AutoML", "hyperparameter tuning", "search")


@pytest.mark.parametrize(("cores", "outcome"), [(REFUSALS, "off"), (WISHES, "auto")])
def test_what_stands_around_a_refusal_or_a_wish_changes_nothing(cores: tuple[str, ...], outcome: str) -> None:
    wholes = product(BEFORE, [core.format(subject) for core in cores for subject in SUBJECTS], AFTER)
    misread = {whole for whole in map("".join, wholes) if judge(whole).outcome != outcome}
    assert misread == set()


def test_the_table_of_the_documentation_holds() -> None:
    page = (REPOSITORY / "docs" / "automl_policy.md").read_text("utf-8")
    rows = re.findall(r"^\| `([^`]+)` \| (off|auto|unclear) \|", page, re.MULTILINE)
    assert len(rows) >= 12
    assert {outcome for _, outcome in rows} == set(OUTCOMES)
    assert [(words, judge(words).outcome) for words, _ in rows] == rows
    assert len(page.splitlines()) < 60


def route(**facts: object) -> tuple[str, str]:
    given = {"action": "train", "explicit": None, "request": None, "automl_enabled": True, "missing": None} | facts
    found = decide(**given)  # type: ignore[arg-type]
    return found.policy, found.route


def test_explicit_on_and_off_beat_words_and_words_beat_auto() -> None:
    assert route() == ("auto", "automl")
    assert route(request="no HPO") == ("off", "direct")
    assert route(request="no HPO", explicit="on") == ("on", "automl")
    assert route(request="no HPO", explicit="auto") == ("off", "direct")
    assert route(request="use HPO", explicit="off") == ("off", "direct")
    assert route(request="use HPO", explicit="auto") == ("auto", "automl")
    assert route(explicit="off") == ("off", "direct")


def test_the_reason_quotes_the_words_that_decided() -> None:
    found = decide(
        action="train", explicit=None, request="30 epochs. No HPO, thanks!", automl_enabled=True, missing=None
    )
    assert found.reason == "the request says 'No HPO', for this run only"


@pytest.mark.parametrize("explicit", [None, "auto"])
def test_an_unclear_request_is_asked_back_with_its_words(explicit: Any) -> None:
    with pytest.raises(
        BadRequest, match="the request says 'maybe AutoML', which leaves open whether to search"
    ) as caught:
        decide(action="train", explicit=explicit, request="30 epochs; maybe AutoML?", automl_enabled=True, missing=None)
    assert caught.value.exit_code == 2
    assert caught.value.path == "request"
    for way, outcome in zip(caught.value.fix.split(", or "), ("off", "on"), strict=True):
        assert way.startswith(f"use --automl {outcome} ")


def test_an_unclear_request_is_no_error_where_nothing_could_be_searched() -> None:
    for facts in ({"action": "evaluate"}, {"automl_enabled": False}, {"missing": "no train schema"}):
        assert route(request="maybe AutoML?", **facts) == ("auto", "direct")
    for explicit in ("on", "off"):
        assert route(request="maybe AutoML?", explicit=explicit)[0] == explicit


def test_quoted_words_are_short_and_hold_no_control_sequence() -> None:
    reason = decide(
        action="train", explicit=None, request=f"no\x1b[31m HPO\u202e{'x' * 500}", automl_enabled=True, missing=None
    ).reason
    assert reason.isprintable()
    assert len(reason) < 250


def test_a_plan_with_an_unclear_request_is_refused_with_exit_code_2(tmp_path: Path, tiny: Path) -> None:
    overrides = dataset_overrides(tiny)

    def route_of(**asked: Any) -> str:
        request = Request(overrides=overrides, **asked)
        runner = load_runner("pose_classification", "train")
        return make_plan(runner, request, Store(tmp_path), environment={}, now=NOW, token="beef").route.route

    with pytest.raises(BadRequest, match="'AutoML or plain training'") as caught:
        route_of(user_request="AutoML or plain training, what do you think?")
    assert caught.value.exit_code == 2
    assert list(tmp_path.iterdir()) == []
    assert route_of(user_request="AutoML or plain training, what do you think?", automl="off") == "direct"
    assert route_of(user_request="no HPO", automl="auto") == "direct"
    assert route_of(user_request="tune lr", automl="auto") == "automl"


HOSTILE = (
    "x",
    "a ",
    "no ",
    "not automl, ",
    "-a",
    "a.",
    "a/",
    "n't",
    "不要",
    "龘",
    "no xx ",
    "lr, ",
    "(",
    "\ufdfa",
    "\x1b[31m",
    "?",
)


@pytest.mark.parametrize("piece", [*HOSTILE, "just once ", "exactly settings ", "no hpo. use hpo. ", "if automl "])
def test_a_long_text_is_read_in_bounded_time(piece: str) -> None:
    started = time.process_time()
    judge(piece * (4 * MAX_CHARACTERS // len(piece)))
    assert time.process_time() - started < 10.0


def test_what_goes_on_longer_than_is_read_never_starts_a_search() -> None:
    assert judge("x " * MAX_CHARACTERS).outcome == "unclear"
    assert judge("no HPO. " + "x " * MAX_CHARACTERS).outcome == "off"


WORDS = st.sampled_from([*map(" ".join, PHRASES), ".", ",", "?", ":", "=", "-", "\n", "'", '"', "0", "xyz"])


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.one_of(st.text(max_size=80), st.lists(WORDS, max_size=25).map(" ".join)))
def test_any_text_is_read_and_only_an_unclear_one_refused(request: str) -> None:
    try:
        found = decide(action="train", explicit=None, request=request, automl_enabled=True, missing=None)
    except BadRequest:
        assert judge(request).outcome == "unclear"
    else:
        assert (found.route == "direct") == (judge(request).outcome == "off")


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
