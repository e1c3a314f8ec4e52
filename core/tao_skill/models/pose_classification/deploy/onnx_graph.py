"""ONNX graphs of trained networks with few operators: each batch norm is folded into the convolution beside it.

For the graph convolution of a block, with weights W_k and biases b_k over adjacencies A_k, and for the scale s and the
shift h of the batch norm after it,

    s sum_k (W_k x + b_k) A_k + h  =  sum_k (s W_k) (x A_k)  +  (sum_k s b_k A_k + h).

On the right, all x A_k are one matrix product over joints, (V) -> (K V); the sum over k is one convolution whose K taps
are V joints apart; the last term is a constant of channel and joint. No transposition is needed, and x has no more
channels than W_k x. onnxruntime runs this graph several times as fast as torch runs the network.

WRITERS has the networks with such a graph; torch.onnx writes the others (see onnx_torch).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Final

import numpy as np
from onnx import ModelProto
from torch import Tensor

from tao_skill.models.pose_classification.deploy.onnx_file import INPUT, OUTPUT
from tao_skill.models.pose_classification.deploy.onnx_nodes import Array, Graph
from tao_skill.models.pose_classification.deploy.onnx_preparation import add_preparations
from tao_skill.models.pose_classification.network.blocks import DILATIONS, GROUPS, TEMPORAL_KERNEL, branch_widths
from tao_skill.models.pose_classification.network.dg_stgcn import DGSTGCN
from tao_skill.models.pose_classification.network.stgcn import STGCN
from tao_skill.models.pose_classification.network.stgcn_plus_plus import STGCNPlusPlus
from tao_skill.models.pose_classification.network.streams import Net, Streams, networks_of

Pair = tuple[Array, Array]

Weights = Mapping[str, Array]
"""The tensors of a network by their name in its state_dict."""

OPSET: Final = 18
EPSILON: Final = 1e-5
"""Added to variances by torch's batch norms."""


def can_write(net: Net) -> bool:
    """Whether the network, or that of each stream, has a hand-written graph."""
    return all(type(one) in WRITERS for one in networks_of(net).values())


def to_onnx(
    net: Net, *, frames: int | None, persons: int = 1, batch: int | None = None, opset: int = OPSET
) -> ModelProto:
    """A network of WRITERS as a model (batch, C, T, V, M) -> (batch, classes), in the precision of its weights.

    The blocks of all streams follow each other, so that they are one part of the graph (see tensorrt_precision).

    Args:
        frames: T; None for a dynamic length.
        batch: N; None for a dynamic batch.
        opset: at least 12.
    """
    nets = networks_of(net)
    weights = {name: _array(value) for name, value in net.state_dict().items()}
    first = next(iter(nets))
    (_, joints, _), classes = weights[f"{first}A"].shape, len(weights[f"{first}fcn.weight"])
    channels = len(weights[f"{first}data_bn.weight"]) // joints
    graph = Graph(kind=np.dtype(f"f{nets[first].A.element_size()}"), opset=opset)
    prepared = add_preparations(graph, INPUT, {at: one.preparation for at, one in nets.items()}, channels)
    shape = channels, frames, joints, persons
    normalised = {at: _normalised(graph, at, weights, shape, x) for at, x in prepared.items()}
    ends = {at: _blocks(graph, at, weights, nets[at], x) for at, x in normalised.items()}
    scores = {at: _head(graph, at, weights, persons, x) for at, x in ends.items()}
    if isinstance(net, Streams):
        _joined(graph, list(scores.values()), classes, _array(net.log_weights))
    return graph.model((batch or "batch", channels, frames or "frames", joints, persons), classes)


def _array(value: Tensor) -> Array:
    return value.detach().cpu().double().numpy()


def _blocks(graph: Graph, prefix: str, weights: Weights, net: STGCN, x: str) -> str:
    write = WRITERS[type(net)]
    for i, block in enumerate(net.blocks):
        at = f"{prefix}st_gcn_networks.{i}"
        y = write(graph, at, weights, _array(net.adjacency(i)), block.stride, x)
        x = _sum(graph, at, weights, block.stride, y, x) if i > 0 else graph.add("Relu", at, y)
    return x


def _head(graph: Graph, prefix: str, weights: Weights, persons: int, x: str) -> str:
    """Pooling and class scores; a network without streams ends with OUTPUT."""
    weight_KC = weights[f"{prefix}fcn.weight"][:, :, 0, 0]
    x = graph.add("GlobalAveragePool", f"{prefix}pooled", x)
    size = graph.store(f"{prefix}persons.shape", [-1, persons * weight_KC.shape[1]])
    x = graph.add("Reshape", f"{prefix}persons", x, size)
    head = np.tile(weight_KC / persons, persons)  # mean over persons and head in one product
    stored = graph.store(f"{prefix}fcn.weight", head), graph.store(f"{prefix}fcn.bias", weights[f"{prefix}fcn.bias"])
    return graph.add("Gemm", f"{prefix}scores" if prefix else OUTPUT, x, *stored, transB=1)


