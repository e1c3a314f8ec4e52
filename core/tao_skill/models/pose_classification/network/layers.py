"""Operations of an ST-GCN block on tensors (N, C, T, V) in channels-last memory format.

In that format each frame is a matrix (V, C), so that the sum over neighbours is one batched matrix product without a
transposition, and convolutions need no reordering.
"""

from __future__ import annotations

from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_LANES: Final = 1 << 16
"""Values of a random 16-bit integer; the dropout probability is rounded to a multiple of 1 / _LANES."""


def graph_conv(x_NCTV: Tensor, conv: nn.Conv2d, A_KVV: Tensor) -> Tensor:
    """1x1 convolution into K subsets, each summed over its neighbours: (N, C_in, T, V) -> (N, C_out, T, V).

    The sum over neighbours is linear in channels, so it comes first, where there are fewer channels. The bias is added
    to frames as rows (N T, V C), because its gradient is then a fast sum over rows.
    """
    n, c, t, v = x_NCTV.shape
    subsets, channels = len(A_KVV), conv.out_channels // len(A_KVV)
    neighbours = A_KVV.permute(2, 0, 1).reshape(v * subsets, v)
    y = torch.bmm(neighbours.expand(n * t, -1, -1), x_NCTV.permute(0, 2, 3, 1).reshape(n * t, v, c))
    weight = conv.weight.view(subsets, channels, c).permute(1, 0, 2).reshape(channels, subsets * c, 1, 1)
    out_NCTV = F.conv2d(y.view(n, t, v, subsets * c).permute(0, 3, 1, 2), weight)
    if conv.bias is None:
        return out_NCTV
    bias = A_KVV.sum(1).t() @ conv.bias.view(subsets, channels)
    rows = out_NCTV.permute(0, 2, 3, 1).reshape(n * t, v * channels) + bias.reshape(-1)
    return rows.view(n, t, v, channels).permute(0, 3, 1, 2)


def transposing_conv(x_NCF: Tensor, weight_OC: Tensor) -> Tensor:
    """A 1x1 convolution (N, C, F) -> (N, O, F) that swaps channels and positions in memory.

    The gradient of the input has the memory format of the input. Neither takes a copy.
    """
    out_NOF: Tensor = _TransposingConv.apply(*_as_autocast(x_NCF, weight_OC))  # type: ignore[no-untyped-call]
    return out_NOF


def dynamic_adjacency(e_NCV: Tensor, f_NCV: Tensor, A_NKVV: Tensor, alpha_K: Tensor) -> Tensor:
    """A_kvw + alpha_k tanh(e_cv - f_cw) for the channels c of each group k: (N, C, V, V)."""
    kind = e_NCV.dtype
    out_NCVV: Tensor = _DynamicAdjacency.apply(e_NCV, f_NCV, A_NKVV.to(kind), alpha_K.to(kind))  # type: ignore[no-untyped-call]
    return out_NCVV


def add_last_joint(x_NTVC: Tensor, weight_V: Tensor) -> Tensor:
    """Add the last of V + 1 joints to each other one with a weight of its own: (N, T, V + 1, C) -> (N, T, V, C)."""
    out_NTVC: Tensor = _AddLastJoint.apply(x_NTVC, weight_V.to(x_NTVC.dtype))  # type: ignore[no-untyped-call]
    return out_NTVC


def conv_for_norm(x_NCTV: Tensor, conv: nn.Module) -> Tensor:
    """A convolution before a batch norm; the bias has an effect only in evaluation, with running statistics."""
    assert isinstance(conv, nn.Conv2d)
    out_NCTV: Tensor = conv_before_norm(x_NCTV, conv) if conv.training else conv(x_NCTV)
    return out_NCTV


def conv_before_norm(x_NCTV: Tensor, conv: nn.Conv2d) -> Tensor:
    """A convolution before a batch norm in training, which cancels the bias: the gradient of the bias is set to 0."""
    assert conv.bias is not None
    tensors = _as_autocast(x_NCTV, conv.weight, conv.bias)
    out_NCTV: Tensor = _ConvBeforeNorm.apply(*tensors, conv.stride, conv.padding)  # type: ignore[no-untyped-call]
    return out_NCTV


def dilated_conv(x_NCTV: Tensor, conv: nn.Module) -> Tensor:
    """A dilated convolution over time; in fp32 where bf16 is used on CPUs.

    There torch 2.13 computes a wrong gradient of the weights, or NaN, in bf16, if the input is channels-last, has about
    30 joints or more, and its channels are no multiple of 16 (oneDNN). Another memory format would make all operations
    of the block after this one several times as slow.
    """
    out_NCTV: Tensor
    if x_NCTV.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        with torch.autocast("cpu", enabled=False):
            out_NCTV = conv(x_NCTV.float()).to(x_NCTV.dtype)
    else:
        out_NCTV = conv(x_NCTV)
    return out_NCTV


