"""The training loss: weights of classes, and mixed sequences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import log_softmax

from tao_skill.models.pose_classification.training.module import PoseClassifier, _Sums
from tests.support.experiments import FRAMES, experiment

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
    loss, scores_NK = module._step(batch, _Sums(), weights_K)
    each_N = -log_softmax(scores_NK, 1)[torch.arange(5), batch[1]]
    torch.testing.assert_close(loss, (each_N * torch.tensor([0.5, 3.0, 3.0, 0.25, 2.0])).sum())
    plain, _ = module._step(batch, _Sums())
    torch.testing.assert_close(plain, each_N.sum())
