from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tao_skill.models.pose_classification.checks.training import train_problems
from tao_skill.models.pose_classification.config import ExperimentConfig
from tao_skill.models.pose_classification.model import MODEL
from tao_skill.spec import load


def config_of(epochs: int, **optim: Any) -> ExperimentConfig:
    pairs = {"train.num_epochs": epochs, **{f"train.optim.{key}": value for key, value in optim.items()}}
    config = load.build(ExperimentConfig, load.override(ExperimentConfig, {}, pairs.items()))
    assert isinstance(config, ExperimentConfig)
    return config


@pytest.mark.parametrize(
    ("optim", "epochs", "expected"),
    [
        ({"lr_steps": [10, 20]}, 6, {"lr_steps": [2, 4]}),
        ({"lr_steps": [10, 20]}, 60, {"lr_steps": [20, 40]}),
        ({"lr_steps": [20, 29]}, 10, {"lr_steps": [7]}),
        ({"lr_steps": [29]}, 10, {"lr_steps": [9]}),
        ({"lr_steps": [29]}, 1, {"lr_steps": []}),
        ({"lr_steps": [10, 12]}, 5, {"lr_steps": [2, 3]}),
        ({"lr_steps": [1, 2, 3]}, 5, {"lr_steps": [1, 2, 3]}),
        ({"lr_steps": [30, 60]}, 90, {"lr_steps": []}),
        ({"lr_steps": [20, 10], "warmup_epochs": 5}, 12, {"lr_steps": [4, 8], "warmup_epochs": 2}),
        ({"lr_scheduler": "Cosine", "warmup_epochs": 29}, 2, {"warmup_epochs": 1}),
        ({"lr_scheduler": "Cosine", "warmup_epochs": 5}, 60, {"warmup_epochs": 10}),
        ({"lr_scheduler": "Cosine", "warmup_epochs": 5}, 1, {"warmup_epochs": 0}),
        ({"lr_scheduler": "AutoReduce"}, 5, {}),
    ],
)
def test_decays_and_warm_up_keep_their_share_of_the_training(
    optim: dict[str, Any], epochs: int, expected: dict[str, Any]
) -> None:
    values = {"train.num_epochs": epochs} | {f"train.optim.{key}": value for key, value in expected.items()}
    assert MODEL.shortened(config_of(30, **optim), epochs) == values


@given(
    old=st.integers(1, 200),
    new=st.integers(1, 200),
    steps=st.lists(st.integers(1, 250), max_size=5),
    warmup=st.integers(0, 199),
)
def test_a_spec_without_problems_stays_one(old: int, new: int, steps: list[int], warmup: int) -> None:
    warmup = min(warmup, old - 1, *steps)
    config = config_of(old, lr_steps=steps, warmup_epochs=warmup)
    values = MODEL.shortened(config, new)
    scaled = values["train.optim.lr_steps"]
    assert scaled == sorted(set(scaled))
    assert all(1 <= step < new for step in scaled)
    assert bool(scaled) == (new >= 2 and any(step < old for step in steps))
    changed = load.build(ExperimentConfig, load.override(ExperimentConfig, {}, values.items()))
    assert isinstance(changed, ExperimentConfig)
    keys = {problem.key for problem in train_problems(changed)}
    assert not keys & {"train.optim.warmup_epochs", "train.optim.lr_steps"}
