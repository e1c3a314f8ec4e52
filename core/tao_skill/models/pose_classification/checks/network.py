"""Checks of the network: its layout, and the streams and the view that it computes from the joints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from tao_skill.errors import Problem, TaoSkillError
from tao_skill.models.pose_classification.config import STREAMS, ModelConfig
from tao_skill.models.pose_classification.network.layout_file import known_layout
from tao_skill.models.pose_classification.network.layouts import Layout

ALIGN: Final = "model.align_view"
WEIGHTS: Final = "model.stream_weights"


def network_problems(model: ModelConfig) -> Iterator[Problem]:
    """Everything for which the network cannot be built, whatever the action."""
    try:
        layout = known_layout(model.graph_layout)
    except TaoSkillError as error:
        yield Problem(key="model.graph_layout", message=f"model.graph_layout: {error.message}", fix=error.fix)
        return
    if model.align_view and layout is not None:
        yield from _view_problems(model, layout)
    yield from _stream_problems(model)


def _view_problems(model: ModelConfig, layout: Layout) -> Iterator[Problem]:
    coordinates = min(layout.coordinates, model.input_channels)
    if layout.trunk is None:
        lacking = f"model.graph_layout={model.graph_layout} has no joints for hips and shoulders"
    elif coordinates < len("xyz"):
        lacking = f"model.graph_layout={model.graph_layout} and model.input_channels={model.input_channels} have none"
    else:
        return
    yield Problem(
        key=ALIGN,
        message=f"{ALIGN} is true, which needs x, y, z of both hips and both shoulders, but {lacking}",
        fix=f"set {ALIGN}=false, or use a layout that has them",
    )


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
