"""Trainings of the accuracy table: data sets, networks, streams, recipes and options, most informative first."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

from tao_skill.models.pose_classification.network.architecture import TRAIN, forward_flop
from tao_skill.models.pose_classification.network.graph import STRATEGIES
from tao_skill.models.pose_classification.network.layout_file import layout_of
from tao_skill.models.pose_classification.network.layouts import LAYOUTS, Layout

HERE: Final = Path(__file__).parent

Overrides = Mapping[str, Any]
"""Spec keys and their values."""

STEPS, BATCH, MOST_EPOCHS, MOST_FRAMES = 480, 16, 60, 36


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """Recorded sequences, all three-channel.

    Attributes:
        layout: a name, or a file in this folder.
        train, val: sequences. length: frames T of the files. frames: median of the training sequences without padding.
        planar: x and y alone have a meaning in space. published: figures of others, none of the same split.
    """

    layout: str
    classes: int
    train: int
    val: int
    length: int
    frames: int
    persons: int = 1
    planar: bool = False
    published: str = ""

    @property
    def skeleton(self) -> Layout:
        """What `layout` names."""
        return layout_of(self.layout if self.layout in LAYOUTS else str(HERE / self.layout))

    @property
    def epochs(self) -> int:
        """Epochs of about 480 steps, at most 60."""
        return min(MOST_EPOCHS, math.ceil(STEPS / math.ceil(self.train / BATCH)))


SETS: Final[Mapping[str, DataSet]] = {
    "utkinect": DataSet(
        layout="ntu_edge",
        classes=10,
        train=100,
        val=99,
        length=100,
        frames=30,
        published="Lie group 97.1 (random halves of the subjects), ST-LSTM 97.0 and HOJ3D 90.9 (leave one out), "
        "RGB-D GCN 95.6",
    ),
    "kard": DataSet(layout="openpose_3d.yaml", classes=18, train=270, val=270, length=100, frames=56),
    "sbu": DataSet(
        layout="ntu-rgb+d",
        classes=8,
        train=217,
        val=65,
        length=50,
        frames=24,
        persons=2,
        published="means of five folds: LSTM-IRN 94.6 to 98.2, ST-LSTM 93.3, GCA-LSTM 94.9, 2P-GCN 98.9, "
        "Yun et al. 80.3",
    ),
    "yoga": DataSet(
        layout="nvidia",
        classes=6,
        train=140,
        val=48,
        length=100,
        frames=48,
        published="PosePilot's LSTM on joint angles 97.5 (14 participants)",
    ),
    "tennis": DataSet(
        layout="coco",
        classes=4,
        train=960,
        val=390,
        length=30,
        frames=30,
        planar=True,
        published="GRU 96 to 97 (random split)",
    ),
    "irds": DataSet(layout="ntu-rgb+d", classes=9, train=1401, val=646, length=150, frames=32),
    "uiprmd": DataSet(layout="human3.6m", classes=10, train=1400, val=600, length=80, frames=35),
}
"""Small sets first. Facts and published figures (%) are from the README of each set."""

SMALL: Final = ("utkinect", "kard", "sbu", "yoga")
OPTION_SETS: Final = ("utkinect", "kard", "sbu", "tennis")
"""Sets on which options are compared: 824 validation sequences, quick to train, none saturated."""

STREAMS: Final[Mapping[str, Sequence[str]]] = {
    "joint": ("joint",),
    "joint+bone": ("joint", "bone"),
    "four": ("joint", "bone", "joint_motion", "bone_motion"),
}


def best(data: DataSet) -> Overrides:
    """The best recipe found: the same for all sets, apart from facts of the data."""
    space = {"random_move": True} if data.planar else {"random_rotate": 20, "random_scale": 0.1}
    return {
        "model.center": data.persons == 1,
        "model.dropout": 0.0,
        "dataset.resample_frames": min(MOST_FRAMES, data.frames),
        **{f"dataset.{name}": value for name, value in space.items()},
        "dataset.temporal_crop": 0.7,
        "dataset.batch_size": BATCH,
        "train.num_epochs": data.epochs,
        "train.optim.optimizer_type": "torch.optim.AdamW",
        "train.optim.lr": 0.001,
        "train.optim.weight_decay": 0.05,
        "train.optim.lr_scheduler": "Cosine",
        "train.precision": "bf16",
    }


def tao(data: DataSet) -> Overrides:
    """Defaults of the spec on whole sequences, its steps at 10 and 60 of 70 epochs moved to the epochs of `best`."""
    steps = [max(1, round(data.epochs * at / 70)) for at in (10, 60)]
    return {"train.num_epochs": data.epochs, "train.optim.lr_steps": steps}


RECIPES: Final[Mapping[str, Callable[[DataSet], Overrides]]] = {"best": best, "tao": tao}

NO_OPTION: Final = "-"

OPTIONS: Final[Mapping[str, Callable[[DataSet], Overrides]]] = {
    "center=false": lambda data: {"model.center": False},
    "no rotation, scaling or move": lambda data: (
        {"dataset.random_move": False} if data.planar else {"dataset.random_rotate": 0, "dataset.random_scale": 0}
    ),
    "no temporal_crop": lambda data: {"dataset.temporal_crop": 1.0},
    "dropout=0.5": lambda data: {"model.dropout": 0.5},
    "MultiStep": lambda data: {
        "train.optim.lr_scheduler": "MultiStep",
        "train.optim.lr_steps": [math.ceil(data.epochs * at) for at in (0.6, 0.85)],
    },
    "lr=0.002": lambda data: {"train.optim.lr": 0.002},
    "half the epochs": lambda data: {"train.num_epochs": math.ceil(data.epochs / 2)},
    "twice the epochs": lambda data: {"train.num_epochs": 2 * data.epochs},
    "twice the frames": lambda data: {"dataset.resample_frames": 2 * min(MOST_FRAMES, data.frames)},
    "fp32": lambda data: {"train.precision": "fp32"},
    "SGD": lambda data: {
        "train.optim.optimizer_type": "torch.optim.SGD",
        "train.optim.lr": 0.02,
        "train.optim.weight_decay": 5e-4,
    },
    "warmup_epochs": lambda data: {"train.optim.warmup_epochs": max(1, data.epochs // 10)},
    "label_smoothing=0.1": lambda data: {"train.optim.label_smoothing": 0.1},
    "ema_decay=0.99": lambda data: {"train.optim.ema_decay": 0.99},
    "random_flip": lambda data: {"dataset.random_flip": True},
    "random_shear=0.2": lambda data: {"dataset.random_shear": 0.2},
    "random_time_warp=0.2": lambda data: {"dataset.random_time_warp": 0.2},
    "joint_dropout=0.1": lambda data: {"dataset.joint_dropout": 0.1},
    "mixup=0.2": lambda data: {"dataset.mixup": 0.2},
    "class_weights=balanced": lambda data: {"dataset.class_weights": "balanced"},
    "align_view": lambda data: {"model.align_view": True},
    "normalize_scale": lambda data: {"model.normalize_scale": True},
    "num_clips=10": lambda data: {"evaluate.num_clips": 10},
}
"""The best recipe with one option added or removed. Keys of `evaluate` are for an evaluation of the best checkpoint."""

PERSON_OPTIONS: Final[Mapping[str, Callable[[DataSet], Overrides]]] = {
    "center=true": lambda data: {"model.center": True},
    "center=group": lambda data: {"model.center": "group"},
}
"""Options for sets of several persons."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A training."""

    network: str
    streams: str = "joint"
    recipe: str = "best"
    option: str = NO_OPTION
    set: str
    seed: int = 0

    @property
    def name(self) -> str:
        """What `--only` compares with."""
        return f"{self.network}/{self.streams}/{self.recipe}/{self.option}/{self.set}/{self.seed}"

    @property
    def data(self) -> DataSet:
        """The set."""
        return SETS[self.set]

    @property
    def spec(self) -> Overrides:
        """Overrides of TAO's defaults, without paths."""
        streams = {} if self.streams == "joint" else {"model.streams": list(STREAMS[self.streams])}
        options = {NO_OPTION: lambda data: {}, **OPTIONS, **PERSON_OPTIONS}
        return {
            "model.model_type": self.network,
            "model.graph_layout": self.data.layout,
            **streams,
            "dataset.num_workers": 0,
            "train.seed": self.seed,
            **RECIPES[self.recipe](self.data),
            **options[self.option](self.data),
        }

    @property
    def forward_gflop(self) -> float:
        """Operations of a forward pass of a sequence, all persons and streams."""
        frames, joints = self.spec.get("dataset.resample_frames") or self.data.length, self.data.skeleton.joints
        flop = forward_flop(frames, joints, STRATEGIES["spatial"].subsets, model_type=self.network)
        assert flop is not None
        return flop * self.data.persons * len(STREAMS[self.streams]) / 1e9

    @property
    def expected_s(self) -> float:
        """Seconds of a core, at the speed of the machine of the table."""
        sequences = TRAIN * self.data.train + self.data.val
        speed = GFLOPS[self.spec.get("train.precision", "fp32")]
        return START_S + self.spec["train.num_epochs"] * sequences * self.forward_gflop / speed


