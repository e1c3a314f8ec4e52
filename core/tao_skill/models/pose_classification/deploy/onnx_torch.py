"""ONNX graphs written by torch.onnx, for networks without a hand-written graph (see onnx_graph)."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import onnx
import torch
from onnx import ModelProto
from torch.export import Dim

from tao_skill.errors import BadRequest, JobFailed, MissingDependency
from tao_skill.models.pose_classification.deploy.onnx_file import INPUT, OUTPUT
from tao_skill.models.pose_classification.network.streams import Net, networks_of

LOWEST_OPSET: Final = 18
"""The opset that torch.onnx writes; it converts to later opsets only."""

EXAMPLE_FRAMES: Final = 32
"""T of the sequences that torch.onnx traces a network of dynamic length with."""


def to_onnx(
    net: Net, *, frames: int | None, persons: int = 1, batch: int | None = None, opset: int = LOWEST_OPSET
) -> ModelProto:
    """A network in evaluation as a model (batch, C, T, V, M) -> (batch, classes), in the precision of its weights.

    Args:
        frames: T; None for a dynamic length.
        batch: N; None for a dynamic batch.

    Raises:
        MissingDependency: onnxscript is not installed.
        BadRequest: the opset is below LOWEST_OPSET.
        JobFailed: torch.onnx cannot write this network.
    """
    one, *_ = networks_of(net).values()
    name = type(one).__name__
    _check(name, opset)
    joints = one.A.shape[1]
    sizes = (batch or 2, one.data_bn.num_features // joints, frames or EXAMPLE_FRAMES, joints, persons)
    dynamic = {axis: Dim(label) for axis, label, size in ((0, "batch", batch), (2, "frames", frames)) if size is None}
    try:
        with _quiet():
            program = torch.onnx.export(
                net.eval(),
                (torch.zeros(sizes, dtype=one.A.dtype, device=one.A.device),),
                input_names=[INPUT],
                output_names=[OUTPUT],
                opset_version=opset,
                dynamo=True,
                dynamic_shapes=(dynamic,),
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise JobFailed(
            f"torch.onnx cannot write {name}: {str(error.__cause__ or error).strip().splitlines()[0][:300]}",
            fix="change the network so that torch.export accepts it, or write its graph in deploy/onnx_graph.py",
        ) from error
    assert program is not None
    model: ModelProto = program.model_proto
    onnx.checker.check_model(model, full_check=True)
    return model


def _check(name: str, opset: int) -> None:
    if opset < LOWEST_OPSET:
        raise BadRequest(
            f"export.opset_version is {opset}, accepted for {name}: {LOWEST_OPSET} or above, as torch.onnx writes it",
            fix=f"set export.opset_version={LOWEST_OPSET}",
            path="export.opset_version",
        )
    if importlib.util.find_spec("onnxscript") is None:
        raise MissingDependency(
            f"the export of {name} needs onnxscript, which is not installed", fix="pip install onnxscript"
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the exporter's warnings about optional packages and about its own code."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
