"""Skeletons: the six layouts of NVIDIA TAO's PoseClassificationNet, and those of widely used pose estimators.

Joint orders of the others: MediaPipe Pose and Hands, OpenPose BODY_25, Halpe 26 and COCO-WholeBody, as documented by
these projects. Joints of COCO-WholeBody: its 17 of the body, then the 21 of the left and of the right hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Final

SUFFIXES: Final = (".yaml", ".yml")
"""Endings of the names of layout files."""

Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A skeleton.

    Attributes:
        joints: number of joints V. center: index of the centre joint.
        edges: bones as pairs of joint indices, each pair once.
        mirror: pairs of joints (left, right) that a reflection exchanges; other joints stay.
        persons: persons M in a sequence. frames: sequence length of an exported model.
        coordinates: the first channels, before the confidence.
        hips, shoulders: the joints (left, right) that tell the view; None if the skeleton has none.
    """

    joints: int
    center: int
    edges: Pairs
    mirror: Pairs = ()
    persons: int = 1
    frames: int = 300
    coordinates: int = 3
    hips: tuple[int, int] | None = None
    shoulders: tuple[int, int] | None = None

    @property
    def trunk(self) -> tuple[int, int, int, int] | None:
        """Left and right hip, left and right shoulder; None if the skeleton lacks one."""
        return None if self.hips is None or self.shoulders is None else (*self.hips, *self.shoulders)

    def parents(self) -> tuple[int, ...]:
        """The next joint towards the centre, for each joint; the centre, and joints without a path to it, themselves.

        Of several such joints, the first in the order of `edges`.
        """
        found = {self.center: self.center}
        reached = [self.center]
        for joint in reached:
            for a, b in self.edges:
                other = b if a == joint else a if b == joint else None
                if other is not None and other not in found:
                    found[other] = joint
                    reached.append(other)
        return tuple(found.get(joint, joint) for joint in range(self.joints))


def _pairs(text: str) -> Pairs:
    pairs = (pair.split("-") for pair in text.split())
    return tuple((int(a), int(b)) for a, b in pairs)


def _chains(*chains: tuple[int, ...]) -> Pairs:
    return tuple((a, b) for chain in chains for a, b in pairwise(chain))


def _hand(wrist: int, first: int) -> Pairs:
    """A hand: five fingers of four joints, numbered from `first`, on a wrist."""
    return _chains(*((wrist, *range(first + 4 * finger, first + 4 * finger + 4)) for finger in range(5)))


_COCO: Final = _pairs("15-13 13-11 16-14 14-12 11-12 5-11 6-12 5-6 7-5 8-6 9-7 10-8 1-2 1-0 2-0 3-1 4-2 3-5 4-6")
_COCO_MIRROR: Final = _pairs("1-2 3-4 5-6 7-8 9-10 11-12 13-14 15-16")

