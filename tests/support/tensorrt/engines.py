"""Engines of the fake of TensorRT."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx

from tao_skill.models.pose_classification.actions import gen_trt_engine
from tao_skill.models.pose_classification.config import ExperimentConfig
from tao_skill.spec import load
from tests.support.tensorrt.fake import PLAN

KEY = "gen_trt_engine."
PROFILE = {"tensorrt.max_batch_size": 4, "tensorrt.opt_batch_size": 2}


def task(onnx_file: Path, folder: Path, /, **changes: Any) -> ExperimentConfig:
    pairs = {"results_dir": str(folder), f"{KEY}onnx_file": str(onnx_file)}
    pairs |= {key if key.startswith("encryption") else KEY + key: value for key, value in changes.items()}
    config = load.build(ExperimentConfig, load.override(ExperimentConfig, {}, pairs.items()))
    assert isinstance(config, ExperimentConfig)
    return config


def built(onnx_file: Path, folder: Path, /, **changes: Any) -> Path:
    """The engine file of a build."""
    (artifact,) = gen_trt_engine.run(task(onnx_file, folder, **{**PROFILE, **changes})).artifacts
    assert artifact.kind == "engine"
    return artifact.path


def contents(engine: Path) -> tuple[dict[str, Any], Any]:
    """Facts and ONNX of a fake engine."""
    data = engine.read_bytes()
    start = len(PLAN) + 4
    end = start + int.from_bytes(data[len(PLAN) : start], "little")
    return json.loads(data[start:end]), onnx.load_model_from_string(data[end:])
