"""Checks of export and gen_trt_engine: files, batch sizes and int8 calibration."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tao_skill.errors import Problem, TaoSkillError
from tao_skill.io.s3 import is_remote
from tao_skill.models.pose_classification.checks.data_files import sequence_problems
from tao_skill.models.pose_classification.config import Calibration, ExperimentConfig
from tao_skill.models.pose_classification.data import npy_header

PER_CHANNEL_OPSET: Final = 13
"""First ONNX opset with per-channel quantization of weights."""


def export_problems(config: ExperimentConfig) -> Iterator[Problem]:
    """An ONNX file that would be overwritten, sample data that do not fit, and incomplete int8 settings."""
    path = config.export.onnx_file
    if path and Path(path).exists() and not config.export.overwrite:
        yield Problem(
            key="export.onnx_file",
            message=f"export.onnx_file is {path!r}, which exists already",
            fix="set export.overwrite=true, or another export.onnx_file",
        )
    if config.export.sample_data:
        yield from sequence_problems(config, "export.sample_data", config.export.sample_data)
    if config.export.precision == "int8":
        yield from _export_int8_problems(config)


def _export_int8_problems(config: ExperimentConfig) -> Iterator[Problem]:
    if (opset := config.export.opset_version or PER_CHANNEL_OPSET) < PER_CHANNEL_OPSET:
        yield Problem(
            key="export.opset_version",
            message=f"export.opset_version is {opset}, but export.precision=int8 needs {PER_CHANNEL_OPSET} or above",
            fix=f"set export.opset_version={PER_CHANNEL_OPSET}, or export.precision=fp32",
        )
    if path := config.export.calibration.data_path:
        yield from sequence_problems(config, "export.calibration.data_path", path)
        return
    yield Problem(
        key="export.calibration.data_path",
        message="export.precision is int8, but export.calibration.data_path is not set",
        fix="set export.calibration.data_path to the training data, or give the training job as parent",
    )


def gen_trt_engine_problems(config: ExperimentConfig) -> Iterator[Problem]:
    """Batch sizes that are not in ascending order, and incomplete int8 settings."""
    section, settings = "gen_trt_engine.tensorrt", config.gen_trt_engine.tensorrt
    for lower, upper in (("min_batch_size", "opt_batch_size"), ("opt_batch_size", "max_batch_size")):
        minimum, value = getattr(settings, lower), getattr(settings, upper)
        if value < minimum:
            yield Problem(
                key=f"{section}.{upper}",
                message=f"{section}.{upper} is {value}, below {section}.{lower}, which is {minimum}",
                fix=f"set {section}.{upper}={minimum} or above",
            )
    if settings.data_type == "int8":
        yield from _calibration_problems(f"{section}.calibration", settings.calibration)


def _calibration_problems(section: str, calibration: Calibration) -> Iterator[Problem]:
    key, path = f"{section}.cal_image_dir", calibration.cal_image_dir
    if path is None:
        if not calibration.cal_cache_file or not Path(calibration.cal_cache_file).is_file():
            yield Problem(
                key=key,
                message=f"int8 needs calibration, but neither {key} nor an existing {section}.cal_cache_file is set",
                fix=f"set {key} to sequences that are typical of the deployment",
            )
        return
    if is_remote(path):
        return
    try:
        sequences = npy_header.shape(path)[0]
    except TaoSkillError as error:
        yield Problem(key=key, message=f"{key}: {error.message}", fix=error.fix)
        return
    if (needed := calibration.cal_batches * calibration.cal_batch_size) > sequences:
        yield Problem(
            key=f"{section}.cal_batches",
            message=f"{section}.cal_batches times cal_batch_size is {needed}, but {path} has {sequences} sequences",
            fix=f"set {section}.cal_batches={max(1, sequences // calibration.cal_batch_size)}",
        )


def gen_trt_engine_warnings(config: ExperimentConfig) -> Iterator[str]:
    """A missing TensorRT package, and int8 calibration on a single sequence."""
    if importlib.util.find_spec("tensorrt") is None:
        yield "TensorRT is not installed: run pip install 'tao-skill[tensorrt]' before this plan"
    settings = config.gen_trt_engine.tensorrt
    if settings.data_type == "int8" and settings.calibration.cal_batches * settings.calibration.cal_batch_size == 1:
        yield "int8 calibration uses a single sequence: raise gen_trt_engine.tensorrt.calibration.cal_batches"
