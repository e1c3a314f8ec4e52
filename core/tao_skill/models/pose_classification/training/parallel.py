"""What the processes that train one model share: sums, and the statistics of batch normalisation."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import torch
import torch.distributed as dist
from pytorch_lightning.plugins import LayerSync
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def total(x: Tensor) -> Tensor:
    """Sum of every process's `x`, the same everywhere, with its gradient; `x` itself where there is one process."""
    if not (dist.is_available() and dist.is_initialized()):
        return x
    summed: Tensor = _Total.apply(x)  # type: ignore[no-untyped-call]
    return summed


class _Total(torch.autograd.Function):
    """Each process's x reaches the loss of every process, so its gradient is the sum of their gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        summed = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return total(grads[0])


class _SharedBatchNorm(_BatchNorm):
    """Batch normalisation by mean and variance of the batches of all processes; some of them may be empty."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, ...) -> the same shape."""
        if not self.training:
            return super().forward(x)
        given, x = x.dtype, x.to(torch.promote_types(x.dtype, torch.float32))
        others, shape = [0, *range(2, x.dim())], [1, -1, *[1] * (x.dim() - 2)]
        count = total(torch.full((), x.numel() / x.shape[1], device=x.device))
        mean_C = total(x.sum(others)) / count
        centred = x - mean_C.view(shape)
        var_C = total(centred.square().sum(others)) / count
        self._keep(mean_C.detach(), var_C.detach() * count / (count - 1).clamp(min=1))
        scale_C = self.weight * (var_C + self.eps).rsqrt()
        return (centred * scale_C.view(shape) + self.bias.view(shape)).to(given)

    def _keep(self, mean_C: Tensor, var_C: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean_C, self.momentum)
        self.running_var.lerp_(var_C, self.momentum)


class SharedBatchNorm1d(_SharedBatchNorm, nn.BatchNorm1d):
    """BatchNorm1d over all processes."""


class SharedBatchNorm2d(_SharedBatchNorm, nn.BatchNorm2d):
    """BatchNorm2d over all processes."""


_SHARED: Final[Mapping[type, type]] = MappingProxyType(
    {nn.BatchNorm1d: SharedBatchNorm1d, nn.BatchNorm2d: SharedBatchNorm2d}
)
_OWN: Final[Mapping[type, type]] = MappingProxyType({shared: own for own, shared in _SHARED.items()})


class SharedStatistics(LayerSync):
    """Shares batch statistics among processes on CPUs, where `torch.nn.SyncBatchNorm` refuses to work.

    Only the class of a layer changes: parameters, buffers, their names and the optimiser's hold on them stay.
    """

    def apply(self, model: nn.Module) -> nn.Module:
        """Let every batch normalisation share its statistics."""
        return _with_classes(model, _SHARED)

    def revert(self, model: nn.Module) -> nn.Module:
        """Give every batch normalisation its own again."""
        return _with_classes(model, _OWN)


def _with_classes(model: nn.Module, classes: Mapping[type, type]) -> nn.Module:
    for layer in model.modules():
        if type(layer) in classes:
            layer.__class__ = classes[type(layer)]
    return model
