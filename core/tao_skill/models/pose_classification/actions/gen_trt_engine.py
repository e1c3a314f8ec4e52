"""Build a TensorRT engine from an ONNX file.

TensorRT 11 has strongly typed networks only: no precision flags, no calibrators. TensorRT 10 supports them too, so both
get the same network: the ONNX itself is converted to fp16 or to int8 Q/DQ (see tensorrt_precision), and the builder
uses its types. STRONGLY_TYPED is a flag that 10 needs and 11 ignores; there is no other difference. Tested with a fake
of the two APIs only (see tensorrt_engine).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from tao_skill.errors import BadData, JobFailed
from tao_skill.io import atomic, encryption
from tao_skill.io.strict_json import read_json
from tao_skill.model import task_results_dir
from tao_skill.models.pose_classification.config import Calibration, ExperimentConfig, GenTrtEngineConfig
from tao_skill.models.pose_classification.data.augment import read_sequences
from tao_skill.models.pose_classification.data.sequences import open_sequences
from tao_skill.models.pose_classification.deploy import onnx_file, tensorrt_engine, tensorrt_precision
from tao_skill.models.pose_classification.deploy.tensorrt_engine import cause, message_log, started
from tao_skill.models.pose_classification.training.tracking import finish_run, start_run
from tao_skill.outcome import Artifact, Outcome
from tao_skill.status import StatusLog, reporting

OUTPUT: Final = "model.engine"
MIB: Final = 2**20
TENSORRT: Final = "gen_trt_engine.tensorrt"


@dataclass(frozen=True, kw_only=True)
class _Ranges:
    """A calibration cache: the ONNX file and the number of sequences it comes from, and the range of each tensor."""

    onnx_sha256: str
    sequences: int
    ranges: dict[str, float]


def run(config: ExperimentConfig) -> Outcome:
    """Convert the ONNX to the requested precision, build the engine and write it.

    Raises:
        MissingDependency: TensorRT or the GPU is missing; no status was written.
        BadData: the ONNX or the calibration data cannot be used.
        JobFailed: TensorRT cannot build it.
    """
    task = config.gen_trt_engine
    trt, _ = tensorrt_engine.require(task.gpu_id)
    results_dir = task_results_dir(config, "gen_trt_engine").absolute()
    with reporting(results_dir, "TensorRT engine generation") as status:
        tracked = start_run(config, "gen_trt_engine")
        model = tensorrt_precision.read_onnx(Path(task.onnx_file), config.encryption_key)
        profile = batch_profile(task, tensorrt_precision.input_shape(model)[0])
        model = _at_precision(model, task, status)
        status.write("RUNNING", f"TensorRT {trt.__version__} builds {task.tensorrt.data_type}, batch {profile}.")
        began = time.monotonic()
        plan = build(trt, model, task, profile)
        output = Path(task.trt_engine or results_dir / OUTPUT).absolute()
        atomic.write_with(output, lambda stream: stream.write(encryption.encrypt(plan, config.encryption_key)))
        metrics = {"build_s": round(time.monotonic() - began, 3), "engine_mib": len(plan) / MIB}
        finish_run(tracked, metrics)
        status.write("SUCCESS", "TensorRT engine generation finished.", kpi=metrics)
    return Outcome(metrics=metrics, artifacts=[Artifact(kind="engine", path=output)])


def batch_profile(task: GenTrtEngineConfig, onnx_batch: int) -> tuple[int, int, int]:
    """Minimum, optimum and maximum batch of the engine.

    Raises:
        BadData: the ONNX has a fixed batch, and the spec has another.
    """
    trt = task.tensorrt
    wanted = (trt.min_batch_size, trt.opt_batch_size, trt.max_batch_size)
    if task.batch_size != -1:
        wanted = (task.batch_size,) * 3
    if onnx_batch != -1 and wanted != (onnx_batch,) * 3:
        raise BadData(
            f"{task.onnx_file} has a fixed batch of {onnx_batch}, but the minimum, optimum and maximum are {wanted}",
            fix=f"set gen_trt_engine.batch_size={onnx_batch}, or export again with export.batch_size=-1",
            path=task.onnx_file,
        )
    return wanted


def build(trt: Any, model: ModelProto, task: GenTrtEngineConfig, profile: tuple[int, int, int]) -> bytes:
    """The serialized engine of a model in its final precision; the timing cache is read and updated.

    Raises:
        BadData: the parser of TensorRT refuses the ONNX; the message has its first errors.
        JobFailed: the build fails; the message has the errors of TensorRT.
    """
    log = message_log(trt, verbose=task.verbose)
    builder = started(trt.Builder, log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(model.SerializeToString()):
        errors = "; ".join(parser.get_error(i).desc() for i in range(min(parser.num_errors, 3)))
        raise BadData(
            f"TensorRT {trt.__version__} cannot read {task.onnx_file}: {errors}",
            fix="export with another export.opset_version, or use a newer TensorRT",
            path=task.onnx_file,
        )
    settings = builder.create_builder_config()
    settings.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, task.tensorrt.workspace_size * MIB)
    name, sizes = model.graph.input[0].name, tensorrt_precision.input_shape(model)[1:]
    shapes = builder.create_optimization_profile()
    shapes.set_shape(name, *((batch, *sizes) for batch in profile))
    settings.add_optimization_profile(shapes)
    cache = _attach_timing_cache(settings, task.timing_cache, log)  # must outlive the build
    plan = builder.build_serialized_network(network, settings)
    if plan is None:
        raise JobFailed(
            f"TensorRT {trt.__version__} cannot build the engine: {cause(log) or 'it reported no cause'}",
            fix=f"raise {TENSORRT}.workspace_size or lower {TENSORRT}.max_batch_size; "
            "gen_trt_engine.verbose=true logs more",
        )
    if cache is not None:
        updated = bytes(settings.get_timing_cache().serialize())
        atomic.write_with(Path(task.timing_cache or ""), lambda stream: stream.write(updated))
    return bytes(plan)


def _attach_timing_cache(settings: Any, path: str | None, log: Any) -> Any:
    """The timing cache of the file, or a new one if it does not exist or fit this TensorRT and GPU."""
    if path is None:
        return None
    stored = Path(path).read_bytes() if Path(path).is_file() else b""
    cache = settings.create_timing_cache(stored)
    if cache is None or not settings.set_timing_cache(cache, False):
        print(f"timing cache {path} does not fit this TensorRT and GPU ({cause(log)}) and is replaced")
        log.errors.clear()
        cache = settings.create_timing_cache(b"")
        settings.set_timing_cache(cache, False)
    return cache


def _at_precision(model: ModelProto, task: GenTrtEngineConfig, status: StatusLog) -> ModelProto:
    if task.tensorrt.data_type == "fp16":
        return tensorrt_precision.to_fp16(model)
    if task.tensorrt.data_type == "int8":
        return tensorrt_precision.to_int8(model, _ranges(model, task, status))
    return model


def _ranges(model: ModelProto, task: GenTrtEngineConfig, status: StatusLog) -> dict[str, float]:
    """Ranges of this model from the cache, else from the calibration data, which are then written to the cache."""
    calibration, onnx_path = task.tensorrt.calibration, Path(task.onnx_file)
    digest, cache = tensorrt_precision.digest(model), calibration.cal_cache_file
    if cache and Path(cache).is_file():
        stored = _read_ranges(Path(cache))
        if stored.onnx_sha256 == digest:
            status.write("RUNNING", f"Calibration ranges of {stored.sequences} sequences read from {cache}.")
            return dict(stored.ranges)
        if calibration.cal_image_dir is None:
            raise BadData(
                f"{cache} is the calibration of another ONNX file",
                fix=f"set {TENSORRT}.calibration.cal_image_dir to calibrate again",
                path=cache,
            )
    count = calibration.cal_batches * calibration.cal_batch_size
    shape, resampled = tensorrt_precision.input_shape(model), onnx_file.is_resampled(model, onnx_path)
    ranges = tensorrt_precision.calibrate(model, calibration_batches(calibration, shape, resampled=resampled))
    if cache:
        atomic.write_json(Path(cache), asdict(_Ranges(onnx_sha256=digest, sequences=count, ranges=ranges)))
    status.write("RUNNING", f"Calibrated with {count} sequences of {calibration.cal_image_dir}.")
    return ranges


def calibration_batches(
    calibration: Calibration, shape: tuple[int, ...], *, resampled: bool = False
) -> Iterator[NDArray[np.float32]]:
    """`cal_batches` batches of `cal_batch_size` sequences, spread evenly over the file, which may be sorted by class.

    Args:
        shape: of the ONNX input. resampled: resample sequences to its length, as in training.

    Raises:
        BadData: the sequences or the batch do not fit the ONNX input.
    """
    path, size = calibration.cal_image_dir, calibration.cal_batch_size
    if path is None:
        raise BadData("int8 has no calibration data", fix=f"set {TENSORRT}.calibration.cal_image_dir")
    count, *sizes = open_sequences(path).shape
    if resampled:
        sizes[1] = shape[2]
    if tuple(sizes) != shape[1:] or shape[0] not in (-1, size):
        raise BadData(
            f"{path} in batches of {size} has the shape {(size, *sizes)}, but the ONNX input has {shape}",
            fix="calibrate with sequences of the shape of the ONNX input"
            + ("" if shape[0] in (-1, size) else f", and {TENSORRT}.calibration.cal_batch_size={shape[0]}"),
            path=path,
        )
    chosen = np.linspace(0, count - 1, calibration.cal_batches * size).round().astype(int)
    for start in range(0, len(chosen), size):
        yield read_sequences(path, chosen[start : start + size], shape[2] if resampled else None)


def _read_ranges(path: Path) -> _Ranges:
    fix = "delete it, or set gen_trt_engine.tensorrt.calibration.cal_cache_file to another file"
    found: _Ranges = read_json(path, _Ranges, what="a calibration cache", fix=fix)
    return found
