"""Six everyday actions as random joint angles over time.

Every action is a function of a random generator and the frame times (seconds, starting at 0) that returns a `Motion`.
Angles in this module are in degrees, as in gait tables (Winter, "Biomechanics and Motor Control of Human Movement");
those of a `Motion` are in radians, in the axes of `body.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from tao_skill.models.pose_classification.data.sample.body import SEGMENTS, Array

GRAVITY: Final = 9.81
SIDES: Final = ("left", "right")


@dataclass(frozen=True, kw_only=True)
class Motion:
    """Rotations (T, 3) of each segment in radians, and the height (T,) of the soles above the floor in metres."""

    angles: dict[str, Array]
    flight: Array


class _Pose:
    """Sum of angle terms in degrees."""

    def __init__(self, rng: np.random.Generator, time_T: Array) -> None:
        self.rng = rng
        self.time_T = time_T
        self.angles = {segment: np.zeros((len(time_T), 3)) for segment in SEGMENTS}
        self.flight_T = np.zeros(len(time_T))

    def draw(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def lean(self, degrees_T: Array | float) -> None:
        """Bend the trunk forward, half of it in the spine and half in the chest."""
        for segment in ("spine", "chest"):
            self.angles[segment][:, 0] += np.asarray(degrees_T) / 2

    def leg(self, side: str, hip_T: Array | float, knee_T: Array | float, *, flat: float = 1.0) -> None:
        """Bend hip and knee; the ankle compensates the share `flat` of the tilt of the foot."""
        self.angles[f"{side}_thigh"][:, 0] -= hip_T
        self.angles[f"{side}_shank"][:, 0] += knee_T
        self.angles[f"{side}_foot"][:, 0] += flat * (np.asarray(hip_T) - np.asarray(knee_T))

    def arm(self, side: str, shoulder_T: Array | float, elbow_T: Array | float, out_T: Array | float = 0.0) -> None:
        """Raise the upper arm forward and outward and bend the elbow."""
        outward = 1.0 if side == "left" else -1.0
        self.angles[f"{side}_upper_arm"][:, 0] -= shoulder_T
        self.angles[f"{side}_upper_arm"][:, 2] += outward * np.asarray(out_T)
        self.angles[f"{side}_forearm"][:, 0] -= elbow_T

    def wave(self, amplitude: float, slowest: float, fastest: float) -> Array:
        """A sine of random frequency (Hz) and phase."""
        frequency, phase = self.draw(slowest, fastest), self.draw(0.0, 2 * np.pi)
        return amplitude * np.sin(2 * np.pi * frequency * self.time_T + phase)

    def pulse(self, shortest: float, longest: float) -> Array:
        """A rise from 0 to 1 and back around a random time, of random length in seconds."""
        middle, length = self.draw(0.0, self.time_T[-1]), self.draw(shortest, longest)
        return np.exp(-((self.time_T - middle) ** 2) / (2 * (length / 4) ** 2))

    def motion(self) -> Motion:
        return Motion(angles={name: np.deg2rad(a_T3) for name, a_T3 in self.angles.items()}, flight=self.flight_T)


def smooth_step(time_T: Array, start: float, duration: float) -> Array:
    """0 before `start`, 1 after `start + duration`, and a minimum-jerk curve between (Flash and Hogan 1985)."""
    s_T = np.clip((time_T - start) / duration, 0.0, 1.0)
    return s_T**3 * (10 - 15 * s_T + 6 * s_T**2)


def sitting_down(rng: np.random.Generator, time_T: Array) -> Motion:
    """From standing to sitting, with a forward lean in between."""
    pose = _idle(rng, time_T)
    _seat(pose, _transition(pose))
    return pose.motion()


def getting_up(rng: np.random.Generator, time_T: Array) -> Motion:
    """From sitting to standing, with a forward lean in between."""
    pose = _idle(rng, time_T)
    _seat(pose, 1.0 - _transition(pose))
    return pose.motion()


def sitting(rng: np.random.Generator, time_T: Array) -> Motion:
    """Seated, at times leaning forward or stretching a leg."""
    pose = _idle(rng, time_T)
    _seat(pose, np.ones(len(time_T)))
    pose.lean(pose.draw(0.0, 35.0) * pose.pulse(1.0, 3.0))
    return pose.motion()


def standing(rng: np.random.Generator, time_T: Array) -> Motion:
    """On both feet, at times bowing or bending the knees a little."""
    pose = _idle(rng, time_T)
    dip_T = pose.draw(0.0, 15.0) * pose.pulse(0.8, 2.5)
    for side in SIDES:
        pose.leg(side, dip_T, 2 * dip_T)
    pose.lean(pose.draw(0.0, 25.0) * pose.pulse(1.0, 3.0))
    return pose.motion()


def walking(rng: np.random.Generator, time_T: Array) -> Motion:
    """0.7 to 1.1 strides per second, arms swinging against the legs, on a straight or curved path."""
    pose = _idle(rng, time_T)
    phase_T = 2 * np.pi * (pose.draw(0.7, 1.1) * time_T + pose.draw(0.0, 1.0))
    stride, lift, swing, elbow = pose.draw(18, 30), pose.draw(40, 65), pose.draw(5, 35), pose.draw(5, 40)
    for side, shift in zip(SIDES, (0.0, np.pi), strict=True):
        knee_T = 5.0 + lift * np.maximum(0.0, np.cos(phase_T + shift)) ** 2
        pose.leg(side, 4.0 + stride * np.sin(phase_T + shift), knee_T, flat=0.6)
        pose.arm(side, -swing * np.sin(phase_T + shift), elbow)
    pose.angles["pelvis"][:, 1] += 5.0 * np.sin(phase_T) + pose.draw(-20.0, 20.0) * time_T
    pose.lean(pose.draw(0.0, 10.0))
    return pose.motion()


def jumping(rng: np.random.Generator, time_T: Array) -> Motion:
    """Repeated jumps of 15 to 40 cm: crouch, ballistic flight, landing."""
    pose = _idle(rng, time_T)
    flight = 2 * np.sqrt(2 * pose.draw(0.15, 0.40) / GRAVITY)
    contact = pose.draw(0.4, 0.7)
    moment_T = (time_T + pose.draw(0.0, flight + contact)) % (flight + contact)
    crouch_T = np.sin(np.pi * np.minimum(moment_T / contact, 1.0))
    air_T = np.maximum(moment_T - contact, 0.0)
    pose.flight_T += GRAVITY / 2 * air_T * np.maximum(flight - air_T, 0.0)
    bend, raised = pose.draw(20, 45), pose.draw(0, 110)
    for side in SIDES:
        pose.leg(side, bend * crouch_T, 2 * bend * crouch_T)
        pose.arm(side, raised * np.sin(np.pi * air_T / flight) - 25 * crouch_T, pose.draw(10, 50))
    pose.lean(0.8 * bend * crouch_T)
    return pose.motion()


ACTIONS: Final[dict[str, Callable[[np.random.Generator, Array], Motion]]] = {
    "sitting_down": sitting_down,
    "getting_up": getting_up,
    "sitting": sitting,
    "standing": standing,
    "walking": walking,
    "jumping": jumping,
}
"""The actions, in the order of their class ids."""


def _transition(pose: _Pose) -> Array:
    """A step from 0 to 1 within the sequence, at a random time and speed."""
    length = float(pose.time_T[-1])
    duration = pose.draw(0.3, 0.6) * length
    return smooth_step(pose.time_T, pose.draw(0.0, length - duration), duration)


def _seat(pose: _Pose, seated_T: Array) -> None:
    """Bend the legs by `seated_T` (0 standing, 1 seated), leaning forward in between."""
    hip = pose.draw(75.0, 100.0)
    for side in SIDES:
        pose.leg(side, hip * seated_T, pose.draw(65.0, 105.0) * seated_T)
    pose.lean(pose.draw(25.0, 50.0) * np.sin(np.pi * seated_T) - pose.draw(0.0, 12.0) * seated_T)


def _idle(rng: np.random.Generator, time_T: Array) -> _Pose:
    """Movements that are part of every action: swaying, looking around, moving the arms, shifting weight."""
    pose = _Pose(rng, time_T)
    for axis in range(3):
        pose.angles["spine"][:, axis] += pose.wave(pose.draw(0.5, 3.0), 0.1, 0.6)
        pose.angles["head"][:, axis] += pose.wave(pose.draw(2.0, 12.0), 0.1, 0.5)
    shift_T = pose.wave(pose.draw(0.0, 3.0), 0.1, 0.4)
    for side in SIDES:
        pose.angles[f"{side}_thigh"][:, 2] += shift_T + (2.0 if side == "left" else -2.0)
        pose.arm(side, pose.draw(-5.0, 15.0), pose.draw(5.0, 60.0), pose.draw(3.0, 12.0))
        _gesture(pose, side)
    return pose


def _gesture(pose: _Pose, side: str) -> None:
    """Raise the arm for a while, with a probability of one third."""
    if pose.rng.random() < 1 / 3:
        raised_T = pose.pulse(0.8, 2.5)
        wobble_T = 1.0 + pose.wave(0.15, 1.0, 2.5)
        pose.arm(side, pose.draw(20, 110) * raised_T * wobble_T, pose.draw(10, 80) * raised_T, pose.draw(0, 40))