def _joined(graph: Graph, scores: Sequence[str], classes: int, log_weights_S: Array) -> str:
    """The logarithm of the weighted mean of the class probabilities of the streams."""
    each = [graph.reshape(f"{name}.each", name, 1, classes) for name in scores]
    x = graph.add("LogSoftmax", "streams.log", graph.add("Concat", "streams.all", *each, axis=1), axis=2)
    x = graph.add("Add", "streams.weighted", x, graph.store("streams.weights", log_weights_S[:, None]))
    return graph.reduce("ReduceLogSumExp", OUTPUT, x, 1, keepdims=0)


def _normalised(graph: Graph, at: str, weights: Weights, shape: tuple[int, int | None, int, int], x: str) -> str:
    """The data batch norm; each person becomes a sequence: (N, C, T, V, M) -> (N M, C, T, V)."""
    channels, frames, joints, persons = shape
    scale, shift = (part.reshape(joints, channels).T[:, None, :, None] for part in _affine(weights, f"{at}data_bn"))
    x = graph.add("Mul", f"{at}data_bn.scaled", x, graph.store(f"{at}data_bn.scale", scale))
    x = graph.add("Add", f"{at}data_bn", x, graph.store(f"{at}data_bn.shift", shift))
    name = f"{at}sequences"
    if persons == 1:
        return graph.add("Reshape", name, x, graph.store(f"{name}.shape", [0, channels, 0, joints]))
    x = graph.add("Transpose", f"{at}persons_first", x, perm=[0, 4, 1, 2, 3])
    if frames is not None:
        sizes = graph.store(f"{name}.shape", [-1, channels, frames, joints])
    else:
        size = graph.add("Shape", f"{at}sizes", x)
        length = graph.add("Gather", f"{at}frames", size, graph.store(f"{at}frames.axis", [3]))
        fixed = graph.store(f"{name}.before", [-1, channels]), graph.store(f"{name}.after", [joints])
        sizes = graph.add("Concat", f"{name}.shape", fixed[0], length, fixed[1], axis=0)
    return graph.add("Reshape", name, x, sizes)


def _temporal_convolution(graph: Graph, at: str, weights: Weights, A_KVV: Array, stride: int, x: str) -> str:
    """A block of ST-GCN without its residual: (N, C_in, T, V) -> (N, C_out, ceil(T / stride), V)."""
    y = graph.add("Relu", f"{at}.gcn.relu", _graph_convolution(graph, at, weights, A_KVV, f"{at}.tcn.0", x))
    half = (TEMPORAL_KERNEL - 1) // 2
    weight, affine = _stored(weights, f"{at}.tcn.2"), _affine(weights, f"{at}.tcn.3")
    return _convolution(graph, f"{at}.tcn", weight, affine, y, strides=[stride, 1], pads=[half, 0, half, 0])


def _residual_branches(graph: Graph, at: str, weights: Weights, A_KVV: Array, stride: int, x: str) -> str:
    """A block of ST-GCN++ without its residual: (N, C_in, T, V) -> (N, C_out, ceil(T / stride), V).

    The batch norm over all branches is folded into each branch, so that each branch ends with its own ReLU.
    """
    y = _graph_convolution(graph, at, weights, A_KVV, f"{at}.gcn.bn", x)
    x, tcn = _sum(graph, f"{at}.gcn", weights, 1, y, x), f"{at}.tcn"
    parts = _branches(graph, tcn, weights, _affine(weights, f"{tcn}.mix.0"), stride, x)
    y = graph.add("Concat", f"{tcn}.branches", *(graph.add("Relu", f"{part}.relu", part) for part in parts), axis=1)
    return _convolution(graph, tcn, _stored(weights, f"{tcn}.mix.2"), _affine(weights, f"{tcn}.mix.3"), y)


