"""Loss weights of classes with different numbers of training sequences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt


def balanced_weights(
    ids_N: npt.NDArray[np.integer[Any]], num_classes: int, mirrored_ids: Mapping[int, int]
) -> npt.NDArray[np.float32]:
    """Loss weight of each class, (K,): N / (classes that occur * sequences of the class), 0 for a class without any.

    So the mean over the training sequences is 1, and every class that occurs has the same part in the loss (King and
    Zeng, "Logistic Regression in Rare Events Data", 2001).

    Args:
        mirrored_ids: classes that random_flip exchanges; each then has half of the sequences of both.
    """
    counts_K = np.bincount(ids_N, minlength=num_classes).astype(np.float64)
    counts_K = (counts_K + counts_K[[mirrored_ids.get(class_id, class_id) for class_id in range(num_classes)]]) / 2
    occurs_K = counts_K > 0
    weights_K = np.zeros(num_classes, np.float32)
    weights_K[occurs_K] = counts_K.sum() / (occurs_K.sum() * counts_K[occurs_K])
    return weights_K
