"""Checks of the network: its layout, and the streams and the view that it computes from the joints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from tao_skill.errors import Problem, TaoSkillError
from tao_skill.models.pose_classification.config import STREAMS, ModelConfig
from tao_skill.models.pose_classification.network.layout_file import known_layout

ALIGN: Final = "model.align_view"
WEIGHTS: Final = "model.stream_weights"


def network_problems(model: ModelConfig) -> Iterator[Problem]:
    """Everything for which the network cannot be built, whatever the action."""
    try:
        known_layout(model.graph_layout)
    except TaoSkillError as error:
        yield Problem(key="model.graph_layout", message=f"model.graph_layout: {error.message}", fix=error.fix)
        return
    if model.align_view and (lacking := lacking_view(model)):
        yield Problem(
            key=ALIGN,
            message=f"{ALIGN} is true, which needs x, y, z of both hips and both shoulders, but {lacking}",
            fix=f"set {ALIGN}=false, or use a layout that has them",
        )
    yield from _stream_problems(model)


def lacking_view(model: ModelConfig) -> str | None:
    """Why the joints do not tell the view; None if they do, or if the layout file is not here.

    Raises:
        BadData: the layout file does not describe a skeleton.
    """
    layout = known_layout(model.graph_layout)
    if layout is None:
        return None
    if layout.trunk is None:
        return f"model.graph_layout={model.graph_layout} has no joints for hips and shoulders"
    if min(layout.coordinates, model.input_channels) < len("xyz"):
        return f"model.graph_layout={model.graph_layout} and model.input_channels={model.input_channels} have no z"
    return None


def _stream_problems(model: ModelConfig) -> Iterator[Problem]:
    counts = Counter(model.streams)
    if twice := [stream for stream, count in counts.items() if count > 1]:
        yield Problem(key="model.streams", message=f"model.streams has {twice[0]} twice", fix="name each stream once")
    elif not counts:
        yield Problem(
            key="model.streams",
            message="model.streams is empty",
            fix=f"set model.streams to one or more of {', '.join(STREAMS)}",
        )
    elif model.stream_weights and len(model.stream_weights) != len(model.streams):
        yield Problem(
            key=WEIGHTS,
            message=f"{WEIGHTS} has {len(model.stream_weights)} weights for {len(model.streams)} streams",
            fix=f"give a weight for each of {', '.join(model.streams)}, or {WEIGHTS}=[] for equal ones",
        )
