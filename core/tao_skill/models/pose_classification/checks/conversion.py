"""Checks of dataset_convert: the lengths and the overlap of windows."""

from __future__ import annotations

from collections.abc import Iterator

from tao_skill.errors import Problem
from tao_skill.models.pose_classification.config import ExperimentConfig
from tao_skill.models.pose_classification.data.windows import step


def dataset_convert_problems(config: ExperimentConfig) -> Iterator[Problem]:
    """Window lengths that contradict each other, or an overlap that leaves no step between windows."""
    settings = config.dataset_convert
    length = settings.sequence_length
    if length > settings.sequence_length_max:
        yield Problem(
            key="dataset_convert.sequence_length",
            message=f"dataset_convert.sequence_length is {length}, accepted: at most "
            f"dataset_convert.sequence_length_max, which is {settings.sequence_length_max}",
            fix=f"set dataset_convert.sequence_length_max={length}, or a shorter dataset_convert.sequence_length",
        )
    if settings.sequence_length_min > length:
        yield Problem(
            key="dataset_convert.sequence_length_min",
            message=f"dataset_convert.sequence_length_min is {settings.sequence_length_min}, accepted: at most "
            f"dataset_convert.sequence_length, which is {length}",
            fix=f"set dataset_convert.sequence_length_min={length} or lower",
        )
    if step(settings) == 0:
        yield Problem(
            key="dataset_convert.sequence_overlap",
            message=f"dataset_convert.sequence_overlap is {settings.sequence_overlap}, which makes the step between "
            f"windows int({length} * {settings.sequence_overlap}) = 0 frames, accepted: a step of at least 1 frame",
            fix="set dataset_convert.sequence_overlap=1.0, or a longer dataset_convert.sequence_length",
        )
