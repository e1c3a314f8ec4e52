"""Generate a data set of six classes in the nvidia layout, for trying every action without recordings.

Bodies, speeds, timing, viewpoints, positions and sensor noise vary, so that raw coordinates reveal little about the
class; training, validation and test set have different people.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from tao_skill.io.atomic import write_json, write_text, write_with
from tao_skill.io.strict_yaml import dump_yaml
from tao_skill.models.pose_classification.data.sample.body import JOINTS, Array, Body, place, random_body, rotations
from tao_skill.models.pose_classification.data.sample.motions import ACTIONS

FRAMES_PER_SECOND: Final = 8.0
SEQUENCES_PER_BODY: Final = 12
TEST_SEQUENCES: Final = 48


@dataclass(frozen=True, kw_only=True)
class Split:
    """Sequences (N, 3, T, 34, 1) in metres with their class ids and sequence names."""

    data: NDArray[np.float32]
    ids: list[int]
    names: list[str]


def write_sample(out: Path, *, train: int = 108, val: int = 72, frames: int = 16, seed: int = 1234) -> dict[str, Any]:
    """Write training, validation and test sets, label_map.json and a spec.yaml for training on them.

    Args:
        out: folder to write to, created if missing; existing files are replaced.
        train: number of training sequences. val: number of validation sequences.
        frames: T of the arrays; sequences have T / 2 to T frames and are zero-padded at the end.
        seed: random seed; the same seed and sizes give identical files.

    Returns:
        JSON-able: the folder, its files, the path of the spec, the classes and the shapes.

    Raises:
        OSError: the folder cannot be written.
    """
    folder = out.resolve()
    sizes = {"train": train, "val": val, "test": TEST_SEQUENCES}
    seeds = np.random.SeedSequence(seed).spawn(len(sizes))
    shapes: dict[str, list[int]] = {}
    for (name, size), child in zip(sizes.items(), seeds, strict=True):
        split = make_split(name, size, frames, np.random.default_rng(child))
        _write_split(folder, name, split)
        shapes[name] = list(split.data.shape)
    label_map = {action: index for index, action in enumerate(ACTIONS)}
    write_json(folder / "label_map.json", label_map)
    write_text(folder / "spec.yaml", dump_yaml(_spec(folder, label_map)))
    written = [f"{name}_{part}" for name in sizes for part in ("data.npy", "label.pkl")]
    files = [str(folder / file) for file in (*written, "label_map.json", "spec.yaml")]
    return {"folder": str(folder), "files": files, "spec": files[-1], "classes": list(ACTIONS), "shapes": shapes}


def make_split(name: str, size: int, frames: int, rng: np.random.Generator) -> Split:
    """Generate the people and the sequences of a split, with balanced classes in random order."""
    people = [random_body(rng) for _ in range(-(-size // SEQUENCES_PER_BODY))]
    ids = [int(i) for i in rng.permutation(np.arange(size) % len(ACTIONS))]
    actions = tuple(ACTIONS)
    data_NCTVM = np.zeros((size, 3, frames, len(JOINTS), 1), dtype=np.float32)
    for index, class_id in enumerate(ids):
        recorded_TV3 = record(people[index % len(people)], actions[class_id], frames, rng)
        data_NCTVM[index, :, : len(recorded_TV3), :, 0] = recorded_TV3.transpose(2, 0, 1)
    names = [f"{name}_{i:05d}_{actions[class_id]}" for i, class_id in enumerate(ids)]
    return Split(data=data_NCTVM, ids=ids, names=names)


def record(body: Body, action: str, frames: int, rng: np.random.Generator) -> Array:
    """A sequence (T, V, 3) in metres as a depth camera reports it, with T from `frames` / 2 to `frames`."""
    length = int(rng.integers((frames + 1) // 2, frames + 1))
    motion = ACTIONS[action](rng, np.arange(length) / FRAMES_PER_SECOND)
    return _with_noise(_from_camera(place(body, motion.angles, motion.flight), rng), rng)


def _from_camera(joints_TV3: Array, rng: np.random.Generator) -> Array:
    """Rotate to a random direction and camera tilt, and start within half a metre of the origin."""
    pitch, yaw, roll = np.deg2rad(rng.uniform(-1.0, 1.0, size=3) * (25.0, 180.0, 8.0))
    rotated_TV3 = (joints_TV3 - joints_TV3[:1, :1]) @ rotations(np.array([[pitch, yaw, roll]]))[0].T
    moved_TV3: Array = rotated_TV3 + rng.uniform(-1.0, 1.0, size=3) * (0.3, 0.15, 0.3)
    return moved_TV3


def _with_noise(joints_TV3: Array, rng: np.random.Generator) -> Array:
    """Add white noise of 10 to 30 mm, slow drift of each joint, single outliers, and joints that freeze for a while."""
    frames, joints, _ = joints_TV3.shape
    noisy_TV3 = joints_TV3 + rng.normal(0.0, rng.uniform(0.010, 0.030), size=joints_TV3.shape)
    phase_T11 = np.linspace(0.0, 2 * np.pi * rng.uniform(0.3, 1.5), frames)[:, None, None]
    noisy_TV3 += rng.normal(0.0, 0.02, (joints, 3)) * np.sin(phase_T11 + rng.uniform(0.0, 2 * np.pi, (joints, 3)))
    is_outlier_TV1 = rng.random((frames, joints, 1)) < 0.02
    noisy_TV3 += is_outlier_TV1 * rng.normal(0.0, 0.1, size=joints_TV3.shape)
    for joint in np.flatnonzero(rng.random(joints) < 0.2):
        start = int(rng.integers(0, frames))
        noisy_TV3[start : start + int(rng.integers(2, 9)), joint] = noisy_TV3[start, joint]
    return noisy_TV3


def _write_split(folder: Path, name: str, split: Split) -> None:
    write_with(folder / f"{name}_data.npy", lambda stream: np.save(stream, split.data))
    write_with(folder / f"{name}_label.pkl", lambda stream: _dump_labels(split, stream))


def _dump_labels(split: Split, stream: IO[bytes]) -> None:
    pickle.dump([split.names, split.ids], stream, protocol=2)


def _spec(folder: Path, label_map: dict[str, int]) -> dict[str, Any]:
    train, val, test = (
        {"data_path": str(folder / f"{name}_data.npy"), "label_path": str(folder / f"{name}_label.pkl")}
        for name in ("train", "val", "test")
    )
    data = {"train_dataset": train, "val_dataset": val, "num_classes": len(label_map), "label_map": label_map}
    return {
        "model": {"graph_layout": "nvidia"},
        "dataset": data,
        "evaluate": {"test_dataset": test},
        "inference": {"test_dataset": {"data_path": test["data_path"]}},
    }
