"""Augmentation of training sequences in space, by what is known of the skeleton.

A joint is missing in a frame, as in padding, if all its coordinates are zero: it stays zero. Confidences are not
transformed.

Sources: horizontal flip of PYSKL (arXiv 2205.09443); shear and joint mask of AS-CAL (arXiv 2008.00188), the shear as in
CrosSCLR (arXiv 2104.14466).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tao_skill.models.pose_classification.network.layouts import Layout

Sequence_CTVM = npt.NDArray[np.float32]


def flip(x_CTVM: Sequence_CTVM, layout: Layout) -> Sequence_CTVM:
    """Mirror a sequence: reflect x, and exchange the left and right joints.

    x becomes 2 * `flip_center` - x, so mirrored joints are where joints of the data are.
    """
    order_V = np.arange(x_CTVM.shape[2])
    for left, right in layout.mirror:
        order_V[[left, right]] = right, left
    flipped_CTVM: Sequence_CTVM = x_CTVM[:, :, order_V]
    is_seen_TVM = seen(flipped_CTVM, layout)
    center = flip_center(x_CTVM, layout)
    flipped_CTVM[0] = np.where(is_seen_TVM, 2 * center - flipped_CTVM[0], 0)
    return flipped_CTVM


def flip_center(x_CTVM: Sequence_CTVM, layout: Layout) -> np.float32:
    """The x about which a sequence is mirrored, in data units.

    It is 0 if the origin is where the skeleton is: nearer to the middle of the seen x than to their ends, or at the
    centre joint in every frame. Otherwise, as in pixels, it is the middle of the seen x.
    """
    is_seen_TVM = seen(x_CTVM, layout)
    if not is_seen_TVM[:, layout.center].any():
        return np.float32(0)
    x = x_CTVM[0][is_seen_TVM]
    low, high = x.min(), x.max()
    middle = (low + high) / 2
    return np.float32(0) if abs(middle) < (high - low) / 4 else np.float32(middle)


def seen(x_CTVM: Sequence_CTVM, layout: Layout) -> npt.NDArray[Any]:
    """Whether a joint has a nonzero coordinate, (T, V, M)."""
    return np.asarray(x_CTVM[: layout.coordinates].any(axis=0))


def random_shear(x_CTVM: Sequence_CTVM, largest: float, layout: Layout, rng: np.random.Generator) -> Sequence_CTVM:
    """Shear all frames alike about the origin: to each coordinate, add random shares of each other coordinate.

    The shares are at most `largest`. Up to 0.5, left and right stay, as the determinant is not negative.
    """
    axes = min(layout.coordinates, len(x_CTVM))
    shear_ij = rng.uniform(-largest, largest, (axes, axes))
    np.fill_diagonal(shear_ij, 1)
    sheared_CTVM = np.array(x_CTVM)
    sheared_CTVM[:axes] = np.einsum("ij,jtvm->itvm", shear_ij.astype(np.float32), x_CTVM[:axes])
    return sheared_CTVM


def joint_dropout(x_CTVM: Sequence_CTVM, share: float, layout: Layout, rng: np.random.Generator) -> Sequence_CTVM:
    """Set a share of each person's joints, rounded to whole joints, to missing in all frames and channels.

    The centre joint stays, because model.center needs it.
    """
    _, _, joints, persons = x_CTVM.shape
    others = np.delete(np.arange(joints), layout.center)
    count = min(round(share * joints), len(others))
    dropped_CTVM = np.array(x_CTVM)
    for person in range(persons):
        dropped_CTVM[:, :, rng.choice(others, count, replace=False), person] = 0
    return dropped_CTVM
