"""By the proxy of evals/, each skill is selected by what it should be, and its figures are those of evals/README.md."""

from __future__ import annotations

import re

import pytest
import yaml

from evals import triggers
from tests.support.folders import REPOSITORY

NAMES = sorted(path.parent.name for path in (REPOSITORY / "skills").glob("*/SKILL.md"))
FLOORS = {"requests": (0.75, 0.80, 0.80), "held_out": (0.70, 0.55, 0.70)}
"""Least precision, recall and top-1 of each skill, just below what was measured."""

TRAIN_PHRASES = (
    "train pose classification",
    "skeleton action recognition",
    "ST-GCN",
    "keypoint sequence classifier",
)
"""Phrases that are to select the train skill, as they are."""


@pytest.mark.parametrize(("folder", "least"), [("requests", 20), ("held_out", 10)])
def test_every_skill_has_enough_different_requests_both_ways(folder: str, least: int) -> None:
    asked = triggers.read_requests(folder)
    assert sorted(asked) == NAMES
    for requests in asked.values():
        both = [*requests["should"], *requests["should_not"]]
        assert min(len(requests["should"]), len(requests["should_not"])) >= least
        assert len(set(both)) == len(both)


def test_there_are_enough_distractors_and_none_is_ours() -> None:
    distractors = yaml.safe_load((REPOSITORY / "evals" / "distractors.yaml").read_text("utf-8"))
    assert len(distractors) >= 15
    assert not set(distractors) & set(NAMES)


@pytest.mark.parametrize("folder", triggers.FOLDERS)
def test_no_skill_falls_below_its_floor(folder: str) -> None:
    for skill, score in triggers.measure(triggers.tfidf, folder).items():
        found = (score.precision, score.recall, score.top_1)
        assert all(figure >= floor for figure, floor in zip(found, FLOORS[folder], strict=True)), (skill, found)


@pytest.mark.parametrize("folder", triggers.FOLDERS)
def test_the_figures_of_the_readme_are_the_measured_ones(folder: str) -> None:
    page = (REPOSITORY / "evals" / "README.md").read_text("utf-8")
    section = re.split(r"^#+ ", page, flags=re.MULTILINE)
    (table,) = [part for part in section if part.startswith(f"TF-IDF, {folder}")]
    for line in triggers.table(triggers.measure(triggers.tfidf, folder)):
        assert line in table


def test_the_trigger_phrases_select_the_train_skill_among_all_others() -> None:
    texts = triggers.skill_texts()
    chosen = triggers.tfidf(TRAIN_PHRASES, list(texts.values())).argmax(axis=1)
    selected = {phrase: list(texts)[index] for phrase, index in zip(TRAIN_PHRASES, chosen, strict=True)}
    assert selected == dict.fromkeys(TRAIN_PHRASES, "tao-train-pose-classification")


def test_a_description_of_something_else_is_not_selected() -> None:
    """The proxy can fail: with the descriptions of two skills exchanged, both lose their requests."""

    def exchanged(requests: list[str], skills: list[str]) -> object:
        ours = [number for number, text in enumerate(skills) if text.startswith(("tao prepare", "tao run"))]
        similarity = triggers.tfidf(requests, skills)
        similarity[:, ours] = similarity[:, ours[::-1]]
        return similarity

    scores = triggers.measure(exchanged, "requests")
    assert scores["tao-prepare-pose-data"].recall < 0.2
    assert scores["tao-run-automl"].recall < 0.2
