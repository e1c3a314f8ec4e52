from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from itertools import islice

import pytest

from tao_skill.automl.search.samplers import GRID, SAMPLERS, STARTUP, Observation, check_sampler, draw, draws
from tao_skill.automl.space.dimension import Dimension
from tao_skill.automl.space.space import Space
from tao_skill.errors import BadRequest, MissingDependency
from tests.support.draws import SPACE, SPEC, history, score

ALL = (*SAMPLERS, GRID)


@pytest.mark.parametrize("sampler", ALL)
class TestEverySampler:
    def test_suggests_within_the_space_and_never_twice(self, sampler: str) -> None:
        suggested = [one.values for one in history(sampler, STARTUP + 4)[1:]]
        assert len({json.dumps(values, sort_keys=True) for values in suggested}) == len(suggested)
        for values in suggested:
            assert 1e-4 <= values["lr"] <= 1
            assert isinstance(values["patience"], int)
            assert 1 <= values["patience"] <= 10
            assert ("momentum" in values) == (values["optimizer"] == "sgd")
            assert 0 <= values["clip"] <= 10

    def test_the_same_seed_gives_the_same_and_another_another(self, sampler: str) -> None:
        seen = history(sampler, STARTUP + 2)
        again = [draw(SPACE, SPEC, len(seen), seen, sampler=sampler, seed=seed) for seed in (0, 0, 1)]
        assert again[0] == again[1] != again[2]

    def test_lives_with_failures_divergence_and_what_is_still_running(self, sampler: str) -> None:
        seen = history(sampler, STARTUP + 2)
        scores = [math.nan, -math.inf, None]
        mixed = [Observation(values=one.values, score=[one.score, *scores][at % 4]) for at, one in enumerate(seen)]
        assert draw(SPACE, SPEC, len(seen), mixed, sampler=sampler) is not None
        useless = [Observation(values=one.values, score=-math.inf) for one in seen]
        assert draw(SPACE, SPEC, len(seen), useless, sampler=sampler) is not None

    def test_uses_a_small_space_up_and_then_says_so(self, sampler: str) -> None:
        small = Space(
            dimensions=(
                Dimension(key="a", kind="choice", choices=(False, True)),
                Dimension(key="b", kind="int", low=1, high=3, step=1, when=(("a", True),)),
            )
        )
        spec = {"a": False, "b": 2}
        seen = [Observation(values=small.values_of(spec), score=0.0)]
        while (values := draw(small, spec, len(seen), seen, sampler=sampler)) is not None:
            seen.append(Observation(values=values, score=float(len(seen))))
        assert [one.values for one in seen[:1]] == [{"a": False}]
        assert sorted(one.values.get("b", 0) for one in seen) == [0, 1, 2, 3]

    def test_a_default_outside_the_space_does_not_disturb(self, sampler: str) -> None:
        spec = SPEC | {"lr": 3.0}
        seen = [Observation(values=spec, score=1.0)] * (STARTUP + 1)
        assert draw(SPACE, spec, 1, seen, sampler=sampler) is not None


@pytest.mark.parametrize("sampler", [name for name in ALL if name != "gp"])
def test_another_process_suggests_the_same(sampler: str) -> None:
    """The Gaussian process is left out: loading it takes many seconds."""
    seen = history(sampler, STARTUP + 2, seed=7)
    here = draw(SPACE, SPEC, len(seen), seen, sampler=sampler, seed=7)
    script = (
        "import json, sys\n"
        "from tests.support.draws import SPACE, SPEC, history\n"
        "from tao_skill.automl.search.samplers import draw\n"
        "seen = history(sys.argv[1], int(sys.argv[2]), seed=7)\n"
        "print(json.dumps(draw(SPACE, SPEC, len(seen), seen, sampler=sys.argv[1], seed=7)))\n"
    )
    command = [sys.executable, "-c", script, sampler, str(STARTUP + 2)]
    elsewhere = {**os.environ, "PYTHONHASHSEED": "5"}
    there = subprocess.run(command, capture_output=True, text=True, check=True, env=elsewhere)
    assert json.loads(there.stdout) == here


def test_tpe_learns_where_the_best_values_are() -> None:
    found = [one.values for one in history("tpe", 40, seed=1)]
    late, early = found[-15:], found[1 : 1 + STARTUP]
    assert sum(score(dict(one)) for one in late) / 15 > sum(score(dict(one)) for one in early) / STARTUP + 0.5


