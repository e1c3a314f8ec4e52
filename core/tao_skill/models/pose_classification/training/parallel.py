"""Sums and batch-normalisation statistics over all processes of a training."""

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
    """Differentiable sum of `x` over all processes; `x` itself in a single process."""
    if not (dist.is_available() and dist.is_initialized()):
        return x
    summed: Tensor = _Total.apply(x)  # type: ignore[no-untyped-call]
    return summed


class _Total(torch.autograd.Function):
    """All-reduce; x of each process contributes to the loss of all, so its gradient is the sum of their gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        summed = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return total(grads[0])


class _SharedBatchNorm(_BatchNorm):
    """Batch normalisation with mean and variance over the batches of all processes, some of which may be empty."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x of shape (N, C, ...)."""
        if not self.training:
            return super().forward(x)
        dtype, x = x.dtype, x.to(torch.promote_types(x.dtype, torch.float32))
        dims, shape = [0, *range(2, x.dim())], [1, -1, *[1] * (x.dim() - 2)]
        count = total(torch.full((), x.numel() / x.shape[1], device=x.device))
        mean_C = total(x.sum(dims)) / count
        centred = x - mean_C.view(shape)
        var_C = total(centred.square().sum(dims)) / count
        self._update_running(mean_C.detach(), var_C.detach() * count / (count - 1).clamp(min=1))
        scale_C = self.weight * (var_C + self.eps).rsqrt()
        return (centred * scale_C.view(shape) + self.bias.view(shape)).to(dtype)

    def _update_running(self, mean_C: Tensor, var_C: Tensor) -> None:
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
_LOCAL: Final[Mapping[type, type]] = MappingProxyType({shared: local for local, shared in _SHARED.items()})


class SharedStatistics(LayerSync):
    """Shares batch statistics among processes on CPUs, which `torch.nn.SyncBatchNorm` does not support.

    Only the class of a layer is replaced, so that parameters, buffers and the optimizer's references stay valid.
    """

    def apply(self, model: nn.Module) -> nn.Module:
        """Make every batch normalisation share its statistics."""
        return _with_classes(model, _SHARED)

    def revert(self, model: nn.Module) -> nn.Module:
        """Restore local statistics in every batch normalisation."""
        return _with_classes(model, _LOCAL)


def _with_classes(model: nn.Module, classes: Mapping[type, type]) -> nn.Module:
    for layer in model.modules():
        if type(layer) in classes:
            layer.__class__ = classes[type(layer)]
    return model