GFLOPS: Final = {"fp32": 57.0, "bf16": 110.0}
"""Operations a second of training ST-GCN++ on one thread of a Zen 4 core."""

START_S: Final = 8.0


def rows() -> Iterator[Row]:
    """All trainings, each once, in the order in which they run."""
    seen: set[Row] = set()
    for row in _in_order():
        if row not in seen:
            seen.add(row)
            yield row


def _in_order() -> Iterator[Row]:
    networks, ours = ("ST-GCN++", "DG-STGCN", "ST-GCN"), ("ST-GCN++", "DG-STGCN")
    yield from _grid(networks, ("joint",), SETS)
    yield from _grid(ours, ("joint+bone", "four"), SMALL)
    yield from _grid(ours, ("joint",), SETS, seeds=(1, 2))
    yield from _grid(("ST-GCN++",), ("joint+bone",), SMALL, seeds=(1, 2))
    yield from _options()
    yield from (Row(network="ST-GCN++", option=option, set="sbu") for option in PERSON_OPTIONS)
    yield from _grid(("ST-GCN",), ("joint",), SMALL, recipe="tao")
    yield from _grid(("DG-STGCN",), ("four",), SETS)
    yield from _grid(("ST-GCN",), ("joint+bone", "four"), SMALL)
    yield from _options(seed=1)
    yield from _grid(ours, ("joint",), SMALL, recipe="tao")
    yield from _grid(networks, ("joint+bone", "four"), SMALL, recipe="tao")


def _options(seed: int = 0) -> Iterator[Row]:
    for option, name in product(OPTIONS, OPTION_SETS):
        data = SETS[name]
        if not (option == "align_view" and data.planar) and not (option == "center=false" and data.persons > 1):
            yield Row(network="ST-GCN++", option=option, set=name, seed=seed)


def _grid(
    networks: Sequence[str],
    streams: Sequence[str],
    sets: Sequence[str] | Mapping[str, Any],
    *,
    recipe: str = "best",
    seeds: Sequence[int] = (0,),
) -> Iterator[Row]:
    for seed, stream, network, name in product(seeds, streams, networks, sets):
        yield Row(network=network, streams=stream, recipe=recipe, set=name, seed=seed)
