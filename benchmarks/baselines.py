"""Accuracy of simple classifiers on recorded skeletons: the same steps for every set."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from accuracy_grid import SETS
from tao_skill.models.pose_classification.data.augment import read_sequences
from tao_skill.models.pose_classification.data.sequences import read_labels

FRAMES: Final = 32

METHODS: Final[dict[str, Any]] = {
    "1-NN": lambda: KNeighborsClassifier(1),
    "linear SVM": lambda: SVC(kernel="linear", C=10),
    "RBF SVM": lambda: SVC(kernel="rbf", C=10, gamma="scale"),
}


def accuracy(method: str, name: str, folder: Path) -> float:
    """Validation accuracy of a method on a set."""
    (x, y), (val_x, val_y) = (_read(name, folder, split) for split in ("train", "val"))
    return float(METHODS[method]().fit(x, y).score(val_x, val_y))


def _read(name: str, folder: Path, split: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Resampled sequences, each frame relative to the first person's centre joint; missing joints stay zero."""
    data, ids = SETS[name], read_labels(folder / name / f"{split}_label.pkl").ids
    x_NCTVM = read_sequences(str(folder / name / f"{split}_data.npy"), range(len(ids)), FRAMES)
    x_NCTVM = x_NCTVM[:, :2] if data.planar else x_NCTVM
    center = data.skeleton.center
    seen = x_NCTVM.any(axis=1, keepdims=True)
    x_NCTVM = np.where(seen, x_NCTVM - x_NCTVM[:, :, :, center : center + 1, :1], 0)
    return x_NCTVM.reshape(len(ids), -1), np.array(ids)
