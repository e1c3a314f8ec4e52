"""A generated six-class data set for the nvidia layout, to try every action without data of one's own.

Bodies, speeds, moments, viewpoints, positions and sensor noise vary, so raw coordinates say little about the class;
the people of the training, validation and test sets are different ones.
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

FRAMES_PER_SECOND: Final = 10.0
SEQUENCES_PER_BODY: Final = 12
TEST_SEQUENCES: Final = 24
RECIPE: Final[dict[str, dict[str, Any]]] = {
    "model": {"dropout": 0.1},
    "dataset": {"batch_size": 8},
    "train": {"num_epochs": 6, "optim": {"lr": 0.005, "lr_steps": [5]}},
}
"""What learns the default sizes in about two minutes on two CPU cores; the last epoch settles at a tenth of lr."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """Sequences (N, 3, T, 34, 1) in metres with their class ids and names."""

    data: NDArray[np.float32]
    ids: list[int]
    names: list[str]


def write_sample(out: Path, *, train: int = 300, val: int = 96, frames: int = 24, seed: int = 1234) -> dict[str, Any]:
    """Write train, val and test sets, label_map.json and a spec.yaml that trains on them.

    Args:
        out: folder to write to; made if absent, files of the same names are replaced.
        train: training sequences. val: validation sequences.
        frames: T; sequences last half of it to all of it and are zero-padded at the end.
        seed: same seed and sizes, same bytes.

    Returns:
        The folder, the files written, the classes and the shapes.

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
    """Draw the people of one split and one sequence after another, classes evenly mixed."""
    people = [random_body(rng) for _ in range(-(-size // SEQUENCES_PER_BODY))]
    ids = [int(i) for i in rng.permutation(np.arange(size) % len(ACTIONS))]
    actions = tuple(ACTIONS)
    data_NCTVM = np.zeros((size, 3, frames, len(JOINTS), 1), dtype=np.float32)
    for index, class_id in enumerate(ids):
        seen_TV3 = record(people[index % len(people)], actions[class_id], frames, rng)
        data_NCTVM[index, :, : len(seen_TV3), :, 0] = seen_TV3.transpose(2, 0, 1)
    names = [f"{name}_{i:05d}_{actions[class_id]}" for i, class_id in enumerate(ids)]
    return Split(data=data_NCTVM, ids=ids, names=names)


def record(body: Body, action: str, frames: int, rng: np.random.Generator) -> Array:
    """One sequence as a depth camera would report it: (T, V, 3), half of `frames` to all of it, in metres."""
    length = int(rng.integers((frames + 1) // 2, frames + 1))
    motion = ACTIONS[action](rng, np.arange(length) / FRAMES_PER_SECOND)
    return _with_noise(_from_camera(place(body, motion.angles, motion.flight), rng), rng)


def _from_camera(joints_TV3: Array, rng: np.random.Generator) -> Array:
    """Turn to any direction, tilt as low and high cameras do, start within half a metre of the origin."""
    pitch, yaw, roll = np.deg2rad(rng.uniform(-1.0, 1.0, size=3) * (25.0, 180.0, 8.0))
    turned_TV3 = (joints_TV3 - joints_TV3[:1, :1]) @ rotations(np.array([[pitch, yaw, roll]]))[0].T
    moved_TV3: Array = turned_TV3 + rng.uniform(-1.0, 1.0, size=3) * (0.3, 0.15, 0.3)
    return moved_TV3


def _with_noise(joints_TV3: Array, rng: np.random.Generator) -> Array:
    """White noise of 4 to 15 mm, a slow drift of each joint, single outliers, and joints that freeze for a while."""
    frames, joints, _ = joints_TV3.shape
    noisy_TV3 = joints_TV3 + rng.normal(0.0, rng.uniform(0.004, 0.015), size=joints_TV3.shape)
    turns_T11 = np.linspace(0.0, 2 * np.pi * rng.uniform(0.3, 1.5), frames)[:, None, None]
    noisy_TV3 += rng.normal(0.0, 0.01, (joints, 3)) * np.sin(turns_T11 + rng.uniform(0.0, 2 * np.pi, (joints, 3)))
    jumps_TV1 = rng.random((frames, joints, 1)) < 0.01
    noisy_TV3 += jumps_TV1 * rng.normal(0.0, 0.08, size=joints_TV3.shape)
    for joint in np.flatnonzero(rng.random(joints) < 0.1):
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
        "model": {"graph_layout": "nvidia"} | RECIPE["model"],
        "dataset": data | RECIPE["dataset"],
        "train": RECIPE["train"],
        "evaluate": {"test_dataset": test},
        "inference": {"test_dataset": {"data_path": test["data_path"]}},
    }
