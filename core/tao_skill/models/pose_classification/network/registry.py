"""The table of networks: each value of `model.model_type` and what builds it. Imports no torch until one is built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tao_skill.models.pose_classification.network.blocks import (
    BLOCKS,
    Block,
    Products,
    dg_stgcn_products,
    st_gcn_plus_plus_products,
    st_gcn_products,
)
from tao_skill.models.pose_classification.network.layout_file import layout_of

if TYPE_CHECKING:
    from tao_skill.models.pose_classification.config import ModelConfig
    from tao_skill.models.pose_classification.network.stgcn import STGCN
    from tao_skill.models.pose_classification.network.streams import Net


@dataclass(frozen=True, kw_only=True)
class Network:
    """A row of the table.

    Attributes:
        load: imports the class of the network. blocks: the blocks that it is built of.
        products: multiply-adds of a block; without it the cost of training is not estimated.
    """

    load: Callable[[], type[STGCN]]
    blocks: tuple[Block, ...] = BLOCKS
    products: Products | None = None


def _st_gcn() -> type[STGCN]:
    from tao_skill.models.pose_classification.network.stgcn import STGCN

    return STGCN


def _st_gcn_plus_plus() -> type[STGCN]:
    from tao_skill.models.pose_classification.network.stgcn_plus_plus import STGCNPlusPlus

    return STGCNPlusPlus


def _dg_stgcn() -> type[STGCN]:
    from tao_skill.models.pose_classification.network.dg_stgcn import DGSTGCN

    return DGSTGCN


NETWORKS: Final[dict[str, Network]] = {
    "ST-GCN": Network(load=_st_gcn, products=st_gcn_products),
    "ST-GCN++": Network(load=_st_gcn_plus_plus, products=st_gcn_plus_plus_products),
    "DG-STGCN": Network(load=_dg_stgcn, products=dg_stgcn_products),
}


def build_net(model: ModelConfig, num_classes: int) -> Net:
    """The network that a spec describes, newly initialised; several streams have one each."""
    network, layout = NETWORKS[model.model_type], layout_of(model.graph_layout)
    nets = {
        stream: network.load()(
            layout=layout,
            strategy=model.graph_strategy,
            num_classes=num_classes,
            channels=model.input_channels,
            dropout=model.dropout,
            edge_importance=model.edge_importance_weighting,
            blocks=network.blocks,
            center=model.center,
            align_view=model.align_view,
            normalize_scale=model.normalize_scale,
            stream=stream,
        )
        for stream in model.streams
    }
    if len(nets) == 1:
        return nets[model.streams[0]]
    from tao_skill.models.pose_classification.network.streams import Streams

    return Streams(nets, model.stream_weights)
