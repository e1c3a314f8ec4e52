"""Mixup of the sequences of a training batch (arXiv 1710.09412)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Mixup:
    """Partner of each sequence of a batch, and the share of the sequence itself, 0.5 to 1, in the mix of both.

    The channels of both, raw data units and confidences, are averaged; a joint that is missing in both stays missing.
    The loss is the same average of the losses for both classes.
    """

    share: float
    partners_N: Tensor

    def mix(self, values_N: Tensor) -> Tensor:
        """Average of each value and that of its partner."""
        return self.share * values_N + (1 - self.share) * values_N[self.partners_N]


def draw_mixup(alpha: float, sequences: int, seed: Sequence[int], device: torch.device) -> Mixup:
    """Draw partners within a batch, and the larger part of a Beta(alpha, alpha) split as the share.

    The larger, because a pair is drawn in either order: so the sequence itself counts in the training accuracy.
    """
    rng = np.random.default_rng(list(seed))
    share = float(rng.beta(alpha, alpha))
    partners_N = torch.from_numpy(rng.permutation(sequences)).to(device)
    return Mixup(share=max(share, 1 - share), partners_N=partners_N)
