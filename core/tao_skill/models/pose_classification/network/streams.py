"""Several networks of one kind, each on a stream of the joints, trained and scored together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from tao_skill.models.pose_classification.network.stgcn import STGCN


class Streams(nn.Module):
    """A network for each stream; their class probabilities are averaged.

    Args:
        nets: by the name of the stream. weights: of the streams, above 0; empty for equal ones.
    """

    log_weights: Tensor

    def __init__(self, nets: Mapping[str, STGCN], weights: Sequence[float] = ()) -> None:
        super().__init__()
        self.streams = nn.ModuleDict(dict(nets))
        shares_S = torch.tensor([*weights] or [1.0] * len(nets))
        self.register_buffer("log_weights", (shares_S / shares_S.sum()).log(), persistent=False)

    def forward(self, x_NCTVM: Tensor) -> Tensor:
        """Logarithms of the class probabilities (N, num_classes) of sequences (N, C, T, V, M)."""
        return self.joined(self.separate(x_NCTVM))

    def separate(self, x_NCTVM: Tensor) -> Tensor:
        """Class scores of each stream, (S, N, num_classes)."""
        return torch.stack([net(x_NCTVM) for net in self.streams.values()])

    def joined(self, scores_SNK: Tensor) -> Tensor:
        """The logarithm of the weighted mean of the streams' class probabilities."""
        return torch.logsumexp(scores_SNK.log_softmax(dim=2) + self.log_weights[:, None, None], dim=0)


Net = STGCN | Streams
"""What `build_net` makes."""


def networks_of(net: Net) -> dict[str, STGCN]:
    """The network of each stream, by the prefix of its tensors' names."""
    if isinstance(net, STGCN):
        return {"": net}
    found = ((f"streams.{name}.", one) for name, one in net.streams.items())
    return {prefix: one for prefix, one in found if isinstance(one, STGCN)}