LAYOUTS: Final[Mapping[str, Layout]] = MappingProxyType(
    {
        "nvidia": Layout(
            joints=34,
            center=0,
            edges=_pairs(
                "0-1 0-2 0-3 1-4 2-5 3-6 4-7 5-8 7-9 8-10 9-11 10-12 7-13 8-14 6-15 15-16 15-17 16-18 17-19 "
                "1-20 2-21 6-20 6-21 20-22 21-23 22-24 23-25 24-26 25-27 24-28 25-29 24-30 25-31 24-32 25-33"
            ),
            mirror=_pairs("1-2 4-5 7-8 9-10 11-12 13-14 16-17 18-19 20-21 22-23 24-25 26-27 28-29 30-31 32-33"),
            hips=(1, 2),
            shoulders=(20, 21),
        ),
        "openpose": Layout(
            joints=18,
            center=1,
            coordinates=2,
            edges=_pairs("4-3 3-2 7-6 6-5 13-12 12-11 10-9 9-8 11-5 8-2 5-1 2-1 0-1 15-0 14-0 17-15 16-14"),
            mirror=_pairs("5-2 6-3 7-4 11-8 12-9 13-10 15-14 17-16"),
            hips=(11, 8),
            shoulders=(5, 2),
        ),
        "human3.6m": Layout(
            joints=17,
            center=8,
            frames=3163,
            edges=_pairs("9-10 8-9 7-8 1-7 4-7 0-1 0-4 9-11 9-14 11-12 14-15 12-13 15-16 1-2 2-3 4-5 5-6"),
            mirror=_pairs("4-1 5-2 6-3 11-14 12-15 13-16"),
            hips=(4, 1),
            shoulders=(11, 14),
        ),
        "ntu-rgb+d": Layout(
            joints=25,
            center=20,
            persons=2,
            edges=_pairs(
                "0-1 1-20 2-20 3-2 4-20 5-4 6-5 7-6 8-20 9-8 10-9 11-10 "
                "12-0 13-12 14-13 15-14 16-0 17-16 18-17 19-18 21-22 22-7 23-24 24-11"
            ),
            mirror=_pairs("4-8 5-9 6-10 7-11 12-16 13-17 14-18 15-19 21-23 22-24"),
            hips=(12, 16),
            shoulders=(4, 8),
        ),
        "ntu_edge": Layout(
            joints=24,
            center=2,
            persons=2,
            edges=_pairs(
                "0-1 2-1 3-2 4-1 5-4 6-5 7-6 8-1 9-8 10-9 11-10 "
                "12-0 13-12 14-13 15-14 16-0 17-16 18-17 19-18 20-21 21-7 22-23 23-11"
            ),
            mirror=_pairs("4-8 5-9 6-10 7-11 12-16 13-17 14-18 15-19 20-22 21-23"),
            hips=(12, 16),
            shoulders=(4, 8),
        ),
        "coco": Layout(
            joints=17,
            center=0,
            coordinates=2,
            edges=_COCO,
            mirror=_COCO_MIRROR,
            hips=(11, 12),
            shoulders=(5, 6),
        ),
        "mediapipe": Layout(
            joints=33,
            center=0,
            # MediaPipe draws no edge between face and body: 0-11 and 0-12 connect them, 9-0 and 10-0 the mouth.
            edges=_pairs(
                "0-1 1-2 2-3 3-7 0-4 4-5 5-6 6-8 9-10 9-0 10-0 0-11 0-12 11-12 11-13 13-15 15-17 15-19 15-21 17-19 "
                "12-14 14-16 16-18 16-20 16-22 18-20 11-23 12-24 23-24 23-25 25-27 27-29 27-31 29-31 "
                "24-26 26-28 28-30 28-32 30-32"
            ),
            mirror=_pairs("1-4 2-5 3-6 7-8 9-10 11-12 13-14 15-16 17-18 19-20 21-22 23-24 25-26 27-28 29-30 31-32"),
            hips=(23, 24),
            shoulders=(11, 12),
        ),
        "openpose_25": Layout(
            joints=25,
            center=1,
            coordinates=2,
            edges=_pairs(
                "1-8 1-2 1-5 2-3 3-4 5-6 6-7 8-9 9-10 10-11 8-12 12-13 13-14 1-0 0-15 15-17 0-16 16-18 "
                "14-19 19-20 14-21 11-22 22-23 11-24"
            ),
            mirror=_pairs("5-2 6-3 7-4 12-9 13-10 14-11 16-15 18-17 19-22 20-23 21-24"),
            hips=(12, 9),
            shoulders=(5, 2),
        ),
        "halpe_26": Layout(
            joints=26,
            center=18,
            coordinates=2,
            edges=_pairs(
                "15-13 13-11 11-19 16-14 14-12 12-19 17-18 18-19 18-5 5-7 7-9 18-6 6-8 8-10 0-17 1-2 0-1 0-2 1-3 2-4 "
                "3-5 4-6 15-20 15-22 15-24 16-21 16-23 16-25"
            ),
            mirror=_pairs("1-2 3-4 5-6 7-8 9-10 11-12 13-14 15-16 20-21 22-23 24-25"),
            hips=(11, 12),
            shoulders=(5, 6),
        ),
        "coco_wholebody": Layout(
            joints=59,
            center=0,
            coordinates=2,
            edges=(*_COCO, (9, 17), *_hand(17, 18), (10, 38), *_hand(38, 39)),
            mirror=(*_COCO_MIRROR, *((joint, joint + 21) for joint in range(17, 38))),
            hips=(11, 12),
            shoulders=(5, 6),
        ),
        "hand_21": Layout(joints=21, center=0, edges=_hand(0, 1)),
    }
)
"""Layouts by name. Of those with two coordinates, the third channel is usually the confidence."""
