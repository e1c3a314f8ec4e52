"""Recipes: partial train specs that are known to do well, fitted to the data of a spec. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np

from tao_skill import bank
from tao_skill.io.s3 import is_remote
from tao_skill.models.pose_classification.checks.network import ALIGN, lacking_view
from tao_skill.models.pose_classification.config import ExperimentConfig
from tao_skill.models.pose_classification.data.hold_out import training_size
from tao_skill.models.pose_classification.data.npy_header import shape
from tao_skill.models.pose_classification.data.sequences import open_sequences, unpadded_lengths
from tao_skill.models.pose_classification.network.layout_file import layout_of
from tao_skill.outcome import Recipe

BATCH: Final = "dataset.batch_size"
EPOCHS: Final = "train.num_epochs"
FRAMES: Final = "dataset.resample_frames"
OPTIM: Final = "train.optim."
OPTIMIZER: Final = "train.optim.optimizer_type"
LR: Final = "train.optim.lr"

SAMPLED: Final = 256
"""Sequences whose frames are counted."""

WARM_UP_STEPS: Final = 64
"""Optimizer steps before which batch norm has not settled, so that validation of a good recipe may be at chance."""

SMALL: Final = 100
"""Training sequences up to which a recipe shows the network as many sequences as it says."""

MOST_EPOCHS: Final = 60
"""Epochs of a recipe, at most: beyond, small sets are learnt by heart."""


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """Facts of training data that recipes depend on.

    Attributes:
        sequences: training sequences. frames: median of their frames without padding. persons: M.
        planar: whether the layout has x and y alone.
    """

    sequences: int
    frames: int
    persons: int
    planar: bool


@dataclass(frozen=True, kw_only=True)
class PoseRecipe:
    """A partial spec.

    Attributes:
        spec: spec key -> value. planar, several_persons: values in their place for such data.
        shown: sequences that a training shows the network, repetitions included, on a set of up to SMALL sequences;
            it grows with the square root of the sequences.
        frames: frames to resample to, at most; None keeps all.
    """

    name: str
    spec: Mapping[str, Any]
    shown: int
    frames: int | None = None
    planar: Mapping[str, Any] = field(default_factory=dict)
    several_persons: Mapping[str, Any] = field(default_factory=dict)

    def values(self, facts: DataFacts) -> dict[str, Any]:
        """The spec values for these data."""
        values = dict(self.spec)
        values |= self.planar if facts.planar else {}
        values |= self.several_persons if facts.persons > 1 else {}
        if self.frames is not None:
            values[FRAMES] = max(8, min(self.frames, facts.frames))
        values[BATCH] = min(values[BATCH], facts.sequences)
        values[EPOCHS] = self._epochs(facts.sequences, values[BATCH])
        return values

    def _epochs(self, sequences: int, batch: int) -> int:
        shown = self.shown * math.sqrt(max(1.0, sequences / SMALL))
        batches = math.ceil(sequences / batch)
        return max(1, min(MOST_EPOCHS, math.ceil(shown / batch / batches)))


def data_facts(config: ExperimentConfig) -> DataFacts | None:
    """Facts of the training data of a spec; None if they are remote.

    Raises:
        NotFound, BadData: the data or the layout file cannot be read.
    """
    dataset = config.dataset.train_dataset
    if any(map(is_remote, (dataset.data_path, dataset.label_path, config.model.graph_layout))):
        return None
    data_NCTVM = open_sequences(Path(dataset.data_path))
    chosen = np.linspace(0, len(data_NCTVM) - 1, min(SAMPLED, len(data_NCTVM))).astype(int)
    lengths = [int(unpadded_lengths(data_NCTVM[i : i + 1])[0]) for i in chosen]
    return DataFacts(
        sequences=training_size(config.dataset, len(data_NCTVM), config.train.seed),
        frames=round(median(lengths)),
        persons=data_NCTVM.shape[4],
        planar=layout_of(config.model.graph_layout).coordinates < 3,
    )


def fitting(
    recipe: PoseRecipe, config: ExperimentConfig, facts: DataFacts, fixed: Collection[str] = ()
) -> dict[str, Any]:
    """The values of a recipe for a spec, without fixed keys, and without options that its skeleton cannot have.

    The values of the optimizer belong together: with another optimizer fixed, none of them is taken.
    """
    values = recipe.values(facts)
    if values.get(ALIGN) and lacking_view(config.model):
        del values[ALIGN]
    optimizer = values.get(OPTIMIZER, config.train.optim.optimizer_type)
    is_other = OPTIMIZER in fixed and optimizer != config.train.optim.optimizer_type
    return {
        key: value for key, value in values.items() if key not in fixed and not (is_other and key.startswith(OPTIM))
    }


def recipes(config: ExperimentConfig, fixed: Collection[str]) -> list[Recipe]:
    """The packaged recipes for the data of a spec; none if the data are remote. See `Model.recipes`."""
    facts = data_facts(config)
    if facts is None:
        return []
    names = [part.name for part in fields(PoseRecipe)]
    packaged = bank.recipes("pose_classification")
    known = [PoseRecipe(**{name: one[name] for name in names if name in one}) for one in packaged]
    return [Recipe(name=recipe.name, values=fitting(recipe, config, facts, fixed)) for recipe in known]


def warm_up_epochs(config: ExperimentConfig) -> int:
    """Epochs of the first WARM_UP_STEPS optimizer steps; 0 if the data are remote."""
    path = config.dataset.train_dataset.data_path
    if is_remote(path) or is_remote(config.dataset.train_dataset.label_path):
        return 0
    sequences = training_size(config.dataset, shape(path)[0], config.train.seed)
    batches = math.ceil(sequences / config.dataset.batch_size / config.train.optim.accumulate_batches)
    return math.ceil(WARM_UP_STEPS / batches)


def scaled(config: ExperimentConfig, base: ExperimentConfig) -> dict[str, float]:
    """The learning rate for another batch size: it grows with the square root.

    Source: Malladi et al., "On the SDEs and Scaling Rules for Adaptive Gradient Algorithms", arXiv 2205.10287.
    """
    before, after = base.dataset.batch_size, config.dataset.batch_size
    if before == after or config.train.optim.lr != base.train.optim.lr:
        return {}
    return {LR: float(f"{config.train.optim.lr * math.sqrt(after / before):.4g}")}
