"""DG-STGCN (arXiv 2210.05895, section 3): joints are linked by learnt adjacencies that also depend on the sequence."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor, nn

from tao_skill.models.pose_classification.network.blocks import GROUPS
from tao_skill.models.pose_classification.network.layers import (
    add_last_joint,
    dropout_add_relu,
    dynamic_adjacency,
    transposing_conv,
)
from tao_skill.models.pose_classification.network.stgcn import STGCN, shortcut
from tao_skill.models.pose_classification.network.stgcn_plus_plus import BranchedBlock, TemporalBranches

MEAN: Final = 0.04
SPREAD: Final = 0.02
"""Normal distribution of the adjacencies at the start, as in the configurations that the authors published."""


class DynamicGraphConv(nn.Module):
    """DG-GCN: channels in K groups, each with an adjacency that is learnt and two that follow from the sequence.

    With e, f = two embeddings of the mean frame, channel c of group k gets from joint v to joint w

        A_kvw + alpha_k tanh(e_cv - f_cw) + beta_k softmax_v(sum over c in k of e_cv f_cw).

    The adjacency belongs to a sequence and a channel, so that here channels come before frames and joints in memory,
    and the sums over neighbours are one batched product (T, V) (V, V). The convolutions before and after it are
    products with transposed operands, which convert the memory format on the way.
    """

    def __init__(self, channels_in: int, channels_out: int, subsets: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 1, bias=False)
        self.conv_norm = nn.BatchNorm2d(channels_out)
        self.embed = nn.Conv1d(channels_in, 2 * channels_out, 1)
        self.alpha = nn.Parameter(torch.zeros(GROUPS))
        self.beta = nn.Parameter(torch.zeros(GROUPS))
        self.mix = nn.Conv2d(channels_out, channels_out, 1, bias=False)
        self.bn = nn.BatchNorm2d(channels_out)
        self.residual = shortcut(channels_in, channels_out)

    def forward(self, x_NCTV: Tensor, A_KVV: Tensor) -> Tensor:
        """(N, C_in, T, V) -> (N, C_out, T, V)."""
        n, c, t, v = x_NCTV.shape
        rows_NFC = x_NCTV.permute(0, 2, 3, 1).reshape(n, t * v, c)
        y_NCF = transposing_conv(rows_NFC.transpose(1, 2), self.conv.weight.flatten(1))
        y_NCTV = torch.relu_(self.conv_norm(y_NCF.view(n, -1, t, v)))
        A_NCVV = self.adjacency(rows_NFC.view(n, t, v, c).mean(dim=1).transpose(1, 2), A_KVV)
        y_NCF = torch.bmm(y_NCTV.flatten(0, 1), A_NCVV.flatten(0, 1)).view(n, -1, t * v)
        mixed_NCTV = transposing_conv(y_NCF, self.mix.weight.flatten(1)).view(n, -1, t, v)
        return dropout_add_relu(self.bn(mixed_NCTV), self.residual(x_NCTV), 0.0)

    def adjacency(self, frame_NCV: Tensor, A_KVV: Tensor) -> Tensor:
        """The adjacencies of sequences with these mean frames: (N, C_out, V, V), from joint to joint."""
        n, _, v = frame_NCV.shape
        assert self.embed.bias is not None
        embedded_NCV = transposing_conv(frame_NCV, self.embed.weight.flatten(1))
        e_NCV, f_NCV = (embedded_NCV + self.embed.bias[:, None].to(embedded_NCV.dtype)).chunk(2, dim=1)
        e, f = (part.reshape(n * GROUPS, -1, v) for part in (e_NCV, f_NCV))
        affinity_NKVV = torch.softmax(torch.bmm(e.transpose(1, 2), f), dim=1).view(n, GROUPS, v, v)
        A_NKVV = A_KVV + self.beta[:, None, None] * affinity_NKVV
        return dynamic_adjacency(e_NCV, f_NCV, A_NKVV, self.alpha)


class JointSkeletonBranches(TemporalBranches):
    """DG-TCN: the branches process the mean of the joints as one more joint, and add the outcome to each joint.

    Attributes:
        joint_weights: (V,), the share that each joint receives; the network, which knows V, sets it.
    """

    joint_weights: nn.Parameter

    def branches(self, x_NCTV: Tensor) -> Tensor:
        """(N, C, T, V) -> (N, C, ceil(T / stride), V)."""
        x_NTVC = x_NCTV.permute(0, 2, 3, 1)
        both_NTVC = torch.cat([x_NTVC, x_NTVC.mean(dim=2, keepdim=True)], dim=2)
        outcome_NTVC = super().branches(both_NTVC.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return add_last_joint(outcome_NTVC, self.joint_weights).permute(0, 3, 1, 2)


class DynamicBlock(BranchedBlock):
    """DG-GCN, DG-TCN, residual."""

    spatial = DynamicGraphConv
    temporal = JointSkeletonBranches


class DGSTGCN(STGCN):
    """DG-STGCN: dynamic blocks, and K = 8 adjacencies learnt for each block from random values.

    Without edge importance, the subsets of the partition strategy, repeated over the groups, are used in their place.
    """

    block = DynamicBlock

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        joints = self.A.shape[1]
        for block in self.st_gcn_networks:
            block.tcn.joint_weights = nn.Parameter(torch.zeros(joints))  # type: ignore[union-attr]
        if self.edge_importance is not None:
            self.edge_importance = nn.ParameterList(
                nn.Parameter(torch.empty(GROUPS, joints, joints).normal_(MEAN, SPREAD)) for _ in self.blocks
            )

    def adjacency(self, block: int) -> Tensor:
        """(K, V, V) of a block, without what depends on the sequence."""
        subsets = [k % len(self.A) for k in range(GROUPS)]
        return self.A[subsets] if self.edge_importance is None else self.edge_importance[block]