def _dynamic(graph: Graph, at: str, weights: Weights, A_KVV: Array, stride: int, x: str) -> str:
    """A block of DG-STGCN without its residual: (N, C_in, T, V) -> (N, C_out, ceil(T / stride), V).

    The branches process the joints and their mean, x (I 1/V), and a second product adds the mean's outcome to the
    joints. The shift of the batch norm over all branches follows it; its scale is folded into each branch.
    """
    gcn, tcn = f"{at}.gcn", f"{at}.tcn"
    y = _convolution(graph, f"{gcn}.conv", _stored(weights, f"{gcn}.conv"), _affine(weights, f"{gcn}.conv_norm"), x)
    y = graph.add("Relu", f"{gcn}.conv.relu", y)
    y = graph.add("MatMul", f"{gcn}.neighbours", y, _dynamic_adjacency(graph, gcn, weights, A_KVV, x))
    y = _convolution(graph, f"{gcn}.mix", _stored(weights, f"{gcn}.mix"), _affine(weights, f"{gcn}.bn"), y)
    x = _sum(graph, gcn, weights, 1, y, x)
    joint_weights = weights[f"{tcn}.joint_weights"]
    each = np.eye(joints := len(joint_weights))
    with_mean = np.concatenate([each, np.full((joints, 1), 1 / joints)], axis=1)
    x = graph.add("MatMul", f"{tcn}.joints", x, graph.store(f"{tcn}.mean", with_mean))
    scale, shift = _affine(weights, f"{tcn}.mix.0")
    parts = _branches(graph, tcn, weights, (scale, np.zeros_like(shift)), stride, x)
    y = graph.add("Concat", f"{tcn}.branches", *parts, axis=1)
    fusion = graph.store(f"{tcn}.fusion", np.concatenate([each, joint_weights[None]]))
    y = graph.add("MatMul", f"{tcn}.fused", y, fusion)
    y = graph.add("Add", f"{tcn}.shifted", y, graph.store(f"{tcn}.shift", shift[:, None, None]))
    y = graph.add("Relu", f"{tcn}.relu", y)
    return _convolution(graph, tcn, _stored(weights, f"{tcn}.mix.2"), _affine(weights, f"{tcn}.mix.3"), y)


def _dynamic_adjacency(graph: Graph, gcn: str, weights: Weights, A_KVV: Array, x: str) -> str:
    """The adjacencies of DG-STGCN: (N, C_in, T, V) -> (N, C_out, V, V).

    Sums are of the operator Sum and the embeddings are products, because Add and Conv are quantized (onnx_int8).
    """
    weight_OC, bias_O = (np.split(part, 2) for part in _stored(weights, f"{gcn}.embed"))
    channels, joints = len(bias_O[0]), A_KVV.shape[1]
    frame = graph.mean_of_frames(f"{gcn}.frame", x)
    e, f = (
        _embedding(graph, f"{gcn}.{name}", weight[:, :, 0], bias, frame)
        for name, weight, bias in zip("ef", weight_OC, bias_O, strict=True)
    )
    grouped = GROUPS, channels // GROUPS
    alpha, beta = (weights[f"{gcn}.{name}"] for name in ("alpha", "beta"))

    y = graph.reshape(f"{f}.groups", f, *grouped, joints)
    y = graph.add("Transpose", f"{f}.transposed", y, perm=[0, 1, 3, 2])
    y = graph.add("MatMul", f"{gcn}.similarity", y, graph.reshape(f"{e}.groups", e, *grouped, joints))
    y = graph.add("Transpose", f"{gcn}.affinity", graph.add("Softmax", f"{gcn}.softmax", y, axis=-1), perm=[0, 1, 3, 2])
    y = graph.add("Mul", f"{gcn}.affinity.scaled", y, graph.store(f"{gcn}.beta", beta[:, None, None]))
    y = graph.add("Sum", f"{gcn}.A.groups", y, graph.store(f"{gcn}.A.learnt", A_KVV))
    of_groups = graph.reshape(f"{gcn}.A.each", y, GROUPS, 1, joints, joints)

    rows, columns = (
        graph.reshape(f"{f}.rows", f, *grouped, 1, joints),
        graph.reshape(f"{e}.columns", e, *grouped, joints, 1),
    )
    y = graph.add("Tanh", f"{gcn}.tanh", graph.add("Sub", f"{gcn}.differences", columns, rows))
    y = graph.add("Mul", f"{gcn}.tanh.scaled", y, graph.store(f"{gcn}.alpha", alpha[:, None, None, None]))
    return graph.reshape(f"{gcn}.A", graph.add("Sum", f"{gcn}.A.channels", of_groups, y), channels, joints, joints)


def _embedding(graph: Graph, name: str, weight_OC: Array, bias_O: Array, frame: str) -> str:
    """(N, C, V) -> (N, O, V)."""
    y = graph.add("MatMul", f"{name}.product", graph.store(f"{name}.weight", weight_OC), frame)
    return graph.add("Sum", name, y, graph.store(f"{name}.bias", bias_O[:, None]))


def _branches(graph: Graph, tcn: str, weights: Weights, affine: Pair, stride: int, x: str) -> list[str]:
    """The temporal branches, scaled and shifted."""
    sliced, norm = _stored(weights, f"{tcn}.slices.0"), _affine(weights, f"{tcn}.slices.1")
    ends = np.cumsum(branch_widths(len(affine[0])))
    *others, last = (slice(start, end) for start, end in pairwise((0, *ends)))
    parts = []
    for j, own in enumerate(others):
        y = _convolution(graph, f"{tcn}.{j}.slice", _slice(sliced, own), _slice(norm, own), x)
        y = graph.add("Relu", f"{tcn}.{j}.slice.relu", y)
        parts.append(_branch(graph, tcn, j, weights, _slice(affine, own), stride, y))
    frame = _stored(weights, f"{tcn}.frame")
    parts.append(_convolution(graph, f"{tcn}.{len(others)}", frame, _slice(affine, last), x, strides=[stride, 1]))
    return parts