def _as_autocast(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Cast to the type that autocast uses for convolutions; autocast does not cast for custom functions."""
    device = tensors[0].device.type
    if not torch.is_autocast_enabled(device):
        return tensors
    return tuple(tensor.to(torch.get_autocast_dtype(device)) for tensor in tensors)


def dropout_add_relu(x_NCTV: Tensor, residual_NCTV: Tensor | None, p: float) -> Tensor:
    """relu(dropout(x, p) + residual); `x` is overwritten.

    On CPUs each value is decided by 16 random bits, which takes an eighth of the time of a random float.
    """
    if x_NCTV.device.type == "cpu" and 0 < p < 1:
        out_NCTV: Tensor = _DropoutAddRelu.apply(x_NCTV, residual_NCTV, p)  # type: ignore[no-untyped-call]
        return out_NCTV
    if p > 0:
        x_NCTV = F.dropout(x_NCTV, p, inplace=True)
    return torch.relu_(x_NCTV if residual_NCTV is None else x_NCTV + residual_NCTV)


class _ConvBeforeNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, stride: tuple[int, int], padding: tuple[int, int]
    ) -> Tensor:
        ctx.save_for_backward(x, weight, bias)
        ctx.steps = stride, padding
        return F.conv2d(x, weight, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias = ctx.saved_tensors
        out = grads[0].contiguous(memory_format=torch.channels_last)
        mask = [ctx.needs_input_grad[0], True, False]
        to_x, to_weight, _ = torch.ops.aten.convolution_backward(
            out, x, weight, None, *ctx.steps, (1, 1), False, (0, 0), 1, mask
        )
        return to_x, to_weight, torch.zeros_like(bias), None, None


class _TransposingConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_NCF: Tensor, weight_OC: Tensor) -> Tensor:
        ctx.save_for_backward(x_NCF, weight_OC)
        ctx.is_contiguous = x_NCF.is_contiguous()
        return _product(weight_OC, x_NCF, channels_last=ctx.is_contiguous)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        x_NCF, weight_OC = ctx.saved_tensors
        to_x = _product(weight_OC.t(), grads[0], channels_last=not ctx.is_contiguous)
        return to_x, torch.bmm(grads[0], x_NCF.transpose(1, 2)).sum(0)


def _product(weight_OC: Tensor, x_NCF: Tensor, *, channels_last: bool) -> Tensor:
    """The products of a matrix and each of N matrices, as (N, O, F) or as a view of (N, F, O) in memory."""
    weight_NOC = weight_OC.expand(len(x_NCF), -1, -1)
    if channels_last:
        return torch.bmm(x_NCF.transpose(1, 2), weight_NOC.transpose(1, 2)).transpose(1, 2)
    return torch.bmm(weight_NOC, x_NCF)


class _DynamicAdjacency(torch.autograd.Function):
    """The tensors of V x V values for each channel are the largest of the network: few of them, overwritten."""

    @staticmethod
    def forward(ctx: Any, e_NCV: Tensor, f_NCV: Tensor, A_NKVV: Tensor, alpha_K: Tensor) -> Tensor:
        n, groups, v, _ = A_NKVV.shape
        wide = torch.promote_types(e_NCV.dtype, torch.float32)  # rows of V values are too short for vectors of bf16
        difference = e_NCV.to(wide)[..., None] - f_NCV.to(wide)[..., None, :]
        tanh = difference.to(e_NCV.dtype).tanh_().view(n, groups, -1, v, v)
        ctx.save_for_backward(tanh, alpha_K)
        return torch.addcmul(A_NKVV[:, :, None], alpha_K.view(-1, 1, 1, 1), tanh).flatten(1, 2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        tanh, alpha_K = ctx.saved_tensors
        grad = grads[0].view(tanh.shape)
        product = grad * tanh
        to_alpha_K = product.sum((0, 2, 3, 4))
        inner = torch.addcmul(grad, product, tanh, value=-1, out=product)  # the derivative of tanh is 1 - tanh^2
        by_row, by_column = inner @ inner.new_ones(inner.shape[-1]), inner.sum(3)
        to_e, to_f = (alpha_K.view(-1, 1, 1) * total for total in (by_row, by_column))
        return to_e.flatten(1, 2), to_f.flatten(1, 2).neg_(), grad.sum(2), to_alpha_K


class _AddLastJoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_NTVC: Tensor, weight_V: Tensor) -> Tensor:
        joints, last = x_NTVC[:, :, :-1], x_NTVC[:, :, -1:]
        ctx.save_for_backward(last, weight_V)
        return torch.addcmul(joints, last, weight_V[:, None])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        last, weight_V = ctx.saved_tensors
        (grad,) = grads
        n, t, v, c = grad.shape
        to_x = grad.new_empty(n, t, v + 1, c)
        to_x[:, :, :-1] = grad
        rows = grad.reshape(n * t, v, c)
        to_x[:, :, -1] = torch.bmm(weight_V.expand(n * t, 1, v), rows).view(n, t, c)
        return to_x, torch.bmm(rows, last.reshape(n * t, c, 1)).sum((0, 2))


class _DropoutAddRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, residual: Tensor | None, p: float) -> Tensor:
        threshold = max(round((1 - p) * _LANES), 1)
        keep = (_random_lanes(x) < threshold - _LANES // 2).view(torch.uint8)  # converted faster than bool
        scale, factor = _LANES / threshold, keep.to(x.dtype)
        if residual is None:
            x.mul_(factor).mul_(scale)
        else:
            torch.addcmul(residual, x, factor, value=scale, out=x)
        x.relu_()
        ctx.mark_dirty(x)
        ctx.save_for_backward(keep, x)
        ctx.scale, ctx.has_residual = scale, residual is not None
        return x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        keep, out = ctx.saved_tensors
        to_sum = torch.ops.aten.threshold_backward(grads[0], out, 0)
        return to_sum.mul(keep.to(to_sum.dtype)).mul_(ctx.scale), to_sum if ctx.has_residual else None, None


def _random_lanes(like_NCTV: Tensor) -> Tensor:
    """Random int16 values in the shape and memory format of another tensor."""
    lanes = torch.empty(-(-like_NCTV.numel() // 4), dtype=torch.int64).random_(-(1 << 63), None).view(torch.int16)
    n, c, t, v = like_NCTV.shape
    return lanes[: like_NCTV.numel()].view(n, t, v, c).permute(0, 3, 1, 2)
