"""A human body as a tree of rigid bones in the 34-joint nvidia layout, posed by joint angles.

Axes of the standing body: x to its left, y up, z forward; metres and radians. Bone lengths as shares of stature follow
Drillis and Contini (Winter, "Biomechanics and Motor Control of Human Movement", section 4.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]
Angles: TypeAlias = Mapping[str, Array]
"""Rotations (T, 3) about x, y, z relative to the parent segment, by segment; absent segments do not rotate."""

SEGMENTS: Final = {
    "pelvis": None,
    "spine": "pelvis",
    "chest": "spine",
    "head": "chest",
    "left_thigh": "pelvis",
    "left_shank": "left_thigh",
    "left_foot": "left_shank",
    "right_thigh": "pelvis",
    "right_shank": "right_thigh",
    "right_foot": "right_shank",
    "left_upper_arm": "chest",
    "left_forearm": "left_upper_arm",
    "left_hand": "left_forearm",
    "right_upper_arm": "chest",
    "right_forearm": "right_upper_arm",
    "right_hand": "right_forearm",
}
"""Rigid segments with their parent segments, parents first."""

_MIDDLE_BONES: Final = (
    ("torso", "pelvis", "spine", "trunk", (0.0, 0.120, 0.0)),
    ("neck", "torso", "chest", "trunk", (0.0, 0.180, 0.0)),
    ("nose", "neck", "head", "head", (0.0, 0.100, 0.055)),
)
_LEFT_BONES: Final = (
    ("hip", "pelvis", "pelvis", "width", (0.055, -0.010, 0.0)),
    ("knee", "hip", "thigh", "legs", (0.0, -0.245, 0.0)),
    ("ankle", "knee", "shank", "legs", (0.0, -0.246, 0.0)),
    ("big_toe", "ankle", "foot", "legs", (-0.015, -0.035, 0.110)),
    ("small_toe", "big_toe", "foot", "legs", (0.040, 0.0, -0.020)),
    ("heel", "ankle", "foot", "legs", (0.0, -0.035, -0.030)),
    ("eye", "nose", "head", "head", (0.018, 0.020, -0.012)),
    ("ear", "eye", "head", "head", (0.028, -0.008, -0.055)),
    ("shoulder", "neck", "chest", "width", (0.115, -0.020, 0.0)),
    ("elbow", "shoulder", "upper_arm", "arms", (0.0, -0.186, 0.0)),
    ("wrist", "elbow", "forearm", "arms", (0.0, -0.146, 0.0)),
    ("pinky_knuckle", "wrist", "hand", "arms", (0.0, -0.050, -0.020)),
    ("middle_tip", "wrist", "hand", "arms", (0.0, -0.100, 0.0)),
    ("index_knuckle", "wrist", "hand", "arms", (0.0, -0.055, 0.018)),
    ("thumb_tip", "wrist", "hand", "arms", (-0.010, -0.050, 0.040)),
)
"""Joint, parent joint, segment of the bone, proportion group, and offset per metre of stature."""

JOINTS: Final = (
    "pelvis",
    "left_hip",
    "right_hip",
    "torso",
    "left_knee",
    "right_knee",
    "neck",
    "left_ankle",
    "right_ankle",
    "left_big_toe",
    "right_big_toe",
    "left_small_toe",
    "right_small_toe",
    "left_heel",
    "right_heel",
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_pinky_knuckle",
    "right_pinky_knuckle",
    "left_middle_tip",
    "right_middle_tip",
    "left_index_knuckle",
    "right_index_knuckle",
    "left_thumb_tip",
    "right_thumb_tip",
)
"""Joint order of the nvidia layout."""


@dataclass(frozen=True, kw_only=True)
class Bone:
    """The rigid link from a parent joint to a joint, fixed to a segment. `offset` is per metre of stature."""

    joint: int
    parent: int
    segment: str
    group: str
    offset: tuple[float, float, float]


def _bones() -> tuple[Bone, ...]:
    sided = [
        (f"{side}_{joint}", _sided(parent, side), _sided(segment, side), group, (sign * x, y, z))
        for side, sign in (("left", 1.0), ("right", -1.0))
        for joint, parent, segment, group, (x, y, z) in _LEFT_BONES
    ]
    return tuple(
        Bone(joint=JOINTS.index(joint), parent=JOINTS.index(parent), segment=segment, group=group, offset=offset)
        for joint, parent, segment, group, offset in (*_MIDDLE_BONES, *sided)
    )


def _sided(name: str, side: str) -> str:
    return name if name in JOINTS or name in SEGMENTS else f"{side}_{name}"


BONES: Final = _bones()
"""Every bone, parents first."""

_ANKLES: Final = [JOINTS.index("left_ankle"), JOINTS.index("right_ankle")]
_SOLES: Final = [i for i, name in enumerate(JOINTS) if name.endswith(("toe", "heel"))]


@dataclass(frozen=True, kw_only=True)
class Body:
    """Proportions of a person: stature in metres, and a factor on the average length of each group of bones."""

    stature: float
    proportions: Mapping[str, float]


def random_body(rng: np.random.Generator) -> Body:
    """A person of 1.5 to 1.95 m whose limbs are up to 8 % longer or shorter than average."""
    groups = ("trunk", "head", "width", "legs", "arms")
    return Body(
        stature=float(rng.uniform(1.5, 1.95)),
        proportions={group: float(rng.uniform(0.92, 1.08)) for group in groups},
    )


def place(body: Body, angles: Angles, flight_T: Array) -> Array:
    """Joint positions (T, V, 3) of a body that moves over a floor at y = 0, starting above the origin.

    Args:
        flight_T: height of the soles above the floor in metres; where it is 0, the lower foot stands still.
    """
    joints_TV3 = _posed(body, angles, len(flight_T))
    joints_TV3[..., 1] += (flight_T - joints_TV3[:, _SOLES, 1].min(axis=1))[:, None]
    return joints_TV3 + _path(joints_TV3[:, _ANKLES])[:, None]


def _posed(body: Body, angles: Angles, frames: int) -> Array:
    """Joint positions (T, V, 3) with the pelvis at the origin."""
    orientations = _orientations(angles, frames)
    joints_TV3 = np.zeros((frames, len(JOINTS), 3))
    for bone in BONES:
        offset_3 = np.array(bone.offset) * body.stature * body.proportions[bone.group]
        joints_TV3[:, bone.joint] = joints_TV3[:, bone.parent] + orientations[bone.segment] @ offset_3
    return joints_TV3


def _orientations(angles: Angles, frames: int) -> dict[str, Array]:
    """Rotation matrices (T, 3, 3) of the segments relative to the world."""
    orientations: dict[str, Array] = {}
    for segment, parent in SEGMENTS.items():
        own_T33 = rotations(angles.get(segment, np.zeros((frames, 3))))
        orientations[segment] = own_T33 if parent is None else orientations[parent] @ own_T33
    return orientations


def _path(ankles_T23: Array) -> Array:
    """Horizontal path (T, 3) of the pelvis for which the lower ankle stands still."""
    steps_T23 = np.diff(ankles_T23, axis=0, prepend=ankles_T23[:1])
    lower_T = np.argmin(ankles_T23[:, :, 1], axis=1)
    path_T3 = -np.cumsum(steps_T23[np.arange(len(lower_T)), lower_T], axis=0)
    path_T3[:, 1] = 0.0
    return path_T3


def rotations(angles_T3: Array) -> Array:
    """Rotation matrices (T, 3, 3) about y, then x, then z."""
    x_T, y_T, z_T = angles_T3.T
    return _about(2, z_T) @ _about(0, x_T) @ _about(1, y_T)


def _about(axis: int, angle_T: Array) -> Array:
    a, b = (axis + 1) % 3, (axis + 2) % 3
    rotation_T33 = np.zeros((len(angle_T), 3, 3))
    rotation_T33[:, axis, axis] = 1.0
    rotation_T33[:, a, a] = rotation_T33[:, b, b] = np.cos(angle_T)
    rotation_T33[:, b, a] = np.sin(angle_T)
    rotation_T33[:, a, b] = -np.sin(angle_T)
    return rotation_T33
