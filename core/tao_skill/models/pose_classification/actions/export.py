"""Write a trained model as ONNX, and check that its scores are those of torch; for int8, measure the difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import ModelProto

from tao_skill.errors import BadData, BadRequest, JobFailed
from tao_skill.io import atomic, encryption
from tao_skill.model import task_results_dir
from tao_skill.models.pose_classification.config import ExperimentConfig
from tao_skill.models.pose_classification.data.augment import read_sequences
from tao_skill.models.pose_classification.data.sequences import open_sequences
from tao_skill.models.pose_classification.deploy import onnx_file, onnx_graph, onnx_int8, onnx_torch
from tao_skill.models.pose_classification.deploy.predict import own_label_map
from tao_skill.models.pose_classification.deploy.scorers import fitted, trained_network, with_stated_layout
from tao_skill.models.pose_classification.network.layout_file import layout_of
from tao_skill.models.pose_classification.network.streams import Net
from tao_skill.models.pose_classification.trained_facts import trimming_warning
from tao_skill.models.pose_classification.training.devices import one_device, plan_devices
from tao_skill.models.pose_classification.training.tracking import finish_run, start_run
from tao_skill.outcome import Artifact, Outcome
from tao_skill.status import reporting

Array = npt.NDArray[np.float32]

TOLERANCE: Final = 1e-4
"""Largest accepted difference of a class score between ONNX and torch; relative for scores above 1."""

AGREEMENT: Final = 98.0
"""Percent of sequences that keep their class in int8; below it, export warns."""

SAMPLES: Final = 4
"""Largest number of sequences to compare ONNX and torch on."""

INT8_SAMPLES: Final = 200
"""Largest number of sequences to compare int8 and fp32 on."""

SEED: Final = 0


def run(config: ExperimentConfig) -> Outcome:
    """Export, check and compare with torch; the file is written only if all of them succeed.

    Raises:
        BadData: the checkpoint does not fit the spec, or the calibration data cannot be used.
        BadRequest: the ONNX file exists and export.overwrite is false, or the network does not support the opset or
            the precision.
        MissingDependency: the network has no hand-written graph, and onnxscript is not installed.
        JobFailed: the scores of onnxruntime differ from those of torch.
    """
    results_dir = task_results_dir(config, "export").absolute()
    with reporting(results_dir, "Export") as status:
        tracked = start_run(config, "export")
        path = Path(config.export.onnx_file or results_dir / "model.onnx").absolute()
        if path.exists() and not config.export.overwrite:
            raise BadRequest(f"{path} exists already", fix="set export.overwrite=true, or another export.onnx_file")
        device = one_device(plan_devices(1, [config.export.gpu_id], torch.cuda.device_count()), status)
        checkpoint = Path(config.export.checkpoint)
        config = with_stated_layout(config, checkpoint)
        net, facts = trained_network(checkpoint, config)
        if warning := trimming_warning(checkpoint, facts):
            status.write("RUNNING", warning, verbosity="WARNING")
        if config.dataset.label_map is None:
            names = own_label_map(config.dataset, facts.label_map, status)
            config = replace(config, dataset=replace(config.dataset, label_map=names))
        model = to_onnx(net, config)
        metrics = compare(net.eval().to(device), model, samples(config), device)
        if config.export.precision == "int8":
            model, found = rounded(model, config)
            metrics |= found
            status.write("RUNNING", verdict(found["int8_agreement"]))
        metrics["opset"] = float(model.opset_import[0].version)
        data = encryption.encrypt(model.SerializeToString(), config.encryption_key)
        atomic.write_with(path, lambda stream: stream.write(data))
        finish_run(tracked, metrics)
        status.write("SUCCESS", f"Exported to {path}.", kpi=metrics)
    return Outcome(metrics=metrics, artifacts=[Artifact(kind="onnx", path=path)])


def input_shape(config: ExperimentConfig) -> tuple[int, int | None, int, int]:
    """(C, T, V, M); T and M default to those of the layout, and T is None if it is dynamic."""
    layout = layout_of(config.model.graph_layout)
    frames = config.export.sequence_length or config.dataset.resample_frames or layout.frames
    persons = config.export.num_persons or layout.persons
    return config.model.input_channels, None if frames == -1 else frames, layout.joints, persons


def samples(config: ExperimentConfig, most: int = SAMPLES) -> list[Array]:
    """Sequences to compare on, from export.sample_data, cut or padded to T; without it smooth random motion.

    Returns:
        (n, C, T, V, M) float32 for each T to compare; n is at most `most`, rounded up to whole fixed batches.
    """
    if config.export.sample_data is not None:
        return [recorded(config, config.export.sample_data, most)]
    channels, frames, joints, persons = input_shape(config)
    whole = layout_of(config.model.graph_layout).frames
    steps = np.random.default_rng(SEED).normal(0.0, 0.02, (2, channels, frames or whole, joints, persons))
    x_NCTVM = steps.cumsum(axis=2).astype(np.float32)
    lengths = [x_NCTVM] if frames else [x_NCTVM, x_NCTVM[:, :, : whole // 3]]
    return [_in_batches(part, config) for part in lengths]


def recorded(config: ExperimentConfig, path: str, most: int) -> Array:
    """Sequences cut or padded to T and M of the ONNX, spread evenly over the file, which may be sorted by class."""
    _, frames, _, persons = input_shape(config)
    count = len(open_sequences(path))
    chosen = np.linspace(0, count - 1, min(most, count)).astype(int)
    x_NCTVM = read_sequences(path, chosen, config.dataset.resample_frames)[:, :, :frames, :, :persons]
    return _in_batches(fitted(x_NCTVM, frames, persons), config)


def _in_batches(x_NCTVM: Array, config: ExperimentConfig) -> Array:
    size = max(1, config.export.batch_size)
    return np.resize(x_NCTVM, (-(-len(x_NCTVM) // size) * size, *x_NCTVM.shape[1:]))


def to_onnx(net: Net, config: ExperimentConfig) -> ModelProto:
    """A checked model with input `input`, output `fc_pred` and metadata, by torch.onnx if it has no hand-written graph.

    Raises:
        BadRequest: the installed onnx does not support the opset, or the network the precision.
    """
    opset = config.export.opset_version or onnx_graph.OPSET
    if opset > (newest := onnx.defs.onnx_opset_version()):
        raise BadRequest(
            f"export.opset_version is {opset}, accepted by onnx {onnx.__version__}: at most {newest}",
            fix=f"set export.opset_version={newest} or lower",
        )
    handwritten = onnx_graph.can_write(net)
    if config.export.precision == "int8" and not handwritten:
        raise BadRequest(
            f"export.precision is int8, accepted for model.model_type={config.model.model_type}: fp32, because int8 "
            "needs a hand-written ONNX graph",
            fix="set export.precision=fp32",
            path="export.precision",
        )
    _, frames, _, persons = input_shape(config)
    batch = None if config.export.batch_size == -1 else config.export.batch_size
    write = onnx_graph.to_onnx if handwritten else onnx_torch.to_onnx
    model = write(net, frames=frames, persons=persons, batch=batch, opset=opset)
    onnx.helper.set_model_props(model, onnx_file.metadata(config))
    return model


def compare(net: Net, model: ModelProto, parts: Sequence[Array], device: torch.device) -> dict[str, float]:
    """The largest difference of a class score between torch and onnxruntime, and the largest score of torch.

    Raises:
        JobFailed: the difference is larger than rounding explains.
    """
    with torch.inference_mode():
        wanted_NK = np.concatenate([net(torch.from_numpy(x_NCTVM).to(device)).cpu().numpy() for x_NCTVM in parts])
    difference = float(np.abs(scores(model, parts) - wanted_NK).max())
    largest = float(np.abs(wanted_NK).max())
    if not difference <= (limit := TOLERANCE * max(1.0, largest)):
        raise JobFailed(
            f"the scores of onnxruntime differ from those of torch by {difference:.3g}, accepted: {limit:.3g}",
            fix="try another export.opset_version",
        )
    return {"max_difference": difference, "max_score": largest}


def rounded(model: ModelProto, config: ExperimentConfig) -> tuple[ModelProto, dict[str, float]]:
    """The model in int8, and its metrics on export.sample_data, or on the calibration data without it.

    Returns:
        int8_agreement: percent of sequences that keep their class. int8_difference: largest change of a score.

    Raises:
        BadData: there is no calibration data, or it is not finite.
    """
    calibration = config.export.calibration
    if calibration.data_path is None:
        raise BadData("int8 has no calibration data", fix="set export.calibration.data_path")
    calibrating, size = recorded(config, calibration.data_path, calibration.sequences), max(1, config.export.batch_size)
    coarse = onnx_int8.to_int8(model, onnx_int8.calibrate(model, np.split(calibrating, len(calibrating) // size)))
    compared, exact_NK = [calibrating], scores(model, [calibrating])
    coarse = onnx_int8.corrected(coarse, (scores(coarse, compared) - exact_NK).mean(axis=0))
    if config.export.sample_data is not None:
        compared = samples(config, INT8_SAMPLES)
        exact_NK = scores(model, compared)
    coarse_NK = scores(coarse, compared)
    agreement = 100.0 * float((exact_NK.argmax(axis=1) == coarse_NK.argmax(axis=1)).mean())
    return coarse, {"int8_agreement": agreement, "int8_difference": float(np.abs(coarse_NK - exact_NK).max())}


def verdict(agreement: float) -> str:
    """The status line about int8; a warning, also printed, if many sequences change their class."""
    line = f"int8 predicts the same class as fp32 for {agreement:.1f} % of the compared sequences."
    if agreement >= AGREEMENT:
        return line
    warning = f"Warning: {line} Raise export.calibration.sequences, or export with export.precision=fp32."
    print(warning)
    return warning


def scores(model: ModelProto, parts: Sequence[Array]) -> Array:
    """Scores of a model in onnxruntime: (n, C, T, V, M) of each T -> (sum of n, classes)."""
    name = Path("the exported model")
    session = onnx_file.open_session(model.SerializeToString(), name)
    classes = model.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    threads = torch.get_num_threads()
    return np.concatenate([onnx_file.scores(session, x_NCTVM, classes, name, threads=threads) for x_NCTVM in parts])
