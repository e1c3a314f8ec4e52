"""Write a trained model as ONNX, and prove that it gives the same scores."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
import torch

from tao_skill import encryption, files
from tao_skill.action import task_results_dir
from tao_skill.errors import BadRequest, JobFailed
from tao_skill.models.pose_classification import checkpoint, onnx_file
from tao_skill.models.pose_classification.arrays import open_sequences
from tao_skill.models.pose_classification.config import ExperimentConfig
from tao_skill.models.pose_classification.devices import one_device, plan_devices
from tao_skill.models.pose_classification.graph import LAYOUTS
from tao_skill.models.pose_classification.net import STGCN, build_net
from tao_skill.models.pose_classification.scorers import fitted
from tao_skill.models.pose_classification.tracking import finish_run, start_run
from tao_skill.outcome import Artifact, Outcome
from tao_skill.status import reporting

Array = npt.NDArray[np.float32]

TOLERANCE: Final = 1e-4
"""Largest difference of a class score between ONNX and torch; in proportion for scores above 1, as float32 rounds."""

FIRST_DYNAMO_OPSET: Final = 18
"""torch's current exporter writes no older opset; those come from its TorchScript exporter."""

SAMPLES: Final = 4
SEED: Final = 0


def run(config: ExperimentConfig) -> Outcome:
    """Export, check and compare with torch; a file appears only if all of it went well.

    Raises:
        BadData: the checkpoint does not fit the spec.
        BadRequest: the ONNX file exists already and export.overwrite is false.
        JobFailed: onnxruntime's scores differ from torch's.
    """
    results_dir = task_results_dir(config, "export").absolute()
    with reporting(results_dir, "Export") as status:
        tracked = start_run(config, "export")
        path = Path(config.export.onnx_file or results_dir / "model.onnx").absolute()
        if path.exists() and not config.export.overwrite:
            raise BadRequest(f"{path} exists already", fix="set export.overwrite=true, or another export.onnx_file")
        device = one_device(plan_devices(1, [config.export.gpu_id], torch.cuda.device_count()), status)
        net = build_net(config.model, config.dataset.num_classes)
        checkpoint.load_network(net, Path(config.export.checkpoint), config.encryption_key)
        x_NCTVM = samples(config)
        model = to_onnx(net.eval(), x_NCTVM, config)
        data = model.SerializeToString()
        difference, largest = compare(net.to(device), onnx_file.open_session(data, path), x_NCTVM, device)
        if not difference <= (limit := TOLERANCE * max(1.0, largest)):
            raise JobFailed(
                f"onnxruntime's scores differ from torch's by {difference:.3g}, more than {limit:.3g}",
                fix="try another export.opset_version",
            )
        files.write_with(path, lambda stream: stream.write(encryption.sealed(data, config.encryption_key)))
        metrics = {"max_difference": difference, "max_score": largest, "opset": float(model.opset_import[0].version)}
        finish_run(tracked, metrics)
        status.write("SUCCESS", f"Exported to {path}.", kpi=metrics)
    return Outcome(metrics=metrics, artifacts=[Artifact(kind="onnx", path=path)])


def input_shape(config: ExperimentConfig) -> tuple[int, int, int, int]:
    """(C, T, V, M): T and M are the layout's own where the spec says nothing."""
    layout = LAYOUTS[config.model.graph_layout]
    frames = config.export.sequence_length or layout.frames
    persons = config.export.num_persons or layout.persons
    return config.model.input_channels, frames, layout.joints, persons


def samples(config: ExperimentConfig) -> Array:
    """Sequences to compare on: some of export.sample_data, cut or padded to T; without it smooth random motion.

    Returns:
        (n, C, T, V, M) float32, n the fixed batch or a few.
    """
    channels, frames, joints, persons = input_shape(config)
    size = SAMPLES if config.export.batch_size == -1 else config.export.batch_size
    if config.export.sample_data is None:
        steps = np.random.default_rng(SEED).normal(0.0, 0.02, (min(size, 2), channels, frames, joints, persons))
        few = steps.cumsum(axis=2).astype(np.float32)
    else:
        data_NCTVM = open_sequences(config.export.sample_data)
        chosen = np.linspace(0, len(data_NCTVM) - 1, min(size, len(data_NCTVM))).astype(int)
        few = np.array(data_NCTVM[chosen][:, :, :frames, :, :persons], dtype=np.float32)
    whole = fitted(few, frames, persons)
    return whole if config.export.batch_size == -1 else np.resize(whole, (size, *whole.shape[1:]))


def to_onnx(net: STGCN, x_NCTVM: Array, config: ExperimentConfig) -> onnx.ModelProto:
    """A checked model with input `input`, output `fc_pred` and what it is as metadata."""
    opset, dynamic = config.export.opset_version, config.export.batch_size == -1
    is_current = opset is None or opset >= FIRST_DYNAMO_OPSET
    axes: dict[str, Any] = {"dynamic_axes": {name: {0: "batch"} for name in (onnx_file.INPUT, onnx_file.OUTPUT)}}
    if is_current:
        axes = {"dynamic_shapes": ({0: "batch"},)}
    # A batch of one would be taken for a constant.
    example = torch.from_numpy(np.resize(x_NCTVM, (2, *x_NCTVM.shape[1:])) if dynamic else x_NCTVM)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net,
            (example,),
            Path(folder) / "model.onnx",
            input_names=[onnx_file.INPUT],
            output_names=[onnx_file.OUTPUT],
            opset_version=opset,
            dynamo=is_current,
            external_data=False,
            verbose=False,
            **(axes if dynamic else {}),
        )
        model = onnx.load(Path(folder) / "model.onnx")
    onnx.helper.set_model_props(model, onnx_file.metadata(config))
    onnx.checker.check_model(model, full_check=True)
    return model


def compare(net: STGCN, session: Any, x_NCTVM: Array, device: torch.device) -> tuple[float, float]:
    """Largest difference of a class score between torch and onnxruntime, and torch's largest score, both absolute."""
    with torch.inference_mode():
        wanted_NK = net(torch.from_numpy(x_NCTVM).to(device)).cpu().numpy()
    (scores_NK,) = session.run([onnx_file.OUTPUT], {onnx_file.INPUT: x_NCTVM})
    return float(np.abs(scores_NK - wanted_NK).max()), float(np.abs(wanted_NK).max())
