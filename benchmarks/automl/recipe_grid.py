"""Recipes and tasks of the portfolio's table."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tao_skill.models.pose_classification.data.sequences import read_labels
from tao_skill.models.pose_classification.recipes import PoseRecipe

SHOWN: Final = 3840
"""Sequences that a training of the table shows the network: 240 batches of 16."""

TRAIN, VAL = 300, 150
"""Sequences of a task, at most."""

ADAMW: Final = {
    "train.optim.optimizer_type": "torch.optim.AdamW",
    "train.optim.lr": 0.001,
    "train.optim.weight_decay": 0.05,
    "train.optim.lr_scheduler": "Cosine",
}
SGD: Final = {
    "train.optim.optimizer_type": "torch.optim.SGD",
    "train.optim.lr": 0.02,
    "train.optim.weight_decay": 5e-4,
    "train.optim.lr_scheduler": "Cosine",
}
IN_SPACE: Final = {"dataset.random_rotate": 20, "dataset.random_scale": 0.1}
IN_PLANE: Final = {"dataset.random_rotate": 0, "dataset.random_scale": 0, "dataset.random_move": True}
NO_SPACE: Final = {"dataset.random_rotate": 0, "dataset.random_scale": 0, "dataset.temporal_crop": 1.0}

BASE: Final = {
    "model.model_type": "ST-GCN++",
    "model.center": "true",
    "model.dropout": 0.0,
    **IN_SPACE,
    "dataset.temporal_crop": 0.7,
    "dataset.batch_size": 16,
    **ADAMW,
    "train.precision": "auto",
}


def recipe(name: str, frames: int | None = 36, planar: Mapping[str, Any] = IN_PLANE, **changes: Any) -> PoseRecipe:
    """The base recipe with changes: keys with `__` for the dot and without their section where it is `train.optim`."""
    spec = BASE | {_key(name): value for name, value in changes.items()}
    persons = {"model.center": "group"} if spec["model.center"] == "true" else {}
    return PoseRecipe(name=name, spec=spec, shown=SHOWN, frames=frames, planar=planar, several_persons=persons)


def _key(name: str) -> str:
    section, _, rest = name.partition("__")
    return f"{section}.{rest}" if rest else f"train.optim.{name}"


_SGD: Final = {key.removeprefix("train.optim."): value for key, value in SGD.items()}

RECIPES: Final = {
    one.name: one
    for one in (
        recipe("ST-GCN++"),
        recipe("ST-GCN++ lr 0.002", lr=0.002),
        recipe("ST-GCN++ lr 0.004", lr=0.004),
        recipe("ST-GCN++ SGD", **_SGD),
        recipe("ST-GCN++ joint+bone", model__streams=["joint", "bone"]),
        recipe("DG-STGCN lr 0.002", model__model_type="DG-STGCN", lr=0.002),
        recipe("ST-GCN++ absolute", model__center="false"),
        recipe("ST-GCN++ batch 8", dataset__batch_size=8),
        recipe("ST-GCN lr 0.001", model__model_type="ST-GCN"),
        recipe("DG-STGCN SGD 0.05", **_SGD | {"lr": 0.05}, model__model_type="DG-STGCN"),
        recipe("ST-GCN++ strong augmentation", dataset__random_shear=0.2, dataset__random_time_warp=0.2),
        recipe("ST-GCN++ plain data", planar=NO_SPACE, **{key.replace(".", "__"): v for key, v in NO_SPACE.items()}),
        recipe("ST-GCN++ normalize_scale", model__normalize_scale=True),
        recipe("ST-GCN++ align_view", planar=IN_PLANE | {"model.align_view": False}, model__align_view=True),
        recipe("ST-GCN++ 64 frames", frames=64),
        recipe("ST-GCN++ 20 frames", frames=20),
        recipe("ST-GCN++ bone", model__streams=["bone"]),
        recipe("ST-GCN++ EMA", ema_decay=0.98),
        recipe("ST-GCN++ mixup", dataset__mixup=0.2),
        recipe("ST-GCN++ smoothing", label_smoothing=0.1, model__dropout=0.2),
        recipe("ST-GCN++ joint dropout", dataset__joint_dropout=0.1),
        recipe("ST-GCN++ batch 32 lr 0.002", dataset__batch_size=32, lr=0.002),
        recipe(
            "DG-STGCN joint+bone lr 0.004", model__model_type="DG-STGCN", lr=0.004, model__streams=["joint", "bone"]
        ),
        recipe("ST-GCN SGD 0.05", **_SGD | {"lr": 0.05}, model__model_type="ST-GCN"),
    )
}
"""Full recipes by name, most informative first."""

Sequences = NDArray[np.float32]
Labels = tuple[list[str], list[int]]


@dataclass(frozen=True, kw_only=True)
class PortfolioTask:
    """A part of a recorded set, or the same motion in another form.

    Attributes:
        source: folder of the set. layout: name, or `base: NAME` with fewer coordinates if `planar`.
        train: training sequences, at most. planar: x and y alone, projected to the front.
        change: names and classes of the task from those of the set.
    """

    source: str
    layout: str
    train: int = TRAIN
    planar: bool = False
    change: Callable[[Labels], Labels] | None = None


def _correctness(labels: Labels) -> Labels:
    """Of UI-PRMD: is a movement executed correctly?"""
    names, _ = labels
    return names, [int(name.endswith("_i")) for name in names]


TASKS: Final = {
    "utkinect": PortfolioTask(source="utkinect", layout="ntu_edge"),
    "sbu": PortfolioTask(source="sbu", layout="ntu-rgb+d"),
    "tennis": PortfolioTask(source="tennis", layout="coco"),
    "kard": PortfolioTask(source="kard", layout="openpose"),
    "yoga": PortfolioTask(source="yoga", layout="nvidia"),
    "irds 90": PortfolioTask(source="irds", layout="ntu-rgb+d", train=90),
    "kard 2D": PortfolioTask(source="kard", layout="openpose", planar=True),
    "uiprmd correctness": PortfolioTask(source="uiprmd", layout="human3.6m", change=_correctness),
    "utkinect 2D": PortfolioTask(source="utkinect", layout="ntu_edge", planar=True),
    "irds": PortfolioTask(source="irds", layout="ntu-rgb+d"),
    "uiprmd": PortfolioTask(source="uiprmd", layout="human3.6m"),
    "irds 2D": PortfolioTask(source="irds", layout="ntu-rgb+d", planar=True, train=150),
}
"""Tasks by name, most informative first."""


def write_task(task: PortfolioTask, data: Path, folder: Path) -> dict[str, Any]:
    """Write the files of a task; the spec keys of its data."""
    folder.mkdir(parents=True, exist_ok=True)
    source = data / task.source
    keys: dict[str, Any] = {"model.graph_layout": _layout(task, folder)}
    classes = 0
    for split, most in (("train", task.train), ("val", VAL)):
        read = read_labels(source / f"{split}_label.pkl")
        labels = (list(read.names), [int(one) for one in read.ids])
        names, ids = task.change(labels) if task.change else labels
        rows = spread(ids, most)
        x_NCTVM = np.load(source / f"{split}_data.npy", mmap_mode="r")[rows]
        np.save(folder / f"{split}_data.npy", projected(x_NCTVM) if task.planar else x_NCTVM)
        kept = [[names[row] for row in rows], [ids[row] for row in rows]]
        (folder / f"{split}_label.pkl").write_bytes(pickle.dumps(kept, protocol=2))
        keys[f"dataset.{split}_dataset.data_path"] = str(folder / f"{split}_data.npy")
        keys[f"dataset.{split}_dataset.label_path"] = str(folder / f"{split}_label.pkl")
        classes = max(classes, max(ids) + 1)
    return keys | {"dataset.num_classes": classes, "dataset.num_workers": 0}


def _layout(task: PortfolioTask, folder: Path) -> str:
    """The layout's name; a file where the data have other coordinates than it says."""
    coordinates = {"openpose": 2, "coco": 2}.get(task.layout, 3)
    wanted = 2 if task.planar or task.source == "tennis" else 3
    if coordinates == wanted:
        return task.layout
    file = folder / "layout.yaml"
    text = f"name: {task.layout}_{wanted}d\nbase: {task.layout}\ncoordinates: {wanted}\n"
    file.write_text(text, "utf-8")
    return str(file)


def spread(ids: list[int], most: int) -> list[int]:
    """Rows of at most so many sequences, drawn once, with the same share of each class."""
    rng = np.random.default_rng(0)
    by_class = [rng.permutation(np.flatnonzero(np.array(ids) == one)) for one in sorted(set(ids))]
    share = min(1.0, most / len(ids))
    return sorted(int(row) for rows in by_class for row in rows[: max(1, round(share * len(rows)))])


def projected(x_NCTVM: Sequences) -> Sequences:
    """x, y and a confidence of 1 where there is a joint, for a camera in front."""
    found = (x_NCTVM != 0).any(axis=1, keepdims=True)
    return np.concatenate([x_NCTVM[:, :2], found.astype(x_NCTVM.dtype)], axis=1)
