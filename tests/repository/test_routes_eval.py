"""A plain request to train is searched and one that turns AutoML off is not, by the procedure of the train skill."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from evals import routes
from tao_skill.models.pose_classification.data.sample.sample import write_sample
from tao_skill.planning.routing import decide

SKILL = routes.SKILL.read_text("utf-8")


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("routes")
    return Path(write_sample(folder / "data", train=12, val=6, frames=16)["spec"])


def test_every_request_takes_its_route_by_the_command_of_the_skill(spec: Path, tmp_path: Path) -> None:
    decisions = list(routes.decide(SKILL, spec, tmp_path))
    assert [one for one in decisions if one.actual != one.expected] == []
    assert {"automl", "direct"} <= {one.expected for one in decisions}
    assert len(decisions) >= 20


def test_a_skill_that_trains_without_a_search_throughout_is_noticed(spec: Path, tmp_path: Path) -> None:
    turned_off = SKILL.replace('--request "USER REQUEST"', '--request "USER REQUEST" --automl off')
    wrong = [one for one in routes.decide(turned_off, spec, tmp_path) if one.actual != one.expected]
    assert wrong
    assert {(one.expected, one.actual) for one in wrong} == {("automl", "direct"), ("exit 2", "direct")}


def test_a_refused_request_is_no_route(spec: Path, tmp_path: Path) -> None:
    refused = SKILL.replace("-e spec.yaml --request", "-e spec.yaml --metric --request")
    assert {one.actual for one in routes.decide(refused, spec, tmp_path)} == {"exit 2"}


def test_a_skill_without_the_command_is_refused() -> None:
    with pytest.raises(ValueError, match="0 plan commands"):
        routes.stated_plan("Train: `tao-skill run train -e spec.yaml`")


def test_the_skill_reports_missing_schemas_in_the_words_of_the_route() -> None:
    reason = decide(action="train", explicit=None, request=None, automl_enabled=True, missing="no schema").reason
    assert reason.removesuffix(": no schema") in re.sub(r"\s+", " ", SKILL)
