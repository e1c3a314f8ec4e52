"""Where the windows of a long sequence lie."""

from __future__ import annotations

from collections.abc import Iterable

from tao_skill.models.pose_classification.config import DatasetConvertConfig


def step(settings: DatasetConvertConfig) -> int:
    """Frames from the start of a window to that of the next (TAO's rule)."""
    return int(settings.sequence_length * settings.sequence_overlap)


def starts(frames: int, settings: DatasetConvertConfig) -> range:
    """The first frame of each window: a step apart, as long as sequence_length_min frames remain."""
    return range(0, frames - settings.sequence_length_min + 1, step(settings))


def runs(numbers: Iterable[int]) -> list[list[int]]:
    """Growing numbers as [first, last] of each stretch without a gap."""
    found: list[list[int]] = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return found