def _branch(graph: Graph, tcn: str, j: int, weights: Weights, affine: Pair, stride: int, x: str) -> str:
    """Branch j, a dilated convolution or after these the max pooling, scaled and shifted."""
    name = f"{tcn}.{j}"
    if j == len(DILATIONS):
        y = graph.add("MaxPool", f"{name}.pool", x, kernel_shape=[3, 1], strides=[stride, 1], pads=[1, 0, 1, 0])
        scale, shift = (part[:, None, None] for part in affine)
        y = graph.add("Mul", f"{name}.scaled", y, graph.store(f"{name}.scale", scale))
        return graph.add("Add", name, y, graph.store(f"{name}.shift", shift))
    dilation, stored = DILATIONS[j], _stored(weights, f"{tcn}.dilated.{j}")
    taps = {"dilations": [dilation, 1], "pads": [dilation, 0, dilation, 0]}
    return _convolution(graph, name, stored, affine, x, strides=[stride, 1], **taps)


def _sum(graph: Graph, at: str, weights: Weights, stride: int, y: str, x: str) -> str:
    """ReLU of the sum of `y` and the residual, which is `x` or a convolution of `x`."""
    if f"{at}.residual.0.weight" in weights:
        stored, affine = _stored(weights, f"{at}.residual.0"), _affine(weights, f"{at}.residual.1")
        x = _convolution(graph, f"{at}.residual", stored, affine, x, strides=[stride, 1])
    return graph.add("Relu", f"{at}.out", graph.add("Add", f"{at}.sum", y, x))


def _graph_convolution(graph: Graph, at: str, weights: Weights, A_KVV: Array, norm: str, x: str) -> str:
    """Graph convolution and batch norm."""
    subsets, joints, _ = A_KVV.shape
    scale_C, shift_C = _affine(weights, norm)
    W_KOI = weights[f"{at}.gcn.conv.weight"].reshape(subsets, len(scale_C), -1) * scale_C[:, None]
    b_KO = weights[f"{at}.gcn.conv.bias"].reshape(subsets, -1) * scale_C
    constant_OV = np.einsum("ko,kvw->ow", b_KO, A_KVV) + shift_C[:, None]
    A_VKV = A_KVV.transpose(1, 0, 2).reshape(joints, -1)
    y = graph.add("MatMul", f"{at}.neighbours", x, graph.store(f"{at}.A", A_VKV))
    weight = graph.store(f"{at}.gcn.weight", W_KOI.transpose(1, 2, 0)[:, :, None])
    y = graph.add("Conv", f"{at}.gcn", y, weight, kernel_shape=[1, subsets], dilations=[1, joints])
    return graph.add("Add", f"{at}.gcn.shifted", y, graph.store(f"{at}.gcn.constant", constant_OV[:, None]))


def _convolution(graph: Graph, name: str, stored: Pair, affine: Pair, x: str, **steps: list[int]) -> str:
    """A convolution with the weight and bias `stored`, scaled and shifted by `affine`."""
    (weight, bias), (scale_C, shift_C) = stored, affine
    scaled = graph.store(f"{name}.weight", weight * scale_C[:, None, None, None])
    return graph.add("Conv", name, x, scaled, graph.store(f"{name}.bias", bias * scale_C + shift_C), **steps)


def _stored(weights: Weights, convolution: str) -> Pair:
    weight = weights[f"{convolution}.weight"]
    return weight, weights.get(f"{convolution}.bias", np.zeros(len(weight)))


def _slice(pair: Pair, channels: slice) -> Pair:
    first, last = pair
    return first[channels], last[channels]


def _affine(weights: Weights, norm: str) -> Pair:
    """Scale and shift of a batch norm in evaluation."""
    scale = weights[f"{norm}.weight"] / np.sqrt(weights[f"{norm}.running_var"] + EPSILON)
    return scale, weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale


Writer = Callable[[Graph, str, Weights, Array, int, str], str]
"""Adds a block without its residual: graph, name of the block, weights, adjacency (K, V, V), stride, input."""

WRITERS: Final[Mapping[type[STGCN], Writer]] = MappingProxyType(
    {STGCN: _temporal_convolution, STGCNPlusPlus: _residual_branches, DGSTGCN: _dynamic}
)
"""Networks with a hand-written graph, whatever their blocks; subclasses are other networks."""
