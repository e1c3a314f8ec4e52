"""Scores of several temporal crops of each sequence, by every kind of trained model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import torch

from tao_skill.errors import BadData
from tao_skill.models.pose_classification.actions import export, train
from tao_skill.models.pose_classification.config import ExperimentConfig
from tao_skill.models.pose_classification.data.augment import read_sequences
from tao_skill.models.pose_classification.deploy import onnx_graph
from tao_skill.models.pose_classification.deploy.predict import probabilities
from tao_skill.models.pose_classification.deploy.scorers import open_scorer
from tao_skill.models.pose_classification.training import checkpoint_index
from tao_skill.status import StatusLog
from tests.support.experiments import experiment
from tests.support.tensorrt.engines import built
from tests.support.tensorrt.fake import VERSIONS, install

pytestmark = pytest.mark.usefixtures("small_networks")

T, RESAMPLED, CLIPS = 20, 6, 5
LENGTHS: Final = (1, 2, 7, 13, 17, 20)
EXPORTS: Final[dict[str, dict[str, Any]]] = {
    "ONNX": {"export.sequence_length": -1},
    "int8 of a fixed batch": {"export.precision": "int8", "export.batch_size": 2},
    "engine": {},
}


@pytest.fixture(scope="module")
def padded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random walks of LENGTHS frames, padded to T."""
    path, x_NCTVM = tmp_path_factory.mktemp("padded") / "x.npy", np.zeros((len(LENGTHS), 3, T, 34, 1), np.float32)
    for x_CTVM, length in zip(x_NCTVM, LENGTHS, strict=True):
        x_CTVM[:, :length] = 9 + np.random.default_rng(length).normal(size=(3, length, 34, 1)).cumsum(axis=1)
    np.save(path, x_NCTVM)
    return path


