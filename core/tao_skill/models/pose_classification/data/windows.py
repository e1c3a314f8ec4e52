"""Positions of the windows that dataset_convert cuts from a long sequence."""

from __future__ import annotations

from collections.abc import Iterable

from tao_skill.models.pose_classification.config import DatasetConvertConfig


def step(settings: DatasetConvertConfig) -> int:
    """Frames between the starts of two windows (TAO's rule)."""
    return int(settings.sequence_length * settings.sequence_overlap)


def starts(frames: int, settings: DatasetConvertConfig) -> range:
    """First frame of each window: one step apart, while at least sequence_length_min frames remain."""
    return range(0, frames - settings.sequence_length_min + 1, step(settings))


def consecutive_ranges(numbers: Iterable[int]) -> list[list[int]]:
    """Ascending numbers as [first, last] of each range without gaps."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ranges