def test_a_seed_of_any_size_is_taken() -> None:
    assert draw(SPACE, SPEC, 3, [], seed=2**63) is not None


def test_a_grid_meets_every_combination_once() -> None:
    space = Space(dimensions=SPACE.dimensions[:3])
    seen: list[Observation] = []
    while (values := draw(space, SPEC, len(seen), seen, sampler=GRID, seed=3)) is not None:
        seen.append(Observation(values=values, score=0.0))
    assert len(seen) == 4 * 2 * 2
    assert {one.values["optimizer"] for one in seen[:6]} == {"sgd", "adam"}


GOOD = {"lr": 0.01, "optimizer": "sgd", "strategy": "b", "momentum": 0.9, "patience": 3, "clip": 0.0}


class TestDrawsAroundAGoodConfiguration:
    def kept(self, sampler: str, count: int = 150) -> list[int]:
        """How many values each draw has in common with the good configuration."""
        seen = [Observation(values=SPEC, score=0.0)]
        drawn = [draw(SPACE, SPEC, number, seen, sampler=sampler, around=GOOD) for number in range(count)]
        return [sum(GOOD[key] == value for key, value in values.items()) for values in drawn if values is not None]

    @pytest.mark.parametrize("sampler", ["random", "tpe"])
    def test_most_keep_about_half_of_its_values_and_some_none(self, sampler: str) -> None:
        kept = self.kept(sampler)
        assert len(kept) == 150
        near = [count for count in kept if count >= 2]
        assert 0.6 < len(near) / len(kept) < 0.97
        assert 2.5 < sum(near) / len(near) < 5
        assert min(kept) <= 1

    def test_a_grid_keeps_its_points(self) -> None:
        points = [
            draw(SPACE, SPEC, number, [], sampler=GRID, around=around) for number in (1, 2) for around in (None, GOOD)
        ]
        assert points[0] == points[1]
        assert points[2] == points[3]

    def test_they_are_within_the_space_different_from_all_observations_and_the_same_again(self) -> None:
        seen = [Observation(values=GOOD, score=1.0)]
        for number in range(1, 60):
            values = draw(SPACE, SPEC, number, seen, sampler="random", around=GOOD)
            assert values is not None
            assert values not in [one.values for one in seen]
            assert values == draw(SPACE, SPEC, number, seen, sampler="random", around=GOOD)
            assert ("momentum" in values) == (values["optimizer"] == "sgd")
            assert SPACE.draws_of(values, SPEC) is not None
            seen.append(Observation(values=values, score=0.0))

    def test_a_value_outside_the_space_is_not_kept(self) -> None:
        wild = GOOD | {"lr": 3.0, "strategy": "c"}
        drawn = [draw(SPACE, SPEC, number, [], sampler="random", around=wild) for number in range(1, 60)]
        assert all(values["lr"] <= 1 and values["strategy"] in ("a", "b") for values in drawn if values is not None)
        assert sum(values["patience"] == 3 for values in drawn if values is not None) > 5

    def test_a_small_space_is_still_exhausted(self) -> None:
        small = Space(dimensions=(Dimension(key="a", kind="choice", choices=(1, 2, 3)),))
        seen = [Observation(values={"a": 1}, score=0.0)]
        while (values := draw(small, {"a": 1}, len(seen), seen, around={"a": 1})) is not None:
            seen.append(Observation(values=values, score=0.0))
        assert sorted(one.values["a"] for one in seen) == [1, 2, 3]


def test_draws_go_on_after_the_first_and_none_is_known() -> None:
    seen = history("random", 3)
    drawn = list(islice(draws(SPACE, SPEC, 4, seen, sampler="random"), 20))
    assert drawn[0] == draw(SPACE, SPEC, 4, seen, sampler="random")
    assert len(drawn) == 20
    assert not [values for values in drawn if values in [one.values for one in seen]]


def test_an_unknown_sampler_and_a_missing_package_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadRequest, match="sampler is 'bayes', accepted: tpe, gp") as refused:
        check_sampler("bayes")
    assert refused.value.fix == "use --sampler tpe|gp|cmaes|random|grid"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match="cmaes") as missing:
        check_sampler("cmaes")
    assert missing.value.fix == "use --sampler tpe, or pip install cmaes"