@pytest.fixture(scope="module", params=[None, RESAMPLED], ids=["padded", "resampled"])
def trained(request: pytest.FixtureRequest, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> ExperimentConfig:
    """The spec of a training, in whose folder a checkpoint lies."""
    config = experiment(
        tiny, tmp_path_factory.mktemp("trained"), train__num_epochs=1, dataset__resample_frames=request.param
    )
    train.run(config)
    return config


def checkpoint_of(trained: ExperimentConfig) -> Path:
    return Path(str(trained.results_dir)) / "train" / checkpoint_index.LATEST


def model_of(kind: str, trained: ExperimentConfig, tiny: Path, padded: Path, folder: Path) -> Path:
    """A checkpoint, or what is exported and built from it."""
    checkpoint, frames = checkpoint_of(trained), trained.dataset.resample_frames
    if kind not in EXPORTS:
        return checkpoint
    task = {
        "dataset.resample_frames": frames,
        "export.checkpoint": str(checkpoint),
        "export.sequence_length": frames or T,
        "export.num_persons": 1,
        "export.sample_data": str(padded),
        "export.calibration.data_path": str(padded),
    }
    (artifact,) = export.run(experiment(tiny, folder, **{**task, **EXPORTS[kind]})).artifacts
    return built(artifact.path, folder) if kind == "engine" else artifact.path


def scored(model: Path, trained: ExperimentConfig, data: Path, folder: Path, **more: Any) -> Any:
    """Probabilities of the sequences of a file, four clips a batch."""
    task = {
        "dataset.resample_frames": trained.dataset.resample_frames,
        "dataset.batch_size": 4,
        "inference.checkpoint": str(model),
        "inference.test_dataset.data_path": str(data),
        **{f"inference.{name}": value for name, value in more.items()},
    }
    config = experiment(data.parent, folder, **task)
    folder.mkdir(exist_ok=True)
    return probabilities(config, config.inference, "inference", StatusLog(folder))[0]


def explicit_crops(x_CTVM: Any, length: int, frames: int | None) -> Any:
    """The clips of one sequence, one by one: (CLIPS, C, frames or T, V, M)."""
    spare = 0.1 * (length - 1)
    clips = []
    for start in np.linspace(0, spare, CLIPS):
        end = start + 0.9 * (length - 1)
        if frames is None:
            inside = np.arange(T)[(np.arange(T) > start - 0.5) & (np.arange(T) < end + 0.5)]
            clips.append(np.zeros_like(x_CTVM))
            clips[-1][:, : len(inside)] = x_CTVM[:, inside]
        else:
            times, known = np.linspace(start, end, frames), np.arange(length)
            flat_TP = np.moveaxis(x_CTVM[:, :length], 1, 0).reshape(length, -1)
            new_PT = np.array([np.interp(times, known, values) for values in flat_TP.T])
            c, _, v, m = x_CTVM.shape
            clips.append(np.moveaxis(new_PT.T.reshape(frames, c, v, m), 0, 1))
    return np.stack(clips).astype(np.float32)


@pytest.mark.parametrize("kind", ["checkpoint in torch", "checkpoint in onnxruntime", *EXPORTS])
def test_probabilities_of_clips_are_averaged_for_every_kind_of_model(
    kind: str, trained: ExperimentConfig, tiny: Path, padded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(VERSIONS[-1], monkeypatch)
    if kind == "checkpoint in torch":
        monkeypatch.setattr(onnx_graph, "WRITERS", {})
    model = model_of(kind, trained, tiny, padded, tmp_path)
    frames = trained.dataset.resample_frames
    pairs = zip(np.load(padded), LENGTHS, strict=True)
    np.save(tmp_path / "crops.npy", np.concatenate([explicit_crops(x_CTVM, n, frames) for x_CTVM, n in pairs]))
    clips_NK = scored(model, trained, tmp_path / "crops.npy", tmp_path)
    expected_NK = clips_NK.reshape(len(LENGTHS), CLIPS, -1).mean(axis=1)
    found_NK = scored(model, trained, padded, tmp_path / "found", num_clips=CLIPS)
    np.testing.assert_allclose(found_NK, expected_NK, atol=1e-5)
    np.testing.assert_allclose(found_NK.sum(axis=1), 1, atol=1e-5)
    assert np.array_equal(found_NK, scored(model, trained, padded, tmp_path / "again", num_clips=CLIPS))
    progress = json.loads((tmp_path / "found" / "progress.json").read_text())
    assert progress["batches"] == -(-len(LENGTHS) * CLIPS // 4)
    whole_NK = scored(model, trained, padded, tmp_path / "whole")
    moved_N = np.abs(found_NK - whole_NK).max(axis=1)
    assert moved_N[0] < 1e-6, "a single frame has one crop"
    assert moved_N[-1] > 1e-4, "crops of twenty frames differ from the sequence"


def test_one_clip_is_the_whole_sequence_scored_once(trained: ExperimentConfig, padded: Path, tmp_path: Path) -> None:
    x_NCTVM = read_sequences(str(padded), range(len(LENGTHS)), trained.dataset.resample_frames)
    score = open_scorer(checkpoint_of(trained), trained, torch.device("cpu"))
    parts = [torch.from_numpy(score(x_NCTVM[part])).softmax(1) for part in (slice(4), slice(4, None))]
    expected_NK = torch.cat(parts).numpy()
    assert np.array_equal(scored(checkpoint_of(trained), trained, padded, tmp_path, num_clips=1), expected_NK)


def test_sequences_of_one_frame_have_one_crop(trained: ExperimentConfig, padded: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "frame.npy", np.load(padded)[:, :, :1])
    one, several = (
        scored(checkpoint_of(trained), trained, tmp_path / "frame.npy", tmp_path, num_clips=clips) for clips in (1, 7)
    )
    np.testing.assert_allclose(several, one, atol=1e-6)


@pytest.mark.parametrize("frame", [0, 19])
def test_a_sequence_is_refused_if_any_of_its_clips_is_not_finite(
    frame: int, trained: ExperimentConfig, padded: Path, tmp_path: Path
) -> None:
    x_NCTVM = np.load(padded)
    x_NCTVM[-1, :, frame] = np.nan
    np.save(tmp_path / "nan.npy", x_NCTVM)
    for clips in (1, CLIPS):
        with pytest.raises(BadData, match="1 of 6 sequences"):
            scored(checkpoint_of(trained), trained, tmp_path / "nan.npy", tmp_path, num_clips=clips)
