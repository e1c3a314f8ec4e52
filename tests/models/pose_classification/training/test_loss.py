"""The training loss: weights of classes, and mixed sequences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import log_softmax

from tao_skill.models.pose_classification.actions import train
from tao_skill.models.pose_classification.training import checkpoint_index
from tao_skill.models.pose_classification.training.mixup import Mixup, draw_mixup
from tao_skill.models.pose_classification.training.module import PoseClassifier, _Sums, cross_entropy
from tests.support.experiments import FRAMES, experiment
from tests.support.networks import weights

pytestmark = pytest.mark.usefixtures("small_networks")


@pytest.fixture
def module(tmp_path: Path) -> PoseClassifier:
    torch.manual_seed(2)
    return PoseClassifier(experiment(tmp_path, tmp_path, model__dropout=0.0))


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    x_NCTVM = np.random.default_rng(1).normal(size=(5, 3, FRAMES, 34, 1))
    return torch.from_numpy(x_NCTVM.astype(np.float32)), torch.tensor([0, 3, 3, 5, 1])


def test_the_loss_is_the_sum_over_sequences_weighted_by_class(
    module: PoseClassifier, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    weights_K = torch.tensor([0.5, 2.0, 1.0, 3.0, 1.0, 0.25])
    plain, scores_NK, _ = module._step(module.model, batch, _Sums())
    loss = cross_entropy(scores_NK, batch[1], None, weight=weights_K)
    each_N = -log_softmax(scores_NK, 1)[torch.arange(5), batch[1]]
    torch.testing.assert_close(loss, (each_N * torch.tensor([0.5, 3.0, 3.0, 0.25, 2.0])).sum())
    torch.testing.assert_close(plain, each_N.sum())


def test_the_loss_of_mixed_sequences_is_the_mean_of_the_losses_for_both_classes(
    module: PoseClassifier, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    x_NCTVM, ids_N = batch
    partners = [2, 0, 1, 4, 3]
    weights_K = torch.tensor([0.5, 2.0, 1.0, 3.0, 1.0, 0.25])
    mixup = Mixup(share=0.7, partners_N=torch.tensor(partners))
    sums = _Sums()
    _, scores_NK, _ = module._step(module.model, batch, sums, mixup)
    loss = cross_entropy(scores_NK, ids_N, mixup, weight=weights_K)
    mixed_NCTVM = torch.stack([0.7 * x_NCTVM[n] + 0.3 * x_NCTVM[partners[n]] for n in range(5)])
    torch.testing.assert_close(scores_NK, module.model(mixed_NCTVM))
    targets_NK = torch.zeros(5, 6)
    for n in range(5):
        targets_NK[n, ids_N[n]] += 0.7 * weights_K[ids_N[n]]
        targets_NK[n, ids_N[partners[n]]] += 0.3 * weights_K[ids_N[partners[n]]]
    torch.testing.assert_close(loss, -(targets_NK * log_softmax(scores_NK, 1)).sum())
    assert float(sums.hits) == float((scores_NK.argmax(1) == ids_N).sum())


def test_mixup_is_drawn_anew_for_each_step_and_process_and_again_the_same() -> None:
    cpu = torch.device("cpu")
    found = {seed: draw_mixup(0.4, 6, seed, cpu) for seed in ((1, 0, 0), (1, 1, 0), (1, 0, 1), (2, 0, 0))}
    assert len({mixup.share for mixup in found.values()}) == 4
    again = draw_mixup(0.4, 6, (1, 0, 0), cpu)
    assert again.share == found[1, 0, 0].share
    assert again.partners_N.tolist() == found[1, 0, 0].partners_N.tolist()
    assert sorted(again.partners_N.tolist()) == list(range(6))
    assert draw_mixup(0.4, 0, (1, 0, 0), cpu).mix(torch.zeros(0, 3, 4)).shape == (0, 3, 4)


@pytest.mark.parametrize(("alpha", "expected"), [(1.0, 0.75), (50.0, 0.54)])
def test_the_share_is_the_larger_part_of_a_beta_distribution(alpha: float, expected: float) -> None:
    # Beta(1, 1) is uniform, Beta(50, 50) nearly normal with deviation d = (0.25 / 101)**0.5: 0.5 + d * (2 / pi)**0.5.
    shares = [draw_mixup(alpha, 2, (seed,), torch.device("cpu")).share for seed in range(2000)]
    assert min(shares) >= 0.5
    assert np.mean(shares) == pytest.approx(expected, abs=0.01)


def test_a_training_with_every_data_option_resumes_as_if_it_had_not_been_interrupted(
    tiny: Path, tmp_path: Path
) -> None:
    options = {
        "dataset__random_flip": True,
        "dataset__random_time_warp": 0.3,
        "dataset__random_shear": 0.3,
        "dataset__joint_dropout": 0.1,
        "dataset__mixup": 0.4,
        "dataset__class_weights": "balanced",
    }
    saved = {"train__checkpoint_interval_unit": "step"}
    train.run(experiment(tiny, tmp_path / "whole", **options, **saved))
    second = tmp_path / "whole" / "train" / checkpoint_index.checkpoint_name(0, 2)
    resumed = experiment(
        tiny, tmp_path / "rest", **options, **saved, train__resume_training_checkpoint_path=str(second)
    )
    train.run(resumed)
    whole, rest = weights(tmp_path / "whole" / "train"), weights(tmp_path / "rest" / "train")
    assert all(torch.equal(value, rest[name]) for name, value in whole.items())
