"""Exponential moving average of the weights of a network, in training and in checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from tao_skill.models.pose_classification.training.weight_names import PREFIX

TRAINED: Final = "trained_state_dict"
"""Key of a checkpoint for the weights that the optimizer changes, if `state_dict` has the averaged ones."""

UPDATES: Final = "ema_updates"


@dataclass(frozen=True, kw_only=True)
class AverageState:
    """The averaged tensors of a checkpoint, and the number of optimizer steps that they average."""

    tensors: Mapping[str, Tensor]
    updates: int


class WeightAverage:
    """Moving average of the weights and batch-norm statistics of a network, updated after every optimizer step.

    The first update copies the network. In update t + 1 the decay is min(decay, (1 + t) / (10 + t)), so that a short
    training is not dominated by its first weights. All processes of a training compute the same average.
    """

    def __init__(self, net: nn.Module, decay: float, state: AverageState | None = None) -> None:
        self._decay = decay
        self._averaged = AveragedModel(net, multi_avg_fn=self._average, use_buffers=True).eval()
        if state is not None:
            self._averaged.n_averaged.fill_(state.updates)
            self.net.load_state_dict({name.removeprefix(PREFIX): value for name, value in state.tensors.items()})

    @property
    def net(self) -> nn.Module:
        """The network with the averaged weights, in evaluation mode."""
        return self._averaged.module

    def update(self, net: nn.Module) -> None:
        """Add the weights of `net` to the average."""
        self._averaged.update_parameters(net)

    def save(self, checkpoint: dict[str, Any]) -> None:
        """Put the averaged weights in the place of the trained ones, which stay beside them."""
        checkpoint[TRAINED] = checkpoint["state_dict"]
        averaged = {f"{PREFIX}{name}": value for name, value in self.net.state_dict().items()}
        checkpoint["state_dict"] = checkpoint["state_dict"] | averaged
        checkpoint[UPDATES] = int(self._averaged.n_averaged)

    def _average(self, averaged: Any, current: Any, _: Any) -> None:
        """Update tensors of the same type; counters are copied."""
        t = int(self._averaged.n_averaged)  # on the CPU, while torch passes a copy on the device: reading it would wait
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, 1 - min(self._decay, (1 + t) / (10 + t)))
        else:
            torch._foreach_copy_(averaged, current)


def restore_trained(checkpoint: dict[str, Any]) -> AverageState | None:
    """Put the trained weights of a checkpoint back into `state_dict`.

    Returns:
        The averaged weights that were there; None if the training did not average.
    """
    if TRAINED not in checkpoint:
        return None
    state = AverageState(tensors=checkpoint["state_dict"], updates=checkpoint[UPDATES])
    checkpoint["state_dict"] = checkpoint[TRAINED]
    return state
